//! Whether an object still says what it should, and which write brings it back.
//!
//! Desired is what Catnap states; the API server adds defaults and rewrites some values, and others may add fields of
//! their own, and items of lists that have keys, as a server-side apply leaves them too. None of that is a difference, so an object
//! at rest is never written. Whatever else a webhook makes of it is one: [`stated_about`] is what to remember it by.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::{
    Owner, Ownership,
    keyed::{Keyed, below, known_as},
    quantity::same_amount,
};

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

/// Whether the existing object says everything that `desired` states.
pub fn in_sync(desired: &Value, live: &Value) -> bool {
    difference(desired, live).is_none()
}

/// Where the existing object first says something else than `desired` states, such as `spec.template.spec.tolerations`. Of the
/// metadata only labels and annotations count: whose it is was asked before, and the rest is the API server's.
pub fn difference(desired: &Value, live: &Value) -> Option<String> {
    let empty = Value::Null;
    let metadata =
        |object: &Value, part| object.get("metadata").and_then(|it| it.get(part)).unwrap_or(&empty).clone();
    let meant = ["labels", "annotations"].into_iter().find_map(|part| {
        let desired = metadata(desired, part);
        let path = differs(part, &desired, &metadata(live, part), false).filter(|_| !is_zero(&desired))?;
        Some(below("metadata", &below(part, &path)))
    });
    let fields = desired.as_object().into_iter().flatten().filter(|(name, _)| *name != "metadata");
    meant.or_else(|| {
        fields.into_iter().find_map(|(name, field)| {
            let path = live
                .get(name)
                .map_or_else(|| here(is_zero(field)), |live| differs(name, field, live, false))?;
            Some(below(name, &path))
        })
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

/// The path from the field `name` on to the first difference in it; `amounts`: what is in it are quantities.
fn differs(name: &str, desired: &Value, live: &Value, amounts: bool) -> Option<String> {
    let amounts = amounts || QUANTITIES.contains(&name);
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().find_map(|(name, field)| {
            let absent = || here(is_zero(field) && !MEANT_EMPTY.contains(&name.as_str()));
            let path = live.get(name).map_or_else(absent, |live| differs(name, field, live, amounts))?;
            Some(below(name, &path))
        }),
        (Value::Array(desired), Value::Array(live)) => list_differs(name, desired, live, amounts),
        (Value::String(desired), Value::String(live)) => {
            here(desired == live || (amounts && same_amount(desired, live)))
        }
        // A quantity may be written as a number, and comes back as a text.
        (Value::Number(desired), Value::String(live)) if amounts => {
            here(same_amount(&desired.to_string(), live))
        }
        (desired, live) => here(desired == live),
    }
}

fn list_differs(name: &str, desired: &[Value], live: &[Value], amounts: bool) -> Option<String> {
    let keyed = Keyed::of(name).filter(|keyed| desired.iter().all(|item| keyed.key(item).is_some()));
    let Some(keyed) = keyed else {
        let items = || desired.iter().zip(live).enumerate();
        let item = items().find_map(|(index, (desired, live))| {
            Some(below(&known_as(None, index), &differs("", desired, live, amounts)?))
        });
        return item.or_else(|| here(desired.len() == live.len()));
    };
    // What others added may stand between ours, whose own order means something: a variable may refer to those before it.
    let mut rest = live.iter();
    desired.iter().enumerate().find_map(|(index, item)| {
        let key = keyed.key(item);
        let found = rest.find(|other| keyed.key(other) == key);
        let path = found.map_or_else(|| here(false), |live| differs("", item, live, amounts))?;
        Some(below(&known_as(key.as_ref(), index), &path))
    })
}

/// The path to a difference in this very value.
fn here(same: bool) -> Option<String> {
    (!same).then(String::new)
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
mod tests;
