//! `spec.template.spec` of a Service: what a Function has fields for, and the rest of the pod in `spec.podTemplate`.
//!
//! What a template may have: `PodSpecMask` in knative/serving `pkg/apis/serving/fieldmask.go`, and `RevisionSpec` in
//! `pkg/apis/serving/v1/revision_types.go`.

use catnap_crds::names;
use serde_json::{Value, json};

use super::draft::Draft;
use super::place::Place;
use super::volumes::Volumes;
use super::{containers, timeouts};

/// Fields of a pod that are taken as they are.
const PLAIN: &[&str] = &[
    "affinity",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "imagePullSecrets",
    "nodeSelector",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "shareProcessNamespace",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
];
/// Most requests at once that `spec.concurrency.limit` can say.
const MOST_AT_ONCE: i64 = 1000;

/// Converts the pod of a template; an error says why there can be no Function.
pub(super) fn convert(pod: &Place<'_>, draft: &mut Draft) -> Result<(), &'static str> {
    let list = |name: &str| -> Vec<_> {
        let items = pod.field(name).into_iter().flat_map(|list| list.items());
        items.filter(|place| place.value.is_object()).collect()
    };
    let containers = list("containers");
    let serving = containers::serving(&containers)?;
    let volumes = Volumes::of(pod);
    limit(pod, draft);
    timeouts::convert(pod, draft);
    let mut function = containers::function(&serving, &volumes, draft);
    let mut beside = containers::others(&containers, &serving, &volumes, draft);
    let first = containers::first(&list("initContainers"), &volumes, draft);
    for place in PLAIN.iter().filter_map(|name| pod.field(name)) {
        plain(&place, draft);
    }
    if !function.is_empty() {
        function.insert("name".to_owned(), json!(names::CONTAINER));
        beside.insert(0, Value::Object(function));
    }
    for (name, list) in [("containers", beside), ("initContainers", first)] {
        if !list.is_empty() {
            draft.set(&format!("spec.podTemplate.spec.{name}"), list);
        }
    }
    rename(serving.field_text("name"), draft);
    Ok(())
}

fn plain(place: &Place<'_>, draft: &mut Draft) {
    let name = place.path.rsplit('.').next().unwrap_or_default();
    draft.copy(place, &format!("spec.podTemplate.spec.{name}"));
    let selects = matches!(name, "affinity" | "topologySpreadConstraints");
    if selects && place.value.to_string().contains("knative.dev/") {
        draft.notes.changed(place, "selects by a label of Knative, which no pod has any more: write catnap.dev/function (the name of the Function) instead");
    }
}

/// <https://knative.dev/docs/serving/autoscaling/concurrency/#hard-limit>
fn limit(pod: &Place<'_>, draft: &mut Draft) {
    let Some(place) = pod.field("containerConcurrency") else { return };
    match place.value.as_i64() {
        Some(limit @ 0..=MOST_AT_ONCE) => draft.put(&place, "spec.concurrency.limit", limit),
        Some(limit) if limit > MOST_AT_ONCE => {
            draft.set("spec.concurrency.limit", MOST_AT_ONCE);
            draft.notes.changed(
                &place,
                format!(
                    "{limit} is {MOST_AT_ONCE} in spec.concurrency.limit, the most it can be; 0 is no limit"
                ),
            );
        }
        _ => draft.notes.left_out(&place, format!("not a whole number from 0 to {MOST_AT_ONCE}")),
    }
}

/// The container that serves has another name here, by which variables and files refer to its resources.
fn rename(name: &str, draft: &mut Draft) {
    if name.is_empty() || name == names::CONTAINER {
        return;
    }
    for path in ["spec.env", "spec.podTemplate"] {
        if let Some(mut value) = draft.get(path).cloned() {
            rename_in(name, &mut value);
            draft.set(path, value);
        }
    }
}

fn rename_in(name: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get_mut("resourceFieldRef").and_then(Value::as_object_mut)
                && reference.get("containerName").is_some_and(|other| other == name)
            {
                reference.insert("containerName".to_owned(), json!(names::CONTAINER));
            }
            fields.values_mut().for_each(|value| rename_in(name, value));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| rename_in(name, value)),
        _ => {}
    }
}
