//! What the API server does to an object that is written.

use serde_json::{Map, Value, json};

/// Merges as server-side apply and as a merge patch would, as far as one writer can tell: objects by field, a list as
/// a whole, and a null removes.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (name, field) in patch {
        if field.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), field);
        }
    }
}

/// A `metav1.Status` that says no.
pub(crate) fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
}

/// A field of the metadata, as text.
pub(crate) fn metadata<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get("metadata")?.get(field)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_replaces_lists_and_drops_nulls() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "list": [1, 2]});
        merge(&mut target, &json!({"a": {"b": 3, "c": null}, "list": [9], "new": {"x": true}}));
        assert_eq!(target, json!({"a": {"b": 3}, "list": [9], "new": {"x": true}}));
    }
}
