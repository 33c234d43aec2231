//! Where each revision is in its life: proving, routed, retiring, or history.
//!
//! The next state follows from the last reported one and from what the cluster holds, so that a step that was not
//! reported is simply taken again.

use std::time::Duration;

use catnap_crds::{FunctionStatus, RevisionState, RevisionStatus, TrafficStatus};
use k8s_openapi::jiff::Timestamp;

use crate::{Facts, Failure, Finality, ValidatedFunction, condition};

/// How long a new revision may fail, while another one serves, before it is given up.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// Where every revision is, and where requests go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Revisions that have, or may have, replicas.
    pub revisions: Vec<RevisionStatus>,
    /// Where requests go.
    pub traffic: Vec<TrafficStatus>,
    /// The youngest revision that proved itself.
    pub latest_ready: Option<String>,
    /// Whether the current revision failed its proof and is not tried again before the next edit.
    pub rejected: bool,
    /// When time alone may change something.
    pub next_look: Option<Timestamp>,
}

impl Plan {
    /// Where the revision `name` is.
    pub fn state(&self, name: &str) -> Option<RevisionState> {
        state(&self.revisions, name)
    }
}

/// The state of all revisions at `now`.
pub fn advance(function: &ValidatedFunction, now: Timestamp) -> Plan {
    let previous = &function.previous;
    let mut plan = Plan {
        revisions: previous.revisions.clone(),
        latest_ready: previous.latest_ready_revision.clone(),
        ..Plan::default()
    };
    if let Ok(current) = &function.current {
        let name = &current.name;
        for other in plan.revisions.iter_mut().filter(|revision| revision.name != *name) {
            if other.state == RevisionState::Proving {
                other.state = RevisionState::Retiring;
            }
        }
        plan.rejected = was_rejected(previous, function.generation, name);
        if !plan.rejected {
            start_proof(function, &mut plan, name);
        }
        if plan.state(name) == Some(RevisionState::Proving) {
            judge_proof(function, &mut plan, name, now);
        }
    }
    adopt_forgotten(function, &mut plan);
    for revision in &mut plan.revisions {
        if let Some(facts) = function.facts.get(&revision.name).filter(|facts| !facts.image_ids.is_empty()) {
            revision.image_ids.clone_from(&facts.image_ids);
        }
    }
    plan.revisions.retain(|revision| {
        let facts = function.facts.get(&revision.name);
        // Until it was reported that it takes no traffic any more, somebody may still wake it.
        let told = state(&previous.revisions, &revision.name) != Some(RevisionState::Routed);
        revision.state != RevisionState::Retiring || !told || facts.is_some_and(|facts| !facts.is_empty())
    });
    plan.traffic = plan
        .revisions
        .iter()
        .filter(|revision| revision.state == RevisionState::Routed)
        .map(|revision| TrafficStatus { revision: revision.name.clone(), percent: 100, latest: true })
        .collect();
    plan
}

/// What the last status remembers: this very spec failed while another revision served, and still does.
fn was_rejected(previous: &FunctionStatus, generation: i64, name: &str) -> bool {
    let state = state(&previous.revisions, name);
    let failed = condition::find(&previous.conditions, condition::REVISION_READY)
        .is_some_and(|it| it.status == "False" && it.observed_generation == Some(generation));
    failed
        && previous.latest_created_revision.as_deref() == Some(name)
        && matches!(state, None | Some(RevisionState::Retiring))
        && previous.revisions.iter().any(|revision| revision.state == RevisionState::Routed)
}

fn start_proof(function: &ValidatedFunction, plan: &mut Plan, name: &str) {
    match plan.revisions.iter_mut().find(|revision| revision.name == name) {
        Some(revision) if revision.state == RevisionState::Retiring => {
            revision.state = RevisionState::Proving;
        }
        Some(_) => {}
        None => plan.revisions.extend(entry(function, name, RevisionState::Proving)),
    }
}

fn judge_proof(function: &ValidatedFunction, plan: &mut Plan, name: &str, now: Timestamp) {
    let nothing = Facts::default();
    let facts = function.facts.get(name).unwrap_or(&nothing);
    if facts.ready >= function.spec.scale.proof_replicas() {
        for revision in &mut plan.revisions {
            if revision.name == name {
                revision.state = RevisionState::Routed;
            } else if revision.state == RevisionState::Routed {
                revision.state = RevisionState::Retiring;
            }
        }
        plan.latest_ready = Some(name.to_owned());
        return;
    }
    let Some(failure) = &facts.failure else { return };
    plan.next_look = failure.patience_ends().filter(|end| *end > now);
    let another_serves = plan.revisions.iter().any(|revision| revision.state == RevisionState::Routed);
    if !another_serves || failure.problem(now).finality == Finality::Passing {
        return;
    }
    let since = failing_since(&function.previous, function.generation, failure).unwrap_or(now);
    let Ok(give_up) = since.checked_add(GIVE_UP_AFTER) else { return };
    if give_up > now {
        plan.next_look = Some(give_up);
        return;
    }
    plan.rejected = true;
    for revision in plan.revisions.iter_mut().filter(|revision| revision.name == name) {
        revision.state = RevisionState::Retiring;
    }
}

/// Since when the status says that this spec is stalled by such a failure.
fn failing_since(previous: &FunctionStatus, generation: i64, failure: &Failure) -> Option<Timestamp> {
    let stalled = condition::find(&previous.conditions, condition::STALLED)?;
    let same = stalled.status == "True"
        && stalled.observed_generation == Some(generation)
        && stalled.reason == failure.reason.as_str();
    same.then_some(stalled.last_transition_time.0)
}

/// A Deployment of ours that no status speaks of (a crash came between them) is taken to zero like any other.
fn adopt_forgotten(function: &ValidatedFunction, plan: &mut Plan) {
    for (name, facts) in &function.facts {
        if facts.wanted.is_some() && plan.state(name).is_none() {
            plan.revisions.extend(entry(function, name, RevisionState::Retiring));
        }
    }
}

fn entry(function: &ValidatedFunction, name: &str, state: RevisionState) -> Option<RevisionStatus> {
    function.records.get(name).map(|record| RevisionStatus {
        name: name.to_owned(),
        port: record.port,
        protocol: record.protocol,
        readiness_path: record.readiness_path.clone(),
        concurrency_limit: record.concurrency_limit,
        state,
        image_ids: Vec::new(),
    })
}

fn state(revisions: &[RevisionStatus], name: &str) -> Option<RevisionState> {
    revisions.iter().find(|revision| revision.name == name).map(|revision| revision.state)
}

#[cfg(test)]
mod tests;
