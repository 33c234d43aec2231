//! What the watches know of the cluster, trimmed to what the leader asks for, and how the leader is told.
//!
//! It outlives terms: a new leader is loaded from it. No I/O here; [`crate::watch`] feeds it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use catnap_autoscaler_core::Leader;
use catnap_runtime::watch::Change;
use catnap_wire::{PodUid, RevisionId};
use k8s_openapi::jiff::Timestamp;

pub(crate) mod fact;
mod schedules;
mod slot;

use fact::{Activator, Deployment, Function, FunctionPod, ReplicaSet, RevisionKey};
use schedules::Schedules;
use slot::{Child, Owner, Slot};

/// One change of one kind.
#[derive(Debug)]
pub(crate) enum ClusterChange {
    Functions(Change<Function>),
    Deployments(Change<Deployment>),
    ReplicaSets(Change<ReplicaSet>),
    Pods(Change<FunctionPod>),
    Activators(Change<Activator>),
}

/// The leader to tell about a change, when this process leads, and its time.
pub(crate) type Told<'a> = Option<(&'a mut Leader, Duration)>;

/// The mirror of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    functions: HashMap<Arc<str>, Function>,
    slots: HashMap<RevisionKey, Slot>,
    activators: HashSet<PodUid>,
    schedules: Schedules,
    /// Kinds whose watch has listed once, in the order of [`ClusterChange`].
    listed: [bool; 5],
}

impl Cluster {
    /// True once every watch has listed.
    pub(crate) fn is_synced(&self) -> bool {
        self.listed.iter().all(|listed| *listed)
    }

    /// True when `pod` is an activator that may hold or dispatch requests.
    pub(crate) fn is_activator(&self, pod: &str) -> bool {
        self.activators.contains(pod)
    }

    /// The Function of a revision.
    pub(crate) fn function(&self, revision: &RevisionId) -> Option<&Function> {
        self.functions.get(&revision.function_uid)
    }

    /// The revisions of the Function that is called so, as `namespace/name`, in the order of their names.
    pub(crate) fn revisions_of(&self, function: &str) -> Vec<RevisionId> {
        let Some((namespace, name)) = function.split_once('/') else { return Vec::new() };
        let is_asked_for = |known: &&Function| *known.name == *name && *known.namespace == *namespace;
        let found = self.functions.values().filter(is_asked_for);
        let ids = found.flat_map(|known| known.revisions.iter().map(|each| known.id_of(&each.name)));
        let mut ids: Vec<_> = ids.collect();
        ids.sort();
        ids
    }

    /// Name of a pod of a revision.
    pub(crate) fn pod_name(&self, revision: &RevisionId, pod: &PodUid) -> Option<&Arc<str>> {
        self.slots.get(&RevisionKey::of(revision))?.pod_name(pod)
    }

    /// Tells a new leader everything.
    pub(crate) fn load(&self, leader: &mut Leader, now: Duration) {
        for slot in self.slots.values() {
            slot.tell_all(leader, now);
        }
        leader.set_activators(&self.activators(), now);
    }

    /// Takes a change in, and tells the leader what follows from it.
    pub(crate) fn apply(&mut self, change: ClusterChange, told: Told<'_>) {
        match change {
            ClusterChange::Functions(change) => {
                self.note_listed(0, &change);
                self.apply_functions(change, told);
            }
            ClusterChange::Deployments(change) => {
                self.note_listed(1, &change);
                self.apply_children(change, told, Slot::tell_scale);
            }
            ClusterChange::ReplicaSets(change) => {
                self.note_listed(2, &change);
                self.apply_children(change, told, Slot::tell_scale);
            }
            ClusterChange::Pods(change) => {
                self.note_listed(3, &change);
                self.apply_children(change, told, Slot::tell_pods);
            }
            ClusterChange::Activators(change) => {
                self.note_listed(4, &change);
                self.apply_activators(change, told);
            }
        }
    }

    fn note_listed<T>(&mut self, kind: usize, change: &Change<T>) {
        self.listed[kind] |= matches!(change, Change::Listed(_));
    }

    fn apply_children<T: Child>(
        &mut self,
        change: Change<T>,
        told: Told<'_>,
        tell: fn(&Slot, &mut Leader, Duration),
    ) {
        let mut touched = HashSet::new();
        match change {
            Change::Applied(child) => {
                touched.insert(self.put(child));
            }
            Change::Listed(children) => {
                let had = self.slots.iter_mut().filter_map(|(key, slot)| T::clear(slot).then(|| key.clone()));
                touched.extend(had);
                for child in children {
                    touched.insert(self.put(child));
                }
            }
            Change::Deleted(child) => {
                if let Some(slot) = self.slots.get_mut(child.key()) {
                    child.remove(slot);
                    touched.insert(child.key().clone());
                }
            }
        }
        if let Some((leader, now)) = told {
            for slot in touched.iter().filter_map(|key| self.slots.get(key)) {
                tell(slot, leader, now);
            }
        }
        self.forget_empty(&touched);
    }

