//! The leader step by step: what goes in, what comes out.

mod frames;
mod history;
mod idle;
mod learning;
mod rounds;
mod shrinking;
mod turns;
mod waking;

use std::time::Duration;

use catnap_wire::{
    ActivatorFrame, GateId, Hello, LeaderFrame, PodReport, PodUid, RevisionId, RevisionReport, Term, Verdict,
    WakeAnswer,
};

use super::*;
use crate::effect::Scale;

const TERM: Term = Term { transitions: 3, boot: 7 };
const A: StreamId = StreamId(1);
const B: StreamId = StreamId(2);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn id() -> RevisionId {
    RevisionId { namespace: "default".into(), name: "hello-1".into(), function_uid: "uid".into() }
}

/// The gate after so many rounds; the first number is the time at which the fixture's leader takes over.
fn gate(rounds: u64) -> GateId {
    GateId { term: TERM, number: 60_000_000 + rounds }
}

fn policy() -> Policy {
    Policy { window: ms(6_000), idle_after: ms(1_000), limit: 10, ..Policy::default() }
}

fn fact(replicas: u32, version: u32, observed: bool) -> ScaleFact {
    ScaleFact { replicas, resource_version: version.to_string().into(), observed, one_replica_set: true }
}

fn pod(uid: &str) -> PodFact {
    PodFact { uid: uid.into(), terminating: false, ready: true, created: 0, marked: false }
}

fn report(uid: &str, in_flight: u64) -> PodReport {
    PodReport { uid: uid.into(), usable: true, in_flight }
}

/// A leader and what it has said so far.
struct Fixture {
    leader: Leader,
    now: Duration,
    effects: Vec<Effect>,
}

impl Fixture {
    /// One revision with this count and these pods, activators `a` and `b` connected for a minute.
    fn new(scale: ScaleFact, pods: &[&str]) -> Self {
        let mut fixture = Self::unconnected(scale, pods);
        fixture.join(A, "a");
        fixture.join(B, "b");
        fixture.effects.clear();
        fixture
    }

    fn unconnected(scale: ScaleFact, pods: &[&str]) -> Self {
        let now = ms(60_000);
        let mut leader = Leader::new(TERM, Settings::default(), Duration::ZERO);
        leader.upsert_revision(&id(), policy(), Stage::Routed, now);
        leader.set_scale(&id(), Some(scale), now);
        leader.set_pods(&id(), pods.iter().map(|uid| pod(uid)).collect(), now);
        leader.set_activators(&["a".into(), "b".into()], now);
        Self { leader, now, effects: Vec::new() }
    }

    /// Two replicas at rest, and the list of activators asked for: two that a leader finds it keeps for a window.
    fn idle() -> Self {
        let mut fixture = Self::new(fact(2, 10, true), &["p", "q"]);
        while !fixture.asks_for_list() {
            assert!(fixture.now < ms(70_000), "{:?}", fixture.leader.explain());
            fixture.pass(ms(25));
        }
        fixture
    }

