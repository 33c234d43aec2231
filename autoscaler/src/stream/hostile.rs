//! Frames that no honest activator sends, through the real codec to the real leader: each is refused and counted, and the
//! revision that it is about is decided on as if it had never come.

use std::time::Duration;

use catnap_autoscaler_core::leader::Explanation;
use catnap_autoscaler_core::{Effect, Leader, PodFact, Policy, ScaleFact, Settings, Stage, StreamId};
use catnap_wire::limits::{
    MAX_BUCKETS, MAX_COUNTED, MAX_ENDED, MAX_LIFE_SECONDS, MAX_NAME_BYTES, MAX_PODS,
    MAX_REQUEST_MICROSECONDS, MAX_REQUESTS,
};
use catnap_wire::message::HELLO_PART;
use catnap_wire::proto::activator_frame::Frame;
use catnap_wire::{ActivatorFrame, Bucket, Hello, RevisionId, Term, proto};

const HONEST: StreamId = StreamId(1);
const HOSTILE: StreamId = StreamId(2);
/// What every activator's clock shows at the beginning.
const CLOCK: u64 = 100;

fn victim() -> RevisionId {
    RevisionId { namespace: "shop".into(), name: "hello-1".into(), function_uid: "uid".into() }
}

fn named(name: &str) -> Option<proto::Revision> {
    let [namespace, function_uid] = ["shop", "uid"].map(String::from);
    (name != "missing").then(|| proto::Revision { namespace, name: name.into(), function_uid })
}

fn revision() -> Option<proto::Revision> {
    named("hello-1")
}

/// A leader, the victim with its load, and how the hostile activator's stream fares.
struct Scene {
    leader: Leader,
    now: Duration,
    puts: usize,
    /// The codec refused a frame.
    frames_refused: u64,
    connected: bool,
}

impl Scene {
    /// Three replicas, 20 requests at once for eight seconds.
    fn new() -> Self {
        let now = Duration::from_secs(60);
        let mut leader = Leader::new(Term { transitions: 1, boot: 1 }, Settings::default(), Duration::ZERO);
        let policy = Policy { limit: 10, max: 1_000, window: Duration::from_secs(6), ..Policy::default() };
        leader.upsert_revision(&victim(), policy, Stage::Routed, now);
        let fact =
            ScaleFact { replicas: 3, resource_version: "10".into(), observed: true, one_replica_set: true };
        leader.set_scale(&victim(), Some(fact), now);
        let pod = |uid: &str| PodFact {
            uid: uid.into(),
            terminating: false,
            ready: true,
            created: 0,
            marked: false,
        };
        leader.set_pods(&victim(), ["p", "q", "r"].map(pod).into(), now);
        leader.set_activators(&["a".into(), "b".into()], now);
        let mut scene = Self { leader, now, puts: 0, frames_refused: 0, connected: true };
        for (stream, pod) in [(HONEST, "a"), (HOSTILE, "b")] {
            scene.leader.stream_opened(stream, pod.into(), now);
            let (boot, clock_milliseconds) = (stream.0, CLOCK * 1_000);
            let hello =
                Hello { boot, pod_uid: pod.into(), clock_milliseconds, revisions: Vec::new(), more: false };
            scene.leader.activator_frame(stream, ActivatorFrame::Hello(hello), now);
        }
        for _ in 0..8 {
            scene.second();
        }
        scene.carry_out();
        assert_eq!(scene.puts, 0, "it is settled");
        assert!(scene.leader.refused().is_empty() && scene.connected);
        scene
    }

    /// A second passes, of which both tell.
    fn second(&mut self) {
        let index = CLOCK + self.now.as_secs() - 60;
        self.now += Duration::from_secs(1);
        let buckets = vec![Bucket { index, request_microseconds: 20_000_000, arrivals: 20 }];
        self.leader.activator_frame(
            HONEST,
            ActivatorFrame::Buckets { revision: victim(), buckets },
            self.now,
        );
        let streams = [HONEST, HOSTILE];
        for stream in streams.into_iter().filter(|stream| *stream == HONEST || self.connected) {
            self.leader.activator_frame(stream, ActivatorFrame::Through { index }, self.now);
        }
        self.leader.tick(self.now);
        self.carry_out();
    }

