//! What in `spec.podTemplate` cannot be meant, because Catnap says otherwise and must: it is refused rather than overruled
//! without a word.

use std::collections::BTreeMap;

use catnap_crds::{FunctionSpec, names};
use serde_json::Value;

use super::{is_main_port, is_tcp, port_name};

/// Objects and lists inside each other that may be in `podTemplate`: three times what Kubernetes has in it, and fewer than are
/// read of a Function.
const MOST_LEVELS: usize = 32;

/// The first contradiction, in words for a person; `labels` are those of the revision's pods.
pub(super) fn contradiction(
    users: &Value,
    spec: &FunctionSpec,
    labels: &BTreeMap<String, String>,
) -> Option<String> {
    depth(users).or_else(|| label(users, labels)).or_else(|| port(users, spec))
}

fn depth(users: &Value) -> Option<String> {
    let words = || format!("podTemplate must have at most {MOST_LEVELS} objects and lists inside each other");
    is_deeper(users, MOST_LEVELS).then(words)
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    let inner = |value: &Value| levels.checked_sub(1).is_none_or(|levels| is_deeper(value, levels));
    match value {
        Value::Object(fields) => fields.values().any(inner),
        Value::Array(items) => items.iter().any(inner),
        _ => false,
    }
}

fn label(users: &Value, ours: &BTreeMap<String, String>) -> Option<String> {
    let theirs = users.pointer("/metadata/labels")?.as_object()?;
    let (name, value) =
        ours.iter().find(|(name, value)| theirs.get(*name).is_some_and(|other| other != *value))?;
    Some(format!("podTemplate.metadata.labels: {name} is Catnap's own, and {value} here; leave it out"))
}

fn port(users: &Value, spec: &FunctionSpec) -> Option<String> {
    let containers = users.pointer("/spec/containers")?.as_array()?;
    let container = containers.iter().find(|container| container["name"] == names::CONTAINER)?;
    let ports = container.get("ports")?.as_array()?;
    let (main, name) = (spec.port(), port_name(spec.protocol()));
    let path = format!("podTemplate.spec.containers[{}].ports", names::CONTAINER);
    let has_name = |port: &&Value| port.get("name").is_some_and(|name| !name.is_null());
    if let Some(listed) = ports.iter().find(|port| is_main_port(port, main)) {
        // Under a name of its own there is no second one that ours could clash with.
        if has_name(&listed) {
            return None;
        }
    } else if let Some(other) = ports.iter().find(|port| is_tcp(port) && !has_name(port)) {
        let number = &other["containerPort"];
        return Some(format!(
            "{path}: {number} is not spec.port, {main}, where requests go; set spec.port to {number}, or give that port a name if it is for something else"
        ));
    }
    let taken = ports.iter().find(|port| port["name"] == name && !is_main_port(port, main))?;
    let number = &taken["containerPort"];
    Some(format!(
        "{path}: {number} has the name {name}, which is that of spec.port, {main}; give it another name"
    ))
}
