//! Whether an object still says what it should, and which write brings it back.
//!
//! Desired is what Catnap states; the API server adds defaults and rewrites some values, and others may add fields of
//! their own. None of that is a difference, so an object at rest is never written. What a webhook makes of it is one:
//! [`stated_about`] is what to remember it by.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::{Owner, Ownership, quantity::same_amount};

/// Fields that hold quantities, themselves or in what is in them: the API server may write them in another way.
const QUANTITIES: [&str; 4] = ["divisor", "overhead", "resources", "sizeLimit"];
/// Fields that mean something by being there: the API server keeps them, even empty.
const MEANT_EMPTY: [&str; 3] = ["emptyDir", "labelSelector", "namespaceSelector"];

/// What has to be written to bring an object to its desired state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// It says what it should.
    Nothing,
    /// It is not there.
    Create,
    /// It differs. The UID goes along, so that one deleted meanwhile is a conflict.
    Apply {
        /// UID of the existing object.
        uid: String,
    },
    /// It belongs to somebody else.
    Refused(Ownership),
}

/// Compares `desired` with the object of that name, if there is one.
pub fn write_needed(owner: &Owner, desired: &Value, live: Option<(&ObjectMeta, &Value)>) -> Write {
    let Some((metadata, live)) = live else { return Write::Create };
    match owner.ownership(metadata) {
        Ownership::Ours if in_sync(desired, live) => Write::Nothing,
        Ownership::Ours => Write::Apply { uid: metadata.uid.clone().unwrap_or_default() },
        other => Write::Refused(other),
    }
}

/// Whether the existing object says everything that `desired` states. Of the metadata only labels and annotations
/// count: whose it is was asked before, and the rest is the API server's.
pub fn in_sync(desired: &Value, live: &Value) -> bool {
    let empty = Value::Null;
    let metadata =
        |object: &Value, part| object.get("metadata").and_then(|it| it.get(part)).unwrap_or(&empty).clone();
    let meant = ["labels", "annotations"].into_iter().all(|part| {
        let desired = metadata(desired, part);
        is_zero(&desired) || covers(&desired, &metadata(live, part), false)
    });
    let fields = desired.as_object().into_iter().flatten().filter(|(name, _)| *name != "metadata");
    meant
        && fields.into_iter().all(|(name, field)| {
            live.get(name).map_or_else(|| is_zero(field), |live| covers(field, live, false))
        })
}

/// What of an existing object `desired` is about: two that do not differ in it are alike. Replicas are the autoscaler's, and
/// annotations and labels that are not in `desired` anybody's.
pub fn stated_about(desired: &Value, live: &Value) -> Value {
    let part = |object: &Value, part: &str| object.pointer(&format!("/metadata/{part}")).cloned();
    let common = |name: &str| {
        let (desired, live) = (part(desired, name)?, part(live, name)?);
        let desired = desired.as_object()?;
        Some(desired.keys().map(|key| json!([key, live.get(key)])).collect::<Vec<_>>())
    };
    let mut stated = live.clone();
    if let Value::Object(fields) = &mut stated {
        fields.remove("status");
        fields.insert("metadata".to_owned(), json!([common("labels"), common("annotations")]));
        if let Some(Value::Object(spec)) = fields.get_mut("spec") {
            spec.remove("replicas");
        }
    }
    stated
}

fn covers(desired: &Value, live: &Value, amounts: bool) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().all(|(name, field)| {
            let amounts = amounts || QUANTITIES.contains(&name.as_str());
            let absent = || is_zero(field) && !MEANT_EMPTY.contains(&name.as_str());
            live.get(name).map_or_else(absent, |live| covers(field, live, amounts))
        }),
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len()
                && desired.iter().zip(live).all(|(desired, live)| covers(desired, live, amounts))
        }
        (Value::String(desired), Value::String(live)) => {
            desired == live || (amounts && same_amount(desired, live))
        }
        // A quantity may be written as a number, and comes back as a text.
        (Value::Number(desired), Value::String(live)) if amounts => same_amount(&desired.to_string(), live),
        (desired, live) => desired == live,
    }
}

