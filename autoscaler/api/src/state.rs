//! What an autoscaler tells at `/debug/state`, for machines; docs/autoscaling.md explains the fields.
//!
//! The one who tells and the one who reads share these types, so that neither can change without the other.

mod text;

use std::time::Duration;

use catnap_autoscaler_core::leader::{Change, Explanation};
use catnap_autoscaler_core::{Outlook, Reason, Shift};
use serde::{Deserialize, Serialize};

/// Of the whole process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// It decides; of several processes one does.
    pub leading: bool,
    /// It knows the cluster and could lead; told only by one that does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<bool>,
    /// The term it leads in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<LeadingTerm>,
    /// Activators that are connected.
    #[serde(default)]
    pub streams: usize,
    /// In the order of their names.
    #[serde(default)]
    pub revisions: Vec<Explained>,
    /// Revisions beyond these, of which nothing is told because there are so many.
    #[serde(default, rename = "leftOut", skip_serializing_if = "is_none")]
    pub left_out: usize,
}

/// A term of leading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadingTerm {
    /// Of the Lease.
    pub transitions: u64,
    /// Of the process, in hexadecimal digits.
    pub boot: String,
}

/// One revision. What is `None` is not known yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// Namespace of the Function.
    pub namespace: String,
    /// Name of the Function.
    pub function: Option<String>,
    /// Name of the revision.
    pub revision: String,
    /// UID of the Function.
    pub function_uid: String,
    /// `spec.replicas`.
    pub replicas: u32,
    /// Up, Closing, Commit or Zero.
    pub gate: String,
    /// UIDs of the pods that are to go because fewer replicas are needed.
    #[serde(default)]
    pub leaving: Vec<String>,
    /// Proving, Routed or Retiring; `None`: it is in no status.
    pub stage: Option<String>,
    /// The current decision.
    pub decision: Option<Decided>,
    /// What it was made from.
    pub inputs: Option<Inputs>,
    /// The last changes of the count, the latest first.
    pub changes: Vec<Changed>,
    /// How its requests ended; told while an operator asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Ended>,
}

/// Requests of a revision that have ended, since the activators began to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Those whose end says something of it.
    pub ended: u64,
    /// How many of them it failed.
    pub errors: u64,
    /// Every activator that exists has told its part.
    pub complete: bool,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    /// Replicas needed.
    pub desired: u32,
    /// In panic.
    pub panic: bool,
    /// The need was more than `scale.max`.
    pub at_max: bool,
    /// Name of the rule that set the number.
    pub rule: Option<String>,
    /// What each rule says, in the order of the formula.
    pub reasons: Vec<String>,
    /// Its age.
    pub seconds_ago: f64,
}

/// What a decision was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// Concurrency or `RequestRate`.
    pub metric: String,
    /// Average over the stable window, in the metric's unit.
    pub stable: f64,
    /// Average over the panic window.
    pub panic: f64,
    /// What one replica is aimed at.
    pub goal: f64,
    /// What one replica takes when it is full.
    pub total: u32,
    /// Pods that could serve.
    pub ready: u32,
    /// Requests that arrived in the last second.
    pub arrivals: u64,
    /// Requests held without a usable pod.
    pub held: u64,
    /// Requests while there is no free capacity.
    pub pressed: u64,
    /// Something is in flight or held.
    pub busy: bool,
    /// The idle time has passed.
    pub idle: bool,
    /// What the function's pattern says of this moment; `None`: nothing.
    #[serde(default)]
    pub learned: Option<String>,
    /// Measurements are incomplete.
    pub incomplete: bool,
    /// Told while requests move from one revision of the Function to another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shifting>,
}

/// How requests move between the revisions of a Function, for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shifting {
    /// Percent of the Function's requests that it takes.
    pub percent: u32,
    /// Replicas that are waited for before it gets more of them; 0: it gets no more for now.
    pub awaited: u32,
}

/// A change of the count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// Its age.
    pub seconds_ago: f64,
    /// Replicas before.
    pub from: u32,
    /// Replicas after.
    pub to: u32,
    /// Of the decision; none when somebody else wrote it.
    pub reasons: Vec<String>,
}

impl State {
    /// The revisions of one Function.
    pub fn of(self, namespace: &str, function: &str) -> Vec<Explained> {
        let is_asked_for = |revision: &Explained| {
            revision.namespace == namespace && revision.function.as_deref() == Some(function)
        };
        self.revisions.into_iter().filter(is_asked_for).collect()
    }
}

impl Explained {
    /// What the leader thinks, `now` on its clock, of a revision of this Function.
    pub fn of(explanation: &Explanation, function: Option<&str>, now: Duration) -> Self {
        let Explanation {
            revision,
            replicas,
            gate,
            leaving,
            policy,
            decided_at,
            observation,
            decision,
            changes,
        } = explanation;
        let decision = decision.as_ref().map(|decision| Decided {
            desired: decision.desired,
            panic: decision.panic,
            at_max: decision.at_max,
            rule: decision.rule().map(|reason| reason.name().to_owned()),
            reasons: texts(&decision.reasons),
            seconds_ago: seconds_ago(*decided_at, now),
        });
        let inputs = policy.as_ref().zip(observation.as_ref()).map(|((policy, _), observation)| Inputs {
            metric: format!("{:?}", policy.metric),
            stable: observation.stable,
            panic: observation.panic,
            goal: policy.goal(),
            total: policy.total(),
            ready: observation.ready,
            arrivals: observation.arrivals,
            held: observation.held,
            pressed: observation.pressed,
            busy: observation.busy,
            idle: observation.idle,
            learned: learned(observation.outlook),
            incomplete: observation.incomplete,
            shift: policy.shift.map(|Shift { percent, awaited }| Shifting { percent, awaited }),
        });
        Self {
            namespace: revision.namespace.to_string(),
            function: function.map(str::to_owned),
            revision: revision.name.to_string(),
            function_uid: revision.function_uid.to_string(),
            replicas: *replicas,
            gate: (*gate).to_owned(),
            leaving: leaving.iter().map(ToString::to_string).collect(),
            stage: policy.as_ref().map(|(_, stage)| format!("{stage:?}")),
            decision,
            inputs,
            changes: changes.iter().map(|change| Changed::of(change, now)).collect(),
            outcomes: None,
        }
    }
}

impl Changed {
    fn of(change: &Change, now: Duration) -> Self {
        let Change { at, from, to, reasons } = change;
        Self { seconds_ago: seconds_ago(*at, now), from: *from, to: *to, reasons: texts(reasons) }
    }
}

fn learned(outlook: Outlook) -> Option<String> {
    match outlook {
        Outlook::Unknown => None,
        Outlook::Likely(hold) => Some(hold.to_string()),
        Outlook::Unlikely(hold) => Some(format!("{hold}, and that has passed")),
        Outlook::Spent => Some("scale.idle.budget is used up".to_owned()),
    }
}

/// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_none(count: &usize) -> bool {
    *count == 0
}

/// To a tenth: more only makes two looks at the same thing differ.
fn seconds_ago(at: Duration, now: Duration) -> f64 {
    (now.saturating_sub(at).as_secs_f64() * 10.0).round() / 10.0
}

/// What people read of each rule that bound.
pub fn texts(reasons: &[Reason]) -> Vec<String> {
    reasons.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests;
