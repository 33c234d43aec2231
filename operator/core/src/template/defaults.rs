//! What holds where nobody says otherwise: nothing that Kubernetes refuses beside what the user does say.

use catnap_crds::{FunctionSpec, Protocol, names};
use serde_json::{Value, json};

/// Seconds between SIGTERM and SIGKILL when nobody says it.
const GRACE_SECONDS: i64 = 60;

/// The weakest layer, below `users`, which is `spec.podTemplate`; `restricted`: the namespace enforces Pod Security
/// `restricted`.
pub(super) fn defaults(spec: &FunctionSpec, users: &Value, restricted: bool) -> Value {
    let mut container = json!({"name": names::CONTAINER, "readinessProbe": readiness_probe(spec)});
    let mut pod = json!({
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS + names::LAME_DUCK_SECONDS,
    });
    if has_time_to_sleep(spec, users) {
        // A deleted pod answers for this long, until everybody who sends it requests has heard of it.
        container["lifecycle"] = json!({"preStop": {"sleep": {"seconds": names::LAME_DUCK_SECONDS}}});
    }
    let windows = users.pointer("/spec/os/name").is_some_and(|os| os == "windows");
    if !windows {
        pod["securityContext"] = json!({"seccompProfile": {"type": "RuntimeDefault"}});
        if !escalates(users) {
            container["securityContext"] = json!({"allowPrivilegeEscalation": false});
        }
    }
    if restricted {
        pod["securityContext"]["runAsNonRoot"] = json!(true);
        if !windows {
            container["securityContext"]["capabilities"] = json!({"drop": ["ALL"]});
        }
    }
    let said = |field: &str| users.pointer(&format!("/spec/{field}")).is_some_and(|it| !it.is_null());
    // Who names an account wants what it may do.
    if !said("serviceAccountName") && !said("serviceAccount") {
        pod["automountServiceAccountToken"] = json!(false);
    }
    pod["containers"] = json!([container]);
    json!({"spec": pod})
}

/// Whether the sleep before the end fits into the grace period: one that is longer is refused.
fn has_time_to_sleep(spec: &FunctionSpec, users: &Value) -> bool {
    // The spec's own field comes before podTemplate's, with the time to sleep added.
    let grace = users.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    spec.termination_grace_period_seconds.is_some()
        || grace.is_none_or(|seconds| seconds >= names::LAME_DUCK_SECONDS)
}

/// Whether the function's container is given what `allowPrivilegeEscalation: false` is refused beside.
fn escalates(users: &Value) -> bool {
    let containers = users.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
    let mut contexts = containers
        .filter(|container| container["name"] == names::CONTAINER)
        .filter_map(|container| container.get("securityContext"));
    contexts.any(|context| {
        let mut added = context.pointer("/capabilities/add").and_then(Value::as_array).into_iter().flatten();
        context["privileged"] == true || added.any(|capability| capability == "CAP_SYS_ADMIN")
    })
}

fn readiness_probe(spec: &FunctionSpec) -> Value {
    let mut probe =
        json!({"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 3, "successThreshold": 1});
    let (path, port) = (spec.readiness_path(), spec.port());
    // kubelet speaks HTTP/1.1 only: for H2C it looks at the port, and the activator asks for the path.
    if path.is_empty() || spec.protocol() != Protocol::Http1 {
        probe["tcpSocket"] = json!({"port": port});
    } else {
        probe["httpGet"] = json!({"path": path, "port": port});
    }
    probe
}
