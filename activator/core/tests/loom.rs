//! The queue, the slots and the gate under every order of their threads that matters, as loom finds them: what runs here is the
//! activator itself, from the arrival of a request to the end of its slot, built with loom's mutexes and atomics (`make loom`).
//!
//! A wake-up that is lost leaves a thread waiting for ever, which loom reports as a deadlock.

#![cfg(loom)]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is a test")]

use catnap_activator_core::{
    Activator, Admission, Command, Connection, Destination, FunctionName, FunctionRoute, Listener,
    ManualClock, Pod, RevisionRoute, Settings, Share, Slot, TagRoute,
};
use catnap_wire::message::{ActivatorFrame, GateId, LeaderFrame, RevisionId, Term, Verdict, Welcome};
use loom::future::block_on;
use loom::model::Builder;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use loom::thread;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// Switches of threads that are not forced, in one run: bugs need few, and the number of runs grows with every one.
const PREEMPTIONS: usize = 3;

const TERM: Term = Term { transitions: 1, boot: 1 };
const GATE: GateId = GateId { term: TERM, number: 1 };

struct Bed {
    activator: Arc<Activator>,
    function: Destination,
    clock: Arc<ManualClock>,
    connection: Connection,
    /// Exchanges that a pod has open now.
    open: Arc<AtomicU32>,
}

fn revision(name: &str) -> RevisionId {
    RevisionId { namespace: "default".into(), name: name.into(), function_uid: "u1".into() }
}

fn route(routed: &str, limit: u32) -> FunctionRoute {
    let revision = |name: &str| RevisionRoute { concurrency_limit: limit, ..RevisionRoute::new(name.into()) };
    FunctionRoute {
        traffic: vec![Share { revision: routed.into(), percent: 100 }],
        revisions: vec![revision("hello-1"), revision("hello-2")],
        ..FunctionRoute::new(FunctionName { namespace: "default".into(), name: "hello".into() }, "u1".into())
    }
}

fn pods(uids: &[&str]) -> Vec<Pod> {
    let pod = |uid: &&str| Pod {
        uid: (*uid).into(),
        address: Some(([10, 0, 0, 1], 8080).into()),
        started: true,
        ready: true,
        requires_ready: false,
        terminating: false,
        trouble: None,
    };
    uids.iter().map(pod).collect()
}

impl Bed {
    /// A function with these pods at its first revision, and a leader that is connected.
    fn new(limit: u32, uids: &[&str]) -> (Self, UnboundedReceiver<Command>) {
        let clock = Arc::new(ManualClock::default());
        let (activator, mut commands) =
            Activator::new(Settings::new(5, "activator-1"), Arc::clone(&clock) as _);
        let connection = activator.leader_connected();
        let welcome = Welcome { term: TERM, closed: Vec::new(), more: false };
        activator.leader_frame(connection, LeaderFrame::Welcome(welcome));
        activator.upsert_function(route("hello-1", limit));
        activator.set_pods(&revision("hello-1"), pods(uids));
        activator.tick();
        while commands.try_recv().is_ok() {}
        let function = activator.route(Listener::InCluster, "hello.default").expect("a function");
        (Self { activator, function, clock, connection, open: Arc::new(AtomicU32::new(0)) }, commands)
    }

    fn another(&self) -> Self {
        Self {
            activator: Arc::clone(&self.activator),
            function: self.function.clone(),
            clock: Arc::clone(&self.clock),
            connection: self.connection,
            open: Arc::clone(&self.open),
        }
    }

    /// Another thread, with the same activator.
    fn spawn(&self, thread: impl FnOnce(Self) + 'static) -> thread::JoinHandle<()> {
        let bed = self.another();
        thread::spawn(move || thread(bed))
    }

    /// Waits for a slot for as long as it takes.
    fn slot(&self) -> Slot {
        slot_of(self.function.admit())
    }

    /// Uses a slot, beside at most `limit` less 1 others.
    fn exchange(&self, slot: Slot, limit: u32) {
        let others = self.open.fetch_add(1, SeqCst);
        assert!(others < limit, "{others} others");
        self.open.fetch_sub(1, SeqCst);
        drop(slot);
    }

    fn request(&self, limit: u32) {
        self.exchange(self.slot(), limit);
    }

    /// Nobody waits, nothing is open, and whoever comes next is dispatched at once.
    fn assert_quiet(&self) {
        for state in self.activator.snapshot().revisions {
            assert_eq!((state.held, state.in_flight, state.measured), (0, 0, 0), "{state:?}");
        }
        assert_eq!(self.activator.held(), 0);
        match self.function.admit() {
            Admission::Dispatch(_) => {}
            other => panic!("not dispatched beside a free slot: {other:?}"),
        }
    }
}

