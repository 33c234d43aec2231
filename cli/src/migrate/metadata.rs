//! `metadata` of a Service and of its template: what is the user's own is kept, what is Knative's is turned into fields.
//!
//! Names: knative/serving `pkg/apis/serving/register.go` and `pkg/apis/config/features.go`, knative/networking
//! `pkg/apis/networking/register.go`.

use std::collections::BTreeMap;

use catnap_crds::labels;

use super::draft::Draft;
use super::notes::Notes;
use super::place::Place;
use super::{rollout, scaling};
use crate::manifest::is_label;

/// What the API server writes, and writes anew.
const OF_THE_SERVER: &[&str] = &[
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
];

/// `serving.knative.dev/` and what Knative and its command line write themselves.
const WRITTEN_BY_KNATIVE: &[&str] = &[
    "serving.knative.dev/creator",
    "serving.knative.dev/lastModifier",
    "serving.knative.dev/lastPinned",
    "serving.knative.dev/routes",
    "serving.knative.dev/routingState",
    "serving.knative.dev/routingStateModified",
    "serving.knative.dev/service",
    "serving.knative.dev/serviceUID",
    "serving.knative.dev/configuration",
    "serving.knative.dev/configurationGeneration",
    "serving.knative.dev/configurationUID",
    "serving.knative.dev/revision",
    "serving.knative.dev/revisionUID",
    "client.knative.dev/nonce",
    "client.knative.dev/updateTimestamp",
    "client.knative.dev/user-image",
    "kubectl.kubernetes.io/last-applied-configuration",
];

/// The label that keeps a Service inside the cluster, <https://knative.dev/docs/serving/services/private-services/>.
const VISIBILITY: &str = "networking.knative.dev/visibility";
/// Its first name.
const OLD_VISIBILITY: &str = "serving.knative.dev/visibility";

/// Converts `metadata` of a Service.
pub(super) fn of_service(service: &Place<'_>, draft: &mut Draft) {
    let Some(metadata) = service.field("metadata") else { return };
    for name in ["name", "namespace"] {
        if let Some(place) = metadata.field(name) {
            draft.copy(&place, &format!("metadata.{name}"));
        }
    }
    server_fields(&metadata, draft);
    visibility(&metadata, draft);
    for (key, place) in entries(&metadata, "labels") {
        if !is_knatives(key) {
            draft.copy_entry(&place, "metadata.labels", key);
        } else if ![VISIBILITY, OLD_VISIBILITY].contains(&key) {
            knatives(key, &place, &mut draft.notes);
        }
    }
    for (key, place) in entries(&metadata, "annotations") {
        match key {
            "serving.knative.dev/rollout-duration" | "serving.knative.dev/rolloutDuration" => {
                rollout::convert(&place, draft);
            }
            _ if key.starts_with(scaling::PREFIX) => {
                draft.notes.left_out(&place, "has no effect here, with Knative neither: it belongs in spec.template.metadata.annotations");
            }
            _ if is_knatives(key) => knatives(key, &place, &mut draft.notes),
            _ => draft.copy_entry(&place, "metadata.annotations", key),
        }
    }
}

/// Converts `spec.template.metadata` of a Service; what scales comes last, for it depends on `spec.concurrency.limit`.
pub(super) fn of_template(template: &Place<'_>, draft: &mut Draft) {
    let Some(metadata) = template.field("metadata") else { return };
    server_fields(&metadata, draft);
    match (revision_name(template), metadata.field("name")) {
        (Some(name), _) => draft.copy(&name, "spec.revisionName"),
        (None, Some(name)) => {
            draft.notes.left_out(&name, "a spec.revisionName is a label of at most 61 characters");
        }
        (None, None) => {}
    }
    if let Some(prefix) = metadata.field("generateName") {
        draft.notes.not_needed(&prefix, "a revision without spec.revisionName gets a name from its content");
    }
    for (key, place) in entries(&metadata, "labels") {
        if is_catnaps(key) {
            draft
                .notes
                .not_needed(&place, "every pod of a Function has that label, with a value of Catnap's own");
        } else if is_knatives(key) {
            knatives(key, &place, &mut draft.notes);
        } else {
            draft.copy_entry(&place, "spec.podTemplate.metadata.labels", key);
        }
    }
    let (scales, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        entries(&metadata, "annotations").into_iter().partition(|(key, _)| key.starts_with(scaling::PREFIX));
    for (key, place) in others {
        if is_knatives(key) {
            knatives(key, &place, &mut draft.notes);
        } else {
            draft.copy_entry(&place, "spec.podTemplate.metadata.annotations", key);
        }
    }
    scaling::convert(scales, draft);
}

/// The name that a template gives its revision, where a Function can give it, too.
pub(super) fn revision_name<'a>(template: &Place<'a>) -> Option<Place<'a>> {
    let name = template.at(&["metadata", "name"])?;
    name.string().is_some_and(|name| is_label(name) && name.len() <= 61).then_some(name)
}

