//! The documents of a file, lists taken apart, each with where it stands.

use serde_json::Value;

use super::others;

/// An object of the input.
#[derive(Clone, Debug)]
pub struct Object {
    /// The object.
    pub value: Value,
    /// Which document it is, from 1 on, and which item of it where that is a list.
    pub position: (usize, Option<usize>),
}

/// What an object is to this command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Service,
    DomainMapping,
    /// Of Knative, and nothing that becomes a Function.
    Other,
    /// Of Kubernetes or somebody else.
    Foreign,
    /// No object of Kubernetes at all.
    None,
}

impl Object {
    fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Its kind; empty where it says none.
    pub(super) fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// Its name; empty where it says none.
    pub(super) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// Its namespace; empty where it says none.
    pub(super) fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    /// The group of its API; empty for Kubernetes' first one.
    pub(super) fn group(&self) -> &str {
        self.text("/apiVersion").rsplit_once('/').map_or("", |(group, _)| group)
    }

    pub(super) fn role(&self) -> Role {
        match self.kind() {
            "Service" if is_serving(self.text("/apiVersion")) => Role::Service,
            "DomainMapping" if is_serving(self.text("/apiVersion")) => Role::DomainMapping,
            _ if others::is_knatives(self.group()) => Role::Other,
            "" => Role::None,
            _ => Role::Foreign,
        }
    }

    /// What a person knows it by.
    pub fn title(&self) -> String {
        let (document, item) = self.position;
        let item = item.map(|item| format!(", item {item}")).unwrap_or_default();
        let namespace = self.namespace();
        let separator = if namespace.is_empty() { "" } else { "/" };
        let kind = if self.kind().is_empty() { "no object" } else { self.kind() };
        format!("document {document}{item}: {kind} {namespace}{separator}{}", self.name())
            .trim_end()
            .to_owned()
    }
}

/// Whether it is a version of `serving.knative.dev` that is known here; what a later one means nobody knows.
pub(super) fn is_serving(api_version: &str) -> bool {
    ["serving.knative.dev/v1", "serving.knative.dev/v1beta1", "serving.knative.dev/v1alpha1"]
        .contains(&api_version)
}

/// The objects in `documents`, of which the first has the number `first`.
pub fn objects(documents: Vec<Value>, first: usize) -> Vec<Object> {
    let mut objects = Vec::new();
    for (number, value) in (first..).zip(documents) {
        match items(&value) {
            Some(items) => {
                let items = (1..).zip(items);
                objects.extend(items.map(|(item, value)| Object { value, position: (number, Some(item)) }));
            }
            None => objects.push(Object { value, position: (number, None) }),
        }
    }
    objects
}

/// The items of a list: `List` of `v1`, or one of a kind such as `ServiceList`, whose items may leave out what they are.
fn items(value: &Value) -> Option<Vec<Value>> {
    let kind = value.get("kind")?.as_str()?.strip_suffix("List")?;
    let items = value.get("items")?.as_array()?;
    let mut items = items.clone();
    for item in items.iter_mut().filter_map(Value::as_object_mut).filter(|_| !kind.is_empty()) {
        item.entry("kind").or_insert_with(|| kind.into());
        item.entry("apiVersion").or_insert_with(|| value.get("apiVersion").cloned().unwrap_or_default());
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_taken_apart() {
        let service =
            json!({"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "a"}});
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [service, {"kind": "Pod"}]});
        let typed = json!({"apiVersion": "serving.knative.dev/v1", "kind": "ServiceList", "items": [{"metadata": {"name": "b", "namespace": "c"}}]});
        let objects = objects(vec![list, typed, json!(5)], 3);
        let titles: Vec<_> = objects.iter().map(Object::title).collect();
        let expected = [
            "document 3, item 1: Service a",
            "document 3, item 2: Pod",
            "document 4, item 1: Service c/b",
            "document 5: no object",
        ];
        assert_eq!(titles, expected);
        let roles: Vec<_> = objects.iter().map(Object::role).collect();
        assert_eq!(roles, [Role::Service, Role::Foreign, Role::Service, Role::None]);
    }
}
