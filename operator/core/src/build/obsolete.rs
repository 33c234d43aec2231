//! The revisions that a Function no longer needs: each object is deleted only as the object that was looked at.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Obsolete;
use crate::{Facts, Ownership, Plan, ValidatedFunction};

/// Empty Deployments, and history beyond its limit.
pub(super) fn obsolete(function: &ValidatedFunction, plan: &Plan) -> Vec<Obsolete> {
    let (observed, spec) = (&function.observed, &function.spec);
    let mine = |metadata: &ObjectMeta| {
        let ours =
            function.owner.ownership(metadata) == Ownership::Ours && metadata.deletion_timestamp.is_none();
        ours.then(|| (metadata.name.clone().unwrap_or_default(), metadata.uid.clone().unwrap_or_default()))
    };
    let deployments = observed.deployments.iter().filter_map(|deployment| {
        let (name, uid) = mine(&deployment.metadata)?;
        let empty = function.facts.get(&name).is_some_and(Facts::is_empty);
        if !empty && plan.superseded.contains(&name) {
            return Some(Obsolete::Superseded { name, uid });
        }
        let resource_version = deployment.metadata.resource_version.clone().unwrap_or_default();
        (empty && plan.state(&name).is_none()).then_some(Obsolete::Deployment { name, uid, resource_version })
    });
    let mut history: Vec<_> = observed
        .controller_revisions
        .iter()
        .filter_map(|stored| mine(&stored.metadata).map(|(name, uid)| (stored.revision, name, uid)))
        .filter(|(_, name, _)| {
            let current = function.current.as_ref().is_ok_and(|current| current.name == *name);
            let named = spec.traffic.iter().any(|target| target.revision.as_ref() == Some(name));
            let latest = plan.latest_ready.as_ref() == Some(name);
            !(current || named || latest) && plan.state(name).is_none()
        })
        .collect();
    history.sort_by(|left, right| right.cmp(left));
    let kept = usize::try_from(spec.revision_history_limit).unwrap_or_default();
    let history =
        history.into_iter().skip(kept).map(|(_, name, uid)| Obsolete::ControllerRevision { name, uid });
    deployments.chain(history).collect()
}
