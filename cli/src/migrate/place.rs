//! Values of the input, each with the path that leads to it: whatever is said about a value says where it stands.

use std::collections::BTreeMap;

use serde_json::Value;

/// A value, and where it stands in its object.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    /// The value.
    pub(super) value: &'a Value,
    /// Such as `spec.template.metadata.annotations["example.com/team"]`; empty for the object itself.
    pub(super) path: String,
}

impl<'a> Place<'a> {
    /// The object itself.
    pub(super) fn object(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    /// The field of that name; nothing where it is absent or null, which mean the same.
    pub(super) fn field(&self, name: &str) -> Option<Place<'a>> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(Place { value, path: field_path(&self.path, name) })
    }

    /// The field that a chain of names leads to.
    pub(super) fn at(&self, names: &[&str]) -> Option<Place<'a>> {
        names.iter().try_fold(self.clone(), |place, name| place.field(name))
    }

    /// All fields of an object by name, none of anything else.
    pub(super) fn fields(&self) -> BTreeMap<&'a str, Place<'a>> {
        let fields = self.value.as_object().into_iter().flatten();
        fields.filter_map(|(name, _)| Some((name.as_str(), self.field(name)?))).collect()
    }

    /// All items of a list, none of anything else.
    pub(super) fn items(&self) -> Vec<Place<'a>> {
        let items = self.value.as_array().into_iter().flatten().enumerate();
        items.map(|(index, value)| Place { value, path: format!("{}[{index}]", self.path) }).collect()
    }

    /// What is in it: fields or items.
    pub(super) fn parts(&self) -> Vec<Place<'a>> {
        self.fields().into_values().chain(self.items()).collect()
    }

    /// Its text; numbers and booleans as they are written, for people forget the quotes of an annotation.
    pub(super) fn text(&self) -> Option<String> {
        match self.value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(yes) => Some(yes.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Its text where it is one.
    pub(super) fn string(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// The text of a field; empty where there is none.
    pub(super) fn field_text(&self, name: &str) -> &'a str {
        self.value.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// True for an object or list without anything in it.
    pub(super) fn is_empty(&self) -> bool {
        match self.value {
            Value::Object(fields) => fields.values().all(Value::is_null),
            Value::Array(items) => items.is_empty(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
}

/// The path of a field; a name with other characters than a field has is quoted, so that no path can be taken for another.
fn field_path(parent: &str, name: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
    match (name.is_empty() || !name.chars().all(plain), parent.is_empty()) {
        (true, _) => format!("{parent}[{name:?}]"),
        (false, true) => name.to_owned(),
        (false, false) => format!("{parent}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_to_its_value() {
        let value = json!({"spec": {"items": [{"a.b/c": 1, "d": null}]}});
        let place = Place::object(&value).at(&["spec", "items"]).unwrap();
        let parts = place.items()[0].parts();
        assert_eq!(parts.len(), 1, "{parts:?}");
        assert_eq!(parts[0].path, r#"spec.items[0]["a.b/c"]"#);
        assert_eq!(parts[0].text().as_deref(), Some("1"));
    }
}
