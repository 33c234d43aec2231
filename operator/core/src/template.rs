//! The pod template of a revision, in four layers: Catnap's defaults, over them `spec.podTemplate`, over that the fields
//! of the spec, and over all the identity by which the pods are known and reached.

use catnap_crds::{FunctionSpec, ImagePullPolicy, Protocol, labels, names};
use serde_json::{Map, Value, json};

use crate::{
    Owner, Problem, Reason, Scope,
    merge::{Mismatch, merge},
};

use self::{contradictions::contradiction, defaults::defaults};

mod contradictions;
mod defaults;

/// What a revision's pods are made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rendered {
    /// The pod template, as the API server is to judge it.
    pub(crate) template: Value,
    /// Whether only pods that kubelet calls Ready may take requests: somebody said more than Catnap does about when that is.
    pub(crate) requires_ready: bool,
}

/// The pod template of the revision that `spec` forms; `restricted`: the namespace enforces Pod Security `restricted`.
pub(crate) fn render_template(
    owner: &Owner,
    spec: &FunctionSpec,
    revision: &str,
    restricted: bool,
) -> Result<Rendered, Problem> {
    let mut labels = owner.child_labels(Some(revision));
    labels.insert(labels::FUNCTION_UID.to_owned(), owner.uid.clone());
    let users = spec.pod_template().cloned().unwrap_or_else(|| json!({}));
    if let Some(words) = contradiction(&users, spec, &labels) {
        return Err(invalid(&words));
    }
    let requires_ready = judges_readiness(&users);
    let identity = json!({"metadata": {"labels": labels}});
    let mismatched = |path: &str, expected| invalid(&format!("podTemplate.{path} must be {expected}"));
    let mut template = merge(defaults(spec, &users, restricted), users)
        .map_err(|Mismatch { path, base, .. }| mismatched(&path, base))?;
    for layer in [stated(spec), identity] {
        template = merge(template, layer).map_err(|Mismatch { path, over, .. }| mismatched(&path, over))?;
    }
    if let Some(container) = function_container_mut(&mut template) {
        identify(container, owner, spec, revision);
    }
    Ok(Rendered { template, requires_ready })
}

fn invalid(words: &str) -> Problem {
    Problem::lasting(Reason::InvalidPodTemplate, Scope::Revision, words)
}

/// What the fields of the spec say, and nothing that they leave out.
fn stated(spec: &FunctionSpec) -> Value {
    let mut container = Map::new();
    let mut say = |name: &str, value: Value| container.insert(name.to_owned(), value);
    say("name", json!(names::CONTAINER));
    say("image", json!(spec.image));
    if let Some(policy) = spec.image_pull_policy.filter(|policy| *policy != ImagePullPolicy::Unset) {
        say("imagePullPolicy", json!(policy));
    }
    for (name, list) in [("command", &spec.command), ("args", &spec.args)] {
        if !list.is_empty() {
            say(name, json!(list));
        }
    }
    if !spec.env.is_empty() {
        say("env", json!(spec.env));
    }
    if !spec.env_from.is_empty() {
        say("envFrom", json!(spec.env_from));
    }
    if let Some(resources) = &spec.resources {
        say("resources", json!(resources));
    }
    let mut pod = json!({"containers": [container]});
    if let Some(seconds) = spec.termination_grace_period_seconds {
        // Kubernetes counts the time of a preStop hook inside the grace period.
        pod["terminationGracePeriodSeconds"] = json!(i64::from(seconds) + names::LAME_DUCK_SECONDS);
    }
    json!({"spec": pod})
}

/// What the function's container is told about itself, and where requests go.
fn identify(container: &mut Map<String, Value>, owner: &Owner, spec: &FunctionSpec, revision: &str) {
    let port = spec.port().to_string();
    let ours = [
        ("PORT", port.as_str()),
        ("K_SERVICE", &owner.name),
        ("K_CONFIGURATION", &owner.name),
        ("K_REVISION", revision),
        ("CATNAP_FUNCTION", &owner.name),
        ("CATNAP_NAMESPACE", &owner.namespace),
        ("CATNAP_REVISION", revision),
    ];
    // First, so that the user's own may refer to them as `$(PORT)`.
    let first = ours.iter().map(|(name, value)| json!({"name": name, "value": value}));
    // What is no list is the API server's to refuse.
    if let Value::Array(env) = container.entry("env").or_insert_with(|| json!([])) {
        env.retain(|variable| !ours.iter().any(|(name, _)| variable["name"] == *name));
        env.splice(..0, first);
    }
    let Value::Array(ports) = container.entry("ports").or_insert_with(|| json!([])) else { return };
    let (name, number) = (port_name(spec.protocol()), spec.port());
    if let Some(Value::Object(port)) = ports.iter_mut().find(|port| is_main_port(port, number)) {
        port.insert("protocol".to_owned(), json!("TCP"));
        port.entry("name").or_insert_with(|| json!(name));
    } else {
        ports.insert(0, json!({"name": name, "containerPort": number, "protocol": "TCP"}));
    }
}

/// Whether the user has kubelet judge when a pod is ready: by a probe of any container, or by readiness gates.
fn judges_readiness(users: &Value) -> bool {
    let list = |field: &str| users.pointer(&format!("/spec/{field}")).and_then(Value::as_array);
    let mut containers = ["containers", "initContainers"].into_iter().filter_map(list).flatten();
    let probed = containers.any(|it| {
        ["readinessProbe", "startupProbe"].iter().any(|probe| it.get(probe).is_some_and(Value::is_object))
    });
    probed || list("readinessGates").is_some_and(|gates| !gates.is_empty())
}

/// The name of the port that requests go to.
fn port_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "http1",
        Protocol::H2c => "h2c",
    }
}

/// Whether an item of a container's `ports` is the TCP port `number`.
fn is_main_port(port: &Value, number: i32) -> bool {
    port.get("containerPort").and_then(Value::as_i64) == Some(i64::from(number)) && is_tcp(port)
}

fn is_tcp(port: &Value) -> bool {
    port.get("protocol").is_none_or(|protocol| protocol.is_null() || protocol == "TCP")
}

/// The container that is the function.
fn function_container_mut(template: &mut Value) -> Option<&mut Map<String, Value>> {
    let containers = template.pointer_mut("/spec/containers")?.as_array_mut()?;
    let mut containers = containers.iter_mut().filter_map(Value::as_object_mut);
    containers.find(|container| container.get("name").is_some_and(|name| name == names::CONTAINER))
}

#[cfg(test)]
mod tests;
