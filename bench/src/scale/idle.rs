//! A while in which nobody does anything: what is written nevertheless, and what it costs to be there.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use kube::Client;
use tokio::time::{Instant, sleep};

use super::processes::{self, Process};

/// Longest wait until the last that was begun is done.
pub(super) const SETTLE_LIMIT: Duration = Duration::from_secs(300);
/// Nothing is begun any more when nothing was written for so long.
const SILENCE: Duration = Duration::from_secs(10);

/// What was seen.
pub(super) struct Idle {
    /// Writes that the API server took, of all kinds but Leases, by anybody.
    pub(super) writes: usize,
    /// Of what kinds.
    pub(super) what: String,
    /// Kinds of writes that had not ended after [`SETTLE_LIMIT`].
    pub(super) endless: usize,
    /// The programs of Catnap.
    pub(super) processes: Vec<Process>,
}

/// Waits until nothing is written any more, and then watches for so long.
pub(super) async fn watch(client: &Client, length: Duration) -> anyhow::Result<Idle> {
    let endless = settle(async || writes(client).await).await?;
    let before = writes(client).await?;
    let processes = processes::over(length).await?;
    let after = writes(client).await?;
    let new: Vec<_> = added(&before, &after).collect();
    let what: Vec<String> = new.iter().map(|(what, count)| format!("{count} {what}")).collect();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let writes = new.iter().map(|(_, count)| *count as usize).sum();
    Ok(Idle { writes, what: what.join(", "), endless, processes })
}

type Writes = BTreeMap<String, f64>;

/// Waits until nothing more is written, for as long as [`SETTLE_LIMIT`]. Returns how many kinds of writes there still were in the
/// end: where they never end there is something to report, and no reason to give up.
async fn settle(mut writes: impl AsyncFnMut() -> anyhow::Result<Writes>) -> anyhow::Result<usize> {
    let end = Instant::now() + SETTLE_LIMIT;
    let mut before = writes().await?;
    loop {
        sleep(SILENCE).await;
        let now = writes().await?;
        let endless = added(&before, &now).count();
        if endless == 0 || Instant::now() >= end {
            return Ok(endless);
        }
        before = now;
    }
}

/// What was written since.
fn added<'now>(before: &Writes, now: &'now Writes) -> impl Iterator<Item = (&'now String, f64)> {
    now.iter().filter_map(|(what, count)| {
        let count = count - before.get(what).unwrap_or(&0.0);
        (count > 0.0).then_some((what, count))
    })
}

/// How often each kind of write was taken since the API server started.
async fn writes(client: &Client) -> anyhow::Result<Writes> {
    let request = http::Request::get("/metrics").body(Vec::new()).context("a request for metrics")?;
    let text = client.request_text(request).await.context("cannot read the API server's metrics")?;
    let mut writes = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let label = |name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        let (Some(verb), Some(resource)) = (label("verb"), label("resource")) else { continue };
        if !matches!(verb, "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE") || is_of_the_platform(resource) {
            continue;
        }
        let count =
            line.rsplit_once(' ').and_then(|(_, count)| count.parse::<f64>().ok()).unwrap_or_default();
        *writes.entry(format!("{verb} {resource}")).or_default() += count;
    }
    Ok(writes)
}

/// Leases are how everything here says that it lives, nodes tell of themselves, and reviews of access change nothing.
fn is_of_the_platform(resource: &str) -> bool {
    matches!(
        resource,
        "leases" | "nodes" | "tokenreviews" | "subjectaccessreviews" | "selfsubjectaccessreviews"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many times something is written between two looks, in all that are taken.
    async fn settled(last: f64) -> usize {
        let mut looks = 0.0_f64;
        let look = async || {
            looks += 1.0;
            Ok(Writes::from([("POST pods".to_owned(), looks.min(last)), ("PUT nodes".to_owned(), 7.0)]))
        };
        settle(look).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn writes_that_never_end_are_told_of() {
        assert_eq!(settled(3.0).await, 0);
        assert_eq!(settled(f64::INFINITY).await, 1);
    }
}
