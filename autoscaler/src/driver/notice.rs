//! What people read: the leader's reports as events on Functions, its explanations as JSON.

use std::time::Duration;

use catnap_autoscaler_core::leader::{Change, Explanation};
use catnap_autoscaler_core::{Decision, Event, Reason};
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
    texts(&decision.reasons).join("; ")
}

/// One revision for `/debug/state`; docs/autoscaling.md tells its shape. Times are seconds before `now`.
pub(super) fn describe(explanation: &Explanation, function: Option<&str>, now: Duration) -> Value {
    let Explanation { revision, replicas, gate, policy, decided_at, observation, decision, changes } =
        explanation;
    let ago = |at: &Duration| (now.saturating_sub(*at).as_secs_f64() * 10.0).round() / 10.0;
    let decision = decision.as_ref().map(|decision| {
        json!({
            "desired": decision.desired,
            "panic": decision.panic,
            "atMax": decision.at_max,
            "rule": decision.reasons.last().map(Reason::name),
            "reasons": texts(&decision.reasons),
            "secondsAgo": ago(decided_at),
        })
    });
    let inputs = policy.as_ref().zip(observation.as_ref()).map(|((policy, _), observation)| {
        json!({
            "metric": format!("{:?}", policy.metric),
            "stable": observation.stable,
            "panic": observation.panic,
            "goal": policy.goal(),
            "total": policy.total(),
            "ready": observation.ready,
            "arrivals": observation.arrivals,
            "held": observation.held,
            "pressed": observation.pressed,
            "busy": observation.busy,
            "idle": observation.idle,
            "incomplete": observation.incomplete,
        })
    });
    let change = |change: &Change| {
        json!({
            "secondsAgo": ago(&change.at),
            "from": change.from,
            "to": change.to,
            "reasons": texts(&change.reasons),
        })
    };
    json!({
        "namespace": &*revision.namespace,
        "function": function,
        "revision": &*revision.name,
        "functionUid": &*revision.function_uid,
        "replicas": replicas,
        "gate": gate,
        "stage": policy.as_ref().map(|(_, stage)| format!("{stage:?}")),
        "decision": decision,
        "inputs": inputs,
        "changes": changes.iter().map(change).collect::<Vec<_>>(),
    })
}

fn texts(reasons: &[Reason]) -> Vec<String> {
    reasons.iter().map(ToString::to_string).collect()
}
