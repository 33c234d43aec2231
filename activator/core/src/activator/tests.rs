//! The process as the HTTP layer and the driver see it: threads, handles, commands.

use super::*;
use crate::{
    Admission, FunctionName, ManualClock, Protocol, RevisionRoute, Slot, Waiting,
    route::{FunctionPolicy, FunctionRoute, Share},
};
use catnap_wire::message::{ActivatorFrame, GateId, LeaderFrame, Verdict, WakeAnswer, Welcome};
use futures::FutureExt;

mod leader;
mod names;
mod peers;
mod traffic;

struct Fixture {
    activator: Arc<Activator>,
    commands: UnboundedReceiver<Command>,
    clock: Arc<ManualClock>,
}

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

fn hello() -> FunctionName {
    FunctionName { namespace: "default".into(), name: "hello".into() }
}

fn revision(name: &str, limit: u32) -> RevisionRoute {
    RevisionRoute { protocol: Protocol::H2c, concurrency_limit: limit, ..RevisionRoute::new(name.into()) }
}

fn route(routed: Option<&str>, revisions: &[&str]) -> FunctionRoute {
    let share = |routed: &str| Share { revision: routed.into(), percent: 100 };
    FunctionRoute {
        traffic: routed.into_iter().map(share).collect(),
        revisions: revisions.iter().map(|name| revision(name, 1)).collect(),
        ..FunctionRoute::new(hello(), "u1".into())
    }
}

fn id(name: &str) -> RevisionId {
    RevisionId { namespace: "default".into(), name: name.into(), function_uid: "u1".into() }
}

fn pod(uid: &str) -> Pod {
    Pod {
        uid: uid.into(),
        address: Some(([10, 0, 0, 1], 8080).into()),
        started: true,
        ready: true,
        requires_ready: false,
        terminating: false,
        trouble: None,
    }
}

impl Fixture {
    fn new() -> Self {
        Self::with(Settings::new(5, "activator-1"))
    }

    fn with(settings: Settings) -> Self {
        let clock = Arc::new(ManualClock::default());
        let (activator, commands) = Activator::new(settings, Arc::clone(&clock) as Arc<dyn Clock>);
        Self { activator, commands, clock }
    }

    /// With a leader that answered, and one Function with traffic to `hello-1`.
    fn serving() -> (Self, crate::Connection) {
        let mut fixture = Self::new();
        let connection = fixture.activator.leader_connected();
        fixture.welcome(connection, Vec::new());
        fixture.activator.set_functions(vec![route(Some("hello-1"), &["hello-1"])]);
        fixture.commands();
        (fixture, connection)
    }

    fn welcome(&self, connection: crate::Connection, closed: Vec<Closed>) {
        let term = Term { transitions: 1, boot: 1 };
        self.activator.leader_frame(connection, LeaderFrame::Welcome(Welcome { term, closed, more: false }));
    }

    fn admit(&self) -> Admission {
        self.activator.route(Listener::InCluster, "hello.default").expect("a function").admit()
    }

    fn hold(&self) -> Waiting {
        match self.admit() {
            Admission::Held(waiting) => waiting,
            other => panic!("not held: {other:?}"),
        }
    }

    fn dispatch(&self) -> Slot {
        match self.admit() {
            Admission::Dispatch(slot) => slot,
            other => panic!("not dispatched: {other:?}"),
        }
    }

