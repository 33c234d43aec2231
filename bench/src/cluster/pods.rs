//! What a Deployment does while it is under load, by looks at it in a steady pace.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Between two looks at a Deployment.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A Deployment at one moment.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// Since the first moment that counts.
    since: Duration,
    /// Replicas in its spec.
    asked: i32,
    /// Pods that exist, without those that are ending.
    there: i32,
    ready: i32,
}

/// All looks, in their order.
#[derive(Debug, Default)]
pub(crate) struct Looks(Vec<Look>);

/// Looks at a Deployment from the one moment to the other.
pub(crate) async fn watch(
    deployments: &Api<Deployment>,
    name: &str,
    from: Instant,
    end: Instant,
) -> anyhow::Result<Looks> {
    let mut looks = Looks::default();
    let mut turns = interval(LOOK_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let deployment = deployments.get(name).await.context("cannot read a Deployment")?;
        let now = Instant::now();
        let Some(since) = now.checked_duration_since(from) else { continue };
        if now >= end {
            return Ok(looks);
        }
        let status = deployment.status.unwrap_or_default();
        looks.0.push(Look {
            since,
            asked: deployment.spec.and_then(|spec| spec.replicas).unwrap_or_default(),
            there: status.replicas.unwrap_or_default(),
            ready: status.ready_replicas.unwrap_or_default(),
        });
    }
}

impl Looks {
    /// When as many pods were ready for the first time.
    pub(crate) fn ready(&self, wanted: i32) -> Option<Duration> {
        self.0.iter().find(|look| look.ready >= wanted).map(|look| look.since)
    }

    /// Whether no pod was ready, by the last look before that moment.
    pub(crate) fn none_ready(&self, since: Duration) -> bool {
        let before = self.0.iter().rfind(|look| look.since <= since);
        before.or(self.0.first()).is_some_and(|look| look.ready == 0)
    }

    /// Most replicas that were asked for.
    pub(crate) fn most(&self) -> i32 {
        self.0.iter().map(|look| look.asked).max().unwrap_or_default()
    }

    /// What the pods that existed come to.
    pub(crate) fn pod_seconds(&self) -> f64 {
        let mut before = Duration::ZERO;
        let spans = self.0.iter().map(|look| {
            let span = look.since.saturating_sub(before);
            before = look.since;
            f64::from(look.there) * span.as_secs_f64()
        });
        spans.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that grows from no pod to three and shrinks to one, with seconds between the looks.
    fn looks() -> Looks {
        let look = |(seconds, asked, there, ready)| Look {
            since: Duration::from_secs(seconds),
            asked,
            there,
            ready,
        };
        Looks([(1, 2, 0, 0), (2, 4, 2, 1), (4, 3, 3, 3), (5, 1, 1, 1)].map(look).into())
    }

    #[test]
    fn each_look_stands_for_the_time_since_the_one_before() {
        assert!((looks().pod_seconds() - 9.0).abs() < 1e-9, "{}", looks().pod_seconds());
        assert!(Looks::default().pod_seconds().abs() < 1e-9);
    }

    #[test]
    fn what_was_asked_for_need_never_be_ready() {
        assert_eq!(looks().most(), 4);
        assert_eq!(looks().ready(2), Some(Duration::from_secs(4)));
        assert_eq!(looks().ready(4), None);
    }

    #[test]
    fn a_moment_is_told_by_the_look_before_it() {
        let none_ready = |milliseconds| looks().none_ready(Duration::from_millis(milliseconds));
        assert!(none_ready(0) && none_ready(1_999));
        assert!(!none_ready(2_000) && !none_ready(60_000));
        assert!(!Looks::default().none_ready(Duration::ZERO));
    }
}
