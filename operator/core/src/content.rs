//! What names a revision: the fields of the spec that form one, exactly as the user wrote them.
//!
//! Nothing of Catnap's own is in it, no default either: an upgrade makes no revision and renames none. Empty values
//! count as absent, so that `env: []` and no `env` are the same content. Only inside `podTemplate` they do not: there
//! `labelSelector: {}` selects everything, and no selector nothing.

use catnap_crds::FunctionSpec;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// How many characters of the digest a revision's name carries.
const DIGEST_CHARACTERS: usize = 10;

/// The field whose content means what Kubernetes says, empty values too.
const RAW: &str = "podTemplate";

const FORMING: [&str; 12] = [
    "args",
    "command",
    "concurrency",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "port",
    "protocol",
    "readiness",
    "resources",
    "terminationGracePeriodSeconds",
];

/// The spec cannot be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("the spec cannot be written as JSON")]
pub struct ContentError {
    #[source]
    source: serde_json::Error,
}

/// SHA-256, in hex, of the canonical JSON of what forms a revision.
pub(crate) fn content_digest(spec: &FunctionSpec) -> Result<String, ContentError> {
    let spec = serde_json::to_value(spec).map_err(|source| ContentError { source })?;
    let mut fields = match spec {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let raw =
        fields.remove(RAW).filter(|raw| !raw.is_null() && raw.as_object().is_none_or(|it| !it.is_empty()));
    fields.retain(|name, _| FORMING.contains(&name.as_str()));
    let mut forming = prune(Value::Object(fields)).unwrap_or_default();
    if let Some(raw) = raw {
        forming[RAW] = raw;
    }
    let mut text = String::new();
    write_canonical(&forming, &mut text);
    let mut digest = String::new();
    for byte in Sha256::digest(text) {
        for digit in [byte >> 4, byte & 15] {
            digest.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    Ok(digest)
}

/// Name of the revision of `function` with that content; `attempt` counts collisions of the short digest, from 0.
pub(crate) fn revision_name(function: &str, digest: &str, attempt: usize) -> String {
    let short = digest.get(..DIGEST_CHARACTERS).unwrap_or(digest);
    if attempt == 0 { format!("{function}-{short}") } else { format!("{function}-{short}-{}", attempt + 1) }
}

fn prune(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then_some(Value::String(text)),
        // An item of a list is there even when it is empty: `args: [""]` is an argument.
        Value::Array(items) => (!items.is_empty())
            .then(|| Value::Array(items.into_iter().map(|item| prune(item).unwrap_or_default()).collect())),
        Value::Object(fields) => {
            let fields: Map<_, _> =
                fields.into_iter().filter_map(|(name, field)| Some((name, prune(field)?))).collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        other => Some(other),
    }
}

/// Keys in order, no blanks. Written out because a map's own order depends on how `serde_json` was built.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (index, (name, field)) in fields.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_canonical(field, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest(spec: Value) -> String {
        content_digest(&serde_json::from_value(spec).unwrap()).unwrap()
    }

    /// A changed value here renames every revision of every user: it may never change.
    #[test]
    fn digests_are_stable_for_ever() {
        let smallest = digest(json!({"image": "example/hello:1"}));
        assert_eq!(revision_name("hello", &smallest, 0), "hello-eca2fb41a6");
        let everything = digest(json!({
            "image": "example/hello:1", "imagePullPolicy": "Always", "command": ["/a"], "args": ["b"],
            "env": [{"name": "A", "value": "1"}], "envFrom": [{"configMapRef": {"name": "c"}}], "port": 9000,
            "protocol": "H2C", "resources": {"limits": {"cpu": "1"}}, "terminationGracePeriodSeconds": 5,
            "readiness": {"path": "/ready"}, "concurrency": {"limit": 3},
        }));
        assert_eq!(revision_name("hello", &everything, 1), "hello-faa9c27486-2");
        let template = digest(json!({
            "image": "example/hello:1",
            "podTemplate": {"metadata": {"labels": {"team": "a"}}, "spec": {"volumes": [{"name": "v", "emptyDir": {}}]}},
        }));
        assert_eq!(revision_name("hello", &template, 0), "hello-9ddaadd9cb");
    }

    #[test]
    fn what_does_not_form_a_revision_changes_nothing() {
        let plain = digest(json!({"image": "a"}));
        for same in [
            json!({"image": "a", "scale": {"min": 2}, "queue": {"maxRequests": 5}, "timeouts": {"activation": "5s"}}),
            json!({"image": "a", "revisionName": "first", "revisionHistoryLimit": 1}),
            json!({"image": "a", "env": [], "command": [], "resources": {"limits": {}}, "imagePullPolicy": ""}),
            json!({"image": "a", "readiness": {"path": ""}}),
            json!({"image": "a", "podTemplate": {}}),
            json!({"image": "a", "podTemplate": null}),
            json!({"image": "a", "http": {"hosts": ["a.example.com"], "visibility": "External"}}),
            json!({"image": "a", "traffic": [{"latest": true, "tag": "next"}], "rollout": {"stepPercent": 10}}),
        ] {
            assert_eq!(digest(same.clone()), plain, "{same}");
        }
    }

    #[test]
    fn what_forms_a_revision_changes_the_digest() {
        let plain = digest(json!({"image": "a"}));
        for other in [
            json!({"image": "b"}),
            json!({"image": "a", "args": [""]}),
            json!({"image": "a", "port": 8080}),
            json!({"image": "a", "protocol": "HTTP1"}),
            json!({"image": "a", "concurrency": {"limit": 0}}),
            json!({"image": "a", "env": [{"name": "A"}]}),
            json!({"image": "a", "podTemplate": {"spec": {}}}),
        ] {
            assert_ne!(digest(other.clone()), plain, "{other}");
        }
    }

    #[test]
    fn an_empty_value_in_the_pod_template_is_not_an_absent_one() {
        let spread = |constraint: Value| {
            digest(
                json!({"image": "a", "podTemplate": {"spec": {"topologySpreadConstraints": [constraint]}}}),
            )
        };
        let all = spread(json!({"maxSkew": 1, "labelSelector": {}}));
        let none = spread(json!({"maxSkew": 1}));
        assert_ne!(all, none);
        assert_eq!(all, spread(json!({"labelSelector": {}, "maxSkew": 1})), "the order of keys says nothing");
        let directory =
            |volume: Value| digest(json!({"image": "a", "podTemplate": {"spec": {"volumes": [volume]}}}));
        assert_ne!(directory(json!({"name": "v", "emptyDir": {}})), directory(json!({"name": "v"})));
    }
}
