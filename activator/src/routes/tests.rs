//! What a Function becomes, as tables of objects in and routes out.

use std::time::Duration;

use catnap_runtime::watch::{Change, follow};
use catnap_testkit::FakeApi;
use futures::StreamExt;
use kube::Api;
use kube::runtime::watcher::Config;
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
        Some(Seen::Route(route)) => *route,
        other => panic!("a route expected, not {other:?}"),
    }
}

fn shares(route: &FunctionRoute) -> Vec<(&str, u32)> {
    route.traffic.iter().map(|share| (&*share.revision, share.percent)).collect()
}

#[test]
fn a_proven_function_is_routed_with_the_defaults() {
    let name = FunctionName { namespace: "default".into(), name: "hello".into() };
    let revision = RevisionRoute::new("hello-1".into());
    let expected = FunctionRoute::of_one(name, "function-uid".into(), revision);
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
        activation: Duration::from_secs(90),
        max_requests: 12,
        window: Duration::from_secs(30),
        timeouts: Timeouts {
            first_byte: Some(Duration::from_secs(5)),
            request: None,
            inactivity: Some(Duration::from_secs(20)),
        },
    };
    let route = route(function(spec, proven()));
    assert_eq!(route.policy, expected);
    assert_eq!((route.revisions[0].wake, route.revisions[0].max), (2, 7));
}

#[test]
fn what_a_revision_fixed_comes_from_its_own_record() {
    let status = json!({
        "revisions": [
            {"name": "hello-1", "port": 80, "protocol": "HTTP1", "state": "Retiring"},
            {"name": "hello-2", "port": 9000, "protocol": "H2C", "readinessPath": "/ok", "concurrencyLimit": 4, "requiresReady": true, "state": "Routed"},
        ],
        "traffic": [{"revision": "hello-2", "percent": 100}],
    });
    let route = route(function(json!({"port": 1, "concurrency": {"limit": 9}}), status));
    assert_eq!(shares(&route), [("hello-2", 100)]);
    let expected = RevisionRoute {
        port: 9000,
        protocol: Protocol::H2c,
        readiness_path: "/ok".into(),
        concurrency_limit: 4,
        requires_ready: true,
        ..RevisionRoute::new("hello-2".into())
    };
    assert_eq!(route.revisions[1], expected);
}

/// Two revisions that share the traffic, one that only its tag leads to, and one on its way out.
fn split() -> Value {
    let revision =
        |name: &str, state: &str| json!({"name": name, "port": 8080, "protocol": "HTTP1", "state": state});
    json!({
        "revisions": [
            revision("hello-1", "Routed"), revision("hello-2", "Routed"), revision("hello-3", "Routed"),
            revision("hello-4", "Retiring"),
        ],
        "traffic": [
            {"revision": "hello-1", "percent": 70}, {"revision": "hello-1", "percent": 5, "tag": "old"},
            {"revision": "hello-2", "percent": 25, "latest": true, "tag": "next"},
            {"revision": "hello-3", "percent": 0, "tag": "try"}, {"revision": "hello-9", "percent": 0, "tag": "gone"},
        ],
    })
}

#[test]
fn the_traffic_is_split_as_the_status_says() {
    let route = route(function(json!({}), split()));
    assert_eq!(shares(&route), [("hello-1", 70), ("hello-1", 5), ("hello-2", 25)]);
    let tags: Vec<_> = route.tags.iter().map(|tag| (&*tag.tag, &*tag.revision)).collect();
    assert_eq!(tags, [("old", "hello-1"), ("next", "hello-2"), ("try", "hello-3")]);
}

#[test]
fn each_revision_wakes_with_its_own_part() {
    let spec = json!({"scale": {"min": 4, "max": 20, "wake": 10}});
    let mut status = split();
    let parts = |status: &Value| -> Vec<_> {
        let route = route(function(spec.clone(), status.clone()));
        route.revisions.iter().map(|revision| (revision.wake, revision.max)).collect()
    };
    assert_eq!(parts(&status), [(8, 15), (3, 5), (1, 1), (10, 20)]);
    // What is about to come is what it must be large enough for.
    status["rollout"] = json!({"from": "hello-1", "to": "hello-2", "percent": 25, "comingPercent": 50, "steppedAt": "2026-01-01T00:00:00Z"});
    assert_eq!(parts(&status)[1], (5, 10));
}