    fn refuse(&self) -> Refusal {
        match self.admit() {
            Admission::Refused(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// A request for each of a thousand Functions that rest.
    fn hold_a_thousand(&self) -> Vec<Admission> {
        let routes = (0..1_000).map(|number| {
            let name = FunctionName { namespace: "default".into(), name: format!("f{number}").into() };
            let revision = RevisionRoute::new(format!("f{number}-1").into());
            FunctionRoute::of_one(name, format!("u{number}").into(), revision)
        });
        self.activator.set_functions(routes.collect());
        let hosts = (0..1_000).map(|number| format!("f{number}.default"));
        let route = |host: String| self.activator.route(Listener::InCluster, &host).expect("a function");
        hosts.map(|host| route(host).admit()).collect()
    }

    fn commands(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.commands.try_recv().ok()).collect()
    }

    fn frames(&mut self) -> Vec<ActivatorFrame> {
        let frames = self.commands().into_iter().filter_map(|command| match command {
            Command::Send { frame, .. } => Some(frame),
            _ => None,
        });
        frames.collect()
    }

    /// Moves the time on, ticking when the activator asks for it.
    fn pass(&self, step: Duration) {
        let end = self.activator.process.now() + step;
        loop {
            let wait = self.activator.tick();
            let now = self.activator.process.now();
            if now + wait >= end {
                self.clock.advance(end.saturating_sub(now));
                break;
            }
            self.clock.advance(wait);
        }
        self.activator.tick();
    }
}

fn slot(waiting: Waiting) -> Slot {
    waiting.now_or_never().expect("an answer by now").expect("a slot")
}

fn refusal(waiting: Waiting) -> Refusal {
    waiting.now_or_never().expect("an answer by now").expect_err("a refusal")
}

#[test]
fn hosts_find_functions_on_the_inner_listener_only() {
    let (fixture, _) = Fixture::serving();
    let find = |listener, authority| fixture.activator.route(listener, authority);
    assert_eq!(*find(Listener::InCluster, "Hello.default.svc:80").expect("found").function().name(), hello());
    for (listener, authority, detail) in [
        (Listener::Edge, "hello.default", "no function is exposed here"),
        (Listener::InCluster, "hello", "a host name needs a namespace: use hello.<namespace>"),
        (Listener::InCluster, "other.default", "there is no function other in the namespace default"),
        (Listener::InCluster, "hello.example.com", "this is no host name of a function"),
    ] {
        let refusal = find(listener, authority).expect_err("unknown");
        assert_eq!((refusal.reason, &*refusal.detail), (Reason::UnknownHost, detail));
    }
    fixture.activator.remove_function(&hello());
    assert!(find(Listener::InCluster, "hello.default").is_err());
}

#[test]
fn a_slot_knows_its_pod_and_frees_it_when_dropped() {
    let (fixture, _) = Fixture::serving();
    fixture.activator.set_pods(&id("hello-1"), vec![pod("a")]);
    let first = fixture.dispatch();
    assert_eq!((first.pod().as_ref(), first.protocol(), first.limited()), ("a", Protocol::H2c, true));
    assert_eq!((first.revision(), first.function()), (&id("hello-1"), &hello()));
    assert_eq!(first.phases(), None);
    let second = fixture.hold();
    drop(first);
    let second = slot(second);
    assert!(second.phases().is_some_and(|phases| !phases.cold));
    second.finished();
    assert_eq!(fixture.activator.snapshot().revisions[0].in_flight, 0);
}

#[test]
fn a_dropped_wait_leaves_the_queue_and_a_dropped_grant_goes_to_the_next() {
    let (fixture, _) = Fixture::serving();
    let (first, second, third) = (fixture.hold(), fixture.hold(), fixture.hold());
    drop(first);
    assert_eq!(fixture.activator.held(), 2);
    fixture.activator.set_pods(&id("hello-1"), vec![pod("a")]);
    // Granted, but its client leaves before it looks.
    drop(second);
    assert_eq!(slot(third).pod().as_ref(), "a");
    assert_eq!(fixture.activator.held(), 0);
    assert_eq!(fixture.activator.snapshot().revisions[0].in_flight, 0);
}

#[test]
fn a_refused_connection_is_tried_again_and_then_held() {
    let (fixture, _) = Fixture::serving();
    fixture.activator.set_pods(&id("hello-1"), vec![pod("a")]);
    let Admission::Dispatch(again) = fixture.dispatch().connect_failed() else { panic!("once more") };
    let Admission::Held(waiting) = again.connect_failed() else { panic!("set aside") };
    fixture.activator.probed(&id("hello-1"), &"a".into(), true);
    assert_eq!(slot(waiting).pod().as_ref(), "a");
}

#[test]
fn a_request_that_is_held_again_needs_no_share_of_the_bytes() {
    let fixture = Fixture::with(Settings { max_held_bytes: 1_000, ..Settings::new(5, "activator-1") });
    let connection = fixture.activator.leader_connected();
    fixture.welcome(connection, Vec::new());
    fixture.activator.set_functions(vec![route(Some("hello-1"), &["hello-1"])]);
    fixture.activator.set_pods(&id("hello-1"), vec![pod("a")]);
    let Admission::Dispatch(again) = fixture.dispatch().connect_failed() else { panic!("once more") };
    let Admission::Held(refused) = again.connect_failed() else { panic!("set aside") };
    let new = fixture.hold();
    let function = fixture.activator.route(Listener::InCluster, "hello.default").expect("a function");
    let Admission::Held(broke_off) = function.admit_again(Some(&id("hello-1"))) else { panic!("set aside") };
    fixture.activator.upsert_function(route(None, &["hello-1"]));
    let Admission::Held(unproven) = function.admit_again(Some(&id("hello-1"))) else { panic!("no revision") };
    assert_eq!(new.hold_bytes(600).expect_err("more than a third").reason, Reason::ProcessOverloaded);
    for again in [refused, broke_off, unproven] {
        drop(again.hold_bytes(600).expect("as much is free"));
    }
}

#[test]
fn the_driver_is_asked_to_tick_wake_and_probe() {
    let (mut fixture, connection) = Fixture::serving();
    let waiting = fixture.hold();
    assert_eq!(fixture.commands(), [Command::Tick]);
    fixture.pass(ms(2));
    let wake = ActivatorFrame::Wake { revision: id("hello-1"), held: 1, arrivals: 1 };
    assert!(fixture.commands().contains(&Command::Send { connection, frame: wake }));
    let answer =
        LeaderFrame::WakeReply { revision: id("hello-1"), answer: WakeAnswer::Written { replicas: 1 } };
    fixture.activator.leader_frame(connection, answer);
    fixture.activator.set_pods(&id("hello-1"), vec![Pod { ready: false, started: false, ..pod("a") }]);
    fixture.pass(ms(0));
    let probed = fixture.commands().into_iter().any(|command| matches!(command, Command::Probe { .. }));
    assert!(probed);
    fixture.activator.probed(&id("hello-1"), &"a".into(), true);
    assert!(slot(waiting).phases().is_some_and(|phases| phases.cold));
}

#[test]
fn more_requests_ask_for_another_tick_once() {
    let (mut fixture, _) = Fixture::serving();
    let mut waits = vec![fixture.hold()];
    fixture.pass(ms(2));
    fixture.commands();
    waits.extend([fixture.hold(), fixture.hold()]);
    assert_eq!(fixture.commands(), [Command::Tick]);
}

#[test]
fn without_a_leader_the_activator_wakes_alone() {
    let mut fixture = Fixture::new();
    fixture.activator.set_functions(vec![route(Some("hello-1"), &["hello-1"])]);
    let waiting = fixture.hold();
    fixture.pass(ms(2));
    let attempt = 1;
    assert!(fixture.commands().contains(&Command::ReadScale { revision: id("hello-1"), attempt }));
    let scale = Scale { replicas: 0, pods: 0, resource_version: "7".into() };
    fixture.activator.scale_read(&id("hello-1"), attempt, Ok(scale));
    let raise =
        Command::RaiseScale { revision: id("hello-1"), attempt, replicas: 1, resource_version: "7".into() };
    assert!(fixture.commands().contains(&raise));
    fixture.activator.scale_raised(&id("hello-1"), attempt, Ok(()));
    fixture.activator.set_pods(&id("hello-1"), vec![pod("a")]);
    assert_eq!(slot(waiting).pod().as_ref(), "a");
}

#[test]
fn before_a_first_revision_requests_wait_and_go_in_order_once_there_is_one() {
    let (fixture, _) = Fixture::serving();
    fixture.activator.upsert_function(route(None, &["hello-1"]));
    let (first, second) = (fixture.hold(), fixture.hold());
    fixture.activator.set_pods(&id("hello-1"), vec![pod("a")]);
    assert_eq!(fixture.activator.snapshot().functions[0].pending, 2);
    fixture.activator.upsert_function(route(Some("hello-1"), &["hello-1"]));
    drop(slot(first));
    drop(slot(second));
}

#[test]
fn before_a_first_revision_the_wait_ends_with_the_reason() {
    let stalled = Some(Trouble { reason: Reason::ImagePullFailed, detail: "no such image".into() });
    let (fixture, _) = Fixture::serving();
    fixture.activator.upsert_function(route(None, &["hello-1"]));
    let waiting = fixture.hold();
    fixture.activator.upsert_function(FunctionRoute { stalled, ..route(None, &["hello-1"]) });
    let refusal = refusal(waiting);
    assert_eq!((refusal.reason, refusal.function), (Reason::ImagePullFailed, Some(hello())));
    assert_eq!(refusal.revision, None, "there was none that it could have waited for");
    assert_eq!(fixture.refuse().reason, Reason::ImagePullFailed);
}

#[test]
fn a_refusal_names_the_revision_that_would_have_had_the_request() {
    let (fixture, _) = Fixture::serving();
    let trouble = Some(Trouble { reason: Reason::CrashLoop, detail: "exit code 1".into() });
    let waiting = fixture.hold();
    fixture.activator.set_pods(&id("hello-1"), vec![Pod { ready: false, trouble, ..pod("a") }]);
    for refusal in [refusal(waiting), fixture.refuse()] {
        assert_eq!((refusal.reason, refusal.revision), (Reason::CrashLoop, Some(id("hello-1"))));
    }
}

#[test]
fn before_a_first_revision_the_wait_has_an_end_and_the_queue_a_last_place() {
    let (fixture, _) = Fixture::serving();
    let policy = FunctionPolicy { max_requests: 1, activation: ms(5_000), ..FunctionPolicy::default() };
    fixture.activator.upsert_function(FunctionRoute { policy, ..route(None, &["hello-1"]) });
    let waiting = fixture.hold();
    assert_eq!(fixture.refuse().reason, Reason::QueueFull);
    fixture.pass(ms(5_000));
    let refusal = refusal(waiting);
    assert_eq!((refusal.reason, refusal.revision), (Reason::ActivationTimeout, None));
}

#[test]
fn held_requests_follow_the_traffic_to_another_revision() {
    let (fixture, _) = Fixture::serving();
    let (first, second) = (fixture.hold(), fixture.hold());
    fixture.activator.set_pods(&id("hello-2"), vec![pod("b")]);
    fixture.activator.upsert_function(route(Some("hello-2"), &["hello-1", "hello-2"]));
    let first = slot(first);
    assert_eq!(first.revision(), &id("hello-2"));
    drop(second);
    // Its revision loses the traffic while the connection is refused.
    fixture.activator.set_pods(&id("hello-1"), vec![pod("a")]);
    fixture.activator.upsert_function(route(Some("hello-1"), &["hello-1", "hello-2"]));
    let Admission::Held(again) = first.connect_failed() else { panic!("held by the other revision") };
    assert_eq!(slot(again).revision(), &id("hello-1"));
}

#[test]
fn a_deleted_function_fails_what_it_holds_and_its_successor_is_another() {
    let (fixture, _) = Fixture::serving();
    let waiting = fixture.hold();
    let old = fixture.activator.route(Listener::InCluster, "hello.default").expect("found");
    let successor = FunctionRoute { uid: "u2".into(), ..route(Some("hello-1"), &["hello-1"]) };
    fixture.activator.upsert_function(successor);
    assert_eq!(refusal(waiting).reason, Reason::Deleted);
    let Admission::Refused(refused) = old.admit() else { panic!("gone") };
    assert_eq!(refused.reason, Reason::Deleted);
    let waiting = fixture.hold();
    fixture.activator.set_functions(Vec::new());
    assert_eq!(refusal(waiting).reason, Reason::Deleted);
}

#[test]
fn one_namespace_leaves_places_for_the_others() {
    let fixture = Fixture::with(Settings { max_held: 8, ..Settings::new(5, "activator-1") });
    let named = |namespace: &str, name: &str, routed| {
        let name = FunctionName { namespace: namespace.into(), name: name.into() };
        FunctionRoute { uid: Arc::clone(&name.name), name, ..route(routed, &["hello-1"]) }
    };
    fixture.activator.set_functions(vec![
        named("greedy", "one", Some("hello-1")),
        // Not proven yet: its queue is its own.
        named("greedy", "two", None),
        named("modest", "three", Some("hello-1")),
    ]);
    let admit = |host| fixture.activator.route(Listener::InCluster, host).expect("a function").admit();
    let held: Vec<_> = ["one.greedy", "two.greedy"].into_iter().cycle().map(admit).take(6).collect();
    let refused: Vec<_> = held
        .iter()
        .filter_map(|admission| match admission {
            Admission::Refused(refusal) => Some((refusal.reason, &*refusal.detail)),
            _ => None,
        })
        .collect();
    let detail = "4 requests of this namespace are waiting; the last 4 places are for others";
    assert_eq!(refused, [(Reason::ProcessOverloaded, detail); 2]);
    assert_eq!(fixture.activator.held(), 4);
    let other = admit("three.modest");
    assert!(matches!(other, Admission::Held(_)), "{other:?}");
    let one = fixture.activator.route(Listener::InCluster, "one.greedy").expect("a function");
    assert!(matches!(one.admit_again(Some(&id("hello-1"))), Admission::Held(_)), "it had its place before");
}

#[test]
fn the_end_of_the_drain_fails_what_is_held() {
    let (fixture, _) = Fixture::serving();
    fixture.activator.drain();
    assert!(fixture.activator.draining());
    let waiting = fixture.hold();
    fixture.activator.give_up_held();
    assert_eq!(refusal(waiting).reason, Reason::Draining);
}

#[test]
fn a_process_at_rest_is_looked_at_once_a_second() {
    let (fixture, _) = Fixture::serving();
    fixture.activator.set_pods(&id("hello-1"), vec![pod("a")]);
    drop(fixture.dispatch());
    fixture.pass(ms(3_020));
    assert!(fixture.activator.process.take_awake().is_empty());
    assert!(fixture.activator.tick() > ms(900));
}

#[test]
fn many_that_wait_are_not_looked_at_for_each_thing_that_happens() {
    let mut fixture = Fixture::new();
    let connection = fixture.activator.leader_connected();
    fixture.welcome(connection, Vec::new());
    let _waiting = fixture.hold_a_thousand();
    fixture.activator.tick();
    fixture.commands();
    let wakes = |fixture: &mut Fixture| {
        let wait = fixture.activator.tick();
        let frames = fixture.frames();
        (frames.iter().filter(|frame| matches!(frame, ActivatorFrame::Wake { .. })).count(), wait)
    };
    // Each is to be told of after 2 ms.
    fixture.clock.advance(ms(3));
    assert_eq!(wakes(&mut fixture), (0, ms(5)), "it rests");
    fixture.clock.advance(ms(5));
    assert_eq!(wakes(&mut fixture).0, 1_000, "all at once");
}

#[test]
fn without_a_leader_each_answer_is_followed_by_the_next_question() {
    let mut fixture = Fixture::new();
    let _waiting = fixture.hold_a_thousand();
    let reads = |fixture: &mut Fixture| -> Vec<_> {
        let commands = fixture.commands().into_iter();
        let reads = commands.filter_map(|command| match command {
            Command::ReadScale { revision, attempt } => Some((revision, attempt)),
            _ => None,
        });
        reads.collect()
    };
    fixture.pass(ms(5_000));
    let asked = reads(&mut fixture);
    assert_eq!(asked.len(), Settings::new(1, "activator-1").max_wakes, "as many as may be under way");
    for (revision, attempt) in asked {
        fixture.activator.scale_read(&revision, attempt, Err(ScaleError::NotFound));
        fixture.activator.tick();
        assert_eq!(reads(&mut fixture).len(), 1, "at the same moment");
    }
}

#[test]
fn revisions_that_nobody_claims_are_forgotten_when_empty() {
    let (fixture, _) = Fixture::serving();
    fixture.activator.set_pods(&id("hello-9"), vec![pod("a")]);
    fixture.pass(ms(61_000));
    assert_eq!(fixture.activator.snapshot().revisions.len(), 2);
    fixture.activator.set_pods(&id("hello-9"), Vec::new());
    fixture.pass(ms(61_000));
    assert_eq!(fixture.activator.snapshot().revisions.len(), 1);
}

#[test]
fn threads_share_a_limited_revision_without_losing_anybody() {
    let (fixture, _) = Fixture::serving();
    let wide = FunctionPolicy { max_requests: 10_000, ..FunctionPolicy::default() };
    fixture.activator.upsert_function(FunctionRoute { policy: wide, ..route(Some("hello-1"), &["hello-1"]) });
    let pods = (0..4).map(|number| pod(&number.to_string())).collect();
    fixture.activator.set_pods(&id("hello-1"), pods);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let function = fixture.activator.route(Listener::InCluster, "hello.default").expect("found");
            scope.spawn(move || {
                for number in 0..2_000 {
                    match function.admit() {
                        Admission::Dispatch(slot) => drop(slot),
                        // Every few of them leave; the others wait for their turn.
                        Admission::Held(waiting) if (number + thread) % 3 == 0 => drop(waiting),
                        Admission::Held(waiting) => {
                            drop(futures::executor::block_on(waiting).expect("a slot in the end"));
                        }
                        Admission::Refused(refusal) => panic!("{refusal:?}"),
                    }
                }
            });
        }
    });
    let state = &fixture.activator.snapshot().revisions[0];
    assert_eq!((state.held, state.in_flight, state.measured), (0, 0, 0));
    assert_eq!(state.arrivals, 8_000);
}