    fn put<T: Child>(&mut self, child: T) -> RevisionKey {
        let key = child.key().clone();
        child.put(self.slots.entry(key.clone()).or_default());
        key
    }

    fn apply_functions(&mut self, change: Change<Function>, mut told: Told<'_>) {
        match change {
            Change::Applied(function) => self.put_function(function, &mut told),
            Change::Deleted(function) => self.remove_function(&function.uid, &mut told),
            Change::Listed(functions) => {
                let listed: HashSet<_> = functions.iter().map(|function| Arc::clone(&function.uid)).collect();
                let gone: Vec<_> =
                    self.functions.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
                for uid in gone {
                    self.remove_function(&uid, &mut told);
                }
                for function in functions {
                    self.put_function(function, &mut told);
                }
            }
        }
    }

    /// Opens and closes schedules by the wall clock, which may go anywhere.
    pub(crate) fn advance(&mut self, wall: Timestamp, mut told: Told<'_>) {
        for (uid, open) in self.schedules.advance(wall) {
            if let Some(mut function) = self.functions.get(&uid).cloned() {
                function.open(open.as_ref());
                self.own(function, &mut told);
            }
        }
    }

    fn put_function(&mut self, mut function: Function, told: &mut Told<'_>) {
        let open = self.schedules.put(&function.uid, &function.schedules);
        function.open(open.as_ref());
        self.own(function, told);
    }

    /// Every revision of it belongs to it from now on, and none other does.
    fn own(&mut self, function: Function, told: &mut Told<'_>) {
        let known = self.functions.get(&function.uid);
        let gone: Vec<_> = known
            .into_iter()
            .flat_map(|known| &known.revisions)
            .filter(|old| function.revisions.iter().all(|new| new.name != old.name))
            .map(|old| Arc::clone(&old.name))
            .collect();
        for name in gone {
            self.disown(&function.id_of(&name), told);
        }
        for revision in &function.revisions {
            let owner = Owner {
                id: function.id_of(&revision.name),
                policy: revision.policy.clone(),
                stage: revision.stage,
            };
            let key = RevisionKey::of(&owner.id);
            let slot = self.slots.entry(key).or_default();
            if slot.owner.as_ref() == Some(&owner) {
                continue;
            }
            let before = slot.owner.replace(owner);
            if let Some((leader, now)) = told {
                if let Some(before) = before.filter(|before| before.id.function_uid != function.uid) {
                    leader.remove_revision(&before.id, *now);
                }
                slot.tell_all(leader, *now);
            }
        }
        self.functions.insert(Arc::clone(&function.uid), function);
    }

    fn remove_function(&mut self, uid: &str, told: &mut Told<'_>) {
        self.schedules.remove(uid);
        if let Some(function) = self.functions.remove(uid) {
            for revision in &function.revisions {
                self.disown(&function.id_of(&revision.name), told);
            }
        }
    }

    fn disown(&mut self, id: &RevisionId, told: &mut Told<'_>) {
        let key = RevisionKey::of(id);
        let slot = self.slots.get_mut(&key);
        // A Function that was made again may own the name by now.
        if let Some(slot) = slot.filter(|slot| slot.owner.as_ref().is_some_and(|owner| owner.id == *id)) {
            slot.owner = None;
            if let Some((leader, now)) = told {
                leader.remove_revision(id, *now);
            }
            self.forget_empty(&HashSet::from([key]));
        }
    }

    fn apply_activators(&mut self, change: Change<Activator>, told: Told<'_>) {
        let before = self.activators.clone();
        let mut put = |activator: Activator| {
            if activator.live {
                self.activators.insert(activator.uid);
            } else {
                self.activators.remove(&activator.uid);
            }
        };
        match change {
            Change::Applied(activator) => put(activator),
            Change::Deleted(activator) => put(Activator { live: false, ..activator }),
            Change::Listed(activators) => {
                self.activators.clear();
                for activator in activators.into_iter().filter(|activator| activator.live) {
                    self.activators.insert(activator.uid);
                }
            }
        }
        if let Some((leader, now)) = told.filter(|_| self.activators != before) {
            leader.set_activators(&self.activators(), now);
        }
    }

    fn activators(&self) -> Vec<PodUid> {
        let mut activators: Vec<_> = self.activators.iter().cloned().collect();
        activators.sort();
        activators
    }

    fn forget_empty(&mut self, touched: &HashSet<RevisionKey>) {
        for key in touched {
            if self.slots.get(key).is_some_and(Slot::is_empty) {
                self.slots.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
