//! Everything known about one revision name in one namespace, whoever owns it, and what the leader is told of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use catnap_autoscaler_core::{Leader, PodFact, Policy, ScaleFact, Stage};
use catnap_wire::{PodUid, RevisionId};

use super::fact::{Deployment, FunctionPod, ReplicaSet, RevisionKey};

/// The revision as its Function's status has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owner {
    pub(super) id: RevisionId,
    pub(super) policy: Policy,
    pub(super) stage: Stage,
}

/// Objects of one name. Those of another Function of the same name, deleted since, may still be among them.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) owner: Option<Owner>,
    deployment: Option<Deployment>,
    replica_sets: HashMap<Arc<str>, ReplicaSet>,
    pods: HashMap<PodUid, FunctionPod>,
}

impl Slot {
    pub(super) fn is_empty(&self) -> bool {
        self.owner.is_none()
            && self.deployment.is_none()
            && self.replica_sets.is_empty()
            && self.pods.is_empty()
    }

    pub(super) fn scale(&self, id: &RevisionId) -> Option<ScaleFact> {
        let deployment = self.deployment.as_ref()?;
        if deployment.function_uid.as_ref() != Some(&id.function_uid) {
            return None;
        }
        let own =
            || self.replica_sets.values().filter(|set| set.deployment_uid.as_ref() == Some(&deployment.uid));
        let asked: u32 = own().map(|set| set.replicas).sum();
        let acted = own().next().is_some() && own().all(|set| set.observed) && asked == deployment.replicas;
        Some(ScaleFact {
            replicas: deployment.replicas,
            resource_version: Arc::clone(&deployment.resource_version),
            observed: deployment.observed && acted,
            one_replica_set: own().filter(|set| set.active).count() == 1,
        })
    }

    /// The name of a pod.
    pub(super) fn pod_name(&self, uid: &PodUid) -> Option<&Arc<str>> {
        self.pods.get(uid).map(|pod| &pod.name)
    }

    pub(super) fn pods(&self, id: &RevisionId) -> Vec<PodFact> {
        let own = self.pods.values().filter(|pod| pod.function_uid == id.function_uid && pod.counts);
        let mut pods: Vec<_> = own.map(|pod| pod.fact.clone()).collect();
        pods.sort_by(|one, other| one.uid.cmp(&other.uid));
        pods
    }

    pub(super) fn tell_scale(&self, leader: &mut Leader, now: Duration) {
        if let Some(owner) = &self.owner {
            leader.set_scale(&owner.id, self.scale(&owner.id), now);
        }
    }

    pub(super) fn tell_pods(&self, leader: &mut Leader, now: Duration) {
        if let Some(owner) = &self.owner {
            leader.set_pods(&owner.id, self.pods(&owner.id), now);
        }
    }

    pub(super) fn tell_all(&self, leader: &mut Leader, now: Duration) {
        if let Some(Owner { id, policy, stage }) = &self.owner {
            leader.upsert_revision(id, policy.clone(), *stage, now);
            self.tell_scale(leader, now);
            self.tell_pods(leader, now);
        }
    }
}

/// An object that belongs to a revision by name.
pub(super) trait Child {
    fn key(&self) -> &RevisionKey;
    fn put(self, slot: &mut Slot);
    fn remove(&self, slot: &mut Slot);
    /// Removes all of this kind; true when there were any.
    fn clear(slot: &mut Slot) -> bool;
}

impl Child for Deployment {
    fn key(&self) -> &RevisionKey {
        &self.key
    }

    fn put(self, slot: &mut Slot) {
        slot.deployment = Some(self);
    }

    fn remove(&self, slot: &mut Slot) {
        slot.deployment.take_if(|known| known.uid == self.uid);
    }

    fn clear(slot: &mut Slot) -> bool {
        slot.deployment.take().is_some()
    }
}

impl Child for ReplicaSet {
    fn key(&self) -> &RevisionKey {
        &self.key
    }

    fn put(self, slot: &mut Slot) {
        slot.replica_sets.insert(Arc::clone(&self.uid), self);
    }

    fn remove(&self, slot: &mut Slot) {
        slot.replica_sets.remove(&self.uid);
    }

    fn clear(slot: &mut Slot) -> bool {
        !std::mem::take(&mut slot.replica_sets).is_empty()
    }
}

impl Child for FunctionPod {
    fn key(&self) -> &RevisionKey {
        &self.key
    }

    fn put(self, slot: &mut Slot) {
        slot.pods.insert(Arc::clone(&self.fact.uid), self);
    }

    fn remove(&self, slot: &mut Slot) {
        slot.pods.remove(&self.fact.uid);
    }

    fn clear(slot: &mut Slot) -> bool {
        !std::mem::take(&mut slot.pods).is_empty()
    }
}
