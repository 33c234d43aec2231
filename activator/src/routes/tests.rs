//! What a Function becomes, as tables of objects in and routes out.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

/// A Function with a routed revision `hello-1`; `status` replaces what the operator said.
fn function(spec: Value, status: Value) -> Function {
    let mut all = json!({"image": "hello"});
    if let (Value::Object(all), Value::Object(spec)) = (&mut all, spec) {
        all.extend(spec);
    }
    let mut object = json!({
        "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
        "metadata": {"name": "hello", "namespace": "default", "uid": "function-uid", "generation": 3},
    });
    object["spec"] = all;
    object["status"] = status;
    serde_json::from_value(object).unwrap()
}

fn proven() -> Value {
    json!({
        "revisions": [
            {"name": "hello-1", "port": 8080, "protocol": "HTTP1", "readinessPath": "", "concurrencyLimit": 0, "state": "Routed"},
        ],
        "traffic": [{"revision": "hello-1", "percent": 100, "latest": true}],
    })
}

fn route(function: Function) -> FunctionRoute {
    match Seen::trim(function) {
        Some(Seen::Route(route)) => route,
        other => panic!("a route expected, not {other:?}"),
    }
}

#[test]
fn a_proven_function_is_routed_with_the_defaults() {
    let expected = FunctionRoute {
        name: FunctionName { namespace: "default".into(), name: "hello".into() },
        uid: "function-uid".into(),
        routed: Some("hello-1".into()),
        revisions: vec![RevisionRoute {
            name: "hello-1".into(),
            port: 8080,
            protocol: Protocol::Http1,
            readiness_path: "".into(),
            concurrency_limit: 0,
        }],
        policy: FunctionPolicy::default(),
        stalled: None,
    };
    assert_eq!(route(function(json!({}), proven())), expected);
}

#[test]
fn settings_come_from_the_live_spec() {
    let spec = json!({
        "scale": {"min": 2, "max": 7, "wake": 1, "target": 5, "window": "30s"},
        "timeouts": {"activation": "1m30s", "firstByte": "5s", "request": "0s", "inactivity": "20s"},
        "queue": {"maxRequests": 12},
    });
    let expected = FunctionPolicy {
        target: 5,
        wake: 2,
        max: 7,
        activation: Duration::from_secs(90),
        max_requests: 12,
        window: Duration::from_secs(30),
        timeouts: Timeouts {
            first_byte: Some(Duration::from_secs(5)),
            request: None,
            inactivity: Some(Duration::from_secs(20)),
        },
    };
    assert_eq!(route(function(spec, proven())).policy, expected);
}

#[test]
fn what_a_revision_fixed_comes_from_its_own_record() {
    let status = json!({
        "revisions": [
            {"name": "hello-1", "port": 80, "protocol": "HTTP1", "state": "Retiring"},
            {"name": "hello-2", "port": 9000, "protocol": "H2C", "readinessPath": "/ok", "concurrencyLimit": 4, "state": "Routed"},
        ],
        "traffic": [{"revision": "hello-2", "percent": 100}],
    });
    let route = route(function(json!({"port": 1, "concurrency": {"limit": 9}}), status));
    assert_eq!(route.routed.as_deref(), Some("hello-2"));
    let expected = RevisionRoute {
        name: "hello-2".into(),
        port: 9000,
        protocol: Protocol::H2c,
        readiness_path: "/ok".into(),
        concurrency_limit: 4,
    };
    assert_eq!(route.revisions[1], expected);
}

fn unproven(conditions: &Value) -> Value {
    json!({
        "revisions": [{"name": "hello-1", "port": 8080, "protocol": "HTTP1", "state": "Proving"}],
        "conditions": conditions,
    })
}

fn stalled_condition(status: &str, reason: &str, generation: i64) -> Value {
    json!([{
        "type": "Stalled", "status": status, "reason": reason, "message": "told by the operator",
        "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
    }])
}

#[rstest]
#[case::nothing_said(json!([]), None)]
#[case::not_stalled(stalled_condition("False", "Proving", 3), None)]
#[case::image(stalled_condition("True", "ImagePullFailed", 3), Some(Reason::ImagePullFailed))]
#[case::crash(stalled_condition("True", "CrashLoop", 3), Some(Reason::CrashLoop))]
#[case::no_reason_of_the_data_path(stalled_condition("True", "ServiceNotOwned", 3), Some(Reason::Stalled))]
#[case::before_the_last_edit(stalled_condition("True", "ImagePullFailed", 2), None)]
fn a_function_that_was_never_proven_is_held_until_it_stalls(
    #[case] conditions: Value,
    #[case] reason: Option<Reason>,
) {
    let route = route(function(json!({}), unproven(&conditions)));
    assert_eq!(route.routed, None);
    let expected = reason.map(|reason| Trouble { reason, detail: "told by the operator".into() });
    assert_eq!(route.stalled, expected);
}

#[test]
fn a_later_revision_that_stalls_does_not_stop_the_one_that_serves() {
    let mut status = proven();
    status["conditions"] = stalled_condition("True", "ImagePullFailed", 3);
    let route = route(function(json!({}), status));
    assert_eq!((route.routed.as_deref(), route.stalled), (Some("hello-1"), None));
}

#[rstest]
#[case::no_status(json!(null))]
#[case::no_traffic(json!({"traffic": []}))]
#[case::no_share(json!({"traffic": [{"revision": "hello-1", "percent": 0}]}))]
#[case::unknown_revision(json!({"traffic": [{"revision": "hello-9", "percent": 100}]}))]
fn without_a_known_routed_revision_nothing_is_routed(#[case] status: Value) {
    assert_eq!(route(function(json!({}), status)).routed, None);
}

#[test]
fn a_function_on_its_way_out_is_no_route() {
    let mut leaving = function(json!({}), proven());
    leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let name = FunctionName { namespace: "default".into(), name: "hello".into() };
    assert_eq!(Seen::trim(leaving), Some(Seen::Deleting(name)));
}
