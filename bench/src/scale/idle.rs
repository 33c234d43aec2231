//! A while in which nobody does anything: what is written nevertheless, and what it costs to be there.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use kube::Client;
use tokio::time::sleep;

use super::processes::{self, Process};

/// Longest wait until the last that was begun is done.
const SETTLE_LIMIT: Duration = Duration::from_secs(300);
/// Nothing is begun any more when nothing was written for so long.
const SILENCE: Duration = Duration::from_secs(10);

/// What was seen.
pub(super) struct Idle {
    /// Writes that the API server took, of all kinds but Leases, by anybody.
    pub(super) writes: usize,
    /// Of what kinds.
    pub(super) what: String,
    /// The programs of Catnap, where they run on this machine.
    pub(super) processes: Vec<Process>,
}

/// Waits until nothing is written any more, and then watches for so long.
pub(super) async fn watch(client: &Client, length: Duration) -> anyhow::Result<Idle> {
    let settled = async {
        let mut before = writes(client).await?;
        loop {
            sleep(SILENCE).await;
            let now = writes(client).await?;
            if now == before {
                return anyhow::Ok(());
            }
            before = now;
        }
    };
    // Where writes never end there is something to report, and no reason to fail.
    if let Ok(settled) = tokio::time::timeout(SETTLE_LIMIT, settled).await {
        settled?;
    }
    let before = writes(client).await?;
    let processes = processes::over(length).await?;
    let after = writes(client).await?;
    let new = after.iter().filter_map(|(what, count)| {
        let count = count - before.get(what).unwrap_or(&0.0);
        (count > 0.0).then_some((what, count))
    });
    let new: Vec<_> = new.collect();
    let what: Vec<String> = new.iter().map(|(what, count)| format!("{count} {what}")).collect();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let writes = new.iter().map(|(_, count)| *count as usize).sum();
    Ok(Idle { writes, what: what.join(", "), processes })
}

/// How often each kind of write was taken since the API server started.
async fn writes(client: &Client) -> anyhow::Result<BTreeMap<String, f64>> {
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
