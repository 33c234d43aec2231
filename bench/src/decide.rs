//! What decisions cost: one by itself, and the leader's for ten thousand revisions, in this process and on one core.
//!
//! Every revision has a full window of seconds from each of two activators. A second passes; then one tick decides for all,
//! as after a pause of the process, or fifty ticks do in turns, as the autoscaler runs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::ensure;
use catnap_autoscaler_core::{
    History, Leader, Observation, PodFact, Policy, ScaleFact, Settings, Stage, StreamId, decide,
};
use catnap_wire::{ActivatorFrame, Bucket, Hello, PodReport, PodUid, RevisionId, Term};

use crate::report::{Report, Row};

/// Seconds before the first decision that is measured: the window, and the one before it.
const HISTORY: u64 = 130;
/// Longest time for all revisions, in milliseconds.
const BAR_MILLISECONDS: f64 = 20.0;
/// Longest time for one decision, in microseconds.
const BAR_MICROSECONDS: f64 = 1.0;
const ACTIVATORS: [&str; 2] = ["activator-1", "activator-2"];
const PODS: u32 = 3;
/// How often the autoscaler's process lets time pass.
const TICK: Duration = Duration::from_millis(20);
const TICKS: u32 = 50;

/// Flags of `catnap-bench decide`.
#[derive(Debug, clap::Args)]
pub(crate) struct DecideArgs {
    /// Revisions.
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
    let alone = median((0..rounds).map(|_| alone(revisions)).collect());
    let mut crowd = Crowd::new(revisions, PODS);
    for _ in 0..HISTORY {
        crowd.second(1);
    }
    let at_once = median((0..rounds).map(|_| crowd.second(1).all).collect());
    // In the first second everybody has waited for a turn.
    crowd.second(TICKS);
    let in_turns: Vec<_> = (0..rounds).map(|_| crowd.second(TICKS)).collect();
    crowd.check()?;
    let mut idle = Crowd::new(revisions, 0);
    idle.second(TICKS);
    let at_rest = median((0..rounds).map(|_| idle.second(TICKS).all).collect());
    idle.check()?;

    let mut one = Row::plain("one decision p50", "us", microseconds(alone) / f64::from(revisions));
    one.hold(one.ours, BAR_MICROSECONDS);
    let mut all = Row::plain(format!("{revisions} revisions in one tick p50"), "ms", milliseconds(at_once));
    all.hold(all.ours, BAR_MILLISECONDS);
    let share = microseconds(at_once) / f64::from(revisions);
    let second = milliseconds(median(in_turns.iter().map(|second| second.all).collect()));
    let mut turns = Row::plain(format!("{revisions} revisions in the ticks of a second p50"), "ms", second);
    turns.hold(turns.ours, BAR_MILLISECONDS);
    let longest = milliseconds(median(in_turns.iter().map(|second| second.longest).collect()));
    let rows = vec![
        one,
        all,
        Row::plain("a revision's share of that tick p50", "us", share),
        turns,
        Row::plain("the longest of these ticks p50", "ms", longest),
        Row::plain(
            format!("{revisions} revisions at rest in the ticks of a second p50"),
            "ms",
            milliseconds(at_rest),
        ),
    ];
    Report::new("decide", rows)
}

/// The time of so many calls of `decide()`, each for another demand and with the memory of the one before.
fn alone(decisions: u32) -> Duration {
    let (policy, settings) = (policy(), Settings::default());
    let mut history = History::default();
    let began = Instant::now();
    for number in 0..decisions {
        let demand = f64::from(number % 40);
        let observation = Observation {
            replicas: 5,
            stable: demand * 2.0,
            panic: demand * 5.0,
            ready: 5,
            pressed: u64::from(number % 7),
            busy: true,
            ..Observation::default()
        };
        let now = Duration::from_secs(number.into());
        let before = std::mem::take(&mut history);
        let (after, decision) =
            decide(&policy, Stage::Routed, &settings, before, black_box(&observation), now);
        history = after;
        black_box(&decision);
    }
    began.elapsed()
}

