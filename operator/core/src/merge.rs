//! One part of a pod template laid over another, as `docs/pod-template.md` promises: what is said later wins, maps merge,
//! lists whose items have keys merge by key, and every other list is replaced.
//!
//! This is no patch: it only joins what several hands wrote of one object. A null says that the field is to be absent.

use serde_json::{Map, Value};

use crate::keyed::{Items, Keyed, below, known_as};

/// Fields that are one thing or another: half of each would be neither.
const WHOLE: [&str; 5] = ["livenessProbe", "postStart", "preStop", "readinessProbe", "startupProbe"];

/// A field is of one kind in one part and of another in the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// Where, from the outermost field on, such as `spec.containers[function].env`.
    pub(crate) path: String,
    /// What it is in the part below.
    pub(crate) base: &'static str,
    /// What it is in the part that is laid over it.
    pub(crate) over: &'static str,
}

/// `over` laid over `base`.
///
/// In a keyed list merged items keep their place, and new ones come last. Whole items come last too, in the order of `over`:
/// variables may refer to those before them.
pub(crate) fn merge(base: Value, over: Value) -> Result<Value, Mismatch> {
    merge_field("", base, over)
}

fn merge_field(name: &str, base: Value, over: Value) -> Result<Value, Mismatch> {
    let base = if WHOLE.contains(&name) { Value::Null } else { base };
    match (base, over) {
        (Value::Null, Value::Object(over)) => merge_objects(Map::new(), over).map(Value::Object),
        (Value::Object(base), Value::Object(over)) => merge_objects(base, over).map(Value::Object),
        (Value::Null, Value::Array(over)) => merge_lists(name, Vec::new(), over).map(Value::Array),
        (Value::Array(base), Value::Array(over)) => merge_lists(name, base, over).map(Value::Array),
        (Value::Null, over) => Ok(over),
        (base, over) if kind(&base) == kind(&over) => Ok(over),
        (base, over) => Err(Mismatch { path: String::new(), base: kind(&base), over: kind(&over) }),
    }
}

fn merge_objects(
    mut base: Map<String, Value>,
    over: Map<String, Value>,
) -> Result<Map<String, Value>, Mismatch> {
    for (name, field) in over {
        let before = base.remove(&name).unwrap_or_default();
        if !field.is_null() {
            let merged = merge_field(&name, before, field).map_err(|mismatch| mismatch.below(&name))?;
            base.insert(name, merged);
        }
    }
    Ok(base)
}

fn merge_lists(name: &str, base: Vec<Value>, over: Vec<Value>) -> Result<Vec<Value>, Mismatch> {
    let Some(keyed) = Keyed::of(name) else {
        let items = over.into_iter().enumerate();
        return items.map(|(index, item)| in_item(Value::Null, item, &known_as(None, index))).collect();
    };
    let mut places: Vec<_> = base.into_iter().map(|item| (keyed.key(&item), item)).collect();
    let mut more = Vec::new();
    for (index, item) in over.into_iter().enumerate() {
        let key = keyed.key(&item);
        let known_as = known_as(key.as_ref(), index);
        // Each only once, so its key is taken along: what is there twice is the API server's to refuse.
        let place = places.iter().position(|(other, _)| key.is_some() && *other == key);
        match (place, keyed.items) {
            (Some(place), Items::Merged) => {
                let before = std::mem::take(&mut places[place]).1;
                places[place].1 = in_item(before, item, &known_as)?;
            }
            (place, _) => {
                place.map(|place| places.remove(place));
                more.push(in_item(Value::Null, item, &known_as)?);
            }
        }
    }
    Ok(places.into_iter().map(|(_, item)| item).chain(more).collect())
}

fn in_item(base: Value, over: Value, known_as: &str) -> Result<Value, Mismatch> {
    merge_field("", base, over).map_err(|mismatch| mismatch.below(known_as))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        _ => "a single value",
    }
}

impl Mismatch {
    fn below(self, name: &str) -> Self {
        Self { path: below(name, &self.path), ..self }
    }
}

#[cfg(test)]
pub(crate) mod tests;
