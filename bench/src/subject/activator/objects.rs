//! Objects of the API server that an activator reads, with no more in them than it needs.

use serde_json::{Value, json};

use super::Function;
use crate::subject::Wire;

/// Ends of the paths of collections.
pub(super) const FUNCTIONS: &str = "/functions";
pub(super) const PODS: &str = "api/v1/pods";
pub(super) const ACTIVATORS: &str = "/namespaces/catnap-system/pods";
/// Where activators are installed.
pub(super) const NAMESPACE: &str = "catnap-system";
/// Of every pod.
pub(super) const ADDRESS: &str = "127.0.0.1";

/// Host name of a Function.
pub(crate) fn host(function: &str) -> String {
    format!("{function}.default")
}

pub(super) fn function(function: &Function) -> Value {
    let Function { name, pod, wire, limit, queue, .. } = function;
    let protocol = match wire {
        Wire::Http1 => "HTTP1",
        Wire::Http2 => "H2C",
    };
    let revision = format!("{name}-1");
    json!({
        "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
        "metadata": {"name": name, "namespace": "default", "uid": format!("function-{name}"), "generation": 1},
        // Its only pod takes what is held at once: no others are waited for.
        "spec": {"image": "none", "queue": {"maxRequests": queue}, "scale": {"max": 1}},
        "status": {
            "revisions": [{
                "name": revision, "port": pod.port(), "protocol": protocol, "concurrencyLimit": limit, "state": "Routed",
            }],
            "traffic": [{"revision": revision, "percent": 100}],
        },
    })
}

pub(super) fn pod(function: &Function) -> Value {
    let Function { name, pod, .. } = function;
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{name}-1-abc-x"), "namespace": "default", "uid": format!("pod-{name}"),
            "labels": {
                "catnap.dev/function": name, "catnap.dev/revision": format!("{name}-1"),
                "catnap.dev/function-uid": format!("function-{name}"),
            },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{name}-1-abc"),
                "uid": format!("replicas-{name}"), "controller": true,
            }],
        },
        "status": status(&pod.ip().to_string(), "function"),
    })
}

/// The pod of an activator of this name and UID.
pub(super) fn activator(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": name},
        "status": status(ADDRESS, "activator"),
    })
}

fn status(address: &str, container: &str) -> Value {
    json!({
        "phase": "Running", "podIP": address,
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{
            "name": container, "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {}},
        }],
    })
}
