//! What people read in the Events of a Function: the leader's reports.

use catnap_autoscaler_api::state::texts;
use catnap_autoscaler_core::{Decision, Event};
use catnap_runtime::events::{Notice, Subject};
use catnap_wire::RevisionId;

use crate::cluster::Cluster;

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
        Event::ScaledDown { revision, from, to, decision } => {
            let note = format!("{} from {from} to {to} replicas: {}", revision.name, reasons(decision));
            (revision, "ScaledDown", false, note)
        }
        Event::ScaledToZero { revision, from, decision } => {
            let note = format!("{} from {from} to no replicas: {}", revision.name, reasons(decision));
            (revision, "ScaledToZero", false, note)
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
            tracing::error!(%pod, "an activator says nothing, or lags, though its pod exists: nothing can go to zero");
            return None;
        }
    };
    tracing::info!(%revision, reason, note);
    // What is told of a Function's other revisions is the same kind of news.
    Some(Notice {
        subject: subject(revision, cluster)?,
        reason,
        action: "Scaling".into(),
        revision: None,
        warning,
        note,
    })
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
    texts(&decision.reasons).join("; ")
}
