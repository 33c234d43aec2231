//! Kubernetes objects trimmed to the few fields that the autoscaler decides by.
//!
//! An object that lacks what it needs (a UID, the revision's label) gives no fact: it is not one of ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use catnap_autoscaler_api::policy;
use catnap_autoscaler_core::{OpenSchedule, PodFact, Policy, Shift, Stage};
use catnap_crds::{
    Function as FunctionObject, FunctionStatus, PodOwner, RevisionState, RevisionStatus, Scale, Schedule,
    labels, part,
};
use catnap_wire::{PodUid, RevisionId};
use k8s_openapi::api::apps::v1::{Deployment as DeploymentObject, ReplicaSet as ReplicaSetObject};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// By this annotation the ReplicaSet controller chooses among pods that are Ready (KEP 2255).
pub(crate) const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// The least that there is: no pod goes before one that has it.
pub(crate) const FIRST_TO_GO: &str = "-2147483648";

/// Namespace and name of a revision, whoever owns it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RevisionKey {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl RevisionKey {
    pub(crate) fn of(id: &RevisionId) -> Self {
        Self { namespace: Arc::clone(&id.namespace), name: Arc::clone(&id.name) }
    }

    fn of_labelled(metadata: &ObjectMeta) -> Option<Self> {
        Some(Self {
            namespace: metadata.namespace.as_deref()?.into(),
            name: label(metadata, labels::REVISION)?.as_str().into(),
        })
    }
}

/// A Function and its revisions that may have replicas.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Function {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) uid: Arc<str>,
    pub(crate) revisions: Vec<Revision>,
    /// As the spec has them; when they are open, [`super::schedules`] knows.
    pub(crate) schedules: Vec<Schedule>,
}

/// One revision in a Function's status.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Revision {
    pub(crate) name: Arc<str>,
    pub(crate) policy: Policy,
    pub(crate) stage: Stage,
    /// Percent of the Function's requests that it takes or is to take: what of the Function's floors is its own.
    pub(crate) percent: i32,
}

impl Function {
    /// One that is being deleted has no revisions any more: nothing is decided for it.
    pub(crate) fn of(object: &FunctionObject) -> Option<Self> {
        let metadata = &object.metadata;
        let status = object.status.as_ref().filter(|_| metadata.deletion_timestamp.is_none());
        let scale = &object.spec.scale;
        let revisions = status
            .into_iter()
            .flat_map(|status| status.revisions.iter().map(|revision| Revision::of(scale, status, revision)));
        Some(Self {
            namespace: metadata.namespace.as_deref()?.into(),
            name: metadata.name.as_deref()?.into(),
            uid: metadata.uid.as_deref()?.into(),
            revisions: revisions.collect(),
            schedules: scale.schedules.clone(),
        })
    }

    /// This schedule is open for its revisions, or none.
    pub(super) fn open(&mut self, schedule: Option<&OpenSchedule>) {
        for revision in &mut self.revisions {
            revision.policy.schedule = schedule.map(|OpenSchedule { name, min }| {
                let min = i32::try_from(*min).unwrap_or(i32::MAX);
                OpenSchedule { name: Arc::clone(name), min: count(part(min, revision.percent, 0)) }
            });
        }
    }

    pub(crate) fn id_of(&self, revision: &Arc<str>) -> RevisionId {
        RevisionId {
            namespace: Arc::clone(&self.namespace),
            name: Arc::clone(revision),
            function_uid: Arc::clone(&self.uid),
        }
    }
}

impl Revision {
    fn of(scale: &Scale, status: &FunctionStatus, revision: &RevisionStatus) -> Self {
        let stage = match revision.state {
            RevisionState::Proving => Stage::Proving,
            RevisionState::Routed => Stage::Routed,
            RevisionState::Retiring => Stage::Retiring,
        };
        let percent = status.settled_percent(&revision.name);
        let own = scale.of_parts(percent, status.coming_percent(&revision.name));
        let mut policy = policy(&own, revision.concurrency_limit);
        policy.shift = status.rollout.as_ref().filter(|_| stage == Stage::Routed).map(|rollout| {
            let now = share(status, &revision.name);
            let waits = rollout.to == revision.name && rollout.coming_percent > now;
            Shift { percent: count(now), awaited: if waits { count(rollout.coming_replicas) } else { 0 } }
        });
        Self { name: revision.name.as_str().into(), policy, stage, percent }
    }
}

/// Percent of the requests that a revision takes now.
fn share(status: &FunctionStatus, revision: &str) -> i32 {
    status.traffic.iter().filter(|share| share.revision == revision).map(|share| share.percent).sum()
}

