//! What the status says in numbers about the revisions that take requests.

use catnap_crds::RevisionState;

use crate::{Plan, ValidatedFunction};

/// Replicas of all routed revisions.
pub(super) fn replicas(function: &ValidatedFunction, plan: &Plan) -> i32 {
    let routed = plan.revisions.iter().filter(|revision| revision.state == RevisionState::Routed);
    routed.filter_map(|revision| function.facts.get(&revision.name)).map(|facts| facts.replicas).sum()
}
