//! What a scrape shows after requests of every kind, and after their revision or Function is gone.

use std::time::{Duration, Instant};

use catnap_activator_core::{
    Destination, FunctionName, FunctionRoute, Listener, ManualClock, Phases, RevisionRoute, Settings,
};
use catnap_wire::RevisionId;
use catnap_wire::message::{LeaderFrame, Term, Welcome};
use prometheus_client::encoding::text::encode;

use super::*;

struct Bed {
    clock: Arc<ManualClock>,
    activator: Arc<Activator>,
    registry: Registry,
    metrics: Arc<Metrics>,
}

fn name() -> FunctionName {
    FunctionName { namespace: "default".into(), name: "hello".into() }
}

impl Bed {
    fn new() -> Self {
        let clock = Arc::<ManualClock>::default();
        let (activator, _commands) = Activator::new(Settings::new(1, "own"), Arc::clone(&clock) as _);
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, &activator);
        let bed = Self { clock, activator, registry, metrics };
        bed.revision("hello-1");
        bed
    }

    /// The function has this revision alone now.
    fn revision(&self, revision: &str) {
        self.revision_of(revision, "uid");
    }

    fn revision_of(&self, revision: &str, uid: &str) {
        let revision = RevisionRoute { concurrency_limit: 3, ..RevisionRoute::new(revision.into()) };
        self.activator.upsert_function(FunctionRoute::of_one(name(), uid.into(), revision));
    }

    fn destination(&self) -> Destination {
        self.activator.route(Listener::InCluster, "hello.default").unwrap()
    }

    fn function(&self) -> Arc<Function> {
        Arc::clone(self.destination().function())
    }

    fn scrape(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        text
    }

    fn end(&self, revision: Option<&str>, outcome: Outcome, status: u16, phases: Option<Phases>) {
        let held = phases.map(|phases| phases.total());
        self.end_held(revision, outcome, status, phases, held);
    }

    fn end_held(
        &self,
        revision: Option<&str>,
        outcome: Outcome,
        status: u16,
        phases: Option<Phases>,
        held: Option<Duration>,
    ) {
        let function = self.function();
        let revision = revision.map(|name| RevisionId {
            namespace: "default".into(),
            name: name.into(),
            function_uid: "uid".into(),
        });
        self.end_of(Some(&function), revision.as_ref(), outcome, status, phases, held);
    }

    fn end_of(
        &self,
        function: Option<&Function>,
        revision: Option<&RevisionId>,
        outcome: Outcome,
        status: u16,
        phases: Option<Phases>,
        held: Option<Duration>,
    ) {
        self.metrics.began();
        self.metrics.ended(&ended(function, revision, outcome, status, phases, held));
    }

    /// A request of every kind.
    fn everything(&self) {
        let cold = Phases { cold: true, wake: Duration::from_millis(30), ..Phases::default() };
        self.end(Some("hello-1"), Outcome::Answered, 200, Some(cold));
        let held = Some(Duration::from_secs(1));
        self.end_held(None, Outcome::Refused(Reason::ActivationTimeout), 503, None, held);
        self.end_of(None, None, Outcome::Refused(Reason::UnknownHost), 404, None, None);
        self.metrics.looked_at(0, 0.25, false);
        self.metrics.looked_at(1, 1.0, true);
        self.metrics.unparsable(&ended(None, None, Outcome::Refused(Reason::HeadTooLarge), 431, None, None));
        self.metrics.turned_away();
    }
}

fn ended<'record>(
    function: Option<&'record Function>,
    revision: Option<&'record RevisionId>,
    outcome: Outcome,
    status: u16,
    phases: Option<Phases>,
    held: Option<Duration>,
) -> Ended<'record> {
    Ended {
        function,
        revision,
        status: Some(status),
        grpc_status: None,
        outcome,
        duration: Duration::from_millis(20),
        first_byte: Some(Duration::from_millis(10)),
        held,
        phases,
        attempts: 2,
        request_bytes: 3,
        response_bytes: 4,
        details: None,
    }
}