fn policy() -> Policy {
    Policy { limit: 10, ..Policy::default() }
}

/// A leader and its revisions, all with the same replicas.
struct Crowd {
    leader: Leader,
    ids: Vec<RevisionId>,
    replicas: u32,
    /// Whole seconds that have passed.
    seconds: u64,
}

/// The time of the ticks of one second.
struct Second {
    all: Duration,
    longest: Duration,
}

impl Crowd {
    /// So many revisions, active ones when there are replicas, and activators that have said hello.
    fn new(revisions: u32, replicas: u32) -> Self {
        let mut leader = Leader::new(Term { transitions: 1, boot: 1 }, Settings::default(), Duration::ZERO);
        let id = |number| RevisionId {
            namespace: "shop".into(),
            name: format!("hello-{number}").into(),
            function_uid: format!("uid-{number}").into(),
        };
        let ids: Vec<RevisionId> = (0..revisions).map(id).collect();
        for id in &ids {
            leader.upsert_revision(id, policy(), Stage::Routed, Duration::ZERO);
            let scale =
                ScaleFact { replicas, resource_version: "1".into(), observed: true, one_replica_set: true };
            leader.set_scale(id, Some(scale), Duration::ZERO);
            let pod = |uid| PodFact { uid, terminating: false, ready: true, created: 0, marked: false };
            leader.set_pods(id, pods(id, replicas).map(pod).collect(), Duration::ZERO);
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
            for id in ids.iter().filter(|_| replicas > 0) {
                let report = |uid| PodReport { uid, usable: true, in_flight: 2 };
                let pods = pods(id, replicas).map(report).collect();
                let frame = ActivatorFrame::Pods { revision: id.clone(), pods };
                leader.activator_frame(StreamId(number), frame, Duration::ZERO);
            }
        }
        Self { leader, ids, replicas, seconds: 0 }
    }

    /// A second passes, every activator tells of it, and in the next one there are so many ticks.
    fn second(&mut self, ticks: u32) -> Second {
        self.seconds += 1;
        let now = Duration::from_secs(self.seconds);
        self.tell(now);
        let mut second = Second { all: Duration::ZERO, longest: Duration::ZERO };
        for tick in 0..ticks {
            self.leader.take_effects();
            let began = Instant::now();
            self.leader.tick(now + TICK * tick);
            let took = began.elapsed();
            second.all += took;
            second.longest = second.longest.max(took);
        }
        self.leader.take_effects();
        second
    }

    /// One second of every active revision, from each activator.
    fn tell(&mut self, now: Duration) {
        let index = self.seconds - 1;
        for (number, _) in (1..).zip(ACTIVATORS) {
            for id in self.ids.iter().filter(|_| self.replicas > 0) {
                let buckets = vec![Bucket { index, request_microseconds: 7_500_000, arrivals: 50 }];
                let frame = ActivatorFrame::Buckets { revision: id.clone(), buckets };
                self.leader.activator_frame(StreamId(number), frame, now);
            }
            self.leader.activator_frame(StreamId(number), ActivatorFrame::Through { index }, now);
        }
    }

    /// That everybody was decided, to what is there already.
    fn check(&self) -> anyhow::Result<()> {
        let explained = self.leader.explain();
        let as_it_is = explained.iter().filter(|revision| {
            revision.decision.as_ref().is_some_and(|decision| decision.desired == self.replicas)
        });
        let (decided, all) = (as_it_is.count(), self.ids.len());
        ensure!(decided == all, "{decided} of {all} revisions were decided to {} replicas", self.replicas);
        Ok(())
    }
}

fn pods(id: &RevisionId, replicas: u32) -> impl Iterator<Item = PodUid> {
    (0..replicas).map(move |number| format!("{}-{number}", id.name).into())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_revision_is_decided_and_timed() {
        let report = run(&DecideArgs { revisions: 100, rounds: 3 }).unwrap();
        assert!(report.rows.iter().all(|row| row.ours > 0.0), "{report:?}");
        assert_eq!(report.rows.iter().filter(|row| row.bar.is_some()).count(), 3);
    }
}
