//! What a scrape shows after requests of every kind, and after their revision or Function is gone.

use std::time::Duration;

use catnap_activator_core::{
    FunctionName, FunctionPolicy, FunctionRoute, Listener, ManualClock, Phases, Protocol, RevisionRoute,
    Settings,
};
use catnap_wire::RevisionId;
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
        self.activator.upsert_function(FunctionRoute {
            name: name(),
            uid: "uid".into(),
            routed: Some(revision.into()),
            revisions: vec![RevisionRoute {
                name: revision.into(),
                port: 8080,
                protocol: Protocol::Http1,
                readiness_path: "".into(),
                concurrency_limit: 3,
            }],
            policy: FunctionPolicy::default(),
            stalled: None,
        });
    }

    fn function(&self) -> Arc<Function> {
        self.activator.route(Listener::InCluster, "hello.default").unwrap()
    }

    fn scrape(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        text
    }

    fn end(&self, revision: Option<&str>, outcome: Outcome, status: u16, phases: Option<Phases>) {
        let function = self.function();
        let revision = revision.map(|name| RevisionId {
            namespace: "default".into(),
            name: name.into(),
            function_uid: "uid".into(),
        });
        self.end_of(Some(&function), revision.as_ref(), outcome, status, phases);
    }

    fn end_of(
        &self,
        function: Option<&Function>,
        revision: Option<&RevisionId>,
        outcome: Outcome,
        status: u16,
        phases: Option<Phases>,
    ) {
        self.metrics.began();
        self.metrics.ended(&Ended {
            function,
            revision,
            status: Some(status),
            outcome,
            duration: Duration::from_millis(20),
            first_byte: Some(Duration::from_millis(10)),
            phases,
            attempts: 2,
            request_bytes: 3,
            response_bytes: 4,
            details: None,
        });
    }

    /// A request of every kind.
    fn everything(&self) {
        let cold = Phases { cold: true, wake: Duration::from_millis(30), ..Phases::default() };
        self.end(Some("hello-1"), Outcome::Answered, 200, Some(cold));
        self.end(None, Outcome::Refused(Reason::ActivationTimeout), 503, None);
        self.end_of(None, None, Outcome::Refused(Reason::UnknownHost), 404, None);
        self.metrics.unparsable(Reason::HeadTooLarge);
        self.metrics.turned_away();
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
    ] {
        assert!(text.contains(&format!("\ncatnap_activator_{line}\n")), "{line}\n{text}");
    }
    assert!(!text.contains(&format!("queue_seconds_count{{{none}}}")), "nobody waited");
}

#[test]
fn the_metrics_page_is_fresh() {
    let bed = Bed::new();
    bed.everything();
    // A function that was never ready has its own queue.
    bed.activator.upsert_function(FunctionRoute {
        name: FunctionName { namespace: "default".into(), name: "new".into() },
        uid: "uid-new".into(),
        routed: None,
        revisions: vec![],
        policy: FunctionPolicy::default(),
        stalled: None,
    });
    let new = bed.activator.route(Listener::InCluster, "new.default").unwrap();
    let _held = new.admit();
    catnap_testkit::metrics_page::check("catnap-activator", &bed.scrape()).unwrap();
}

#[test]
fn a_revision_that_is_gone_is_shown_once_more() {
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