#[test]
fn requests_are_counted_by_revision_code_and_reason_and_cold_starts_by_phase() {
    let bed = Bed::new();
    bed.everything();
    bed.metrics.began();
    let text = bed.scrape();
    let of = |revision: &str| format!(r#"namespace="default",function="hello",revision="{revision}""#);
    let (first, none) = (of("hello-1"), of(""));
    for line in [
        format!(r#"requests_total{{{first},code="2xx",reason=""}} 1"#),
        format!(r#"requests_total{{{none},code="5xx",reason="ActivationTimeout"}} 1"#),
        r#"unrouted_requests_total{reason="UnknownHost"} 1"#.to_owned(),
        r#"unparsable_requests_total{reason="HeadTooLarge"} 1"#.to_owned(),
        "turned_away_connections_total 1".to_owned(),
        format!("retries_total{{{first}}} 1"),
        format!("request_body_bytes_total{{{first}}} 3"),
        format!("response_body_bytes_total{{{first}}} 4"),
        format!(r#"request_duration_seconds_bucket{{le="0.01",{first}}} 0"#),
        format!(r#"request_duration_seconds_bucket{{le="0.025",{first}}} 1"#),
        format!(r#"request_duration_seconds_bucket{{le="+Inf",{first}}} 1"#),
        format!(r#"first_byte_seconds_bucket{{le="0.01",{first}}} 1"#),
        format!("first_byte_seconds_sum{{{first}}} 0.01"),
        format!(r#"cold_start_seconds_sum{{{first},phase="wake"}} 0.03"#),
        format!(r#"cold_start_seconds_count{{{first},phase="ready"}} 1"#),
        format!("queue_seconds_count{{{first}}} 1"),
        format!("pod_capacity{{{first}}} 3"),
        format!("held{{{first}}} 0"),
        format!("in_flight{{{first}}} 0"),
        "active_requests 1".to_owned(),
        "leader_connected 0".to_owned(),
        format!("queue_seconds_sum{{{none}}} 1.0"),
        format!("queue_seconds_count{{{none}}} 1"),
        r#"worker_busy_ratio{worker="0"} 0.25"#.to_owned(),
        r#"worker_refuses{worker="1"} 1"#.to_owned(),
        "log_dropped_total 0".to_owned(),
    ] {
        assert!(text.contains(&format!("\ncatnap_activator_{line}\n")), "{line}\n{text}");
    }
    let cold = |phase| format!("cold_start_seconds_count{{{none},phase=\"{phase}\"}}");
    assert!(!text.contains(&cold("wake")), "what had no pod has no phases");
}

#[test]
fn the_last_cold_starts_are_kept_and_nothing_of_other_requests() {
    let bed = Bed::new();
    bed.end(Some("hello-1"), Outcome::Answered, 200, None);
    let queued = Phases { queue: Duration::from_millis(5), ..Phases::default() };
    bed.end(Some("hello-1"), Outcome::Answered, 200, Some(queued));
    assert!(bed.metrics.cold_starts.of("uid").is_empty());
    bed.everything();
    let all = bed.metrics.cold_starts.of("uid");
    let [kept] = &all[..] else { panic!("{all:?}") };
    assert_eq!((&*kept.revision, kept.status, kept.reason), ("hello-1", Some(200), ""));
    assert_eq!(kept.phases.wake, Duration::from_millis(30));
    // It came when the request did, not when that ended.
    assert!(kept.began.elapsed() >= Duration::from_millis(20));
}

#[test]
fn buckets_reach_from_a_warm_answer_to_beyond_the_activation_timeout() {
    let bed = Bed::new();
    bed.everything();
    let text = bed.scrape();
    let name = "catnap_activator_request_duration_seconds_bucket";
    let bounds: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with(name) && line.contains(r#"revision="hello-1""#))
        .map(|line| line.split('"').nth(1).unwrap())
        .collect();
    assert_eq!(
        bounds,
        [
            "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0",
            "60.0", "120.0", "+Inf"
        ]
    );
}

/// Every line's name and labels.
fn shown_series(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap().0).collect()
}

#[test]
fn a_function_that_was_made_again_has_its_series_once() {
    let bed = Bed::new();
    // An exchange is open for as long as this is there.
    let old = bed.function();
    let id = |uid: &str| RevisionId {
        namespace: "default".into(),
        name: "hello-1".into(),
        function_uid: uid.into(),
    };
    let pod = |uid: &str| catnap_activator_core::Pod {
        uid: uid.into(),
        address: Some(([127, 0, 0, 1], 1).into()),
        started: true,
        ready: true,
        requires_ready: false,
        terminating: false,
        trouble: None,
    };
    bed.end_of(Some(&old), Some(&id("uid")), Outcome::Answered, 200, None, None);
    // Its pods are still there, too, twice.
    bed.activator.set_pods(&id("uid"), vec![pod("pod-1")]);
    for uid in ["uid-2", "uid-3"] {
        bed.revision_of("hello-1", uid);
        bed.activator.set_pods(&id(uid), vec![pod(uid)]);
    }
    bed.end_of(Some(&bed.function()), Some(&id("uid-3")), Outcome::Answered, 200, None, None);
    bed.end_of(Some(&old), Some(&id("uid")), Outcome::Answered, 200, None, None);
    let text = bed.scrape();
    let mut shown = shown_series(&text);
    let all = shown.len();
    shown.sort_unstable();
    shown.dedup();
    assert_eq!(shown.len(), all, "{text}");
    let of =
        r#"requests_total{namespace="default",function="hello",revision="hello-1",code="2xx",reason=""}"#;
    assert!(text.contains(&format!("{of} 1\n")), "those of the Function there is: {text}");
}

#[test]
fn gauges_tell_what_is_so_now_and_those_without_an_owner_are_taken_together() {
    let bed = Bed::new();
    let id = |name: &str, uid: &str| RevisionId {
        namespace: "default".into(),
        name: name.into(),
        function_uid: uid.into(),
    };
    let pod = |uid: &str, ready: bool| catnap_activator_core::Pod {
        uid: uid.into(),
        address: Some(([127, 0, 0, 1], 1).into()),
        started: ready,
        ready,
        requires_ready: false,
        terminating: false,
        trouble: None,
    };
    // Functions of this name that are gone, whose pods are not.
    for (uid, pods) in [("uid-a", vec![pod("a", true)]), ("uid-b", vec![pod("b", true), pod("c", true)])] {
        bed.revision_of("old-1", uid);
        bed.activator.set_pods(&id("old-1", uid), pods);
    }
    bed.revision("hello-1");
    bed.activator.set_pods(&id("hello-1", "uid"), vec![pod("d", true), pod("e", false)]);
    // A stream's welcome opens what nobody has spoken of.
    let stream = bed.activator.leader_connected();
    let welcome = Welcome { term: Term::default(), closed: vec![], more: false };
    bed.activator.leader_frame(stream, LeaderFrame::Welcome(welcome));
    let _requests: Vec<_> = (0..5).map(|_| bed.destination().admit()).collect();
    let new = FunctionName { namespace: "default".into(), name: "new".into() };
    bed.activator.upsert_function(FunctionRoute::new(new, "uid-new".into()));
    let new = bed.activator.route(Listener::InCluster, "new.default").unwrap();
    let _unproven = [new.admit(), new.admit()];
    bed.metrics.losses.lines.store(5, Relaxed);
    bed.metrics.losses.traces.store(6, Relaxed);
    let text = bed.scrape();
    let of = |function: &str, revision: &str| {
        format!(r#"{{namespace="default",function="{function}",revision="{revision}"}}"#)
    };
    let (own, ownerless) = (of("hello", "hello-1"), of("", "old-1"));
    for line in [
        format!("in_flight{own} 3"),
        format!("held{own} 2"),
        format!("usable_pods{own} 1"),
        format!("usable_pods{ownerless} 3"),
        format!("pod_capacity{ownerless} 3"),
        r#"held_unproven{namespace="default",function="new"} 2"#.to_owned(),
        "leader_connected 1".to_owned(),
        "functions 2".to_owned(),
        "access_log_dropped_total 5".to_owned(),
        "traces_dropped_total 6".to_owned(),
    ] {
        assert!(text.contains(&format!("\ncatnap_activator_{line}\n")), "{line}\n{text}");
    }
    assert!(!text.contains(r#"held_unproven{namespace="default",function="hello""#), "{text}");
}

#[test]
fn the_metrics_page_is_fresh() {
    let bed = Bed::new();
    bed.everything();
    // A function that was never ready has its own queue.
    let new = FunctionName { namespace: "default".into(), name: "new".into() };
    bed.activator.upsert_function(FunctionRoute::new(new, "uid-new".into()));
    let new = bed.activator.route(Listener::InCluster, "new.default").unwrap();
    let _held = new.admit();
    catnap_testkit::metrics_page::check("catnap-activator", &bed.scrape()).unwrap();
}

#[test]
fn a_revision_that_is_gone_is_shown_until_all_have_seen_it() {
    let bed = Bed::new();
    bed.end(Some("hello-1"), Outcome::Answered, 200, None);
    bed.revision("hello-2");
    bed.end(Some("hello-1"), Outcome::Answered, 200, None);
    bed.end(Some("hello-2"), Outcome::Answered, 200, None);
    bed.end(None, Outcome::ClientLeft, 503, None);
    bed.scrape();
    // Now the core forgets a revision that no Function has.
    bed.clock.advance(Duration::from_secs(61));
    bed.activator.tick();
    let shown = |revision: &str| {
        format!(r#"requests_total{{namespace="default",function="hello",revision="{revision}""#)
    };
    let last = bed.scrape();
    assert!(last.contains(&format!(r#"{},code="2xx",reason=""}} 2"#, shown("hello-1"))), "{last}");
    assert!(bed.scrape().contains(&shown("hello-1")), "another Prometheus may come later");
    // The next one comes much later.
    let functions = bed.metrics.functions.lock().unwrap().clone();
    for function in functions.iter().filter_map(Weak::upgrade) {
        function.retain(Instant::now() + series::SHOWN_GONE, |name| name != "hello-1");
    }
    let after = bed.scrape();
    assert!(!after.contains("hello-1"), "{after}");
    assert!(after.contains(&shown("hello-2")), "{after}");
    assert!(after.contains(&shown("")), "{after}");
}

#[test]
fn a_function_that_is_gone_leaves_no_series() {
    let bed = Bed::new();
    bed.everything();
    assert!(bed.scrape().contains("requests_total{namespace=\"default\""));
    bed.activator.remove_function(&name());
    let text = bed.scrape();
    assert!(!text.contains("requests_total{namespace"), "{text}");
    assert!(!text.contains("cold_start_seconds_sum{"), "{text}");
}

#[test]
fn functions_that_are_gone_are_forgotten_where_nobody_scrapes() {
    let bed = Bed::new();
    for number in 0..1_000 {
        bed.revision_of("hello-1", &format!("uid-{number}"));
        bed.end(Some("hello-1"), Outcome::Answered, 200, None);
    }
    let known = bed.metrics.functions.lock().unwrap().len();
    assert!(known < 100, "{known}");
}

#[test]
fn many_threads_count_every_request_once() {
    let bed = Bed::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| bed.end(Some("hello-1"), Outcome::Answered, 200, None)));
        }
    });
    let text = bed.scrape();
    assert!(text.contains(r#"code="2xx",reason=""} 2000"#), "{text}");
    assert!(text.contains(
        r#"request_duration_seconds_count{namespace="default",function="hello",revision="hello-1"} 2000"#
    ));
}

#[test]
fn what_is_counted_adds_up_to_the_outcomes_of_each_revision() {
    let bed = Bed::new();
    let id = |name: &str, uid: &str| RevisionId {
        namespace: "default".into(),
        name: name.into(),
        function_uid: uid.into(),
    };
    for (revision, outcome, status) in [
        (Some("hello-1"), Outcome::Answered, 200),
        (Some("hello-1"), Outcome::Answered, 404),
        (Some("hello-1"), Outcome::ClientLeft, 200),
        (Some("hello-2"), Outcome::Answered, 200),
        (Some("hello-2"), Outcome::Answered, 500),
        (Some("hello-2"), Outcome::BrokenOff, 200),
        (Some("hello-2"), Outcome::TimedOut(Reason::RequestTimeout), 200),
        (Some("hello-2"), Outcome::Refused(Reason::UpstreamReset), 502),
        (Some("hello-2"), Outcome::Refused(Reason::QueueFull), 503),
        (None, Outcome::Refused(Reason::ActivationTimeout), 503),
    ] {
        bed.end(revision, outcome, status, None);
    }
    let function = bed.function();
    // Calls whose head says 200.
    for grpc_status in [0, 5, 13, 14] {
        bed.metrics
            .ended(&Ended { grpc_status: Some(grpc_status), ..answered(&function, &id("hello-3", "uid")) });
    }
    let revisions = ["hello-2", "hello-1", "hello-3", "hello-4"]
        .map(|name| id(name, "uid"))
        .into_iter()
        .chain([id("hello-1", "other")]);
    let tallies = bed.metrics.tallies(&revisions.collect::<Vec<_>>());
    let expected = [(5, 4), (2, 0), (4, 2), (0, 0), (0, 0)].map(|(ended, errors)| Tally { ended, errors });
    assert_eq!(tallies, expected);
}

fn answered<'a>(function: &'a Function, revision: &'a RevisionId) -> Ended<'a> {
    Ended {
        function: Some(function),
        revision: Some(revision),
        status: Some(200),
        grpc_status: None,
        outcome: Outcome::Answered,
        duration: Duration::from_millis(20),
        first_byte: Some(Duration::from_millis(10)),
        held: None,
        phases: None,
        attempts: 1,
        request_bytes: 3,
        response_bytes: 4,
        details: None,
    }
}
