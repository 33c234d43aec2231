//! The proof of a revision: as many ready replicas as `scale.initial` says, before it takes a request.

use std::time::Duration;

use catnap_crds::{FunctionStatus, RevisionState, RevisionStatus};
use k8s_openapi::jiff::Timestamp;

use super::{Plan, state};
use crate::{Facts, Failure, Finality, Problem, Reason, Scope, ValidatedFunction, condition};

/// How long a new revision may fail, while another one serves, before it is given up.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// Whether a look at a Function with this last status starts the proof of `name`; `initial` is `scale.initial`.
pub fn starts_proof(
    previous: &FunctionStatus,
    generation: i64,
    retry: Option<&str>,
    initial: i32,
    name: &str,
) -> bool {
    let under_way =
        matches!(state(&previous.revisions, name), Some(RevisionState::Proving | RevisionState::Routed));
    initial > 0
        && !under_way
        && previous.latest_ready_revision.as_deref() != Some(name)
        && !was_rejected(previous, generation, retry, name)
}

/// What the last status remembers: this very spec failed while another revision served, still does, and nobody asked for another
/// try.
pub(super) fn was_rejected(
    previous: &FunctionStatus,
    generation: i64,
    retry: Option<&str>,
    name: &str,
) -> bool {
    // It may be routed all the same, where spec.traffic names it.
    let tried = state(&previous.revisions, name) == Some(RevisionState::Proving)
        || previous.latest_ready_revision.as_deref() == Some(name)
        || previous.rollout.as_ref().is_some_and(|rollout| rollout.to == name);
    let failed = condition::find(&previous.conditions, condition::REVISION_READY)
        .is_some_and(|it| it.status == "False" && it.observed_generation == Some(generation));
    let again = retry.is_some() && retry != previous.retry.as_deref();
    let serves = |revision: &RevisionStatus| revision.state == RevisionState::Routed && revision.name != name;
    failed
        && !again
        && !tried
        && previous.latest_created_revision.as_deref() == Some(name)
        && previous.revisions.iter().any(serves)
}

/// Whether a revision of the Function is at its proof and nothing is known to keep it from getting ready. One that is known to
/// fail goes on trying, but nobody else waits for that.
pub fn is_proving(status: &FunctionStatus) -> bool {
    let reason = |type_| {
        let said = condition::find(&status.conditions, type_).filter(|said| said.status != "True")?;
        Reason::from_name(&said.reason)
    };
    let fails = |revision: &RevisionStatus| {
        if status.latest_created_revision.as_ref() == Some(&revision.name) {
            let waits = [Reason::WaitingForProof, Reason::RolloutWaiting];
            reason(condition::REVISION_READY).is_some_and(|reason| !waits.contains(&reason))
        } else {
            // There it is told of those that spec.traffic names, and of much that has nothing to do with a proof.
            reason(condition::ROUTES_READY).is_some_and(Reason::is_of_pods)
        }
    };
    let mut proving = status.revisions.iter().filter(|it| it.state == RevisionState::Proving);
    proving.any(|revision| !fails(revision))
}

/// Makes `name` one that proves itself, if it does nothing yet.
pub(super) fn start(function: &ValidatedFunction, plan: &mut Plan, name: &str) {
    match plan.revisions.iter_mut().find(|revision| revision.name == name) {
        Some(revision) if revision.state == RevisionState::Retiring => {
            revision.state = RevisionState::Proving;
        }
        Some(_) => {}
        None => plan.revisions.extend(entry(function, name, RevisionState::Proving)),
    }
}

/// Starts the proof of the current revision, unless too many others are at theirs.
pub(super) fn start_in_turn(function: &ValidatedFunction, plan: &mut Plan, name: &str) {
    let at_it = matches!(plan.state(name), Some(RevisionState::Proving | RevisionState::Routed));
    if function.cluster.proof_waits && !at_it && function.spec.scale.proof_replicas() > 0 {
        let message = format!(
            "revision {name} waits for its turn: as many new revisions as may prove themselves at once are doing so"
        );
        plan.problems.push(Problem::passing(Reason::WaitingForProof, Scope::Revision, message));
    } else {
        start(function, plan, name);
    }
}

/// Whether as many replicas of `name` are ready as prove it.
pub(super) fn is_ready(function: &ValidatedFunction, name: &str) -> bool {
    facts(function, name).ready >= function.spec.scale.proof_replicas()
}

/// Gives the unproven current revision up once it has failed for long enough while another one serves.
pub(super) fn judge(function: &ValidatedFunction, plan: &mut Plan, name: &str, now: Timestamp) {
    let Some(failure) = &facts(function, name).failure else { return };
    plan.look_at(failure.patience_ends().filter(|end| *end > now));
    let serves = |revision: &RevisionStatus| revision.state == RevisionState::Routed && revision.name != name;
    if !plan.revisions.iter().any(serves) || failure.problem(now).finality == Finality::Passing {
        return;
    }
    let since = failing_since(&function.previous, function.generation, failure).unwrap_or(now);
    let Ok(give_up) = since.checked_add(GIVE_UP_AFTER) else { return };
    if give_up > now {
        plan.look_at(Some(give_up));
    } else {
        reject(plan, name);
    }
}

/// `name` is not tried again before the next edit, or until somebody asks for it.
pub(super) fn reject(plan: &mut Plan, name: &str) {
    plan.rejected = true;
    for revision in plan.revisions.iter_mut().filter(|revision| revision.name == name) {
        revision.state = RevisionState::Retiring;
    }
}

/// Since when the status says that the revision of this spec has such a failure. That the Function is stalled may have another
/// cause, and a longer one.
fn failing_since(previous: &FunctionStatus, generation: i64, failure: &Failure) -> Option<Timestamp> {
    let said = condition::find(&previous.conditions, condition::REVISION_READY)?;
    let same = said.status == "False"
        && said.observed_generation == Some(generation)
        && said.reason == failure.reason.as_str();
    same.then_some(said.last_transition_time.0)
}

pub(super) fn facts<'a>(function: &'a ValidatedFunction, name: &str) -> &'a Facts {
    const NOTHING: &Facts = &Facts {
        wanted: None,
        replicas: 0,
        pods: 0,
        ready: 0,
        image_ids: Vec::new(),
        failure: None,
        slow_at: None,
    };
    function.facts.get(name).unwrap_or(NOTHING)
}

pub(super) fn entry(
    function: &ValidatedFunction,
    name: &str,
    state: RevisionState,
) -> Option<RevisionStatus> {
    function.records.get(name).map(|record| RevisionStatus {
        name: name.to_owned(),
        port: record.port,
        protocol: record.protocol,
        readiness_path: record.readiness_path.clone(),
        concurrency_limit: record.concurrency_limit,
        requires_ready: record.requires_ready,
        state,
        fresh: state == RevisionState::Proving,
        image_ids: Vec::new(),
    })
}