fn entries<'a>(metadata: &Place<'a>, field: &str) -> BTreeMap<&'a str, Place<'a>> {
    metadata.field(field).map(|place| place.fields()).unwrap_or_default()
}

fn server_fields(metadata: &Place<'_>, draft: &mut Draft) {
    for (name, place) in metadata.fields() {
        if let Some(why) = server_field(name) {
            draft.notes.not_needed(&place, why);
        }
    }
}

/// Why a field of `metadata` is not needed, where the API server writes it.
pub(super) fn server_field(name: &str) -> Option<&'static str> {
    OF_THE_SERVER.contains(&name).then_some("written by the API server")
}

/// Knative serves a Service outside the cluster unless this label says otherwise, so it is said here in any case.
fn visibility(metadata: &Place<'_>, draft: &mut Draft) {
    let labels = entries(metadata, "labels");
    let mut external = true;
    for place in [VISIBILITY, OLD_VISIBILITY].iter().filter_map(|name| labels.get(name)) {
        if place.string() == Some("cluster-local") {
            external = false;
            draft.put(place, "spec.http.visibility", "Cluster");
        } else {
            let text = place.text().unwrap_or_default();
            draft
                .notes
                .left_out(place, format!("`{text}` is not cluster-local, the only value that it can have"));
        }
    }
    if external {
        draft.set("spec.http.visibility", "External");
    }
}

/// Says of a label or annotation of Knative's what there is instead; of others nothing.
pub(super) fn knatives(key: &str, place: &Place<'_>, notes: &mut Notes) {
    if WRITTEN_BY_KNATIVE.contains(&key) {
        notes.not_needed(place, "written by Knative or by a command line");
    } else if let Some((_, why)) = NOT_NEEDED.iter().find(|(start, _)| key.starts_with(start)) {
        notes.not_needed(place, *why);
    } else if is_knatives(key) {
        let known = LEFT_OUT.iter().find(|(start, _)| key.starts_with(start));
        notes.left_out(place, known.map_or("not known to this command", |(_, why)| *why));
    }
}

/// Beginnings of names, and why nothing is missing without them.
const NOT_NEEDED: &[(&str, &str)] = &[
    ("queue.sidecar.serving.knative.dev/", "no pod has a queue-proxy"),
    ("features.knative.dev/http-full-duplex", "a response may begin before the request has ended, always"),
    (
        "serving.knative.dev/no-gc",
        "the revisions that spec.traffic names are kept, and spec.revisionHistoryLimit others",
    ),
    ("networking.knative.dev/disableAutoTLS", "no certificate is asked for"),
    ("networking.knative.dev/disable-auto-tls", "no certificate is asked for"),
    ("networking.knative.dev/disable-external-domain-tls", "no certificate is asked for"),
];

/// Beginnings of names, and what there is instead.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "serving.knative.dev/progress-deadline",
        "a revision that fails for a minute is given up; one that only takes long to start is waited for",
    ),
    (
        "serving.knative.dev/progressDeadline",
        "a revision that fails for a minute is given up; one that only takes long to start is waited for",
    ),
    ("features.knative.dev/queueproxy-podinfo", "no pod has a queue-proxy"),
    ("qpoption.knative.dev/", "no pod has a queue-proxy, and nothing that could be put into it"),
    (
        "networking.knative.dev/ingress",
        "what is in front of the activators is the same for all Functions: an Ingress, a Gateway or a load balancer",
    ),
    (
        "networking.knative.dev/certificate",
        "certificates are the installation's: value activator.edge.tls.secrets of the chart",
    ),
    (
        "networking.knative.dev/wildcardDomain",
        "certificates are the installation's: value activator.edge.tls.secrets of the chart",
    ),
    (
        "networking.knative.dev/http",
        "whether HTTP leads to HTTPS is for what is in front of the activators to say",
    ),
];

/// Whether a label or annotation is for Knative, or written by it or by a command line.
fn is_knatives(key: &str) -> bool {
    let domain = key.split('/').next().unwrap_or_default();
    WRITTEN_BY_KNATIVE.contains(&key) || domain == "knative.dev" || domain.ends_with(".knative.dev")
}

/// Labels that are Catnap's on every pod; another value would be refused.
fn is_catnaps(key: &str) -> bool {
    [labels::MANAGED_BY, labels::FUNCTION, labels::FUNCTION_UID, labels::REVISION].contains(&key)
}