/// The API server leaves out what has Go's zero value.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_zero),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_and_foreign_fields_are_no_difference() {
        let desired = json!({"a": {"b": 1}, "env": [{"name": "A", "value": ""}], "resources": {"limits": {"cpu": "0.5"}}});
        let live = json!({"a": {"b": 1, "c": 2}, "env": [{"name": "A"}], "resources": {"limits": {"cpu": "500m"}}, "more": true});
        assert!(covers(&desired, &live, false));
    }

    #[test]
    fn quantities_are_amounts_wherever_they_are() {
        let pod = |size: Value, divisor: Value, overhead: Value| {
            json!({
                "volumes": [{"name": "v", "emptyDir": {"sizeLimit": size}}], "overhead": {"cpu": overhead},
                "containers": [{"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"divisor": divisor}}}]}],
            })
        };
        let live = pod(json!("1Gi"), json!("1"), json!("500m"));
        assert!(covers(&pod(json!("1024Mi"), json!(1), json!(0.5)), &live, false));
        for other in [
            pod(json!("1025Mi"), json!("1"), json!("500m")),
            pod(json!("1Gi"), json!(2), json!("500m")),
            pod(json!("1Gi"), json!("1"), json!(0.25)),
        ] {
            assert!(!covers(&other, &live, false), "{other}");
        }
        // A text that only looks like an amount.
        assert!(!covers(&json!({"value": "1000"}), &json!({"value": "1e3"}), false));
    }

    #[test]
    fn what_means_something_by_being_there_is_missed() {
        let volume = json!({"name": "v", "emptyDir": {}});
        assert!(covers(&volume, &json!({"name": "v", "emptyDir": {}}), false));
        assert!(!covers(&volume, &json!({"name": "v", "configMap": {"name": "c"}}), false));
        assert!(covers(&json!({"limits": {}, "nodeSelector": {}}), &json!({}), false));
    }

    #[test]
    fn what_is_nobodys_business_is_not_part_of_what_is_stated_about() {
        let desired = json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "spec": {"a": 1}});
        let live = json!({
            "metadata": {"name": "a", "resourceVersion": "7", "labels": {"l": "1", "m": "2"}, "annotations": {"x": "y"}},
            "spec": {"a": 1, "replicas": 3, "more": 1}, "status": {"replicas": 3},
        });
        let stated = stated_about(&desired, &live);
        for change in [
            json!({"metadata": {"resourceVersion": "8"}}),
            json!({"metadata": {"labels": {"m": "3"}}}),
            json!({"metadata": {"annotations": {"x": "z"}}}),
            json!({"spec": {"replicas": 0}}),
            json!({"status": {"replicas": 0}}),
        ] {
            let changed = crate::merge::merge(live.clone(), change.clone()).unwrap();
            assert_eq!(stated_about(&desired, &changed), stated, "{change}");
        }
        for change in [json!({"metadata": {"labels": {"l": "2"}}}), json!({"spec": {"more": 2}})] {
            let changed = crate::merge::merge(live.clone(), change.clone()).unwrap();
            assert_ne!(stated_about(&desired, &changed), stated, "{change}");
        }
    }

    #[test]
    fn labels_count_and_other_metadata_does_not() {
        let desired =
            json!({"metadata": {"name": "a", "labels": {"l": "1"}, "ownerReferences": [1]}, "spec": {}});
        assert!(in_sync(
            &desired,
            &json!({"metadata": {"labels": {"l": "1", "m": "2"}, "ownerReferences": [1, 2]}, "spec": {}})
        ));
        assert!(!in_sync(&desired, &json!({"metadata": {"labels": {"m": "2"}}, "spec": {}})));
        assert!(!in_sync(&desired, &json!({"metadata": {}, "spec": {}})));
    }

    #[test]
    fn what_was_changed_removed_or_added_to_a_list_is() {
        let desired = json!({"a": {"b": 1}, "list": ["x"], "amount": "0.5"});
        for live in [
            json!({"a": {"b": 2}, "list": ["x"], "amount": "0.5"}),
            json!({"a": {}, "list": ["x"], "amount": "0.5"}),
            json!({"a": {"b": 1}, "list": ["x", "y"], "amount": "0.5"}),
            json!({"a": {"b": 1}, "list": ["x"], "amount": "500m"}),
        ] {
            assert!(!covers(&desired, &live, false), "{live}");
        }
    }
}
