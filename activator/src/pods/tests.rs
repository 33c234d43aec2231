//! Which pods are a revision's own, and what their status becomes.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

/// A running, ready pod of `hello-1`, with `patch` merged over it.
fn pod(patch: &Value) -> PodObject {
    let mut pod = json!({
        "metadata": {
            "name": "hello-1-6f-abcde", "namespace": "default", "uid": "pod-uid",
            "labels": {
                "catnap.dev/function": "hello", "catnap.dev/revision": "hello-1", "catnap.dev/function-uid": "function-uid"
            },
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "hello-1-6f", "uid": "rs", "controller": true}
            ],
        },
        "status": {
            "phase": "Running", "podIP": "10.0.0.9",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{
                "name": "function", "ready": true, "restartCount": 0, "image": "i", "imageID": "i",
                "state": {"running": {}},
            }],
        },
    });
    merge(&mut pod, patch);
    serde_json::from_value(pod).unwrap()
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let (Value::Object(target), Value::Object(patch)) = (&mut *target, patch) else {
        *target = patch.clone();
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

fn trim(patch: &Value) -> FunctionPod {
    FunctionPod::trim(pod(patch)).unwrap()
}

fn on_port(port: u16) -> Reach {
    Reach { port, requires_ready: false }
}

fn revision() -> RevisionId {
    RevisionId { namespace: "default".into(), name: "hello-1".into(), function_uid: "function-uid".into() }
}

#[test]
fn a_ready_pod_is_reached_at_its_address_and_the_revisions_port() {
    let trimmed = trim(&json!({}));
    assert_eq!(trimmed.revision, Some(revision()));
    let expected = Pod {
        uid: "pod-uid".into(),
        address: Some("10.0.0.9:8080".parse().unwrap()),
        started: true,
        ready: true,
        requires_ready: false,
        terminating: false,
        trouble: None,
    };
    assert_eq!(trimmed.reached(on_port(8080)), expected);
}

#[rstest]
#[case(json!({}), false)]
#[case(json!({"spec": {"containers": [{"name": "function"}, {"name": "log"}]}}), false)]
#[case(json!({"spec": {"containers": [{"name": "function"}, {"name": "linkerd-proxy"}]}}), true)]
#[case(json!({"spec": {"containers": [], "initContainers": [{"name": "istio-proxy", "restartPolicy": "Always"}]}}), true)]
fn a_pod_with_a_meshs_proxy_must_be_ready(#[case] patch: Value, #[case] must: bool) {
    assert_eq!(trim(&patch).reached(on_port(80)).requires_ready, must);
    let asked_for = Reach { port: 80, requires_ready: true };
    assert!(trim(&patch).reached(asked_for).requires_ready, "the revision says so");
}

#[test]
fn a_pod_that_anybody_could_have_made_belongs_to_no_revision() {
    assert_eq!(trim(&json!({"metadata": {"ownerReferences": null}})).revision, None);
}

#[rstest]
#[case(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}))]
#[case(json!({"status": {"phase": "Failed"}}))]
#[case(json!({"status": {"phase": "Succeeded"}}))]
fn a_pod_on_its_way_out_takes_no_request(#[case] patch: Value) {
    assert!(trim(&patch).reached(on_port(80)).terminating);
}

fn waiting(reason: &str) -> Value {
    json!({"status": {
        "phase": "Pending",
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{
            "name": "function", "ready": false, "restartCount": 0, "image": "i", "imageID": "",
            "state": {"waiting": {"reason": reason, "message": "told by kubelet"}},
        }],
    }})
}

#[rstest]
#[case("ErrImagePull", Some(Reason::ImagePullFailed))]
#[case("ImagePullBackOff", Some(Reason::ImagePullFailed))]
#[case("InvalidImageName", Some(Reason::ImagePullFailed))]
#[case("ErrImageNeverPull", Some(Reason::ImagePullFailed))]
#[case("CrashLoopBackOff", Some(Reason::CrashLoop))]
#[case("ContainerCreating", None)]
#[case("PodInitializing", None)]
fn what_kubelet_says_becomes_a_reason(#[case] waiting_reason: &str, #[case] expected: Option<Reason>) {
    let pod = trim(&waiting(waiting_reason)).reached(on_port(80));
    let expected = expected.map(|reason| Trouble { reason, detail: "told by kubelet".into() });
    assert_eq!(pod.trouble, expected);
    assert!(!pod.started && !pod.ready);
}

#[test]
fn a_pod_without_a_node_is_unschedulable() {
    let pod = trim(&json!({"status": {
        "phase": "Pending", "podIP": null, "containerStatuses": null,
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room"}],
    }}))
    .reached(on_port(80));
    assert_eq!(pod.trouble, Some(Trouble { reason: Reason::Unschedulable, detail: "no room".into() }));
    assert_eq!(pod.address, None);
}
