//! The Deployments of the revisions that are proving or routed, rendered from their records alone.

use catnap_crds::{RevisionState, RevisionStatus, labels};
use serde_json::json;

use crate::{Owner, Plan, RawDeployment, RevisionRecord, ValidatedFunction, build::DeploymentResource};

pub(super) fn deployments(function: &ValidatedFunction, plan: &Plan) -> Vec<DeploymentResource> {
    let shares = plan.shares();
    let kept = plan.revisions.iter().filter_map(|revision| {
        let (settled, coming) =
            (shares.settled_percent(&revision.name), shares.coming_percent(&revision.name));
        let scale = function.spec.scale.of_parts(settled, coming);
        // One that was deleted by somebody comes back at its floor; the autoscaler knows the rest.
        let before = |it: &RevisionStatus| it.name == revision.name && it.state == RevisionState::Routed;
        let routed_before = function.previous.revisions.iter().any(before);
        let replicas_when_created = match revision.state {
            RevisionState::Routed if routed_before => scale.min,
            // Routed only in this very step: `initial: 0`.
            RevisionState::Proving | RevisionState::Routed => scale.initial_replicas(),
            RevisionState::Retiring => return None,
        };
        Some((revision, replicas_when_created))
    });
    kept.filter_map(|(revision, replicas_when_created)| {
        let record = function.records.get(&revision.name)?;
        Some(DeploymentResource {
            deployment: deployment(&function.owner, &revision.name, record),
            replicas_when_created,
        })
    })
    .collect()
}

fn deployment(owner: &Owner, name: &str, record: &RevisionRecord) -> RawDeployment {
    let spec = json!({
        "revisionHistoryLimit": 1,
        "selector": {"matchLabels": {labels::FUNCTION: owner.name, labels::REVISION: name}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
        "template": record.template,
    });
    RawDeployment::new(owner.child_metadata(name, Some(name)), spec)
}
