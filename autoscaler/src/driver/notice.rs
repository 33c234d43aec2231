//! What people read: the leader's reports as events on Functions, its explanations as JSON.

use catnap_autoscaler_core::leader::Explanation;
use catnap_autoscaler_core::{Decision, Event};
use catnap_wire::RevisionId;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::events::{Notice, Subject};

/// The notice for a report; `None` when it is about no Function that is still there.
pub(super) fn of(event: &Event, cluster: &Cluster) -> Option<Notice> {
    let (revision, reason, warning, note) = match event {
        Event::ScaledUp { revision, from, to, decision } => {
            let note = format!("{} from {from} to {to} replicas: {}", revision.name, reasons(decision));
            (revision, "ScaledUp", false, note)
        }
        Event::Woken { revision, to, decision } => {
            (revision, "Woken", false, format!("{} to {to} replicas: {}", revision.name, reasons(decision)))
        }
        Event::ScaledToZero { revision, from } => {
            (revision, "ScaledToZero", false, format!("{} from {from} to no replicas", revision.name))
        }
        Event::ForeignScale { revision, known, found } => {
            let note = format!("{} was set from {known} to {found} replicas by somebody else", revision.name);
            (revision, "ForeignScale", true, note)
        }
        Event::WriteRefused { revision, replicas } => {
            let note = format!("the API server refused {replicas} replicas for {}", revision.name);
            (revision, "WriteRefused", true, note)
        }
        Event::ActivatorSilent { pod } => {
            tracing::error!(%pod, "an activator says nothing though its pod exists: nothing can go to zero");
            return None;
        }
    };
    tracing::info!(%revision, reason, note);
    Some(Notice { subject: subject(revision, cluster)?, reason, warning, note })
}

fn subject(revision: &RevisionId, cluster: &Cluster) -> Option<Subject> {
    let function = cluster.function(revision)?;
    Some(Subject {
        namespace: function.namespace.clone(),
        name: function.name.clone(),
        uid: function.uid.clone(),
    })
}

fn reasons(decision: &Decision) -> String {
    let reasons: Vec<_> = decision.reasons.iter().map(ToString::to_string).collect();
    reasons.join("; ")
}

/// One revision for `/debug/state`.
pub(super) fn describe(explanation: &Explanation) -> Value {
    let decision = explanation.decision.as_ref().map(|decision| {
        json!({
            "desired": decision.desired,
            "panic": decision.panic,
            "atMax": decision.at_max,
            "reasons": decision.reasons.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    json!({
        "namespace": &*explanation.revision.namespace,
        "revision": &*explanation.revision.name,
        "functionUid": &*explanation.revision.function_uid,
        "replicas": explanation.replicas,
        "gate": explanation.gate,
        "decision": decision,
    })
}