    /// As the reading half of a stream does it.
    fn hear(&mut self, frame: Frame) {
        if let Ok(frame) = ActivatorFrame::try_from(proto::ActivatorFrame { frame: Some(frame) }) {
            self.leader.activator_frame(HOSTILE, frame, self.now);
        } else {
            self.frames_refused += 1;
            self.hang_up();
        }
        self.carry_out();
    }

    fn hang_up(&mut self) {
        self.connected = false;
        self.leader.stream_closed(HOSTILE, self.now);
    }

    fn carry_out(&mut self) {
        for effect in self.leader.take_effects() {
            match effect {
                Effect::PutScale { .. } => self.puts += 1,
                Effect::Disconnect { stream: HOSTILE, .. } => self.connected = false,
                _ => {}
            }
        }
    }

    fn refusals(&self) -> u64 {
        self.frames_refused + self.leader.refused().values().sum::<u64>()
    }

    /// What is decided in the five seconds to come.
    fn decisions(&mut self) -> Vec<Explanation> {
        (0..5)
            .map(|_| {
                self.second();
                self.leader.explain().remove(0)
            })
            .collect()
    }
}

fn buckets(buckets: Vec<proto::Bucket>) -> Frame {
    Frame::Buckets(proto::Buckets { revision: revision(), buckets })
}

fn bucket(index: u64, request_microseconds: u64, arrivals: u64) -> proto::Bucket {
    proto::Bucket { index, request_microseconds, arrivals }
}

fn wake(held: u64, arrivals: u64) -> Frame {
    Frame::Wake(proto::Wake { revision: revision(), held, arrivals })
}

fn pressure(held: u64, in_flight: u64) -> Frame {
    let revisions = vec![proto::PressureOf { revision: revision(), held, in_flight, standing: true }];
    Frame::Pressure(proto::Pressure { revisions })
}

fn pods(count: usize, in_flight: u64) -> Frame {
    let pod = proto::Pod { uid: "p".into(), usable: true, in_flight };
    Frame::Pods(proto::Pods { revision: revision(), pods: vec![pod; count] })
}

fn outcomes(count: usize, ended: u64, errors: u64) -> Frame {
    let of = proto::OutcomesOf { revision: revision(), ended, errors };
    Frame::Outcomes(proto::Outcomes { revisions: vec![of; count] })
}

fn report(held: u64, in_flight: u64, idle: u64) -> proto::RevisionReport {
    proto::RevisionReport {
        revision: revision(),
        closed: None,
        held,
        in_flight,
        idle_milliseconds: Some(idle),
        buckets: Vec::new(),
        pods: Vec::new(),
    }
}

fn hello(clock_milliseconds: u64, revisions: Vec<proto::RevisionReport>) -> Frame {
    Frame::Hello(proto::Hello { boot: 2, pod_uid: "b".into(), clock_milliseconds, revisions, more: false })
}

