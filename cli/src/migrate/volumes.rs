//! Volumes of a template, and which of them can be written to.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::place::Place;

/// Kinds that can be written to.
const WRITABLE: [&str; 3] = ["emptyDir", "persistentVolumeClaim", "ephemeral"];

/// The volumes that Knative mounts only for reading.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    read_only: BTreeSet<String>,
}

impl Volumes {
    /// The volumes of a pod.
    pub(super) fn of(pod: &Place<'_>) -> Self {
        let volumes = pod.field("volumes").map(|volumes| volumes.items()).unwrap_or_default();
        let read_only =
            volumes.iter().filter(|volume| WRITABLE.iter().all(|kind| volume.field(kind).is_none()));
        Self { read_only: read_only.map(|volume| volume.field_text("name").to_owned()).collect() }
    }

    /// Mounts with `readOnly` written out where Knative sets it itself: `applyDefault` in knative/serving
    /// `pkg/apis/serving/v1/revision_defaults.go`.
    pub(super) fn mounts(&self, mounts: &Value) -> Value {
        let mut mounts = mounts.clone();
        for mount in mounts.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            let name = mount.get("name").and_then(Value::as_str).unwrap_or_default();
            if self.read_only.contains(name) {
                mount.insert("readOnly".to_owned(), json!(true));
            }
        }
        mounts
    }
}