fn slot_of(admission: Admission) -> Slot {
    match admission {
        Admission::Dispatch(slot) => slot,
        Admission::Held(waiting) => block_on(waiting).expect("a slot"),
        Admission::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

fn join<const COUNT: usize>(threads: [thread::JoinHandle<()>; COUNT]) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Runs it under every order of its threads.
fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.max_branches = 20_000;
    builder.check(run);
}

#[test]
fn a_slot_is_one_request_s_at_a_time_and_everybody_gets_it() {
    model(|| {
        let (bed, _commands) = Bed::new(1, &["a"]);
        let others = [bed.spawn(|bed| bed.request(1)), bed.spawn(|bed| bed.request(1))];
        bed.request(1);
        join(others);
        bed.assert_quiet();
    });
}

#[test]
fn two_pods_have_two_exchanges_at_most() {
    model(|| {
        let (bed, _commands) = Bed::new(1, &["a", "b"]);
        let others = [bed.spawn(|bed| bed.request(2)), bed.spawn(|bed| bed.request(2))];
        bed.request(2);
        join(others);
        bed.assert_quiet();
    });
}

#[test]
fn a_client_that_leaves_takes_no_slot_with_it() {
    model(|| {
        let (bed, _commands) = Bed::new(1, &["a"]);
        let slot = bed.slot();
        let leaver = bed.spawn(|bed| drop(bed.function.admit()));
        let waiter = bed.spawn(|bed| bed.request(1));
        bed.exchange(slot, 1);
        join([leaver, waiter]);
        bed.assert_quiet();
    });
}

#[test]
fn who_was_refused_by_the_pod_is_tried_again_beside_those_who_wait() {
    model(|| {
        let (bed, _commands) = Bed::new(1, &["a", "b"]);
        let unlucky = bed.slot();
        let other = bed.spawn(|bed| bed.request(2));
        bed.exchange(slot_of(unlucky.connect_failed()), 2);
        join([other]);
        bed.assert_quiet();
    });
}

#[test]
fn who_arrives_while_the_first_pod_does_is_served() {
    model(|| {
        let (bed, _commands) = Bed::new(1, &[]);
        let others = [bed.spawn(|bed| bed.request(1)), bed.spawn(|bed| bed.request(1))];
        bed.activator.set_pods(&revision("hello-1"), pods(&["a"]));
        join(others);
        bed.assert_quiet();
    });
}

#[test]
fn nothing_goes_to_a_pod_after_the_gate_was_said_to_be_closed() {
    model(|| {
        let (bed, mut commands) = Bed::new(0, &["a"]);
        let acknowledged = Arc::new(AtomicBool::new(false));
        let requests = [(); 2].map(|()| {
            let acknowledged = Arc::clone(&acknowledged);
            bed.spawn(move |bed| {
                let slot = bed.slot();
                assert!(!acknowledged.load(SeqCst), "an exchange behind a closed gate");
                bed.exchange(slot, 2);
            })
        });
        let close = LeaderFrame::Close { revision: revision("hello-1"), gate: GATE, pods: vec!["a".into()] };
        bed.activator.leader_frame(bed.connection, close);
        let said = std::iter::from_fn(|| commands.try_recv().ok()).find_map(|command| match command {
            Command::Send { frame: ActivatorFrame::Ack { .. }, .. } => Some(true),
            Command::Send { frame: ActivatorFrame::Busy { .. }, .. } => Some(false),
            _ => None,
        });
        if said.expect("an answer") {
            acknowledged.store(true, SeqCst);
            assert_eq!(bed.open.load(SeqCst), 0, "exchanges behind a closed gate");
            acknowledged.store(false, SeqCst);
        }
        let verdict = Verdict { revision: revision("hello-1"), gate: GATE, condemned: Vec::new() };
        bed.activator.leader_frame(bed.connection, LeaderFrame::Open(verdict));
        join(requests);
        bed.assert_quiet();
    });
}

#[test]
fn the_driver_hears_of_whoever_begins_to_wait() {
    model(|| {
        let (bed, mut commands) = Bed::new(1, &[]);
        let request = bed.spawn(|bed| bed.request(1));
        // One that is due anyway, at any time.
        bed.activator.tick();
        loop {
            match block_on(commands.recv()).expect("commands") {
                Command::Tick => {
                    bed.clock.advance(Duration::from_millis(20));
                    bed.activator.tick();
                }
                Command::Send { frame: ActivatorFrame::Wake { .. }, .. } => break,
                _ => {}
            }
        }
        bed.activator.set_pods(&revision("hello-1"), pods(&["a"]));
        join([request]);
        bed.assert_quiet();
    });
}

#[test]
fn nobody_is_forgotten_while_the_traffic_moves() {
    model(|| {
        let (bed, _commands) = Bed::new(1, &["a"]);
        bed.activator.set_pods(&revision("hello-2"), pods(&["b"]));
        let others = [bed.spawn(|bed| bed.request(2)), bed.spawn(|bed| drop(bed.function.admit()))];
        bed.activator.upsert_function(route("hello-2", 1));
        bed.request(2);
        join(others);
        bed.assert_quiet();
    });
}

#[test]
fn who_is_held_while_its_revision_loses_its_share_and_keeps_a_tag_follows_the_traffic() {
    model(|| {
        let (bed, _commands) = Bed::new(1, &[]);
        bed.activator.set_pods(&revision("hello-2"), pods(&["b"]));
        let request = bed.spawn(|bed| bed.request(1));
        let tags = vec![TagRoute { tag: "old".into(), revision: "hello-1".into() }];
        bed.activator.upsert_function(FunctionRoute { tags, ..route("hello-2", 1) });
        join([request]);
        bed.assert_quiet();
    });
}

#[test]
fn who_is_held_again_while_its_revision_loses_its_share_and_keeps_a_tag_follows_the_traffic() {
    model(|| {
        let (bed, _commands) = Bed::new(1, &["a"]);
        bed.activator.set_pods(&revision("hello-2"), pods(&["b"]));
        // Another failure, and the pod is set aside.
        let Admission::Dispatch(unlucky) = bed.slot().connect_failed() else { panic!("there is its pod") };
        let request = bed.spawn(|bed| bed.exchange(slot_of(unlucky.connect_failed()), 1));
        let tags = vec![TagRoute { tag: "old".into(), revision: "hello-1".into() }];
        bed.activator.upsert_function(FunctionRoute { tags, ..route("hello-2", 1) });
        join([request]);
        bed.assert_quiet();
    });
}
