//! What a scrape shows after requests of every kind, and after their Function is gone.

use std::time::Duration;

use catnap_activator_core::{Phases, Settings, SystemClock};
use catnap_wire::RevisionId;
use prometheus_client::encoding::text::encode;

use super::*;

fn metrics() -> (Registry, Arc<Metrics>) {
    let (activator, _commands) = Activator::new(Settings::new(1, "own"), Arc::new(SystemClock::start()));
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, &activator);
    (registry, metrics)
}

fn scrape(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    text
}

fn name() -> FunctionName {
    FunctionName { namespace: "default".into(), name: "hello".into() }
}

fn end(
    metrics: &Metrics,
    function: Option<&FunctionName>,
    outcome: Outcome,
    status: u16,
    phases: Option<Phases>,
) {
    let revision =
        RevisionId { namespace: "default".into(), name: "hello-1".into(), function_uid: "uid".into() };
    metrics.began();
    metrics.ended(&Ended {
        function,
        revision: function.map(|_| &revision),
        status: Some(status),
        outcome,
        duration: Duration::from_millis(20),
        first_byte: Some(Duration::from_millis(10)),
        phases,
        attempts: 2,
        request_bytes: 3,
        response_bytes: 4,
    });
}

#[test]
fn requests_are_counted_by_code_and_reason_and_cold_starts_by_phase() {
    let (registry, metrics) = metrics();
    let cold = Phases { cold: true, wake: Duration::from_millis(30), ..Phases::default() };
    end(&metrics, Some(&name()), Outcome::Answered, 200, Some(cold));
    end(&metrics, Some(&name()), Outcome::Refused(Reason::ActivationTimeout), 503, None);
    end(&metrics, None, Outcome::Refused(Reason::UnknownHost), 404, None);
    metrics.unparsable(Reason::HeadTooLarge);
    metrics.turned_away();
    let text = scrape(&registry);
    for line in [
        r#"catnap_activator_requests_total{namespace="default",function="hello",revision="hello-1",code="2xx",reason=""} 1"#,
        r#"catnap_activator_requests_total{namespace="default",function="hello",revision="hello-1",code="5xx",reason="ActivationTimeout"} 1"#,
        r#"catnap_activator_unrouted_requests_total{reason="UnknownHost"} 1"#,
        r#"catnap_activator_unparsable_requests_total{reason="HeadTooLarge"} 1"#,
        "catnap_activator_turned_away_connections_total 1",
        r#"catnap_activator_retries_total{namespace="default",function="hello"} 2"#,
        r#"catnap_activator_cold_start_seconds_sum{namespace="default",function="hello",phase="wake"} 0.03"#,
        r#"catnap_activator_queue_seconds_count{namespace="default",function="hello"} 1"#,
        "catnap_activator_active_requests 0",
        "catnap_activator_leader_connected 0",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn a_function_that_is_gone_leaves_no_series() {
    let (registry, metrics) = metrics();
    let cold = Phases { cold: true, ..Phases::default() };
    end(&metrics, Some(&name()), Outcome::Answered, 200, Some(cold));
    metrics.retain(|kept| *kept == name());
    assert!(scrape(&registry).contains("hello"));
    metrics.retain(|_| false);
    assert!(!scrape(&registry).contains("hello"), "{}", scrape(&registry));
}