/// A Deployment of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deployment {
    pub(crate) key: RevisionKey,
    pub(crate) uid: Arc<str>,
    /// UID of the Function that controls it.
    pub(crate) function_uid: Option<Arc<str>>,
    pub(crate) replicas: u32,
    pub(crate) resource_version: Arc<str>,
    /// The Deployment controller has acted on the current spec.
    pub(crate) observed: bool,
}

impl Deployment {
    pub(crate) fn of(object: &DeploymentObject) -> Option<Self> {
        let metadata = &object.metadata;
        let observed = object.status.as_ref().and_then(|status| status.observed_generation);
        Some(Self {
            // By its own name, which is the revision's, and not by a label that somebody may have edited.
            key: RevisionKey {
                namespace: metadata.namespace.as_deref()?.into(),
                name: metadata.name.as_deref()?.into(),
            },
            uid: metadata.uid.as_deref()?.into(),
            function_uid: controller(metadata, "Function").map(|owner| owner.uid.as_str().into()),
            // The API server fills in 1 where nobody said anything.
            replicas: object.spec.as_ref().and_then(|spec| spec.replicas).map_or(1, count),
            resource_version: metadata.resource_version.as_deref()?.into(),
            observed: observed >= metadata.generation,
        })
    }
}

/// A ReplicaSet of a revision's Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaSet {
    pub(crate) key: RevisionKey,
    pub(crate) uid: Arc<str>,
    pub(crate) deployment_uid: Option<Arc<str>>,
    pub(crate) replicas: u32,
    /// It has pods, or is to have some.
    pub(crate) active: bool,
    /// The ReplicaSet controller has acted on the current spec.
    pub(crate) observed: bool,
}

impl ReplicaSet {
    pub(crate) fn of(object: &ReplicaSetObject) -> Option<Self> {
        let metadata = &object.metadata;
        let observed = object.status.as_ref().and_then(|status| status.observed_generation);
        let replicas = object.spec.as_ref().and_then(|spec| spec.replicas).map_or(1, count);
        let pods = object.status.as_ref().map_or(0, |status| status.replicas);
        Some(Self {
            key: RevisionKey::of_labelled(metadata)?,
            uid: metadata.uid.as_deref()?.into(),
            deployment_uid: controller(metadata, "Deployment").map(|owner| owner.uid.as_str().into()),
            replicas,
            active: replicas > 0 || pods > 0,
            observed: observed >= metadata.generation,
        })
    }
}

/// A pod that is labelled as a revision's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FunctionPod {
    pub(crate) key: RevisionKey,
    pub(crate) function_uid: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) fact: PodFact,
    /// It is one of the revision's replicas. Not so when it Succeeded or Failed, because the ReplicaSet has replaced it,
    /// nor when no ReplicaSet of the revision made it: whoever may create pods in a namespace would keep its Functions
    /// from resting otherwise. It is kept all the same, since it may have counted before.
    pub(crate) counts: bool,
}

impl FunctionPod {
    pub(crate) fn of(object: &Pod) -> Option<Self> {
        let metadata = &object.metadata;
        let conditions = object.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let ready =
            conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let terminating = metadata.deletion_timestamp.is_some();
        Some(Self {
            key: RevisionKey::of_labelled(metadata)?,
            function_uid: label(metadata, labels::FUNCTION_UID)?.as_str().into(),
            name: metadata.name.as_deref()?.into(),
            fact: PodFact {
                uid: metadata.uid.as_deref()?.into(),
                terminating,
                ready,
                created: metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
                marked: annotation(metadata, DELETION_COST).is_some_and(|cost| cost == FIRST_TO_GO),
            },
            counts: PodOwner::of(metadata).is_some() && !has_ended(object),
        })
    }
}

/// A pod of an activator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Activator {
    pub(crate) uid: PodUid,
    /// It may hold or dispatch requests: it has an address and has not ended. Terminating ones still do.
    pub(crate) live: bool,
}

impl Activator {
    pub(crate) fn of(object: &Pod) -> Option<Self> {
        let has_address = object.status.as_ref().is_some_and(|status| status.pod_ip.is_some());
        Some(Self { uid: object.metadata.uid.as_deref()?.into(), live: has_address && !has_ended(object) })
    }
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn label<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a String> {
    metadata.labels.as_ref().and_then(|labels: &BTreeMap<_, _>| labels.get(name))
}

fn annotation<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a String> {
    metadata.annotations.as_ref().and_then(|annotations: &BTreeMap<_, _>| annotations.get(name))
}

fn controller<'a>(metadata: &'a ObjectMeta, kind: &str) -> Option<&'a OwnerReference> {
    let mut owners = metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true) && owner.kind == kind)
}

/// A count of the API; none of them is ever negative.
fn count(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}
