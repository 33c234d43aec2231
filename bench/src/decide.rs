//! The time in which the leader decides for ten thousand active revisions at once: in this process, on one core.
//!
//! Every revision has a full window of seconds from each of two activators. A second passes; then one tick decides for all.

use std::time::{Duration, Instant};

use anyhow::ensure;
use catnap_autoscaler_core::{Leader, PodFact, Policy, ScaleFact, Settings, Stage, StreamId};
use catnap_wire::{ActivatorFrame, Bucket, Hello, RevisionId, Term};

use crate::report::{Report, Row};

/// Seconds before the first decision that is measured: the window, and the one before it.
const HISTORY: u64 = 130;
/// Longest time for all, in milliseconds.
const BAR_MILLISECONDS: f64 = 20.0;
/// Longest time for one, in microseconds. It is more than a decision: averages, pods and gates are looked at, too.
const BAR_MICROSECONDS: f64 = 1.0;
const ACTIVATORS: [&str; 2] = ["activator-1", "activator-2"];

/// Flags of `catnap-bench decide`.
#[derive(Debug, clap::Args)]
pub(crate) struct DecideArgs {
    /// Active revisions.
    #[arg(long, default_value_t = 10_000)]
    revisions: u32,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 21)]
    rounds: u32,
}

/// Measures.
pub(crate) fn run(arguments: &DecideArgs) -> anyhow::Result<Report> {
    let DecideArgs { revisions, rounds } = *arguments;
    ensure!(revisions > 0 && rounds > 0, "nothing to measure");
    let ids: Vec<RevisionId> = (0..revisions)
        .map(|number| RevisionId {
            namespace: "shop".into(),
            name: format!("hello-{number}").into(),
            function_uid: format!("uid-{number}").into(),
        })
        .collect();
    let mut leader = start(&ids);
    let mut times: Vec<Duration> = Vec::new();
    for second in 1..=HISTORY + u64::from(rounds) {
        let now = Duration::from_secs(second);
        tell(&mut leader, &ids, second - 1, now);
        leader.take_effects();
        let began = Instant::now();
        leader.tick(now);
        let took = began.elapsed();
        leader.take_effects();
        if second > HISTORY {
            times.push(took);
        }
    }
    let decided = leader.explain().iter().filter(|explanation| explanation.decision.is_some()).count();
    ensure!(decided == ids.len(), "{decided} of {} revisions were decided", ids.len());
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let milliseconds = median.as_secs_f64() * 1e3;
    let each = milliseconds * 1e3 / f64::from(revisions);
    let mut all = Row::plain(format!("{revisions} revisions p50"), "ms", milliseconds);
    all.hold(milliseconds, BAR_MILLISECONDS);
    let mut one = Row::plain("one revision p50", "us", each);
    one.hold(each, BAR_MICROSECONDS);
    Report::new("decide", vec![all, one])
}

fn start(ids: &[RevisionId]) -> Leader {
    let mut leader = Leader::new(Term { transitions: 1, boot: 1 }, Settings::default(), Duration::ZERO);
    for id in ids {
        leader.upsert_revision(id, Policy { limit: 10, ..Policy::default() }, Stage::Routed, Duration::ZERO);
        let scale =
            ScaleFact { replicas: 3, resource_version: "1".into(), observed: true, one_replica_set: true };
        leader.set_scale(id, Some(scale), Duration::ZERO);
        let pod = |number: u8| PodFact {
            uid: format!("{}-{number}", id.name).into(),
            terminating: false,
            ready: true,
            created: 0,
            marked: false,
        };
        leader.set_pods(id, (0..3).map(pod).collect(), Duration::ZERO);
    }
    leader.set_activators(&ACTIVATORS.map(Into::into), Duration::ZERO);
    for (number, pod) in (1..).zip(ACTIVATORS) {
        leader.stream_opened(StreamId(number), pod.into(), Duration::ZERO);
        let hello = Hello {
            boot: number,
            pod_uid: pod.into(),
            clock_milliseconds: 0,
            revisions: Vec::new(),
            more: false,
        };
        leader.activator_frame(StreamId(number), ActivatorFrame::Hello(hello), Duration::ZERO);
    }
    leader
}

/// One second of every revision, from each activator.
fn tell(leader: &mut Leader, ids: &[RevisionId], index: u64, now: Duration) {
    for (number, _) in (1..).zip(ACTIVATORS) {
        for id in ids {
            let buckets = vec![Bucket { index, request_microseconds: 7_500_000, arrivals: 50 }];
            let frame = ActivatorFrame::Buckets { revision: id.clone(), buckets };
            leader.activator_frame(StreamId(number), frame, now);
        }
        leader.activator_frame(StreamId(number), ActivatorFrame::Through { index }, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_revision_is_decided_and_timed() {
        let report = run(&DecideArgs { revisions: 5, rounds: 3 }).unwrap();
        assert!(report.rows.iter().all(|row| row.ours > 0.0 && row.bar.is_some()), "{report:?}");
    }
}
