//! A cluster in memory with Functions in the states that people meet.

use catnap_testkit::FakeApi;
use serde_json::{Value, json};

/// When everything was made, twelve hours before the time of a fake terminal.
const MADE: &str = "2026-01-01T00:00:00Z";

/// Keeps an object of the namespace `default`.
fn insert(api: &FakeApi, group: &str, plural: &str, object: Value) {
    api.insert_at(&format!("/{group}/namespaces/default/{plural}"), object);
}

/// A Function with this status.
pub(crate) fn function(api: &FakeApi, name: &str, status: &Value) {
    let object = json!({
        "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-of-{name}")},
        "spec": {"image": format!("registry.example/{name}:1")},
        "status": status,
    });
    insert(api, "apis/catnap.dev/v1alpha1", "functions", object);
}

/// A Function whose pod template is nested deeper than JSON is read.
pub(crate) fn too_deep(api: &FakeApi, name: &str) {
    let template = (0..200).fold(json!(1), |inner, _| json!({"a": inner}));
    let object = json!({
        "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-of-{name}")},
        "spec": {"image": format!("registry.example/{name}:1"), "podTemplate": template},
    });
    insert(api, "apis/catnap.dev/v1alpha1", "functions", object);
}

/// A condition that changed when everything was made.
pub(crate) fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": MADE, "observedGeneration": 1})
}

/// The status of a Function whose only revision serves.
pub(crate) fn serving(name: &str, replicas: i32) -> Value {
    let revision = format!("{name}-1");
    json!({
        "observedGeneration": 1, "url": format!("http://{name}.default"), "replicas": replicas,
        "latestCreatedRevision": revision, "latestReadyRevision": revision,
        "revisions": [{"name": revision, "port": 8080, "protocol": "HTTP1", "state": "Routed"}],
        "traffic": [{"revision": revision, "percent": 100, "latest": true}],
        "conditions": [
            condition("Ready", "True", "Ready", ""),
            condition("Stalled", "False", "Progressing", ""),
        ],
    })
}

/// The status of a Function whose only revision cannot be started.
pub(crate) fn stalled(name: &str) -> Value {
    let revision = format!("{name}-1");
    let message = "the image registry.example/shop:1 cannot be pulled: not found";
    json!({
        "observedGeneration": 1, "url": format!("http://{name}.default"), "replicas": 1,
        "latestCreatedRevision": revision,
        "revisions": [{"name": revision, "port": 8080, "protocol": "HTTP1", "state": "Proving"}],
        "conditions": [
            condition("Ready", "False", "ImagePullFailed", message),
            condition("RevisionReady", "False", "ImagePullFailed", message),
            condition("RoutesReady", "Unknown", "Proving", "no revision takes traffic yet"),
            condition("Stalled", "True", "ImagePullFailed", message),
        ],
    })
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    let api_version = if kind == "Function" { "catnap.dev/v1alpha1" } else { "apps/v1" };
    json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true}])
}

fn child(function: &str, name: &str, revision: &str) -> Value {
    json!({
        "name": name, "namespace": "default", "uid": format!("uid-of-{name}"),
        "labels": {"catnap.dev/function": function, "catnap.dev/revision": revision,
            "catnap.dev/function-uid": format!("uid-of-{function}")},
        "ownerReferences": owner("Function", function, &format!("uid-of-{function}")),
    })
}

/// The record of a revision, which is the `number`th.
pub(crate) fn record(api: &FakeApi, function: &str, number: i64) {
    let name = format!("{function}-{number}");
    let image = format!("registry.example/{function}:{number}");
    let object = json!({
        "metadata": child(function, &name, &name), "revision": number,
        "data": {"concurrencyLimit": number - 1, "port": 8080,
            "template": {"spec": {"containers": [{"name": "function", "image": image}]}}},
    });
    insert(api, "apis/apps/v1", "controllerrevisions", object);
}

/// The Deployment of a revision.
pub(crate) fn deployment(api: &FakeApi, function: &str, number: i64, replicas: i32, ready: i32) {
    let name = format!("{function}-{number}");
    let object = json!({
        "metadata": child(function, &name, &name),
        "spec": {"selector": {}, "template": {}},
        "status": {"replicas": replicas, "readyReplicas": ready},
    });
    insert(api, "apis/apps/v1", "deployments", object);
}

/// A pod of a revision whose container is in this state.
pub(crate) fn pod(api: &FakeApi, function: &str, number: i64, name: &str, state: &Value) {
    let revision = format!("{function}-{number}");
    let mut metadata = child(function, name, &revision);
    metadata["ownerReferences"] = owner("ReplicaSet", &format!("{revision}-6f7d"), "uid-of-replica-set");
    let running = state.get("running").is_some();
    let object = json!({
        "metadata": metadata,
        "spec": {"nodeName": "node-1", "containers": [{"name": "function"}]},
        "status": {
            "phase": if running { "Running" } else { "Pending" },
            "conditions": [{"type": "Ready", "status": if running { "True" } else { "False" }}],
            "containerStatuses": [{"name": "function", "ready": running, "restartCount": 0, "image": "",
                "imageID": "", "state": state}],
        },
    });
    insert(api, "api/v1", "pods", object);
}

/// The state of a container that runs.
pub(crate) fn running() -> Value {
    json!({"running": {"startedAt": MADE}})
}

/// An Event about a Function.
pub(crate) fn event(api: &FakeApi, function: &str, at: &str, reason: &str, message: &str) {
    let type_ = if reason.ends_with("Failed") { "Warning" } else { "Normal" };
    let object = json!({
        "metadata": {"name": format!("{function}.{at}"), "namespace": "default"},
        "involvedObject": {"uid": format!("uid-of-{function}")},
        "reason": reason, "message": message, "type": type_, "lastTimestamp": at, "count": 1,
    });
    insert(api, "api/v1", "events", object);
}
