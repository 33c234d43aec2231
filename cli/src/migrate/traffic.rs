//! `spec.traffic` of a Service. <https://knative.dev/docs/serving/traffic-management/>; what an entry may say:
//! knative/serving `pkg/apis/serving/v1/route_types.go`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::draft::Draft;
use super::place::Place;

/// What an entry sends requests to.
enum Target<'a> {
    Latest,
    Revision(&'a str),
    /// Made by Knative, so it does not exist here.
    Unknown,
}

/// Converts the entries; `revisions` are those that this Function has once the documents up to this one are applied.
pub(super) fn convert(spec: &Place<'_>, revisions: &BTreeSet<String>, draft: &mut Draft) {
    let Some(traffic) = spec.field("traffic") else { return };
    let mut kept = Vec::new();
    let mut lost = 0;
    for place in traffic.items().into_iter().filter(|place| place.value.is_object()) {
        match target(&place, revisions) {
            Target::Unknown => lost += lose(&place, draft),
            Target::Latest => kept.push(entry(&place, ("latest", json!(true)), draft)),
            Target::Revision(name) => kept.push(entry(&place, ("revision", json!(name)), draft)),
        }
    }
    give_to_latest(lost, &mut kept);
    if !kept.is_empty() {
        draft.set("spec.traffic", Value::Array(kept.into_iter().map(Value::Object).collect()));
    }
}

/// Converts a split of `min-scale`, which counts for each revision with Knative and for all of them together here.
pub(super) fn share_of_min(template: &Place<'_>, draft: &mut Draft) {
    let shares = draft.get("spec.traffic").and_then(Value::as_array).map_or(0, Vec::len);
    let Some(annotations) = template.at(&["metadata", "annotations"]) else { return };
    let min =
        ["min-scale", "minScale"].map(|name| annotations.field(&format!("{}{name}", super::scaling::PREFIX)));
    if let Some(place) = min.into_iter().flatten().next().filter(|_| shares > 1) {
        draft.notes.changed(&place, "counts for each revision with Knative; here spec.scale.min is shared out by the percents of spec.traffic, rounded up");
    }
}

fn target<'a>(place: &Place<'a>, revisions: &BTreeSet<String>) -> Target<'a> {
    let latest = place.field("latestRevision").map(|latest| latest.value == &json!(true));
    let name = place.field_text("revisionName");
    match latest {
        // Exports of Knative's command line name the revision that was the latest, too.
        Some(true) => Target::Latest,
        None if name.is_empty() && place.field("configurationName").is_none() => Target::Latest,
        _ if revisions.contains(name) => Target::Revision(name),
        _ => Target::Unknown,
    }
}

/// An entry, with what it says besides its target.
fn entry(place: &Place<'_>, (field, target): (&str, Value), draft: &mut Draft) -> Map<String, Value> {
    let mut entry = Map::new();
    entry.insert(field.to_owned(), target);
    let to = |name: &str| format!("spec.traffic[].{name}");
    for name in ["percent", "tag"] {
        if let Some(value) = place.field(name).filter(|value| value.string() != Some("")) {
            entry.insert(name.to_owned(), value.value.clone());
            draft.notes.converted(&value, to(name));
        }
    }
    for name in ["latestRevision", "revisionName"] {
        let Some(value) = place.field(name) else { continue };
        if field == "latest" && name == "revisionName" {
            draft.notes.not_needed(&value, "latestRevision says that it follows the latest one");
        } else {
            draft.notes.converted(&value, to(field));
        }
    }
    entry
}

/// What of the requests an entry had that cannot be kept.
fn lose(place: &Place<'_>, draft: &mut Draft) -> i64 {
    let name = place.field_text("revisionName");
    let percent = place.field("percent").and_then(|percent| percent.value.as_i64()).unwrap_or_default();
    let percent = percent.clamp(0, 100);
    draft.notes.left_out(
        place,
        format!("no document before names a revision `{name}` (spec.template.metadata.name), and Knative's own are not here: its {percent} percent go to the latest one"),
    );
    percent
}

/// What was lost goes to the first entry that follows the latest revision, or to a new one.
fn give_to_latest(lost: i64, kept: &mut Vec<Map<String, Value>>) {
    if lost == 0 {
        return;
    }
    let follows = |entry: &&mut Map<String, Value>| entry.contains_key("latest");
    if let Some(entry) = kept.iter_mut().find(follows) {
        let had = entry.get("percent").and_then(Value::as_i64).unwrap_or_default();
        entry.insert("percent".to_owned(), json!(had.saturating_add(lost)));
        return;
    }
    let entry = [("latest".to_owned(), json!(true)), ("percent".to_owned(), json!(lost))];
    kept.push(entry.into_iter().collect());
}