    fn asks_for_list(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::ListActivators { .. }))
    }

    /// A round was begun.
    fn closing() -> Self {
        let mut fixture = Self::idle();
        fixture.list(&["a", "b"]);
        fixture
    }

    /// Everybody has closed; the write is under way.
    fn committing() -> Self {
        let mut fixture = Self::closing();
        fixture.ack(A);
        fixture.ack(B);
        fixture
    }

    /// The zero is written, at version 11.
    fn zero() -> Self {
        let mut fixture = Self::committing();
        fixture.written(WriteOutcome::Written { resource_version: "11".into() });
        fixture.effects.clear();
        fixture
    }

    fn step(&mut self, step: impl FnOnce(&mut Leader, Duration)) {
        step(&mut self.leader, self.now);
        self.effects.extend(self.leader.take_effects());
    }

    fn join(&mut self, stream: StreamId, pod: &str) {
        self.join_with(stream, pod, Vec::new());
    }

    fn join_with(&mut self, stream: StreamId, pod: &str, revisions: Vec<RevisionReport>) {
        let hello = Hello {
            boot: stream.0,
            pod_uid: pod.into(),
            clock_milliseconds: 100_000,
            revisions,
            more: false,
        };
        self.step(|leader, now| leader.stream_opened(stream, pod.into(), now));
        self.frame(stream, ActivatorFrame::Hello(hello));
    }

    fn frame(&mut self, stream: StreamId, frame: ActivatorFrame) {
        self.step(|leader, now| leader.activator_frame(stream, frame, now));
    }

    fn ack(&mut self, stream: StreamId) {
        self.frame(stream, ActivatorFrame::Ack { revision: id(), gate: gate(1) });
    }

    fn wake(&mut self, stream: StreamId, held: u64) {
        self.frame(stream, ActivatorFrame::Wake { revision: id(), held, arrivals: held });
    }

    fn tick(&mut self) {
        self.step(Leader::tick);
    }

    /// Time passes, 25 ms at a time; the activators' clocks go on.
    fn pass(&mut self, length: Duration) {
        let end = self.now + length;
        while self.now < end {
            self.now += ms(25);
            let index = (self.now + ms(40_000)).as_secs() - 1;
            for stream in [A, B] {
                self.frame(stream, ActivatorFrame::Through { index });
            }
            self.tick();
        }
    }

    fn list(&mut self, pods: &[&str]) {
        let token = self
            .effects
            .iter()
            .rev()
            .find_map(|effect| match effect {
                Effect::ListActivators { token } => Some(*token),
                _ => None,
            })
            .expect("the activators are listed");
        let pods: Vec<PodUid> = pods.iter().map(|pod| PodUid::from(*pod)).collect();
        self.step(|leader, now| leader.activators_listed(token, Some(&pods), now));
    }

    fn puts(&self) -> Vec<(u32, Arc<str>, Option<Duration>, Token)> {
        let put = |effect: &Effect| match effect {
            Effect::PutScale { replicas, resource_version, not_after, token, .. } => {
                Some((*replicas, Arc::clone(resource_version), *not_after, *token))
            }
            _ => None,
        };
        self.effects.iter().filter_map(put).collect()
    }

    fn written(&mut self, outcome: WriteOutcome) {
        let (.., token) = self.puts().pop().expect("a write is under way");
        self.step(|leader, now| leader.scale_written(token, outcome, now));
    }

    fn read(&mut self, replicas: u32, version: u32) {
        let token = self
            .effects
            .iter()
            .rev()
            .find_map(|effect| match effect {
                Effect::ReadScale { token, .. } => Some(*token),
                _ => None,
            })
            .expect("a read is under way");
        let scale = Scale { replicas, resource_version: version.to_string().into() };
        self.step(|leader, now| leader.scale_read(token, ReadOutcome::Read(scale), now));
    }

    fn learn(&mut self, fact: ScaleFact) {
        self.step(|leader, now| leader.set_scale(&id(), Some(fact), now));
    }

    fn pods(&mut self, pods: Vec<PodFact>) {
        self.step(|leader, now| leader.set_pods(&id(), pods, now));
    }

    fn sent(&self, to: StreamId) -> Vec<LeaderFrame> {
        let frame = |effect: &Effect| match effect {
            Effect::Send { stream, frame } if *stream == to => Some(frame.clone()),
            _ => None,
        };
        self.effects.iter().filter_map(frame).collect()
    }

    fn replies(&self, to: StreamId) -> Vec<WakeAnswer> {
        let reply = |frame: LeaderFrame| match frame {
            LeaderFrame::WakeReply { answer, .. } => Some(answer),
            _ => None,
        };
        self.sent(to).into_iter().filter_map(reply).collect()
    }

    fn gate(&self) -> &'static str {
        self.leader.explain()[0].gate
    }
}

fn verdict(number: u64, condemned: &[&str]) -> Verdict {
    let condemned = condemned.iter().map(|uid| PodUid::from(*uid)).collect();
    Verdict { revision: id(), gate: gate(number), condemned }
}
