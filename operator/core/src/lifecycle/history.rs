//! Which revisions still have replicas, and how those leave that need none any more.

use std::collections::BTreeSet;

use catnap_crds::RevisionState;

use super::{Plan, proof, state};
use crate::{Facts, ValidatedFunction};

/// Gives every revision its state: what takes requests, or is about to, is routed, those of `proving` go on, and the rest leaves.
pub(super) fn settle(function: &ValidatedFunction, plan: &mut Plan, proving: &BTreeSet<String>) {
    let routed: BTreeSet<_> = plan.traffic.iter().map(|share| share.revision.clone()).collect();
    let rollout = plan.rollout.as_ref();
    // The one that gave its share away may get it back, and the other one grows for its first.
    let rolled = |name: &str| rollout.is_some_and(|it| it.from == name || it.to == name);
    // One that failed may go on for a while, for who wants to see why.
    let rejected = function.current.as_ref().ok().filter(|_| plan.rejected).map(|current| &current.name);
    let before = |name: &String| state(&function.previous.revisions, name).filter(|_| rejected != Some(name));
    let mut superseded = Vec::new();
    for revision in &mut plan.revisions {
        revision.state = match revision.state {
            _ if routed.contains(&revision.name) || rolled(&revision.name) => RevisionState::Routed,
            RevisionState::Proving | RevisionState::Routed if proving.contains(&revision.name) => {
                RevisionState::Proving
            }
            _ => RevisionState::Retiring,
        };
        match revision.state {
            RevisionState::Routed => revision.fresh = false,
            RevisionState::Retiring
                if revision.fresh && before(&revision.name) == Some(RevisionState::Proving) =>
            {
                superseded.push(revision.name.clone());
            }
            RevisionState::Proving | RevisionState::Retiring => {}
        }
    }
    plan.revisions.retain(|revision| !superseded.contains(&revision.name));
    plan.superseded = superseded;
    adopt_forgotten(function, plan);
    for revision in &mut plan.revisions {
        if let Some(facts) = function.facts.get(&revision.name).filter(|facts| !facts.image_ids.is_empty()) {
            revision.image_ids.clone_from(&facts.image_ids);
        }
    }
    let previous = &function.previous.revisions;
    plan.revisions.retain(|revision| {
        let facts = function.facts.get(&revision.name);
        // Until it was reported that it takes no traffic any more, somebody may still wake it.
        let told = state(previous, &revision.name) != Some(RevisionState::Routed);
        revision.state != RevisionState::Retiring || !told || facts.is_some_and(|facts| !facts.is_empty())
    });
}

/// Deployments of ours that no status speaks of: a crash, or an edit that was faster than the status, came between them. None
/// of them ever took a request, unless the status itself was lost.
fn adopt_forgotten(function: &ValidatedFunction, plan: &mut Plan) {
    let status_lost = function.previous.revisions.is_empty();
    let forgotten = |(name, facts): (&String, &Facts)| (facts.wanted.is_some()).then(|| name.clone());
    for name in function.facts.iter().filter_map(forgotten) {
        if plan.state(&name).is_some() || plan.superseded.contains(&name) {
            continue;
        }
        if status_lost {
            plan.revisions.extend(proof::entry(function, &name, RevisionState::Retiring));
        } else {
            plan.superseded.push(name);
        }
    }
}
