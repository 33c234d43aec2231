//! One Service of `serving.knative.dev`: one Function.

use std::collections::BTreeSet;

use serde_json::Value;

use super::draft::Draft;
use super::notes::Notes;
use super::place::Place;
use super::{metadata, pod, traffic};

/// A Service, as far as it could be converted.
pub(super) struct Converted {
    /// The Function, or why there is none.
    pub(super) function: Result<Value, String>,
    /// What became of each part.
    pub(super) notes: Notes,
}

/// Converts `service`; `revisions` are the names that it and the documents before it give to revisions of the same Service.
pub(super) fn convert(service: &Place<'_>, revisions: &BTreeSet<String>) -> Converted {
    let mut draft = Draft::new();
    let possible = parts(service, revisions, &mut draft);
    let (function, mut notes) = draft.finish();
    notes.name_the_rest(service);
    Converted { function: possible.map(|()| function), notes }
}

fn parts(service: &Place<'_>, revisions: &BTreeSet<String>, draft: &mut Draft) -> Result<(), String> {
    for name in ["apiVersion", "kind"] {
        if let Some(place) = service.field(name) {
            draft.notes.converted(&place, format!("{name}, which was {}", place.text().unwrap_or_default()));
        }
    }
    if let Some(status) = service.field("status") {
        draft.notes.not_needed(&status, "written by Knative; the operator writes that of the Function");
    }
    metadata::of_service(service, draft);
    let spec = service.field("spec").ok_or("spec is missing")?;
    let template = spec
        .field("template")
        .ok_or("spec.template is missing: it is no Service of serving.knative.dev/v1")?;
    let pod = template.field("spec").ok_or("spec.template.spec is missing")?;
    pod::convert(&pod, draft)?;
    metadata::of_template(&template, draft);
    traffic::convert(&spec, revisions, draft);
    traffic::share_of_min(&template, draft);
    Ok(())
}