/// Every number one beyond its bound and as large as can be, every list too long, every name missing or too long, seconds of
/// the future, and frames that nobody may send now.
fn hostile() -> Vec<(String, Frame)> {
    let mut frames: Vec<(String, Frame)> = Vec::new();
    let over = |most: u64| [most + 1, u64::MAX];
    for number in over(MAX_REQUESTS) {
        frames.extend([
            (format!("held {number}"), wake(number, 1)),
            (format!("arrivals of a wake {number}"), wake(1, number)),
            (format!("held under pressure {number}"), pressure(number, 1)),
            (format!("in flight under pressure {number}"), pressure(1, number)),
            (format!("in flight in a pod {number}"), pods(1, number)),
            (format!("arrivals {number}"), buckets(vec![bucket(CLOCK, 1, number)])),
            (format!("held in a hello {number}"), hello(CLOCK * 1_000, vec![report(number, 0, 0)])),
            (format!("in flight in a hello {number}"), hello(CLOCK * 1_000, vec![report(0, number, 0)])),
        ]);
    }
    for number in over(MAX_ENDED) {
        frames.push((format!("ended {number}"), outcomes(1, number, 0)));
    }
    frames.extend([
        ("more errors than ends".into(), outcomes(1, 5, 6)),
        ("outcomes of too many".into(), outcomes(MAX_COUNTED + 1, 5, 0)),
    ]);
    for number in over(MAX_REQUEST_MICROSECONDS) {
        frames.push((format!("integral {number}"), buckets(vec![bucket(CLOCK, number, 1)])));
    }
    for number in over(MAX_LIFE_SECONDS) {
        frames.extend([
            (format!("second {number}"), buckets(vec![bucket(number, 1, 1)])),
            (format!("through {number}"), Frame::Through(proto::Through { index: number })),
        ]);
    }
    for number in over(MAX_LIFE_SECONDS * 1_000) {
        frames.extend([
            (format!("clock {number}"), hello(number, Vec::new())),
            (format!("idle {number}"), hello(CLOCK * 1_000, vec![report(0, 0, number)])),
        ]);
    }
    let long = "x".repeat(MAX_NAME_BYTES + 1);
    let other = named;
    let load = |index| bucket(index, MAX_REQUEST_MICROSECONDS, MAX_REQUESTS);
    frames.extend([
        ("buckets of the future".into(), buckets(vec![load(CLOCK + 60)])),
        ("a watermark of the future".into(), Frame::Through(proto::Through { index: CLOCK + 60 })),
        ("too many buckets".into(), buckets(vec![load(CLOCK); MAX_BUCKETS + 1])),
        ("too many pods".into(), pods(MAX_PODS + 1, 1)),
        ("a second hello".into(), hello(CLOCK * 1_000, vec![report(MAX_REQUESTS, 0, 0)])),
        (
            "a hello of too many".into(),
            hello(CLOCK * 1_000, vec![report(MAX_REQUESTS, 0, 0); HELLO_PART + 1]),
        ),
        (
            "no revision".into(),
            Frame::Wake(proto::Wake { revision: named("missing"), held: 1_000, arrivals: 1_000 }),
        ),
        ("no name".into(), Frame::Wake(proto::Wake { revision: other(""), held: 1_000, arrivals: 1_000 })),
        ("a long name".into(), Frame::Wake(proto::Wake { revision: other(&long), held: 1_000, arrivals: 1 })),
        (
            "another revision".into(),
            Frame::Wake(proto::Wake { revision: other("hello-2"), held: 1_000, arrivals: 1 }),
        ),
        ("no gate".into(), Frame::Ack(proto::Reply { revision: revision(), gate: None })),
    ]);
    frames
}

#[test]
fn what_cannot_be_is_refused_and_counted_and_its_victim_is_scaled_as_before() {
    let untouched = Scene::new().decisions();
    let left_alone = {
        let mut scene = Scene::new();
        scene.hang_up();
        scene.carry_out();
        scene.decisions()
    };
    assert_eq!(untouched[4].decision.as_ref().map(|decision| decision.desired), Some(3));
    for (name, frame) in hostile() {
        let mut scene = Scene::new();
        let before = scene.leader.explain();
        scene.hear(frame);
        assert_eq!(scene.refusals(), 1, "{name}");
        if scene.connected {
            assert_eq!(scene.leader.explain(), before, "{name}");
        }
        // At worst it is as if the activator had hung up: nothing is taken away then, and nothing else changes.
        let expected = if scene.connected { &untouched } else { &left_alone };
        assert_eq!(scene.decisions(), *expected, "{name}");
        assert_eq!(scene.puts, 0, "{name}");
    }
}

/// The same process says hello again on a new stream, with another clock.
#[test]
fn a_clock_that_jumps_between_two_hellos_moves_nothing() {
    let expected = {
        let mut scene = Scene::new();
        scene.hang_up();
        scene.carry_out();
        scene.decisions()
    };
    for seconds in [60, 3_600, MAX_LIFE_SECONDS - CLOCK - 8] {
        let mut scene = Scene::new();
        scene.hang_up();
        scene.leader.stream_opened(HOSTILE, "b".into(), scene.now);
        scene.connected = true;
        scene.hear(hello((CLOCK + 8 + seconds) * 1_000, Vec::new()));
        assert_eq!((scene.refusals(), scene.connected), (1, false), "{seconds}");
        assert_eq!(scene.decisions(), expected, "{seconds}");
        assert_eq!(scene.puts, 0);
    }
}

/// What is at its bound is taken: the tables above fail for what is beyond it, and for nothing else.
#[test]
fn what_can_be_is_heard() {
    for frame in [
        wake(MAX_REQUESTS, MAX_REQUESTS),
        pods(1, MAX_REQUESTS),
        buckets(vec![bucket(CLOCK, 1, MAX_REQUESTS)]),
    ] {
        let mut scene = Scene::new();
        scene.hear(frame);
        assert_eq!((scene.refusals(), scene.connected), (0, true));
    }
}
