//! The leaves of an object, found independently of the code that converts it.

use serde_json::{Value, json};

/// A value that says something: no null, and nothing in it.
pub(crate) struct Leaf {
    /// Where it stands, as notes say it; within the item of a list of objects.
    pub(crate) path: String,
    /// Where it stands in the document.
    pub(crate) pointer: String,
}

/// All leaves of a document. Those of a list of objects have the paths that they have in their object.
pub(crate) fn leaves(document: &Value) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match document["items"].as_array().filter(|_| is_list) {
        Some(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, "", &format!("/items/{index}"), &mut leaves);
            }
        }
        None => walk(document, "", "", &mut leaves),
    }
    leaves
}

fn walk(value: &Value, path: &str, pointer: &str, leaves: &mut Vec<Leaf>) {
    match value {
        Value::Null => {}
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                walk(value, &inner(path, name), &format!("{pointer}/{escaped}"), leaves);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, value) in items.iter().enumerate() {
                walk(value, &format!("{path}[{index}]"), &format!("{pointer}/{index}"), leaves);
            }
        }
        _ => leaves.push(Leaf { path: path.to_owned(), pointer: pointer.to_owned() }),
    }
}

fn inner(path: &str, name: &str) -> String {
    let quoted = name.is_empty() || name.contains(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    match (quoted, path.is_empty()) {
        (true, _) => format!("{path}[\"{name}\"]"),
        (false, true) => name.to_owned(),
        (false, false) => format!("{path}.{name}"),
    }
}

/// Whether a path is the other one, or below it.
pub(crate) fn is_within(path: &str, other: &str) -> bool {
    other.is_empty()
        || path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Another value of the same kind.
pub(crate) fn change(value: &mut Value) {
    *value = match &*value {
        Value::Null => json!(1),
        Value::Bool(yes) => json!(!yes),
        Value::Number(number) => json!(number.as_i64().map_or(1, |number| number + 1)),
        Value::String(text) => json!(format!("{text}x")),
        Value::Array(_) => json!(["x"]),
        Value::Object(_) => json!({"x": "x"}),
    };
}
