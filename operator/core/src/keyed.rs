//! Lists of a pod whose items are told apart by some of their fields, as the API server tells them apart.

use serde_json::Value;

const KEYED: [Keyed; 13] = [
    Keyed { list: "containers", keys: &["name"], items: Items::Merged },
    Keyed { list: "initContainers", keys: &["name"], items: Items::Merged },
    Keyed { list: "volumes", keys: &["name"], items: Items::Whole },
    Keyed { list: "env", keys: &["name"], items: Items::Whole },
    Keyed { list: "imagePullSecrets", keys: &["name"], items: Items::Whole },
    Keyed { list: "claims", keys: &["name"], items: Items::Whole },
    Keyed { list: "resourceClaims", keys: &["name"], items: Items::Whole },
    Keyed { list: "schedulingGates", keys: &["name"], items: Items::Whole },
    Keyed { list: "ports", keys: &["containerPort", "protocol"], items: Items::Merged },
    Keyed { list: "volumeMounts", keys: &["mountPath"], items: Items::Merged },
    Keyed { list: "volumeDevices", keys: &["devicePath"], items: Items::Merged },
    Keyed { list: "hostAliases", keys: &["ip"], items: Items::Whole },
    Keyed {
        list: "topologySpreadConstraints",
        keys: &["topologyKey", "whenUnsatisfiable"],
        items: Items::Merged,
    },
];

/// A list whose items have keys.
pub(crate) struct Keyed {
    list: &'static str,
    keys: &'static [&'static str],
    pub(crate) items: Items,
}

/// What becomes of two items with the same key where one part of a template is laid over another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Items {
    /// The fields of the later one are laid over those of the earlier one.
    Merged,
    /// The later one, because its fields exclude each other.
    Whole,
}

impl Keyed {
    /// The list of this name, if its items have keys.
    pub(crate) fn of(list: &str) -> Option<&'static Self> {
        KEYED.iter().find(|keyed| keyed.list == list)
    }

    /// What tells `item` from the others; `None` where it lacks a part of it.
    pub(crate) fn key(&self, item: &Value) -> Option<Vec<Value>> {
        let part = |key: &&str| match (item.get(*key), *key) {
            (None | Some(Value::Null), "protocol") => item.is_object().then(|| Value::from("TCP")),
            (part, _) => part.cloned(),
        };
        self.keys.iter().map(part).collect()
    }
}

/// What to call the item at `index` of a list in a path: its key where it has one.
pub(crate) fn known_as(key: Option<&Vec<Value>>, index: usize) -> String {
    let name = match key.into_iter().flatten().next() {
        Some(Value::String(name)) => name.clone(),
        Some(other) => other.to_string(),
        None => index.to_string(),
    };
    format!("[{name}]")
}

/// The path to what is at `path` below `name`, such as `spec.containers[function].env`.
pub(crate) fn below(name: &str, path: &str) -> String {
    let separator = if path.is_empty() || path.starts_with('[') { "" } else { "." };
    format!("{name}{separator}{path}")
}