#[test]
fn only_accepted_hosts_are_served() {
    let mut status = proven();
    status["hosts"] = json!([
        {"host": "shop.example.com", "accepted": true},
        {"host": "taken.example.com", "accepted": false, "reason": "HostTaken", "message": "another has it"},
        {"host": "next-hello-default.example.com", "tag": "next", "accepted": true},
        {"host": "*.shop.example.com", "accepted": true},
    ]);
    let mut function = function(json!({"http": {"hosts": ["other.example.com"]}}), status);
    function.metadata.creation_timestamp = serde_json::from_value(json!("1970-01-01T00:01:00Z")).unwrap();
    let route = route(function);
    let hosts: Vec<_> = route.hosts.iter().map(|host| (&*host.host, host.tag.as_deref())).collect();
    let expected = [
        ("shop.example.com", None),
        ("next-hello-default.example.com", Some("next")),
        ("*.shop.example.com", None),
    ];
    assert_eq!((&hosts[..], route.created), (&expected[..], 60));
}

fn unproven(conditions: &Value) -> Value {
    json!({
        "revisions": [{"name": "hello-1", "port": 8080, "protocol": "HTTP1", "state": "Proving"}],
        "conditions": conditions,
    })
}

fn stalled_condition(status: &str, reason: &str, generation: i64) -> Value {
    condition("Stalled", status, reason, generation)
}

fn condition(type_: &str, status: &str, reason: &str, generation: i64) -> Value {
    json!([{
        "type": type_, "status": status, "reason": reason, "message": "told by the operator",
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
#[case::no_room_yet(condition("Reconciling", "True", "Unschedulable", 3), Some(Reason::Unschedulable))]
#[case::no_quota_yet(condition("Reconciling", "True", "QuotaExceeded", 3), Some(Reason::QuotaExceeded))]
#[case::room_before_the_last_edit(condition("Reconciling", "True", "Unschedulable", 2), None)]
#[case::there_is_room_again(condition("Reconciling", "False", "Unschedulable", 3), None)]
#[case::it_only_takes_time(condition("Reconciling", "True", "Proving", 3), None)]
#[case::what_would_end_the_wait(condition("Reconciling", "True", "CrashLoop", 3), None)]
fn a_function_that_was_never_proven_is_held_until_it_stalls(
    #[case] conditions: Value,
    #[case] reason: Option<Reason>,
) {
    let route = route(function(json!({}), unproven(&conditions)));
    assert_eq!(route.traffic, []);
    let expected = reason.map(|reason| Trouble { reason, detail: "told by the operator".into() });
    assert_eq!(route.stalled, expected);
}

#[test]
fn a_later_revision_that_stalls_does_not_stop_the_one_that_serves() {
    let mut status = proven();
    status["conditions"] = stalled_condition("True", "ImagePullFailed", 3);
    let route = route(function(json!({}), status));
    assert_eq!((shares(&route), &route.stalled), (vec![("hello-1", 100)], &None));
}

#[rstest]
#[case::no_status(json!(null))]
#[case::no_traffic(json!({"traffic": []}))]
#[case::no_share(json!({"traffic": [{"revision": "hello-1", "percent": 0}]}))]
#[case::unknown_revision(json!({"traffic": [{"revision": "hello-9", "percent": 100}]}))]
fn without_a_known_routed_revision_nothing_is_routed(#[case] status: Value) {
    assert_eq!(route(function(json!({}), status)).traffic, []);
}

#[test]
fn a_function_on_its_way_out_is_no_route() {
    let mut leaving = function(json!({}), proven());
    leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let name = FunctionName { namespace: "default".into(), name: "hello".into() };
    assert_eq!(Seen::trim(leaving), Some(Seen::Deleting(name)));
}

#[tokio::test(start_paused = true)]
async fn a_function_that_is_nested_too_deep_keeps_none_from_its_route() {
    let api = FakeApi::default();
    for (name, levels) in [("deep", 200), ("hello", 1)] {
        let template = (0..levels).fold(json!(1), |inner, _| json!({"a": inner}));
        let function = json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"image": "example/hello:1", "podTemplate": template}, "status": proven(),
        });
        api.insert_at("/apis/catnap.dev/v1alpha1/namespaces/default/functions", function);
    }
    let changes = follow::<Function, _>(Api::all(api.client()), Config::default(), Seen::trim, || ());
    let first = tokio::time::timeout(Duration::from_secs(60), Box::pin(changes).next()).await;
    let Ok(Some(Change::Listed(seen))) = first else { panic!("{first:?}") };
    let routes: Vec<_> = seen.into_iter().filter_map(Seen::into_route).collect();
    assert_eq!(routes.iter().map(|route| &*route.name.name).collect::<Vec<_>>(), ["deep", "hello"]);
    assert!(routes.iter().all(|route| route.traffic.len() == 1), "{routes:?}");
}

#[test]
fn a_status_that_nobody_has_written_is_as_none() {
    let route = |status: Value| route(function(json!({}), status));
    assert_eq!(route(json!({"observedGeneration": -1, "replicas": 0})), route(Value::Null));
}
