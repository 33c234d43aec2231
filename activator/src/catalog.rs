//! Functions and their pods put together: what the two watches saw becomes what the core is told.
//!
//! The watches are not ordered among each other, so a pod may be known before its Function, or before the revision's port.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use catnap_activator_core::{FunctionName, FunctionRoute, Pod, RevisionRoute};
use catnap_runtime::watch::Change;
use catnap_wire::{PodUid, RevisionId};

use crate::pods::{FunctionPod, Reach};
use crate::routes::Seen;

/// Something to tell the core, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    /// These are all the Functions there are.
    Functions(Vec<FunctionRoute>),
    /// A Function is new or different.
    Upsert(FunctionRoute),
    /// A Function is gone or going.
    Remove(FunctionName),
    /// These are all the pods of a revision.
    Pods(RevisionId, Vec<Pod>),
}

/// All Functions and function pods of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    functions: HashMap<FunctionName, Vec<RevisionId>>,
    /// The revisions of those Functions.
    reaches: HashMap<RevisionId, Reach>,
    pods: HashMap<PodUid, FunctionPod>,
    by_revision: HashMap<RevisionId, BTreeSet<PodUid>>,
}

impl Catalog {
    /// Takes in what the watch of Functions saw.
    pub(crate) fn functions_changed(&mut self, change: Change<Seen>) -> Vec<Update> {
        match change {
            Change::Listed(all) => {
                let before = std::mem::take(&mut self.reaches);
                self.functions.clear();
                let routes: Vec<_> = all.into_iter().filter_map(Seen::into_route).collect();
                let revisions: Vec<_> = routes.iter().flat_map(|route| self.insert_function(route)).collect();
                let changed =
                    revisions.iter().filter(|(revision, reach)| before.get(revision) != Some(reach));
                let pods: Vec<_> = changed.filter_map(|(revision, _)| self.pods_of(revision)).collect();
                let dropped = self.dropped(before.keys());
                std::iter::once(Update::Functions(routes)).chain(pods).chain(dropped).collect()
            }
            Change::Applied(Seen::Route(route)) => {
                let before = self.remove_function(&route.name);
                let revisions = self.insert_function(&route);
                let changed = revisions.iter().filter(|revision| !before.contains(revision));
                let pods: Vec<_> = changed.filter_map(|(revision, _)| self.pods_of(revision)).collect();
                let dropped = self.dropped(before.iter().map(|(revision, _)| revision));
                std::iter::once(Update::Upsert(*route)).chain(pods).chain(dropped).collect()
            }
            Change::Applied(Seen::Deleting(name)) | Change::Deleted(Seen::Deleting(name)) => {
                self.removed(name)
            }
            Change::Deleted(Seen::Route(route)) => self.removed(route.name),
        }
    }

    /// Takes in what the watch of pods saw.
    pub(crate) fn pods_changed(&mut self, change: Change<FunctionPod>) -> Vec<Update> {
        let mut changed = HashSet::new();
        match change {
            Change::Listed(all) => {
                changed.extend(self.by_revision.drain().map(|(revision, _)| revision));
                self.pods.clear();
                for pod in all {
                    self.insert(pod, &mut changed);
                }
            }
            Change::Applied(pod) => self.insert(pod, &mut changed),
            Change::Deleted(pod) => self.remove(&pod.uid, &mut changed),
        }
        changed.iter().filter_map(|revision| self.pods_of(revision)).collect()
    }

    fn removed(&mut self, name: FunctionName) -> Vec<Update> {
        let before = self.remove_function(&name);
        let dropped = self.dropped(before.iter().map(|(revision, _)| revision));
        std::iter::once(Update::Remove(name)).chain(dropped).collect()
    }

    /// Takes their pods from the revisions that no Function has any more: without a port, nothing that happens to those
    /// pods would be told.
    fn dropped<'revision>(&self, before: impl Iterator<Item = &'revision RevisionId>) -> Vec<Update> {
        let gone = before.filter(|revision| !self.reaches.contains_key(*revision));
        // The others have no pods that the core was told of.
        let told = gone.filter(|revision| self.by_revision.contains_key(*revision));
        told.map(|revision| Update::Pods(revision.clone(), Vec::new())).collect()
    }

    /// Gives the revisions it has now, and how their pods are reached.
    fn insert_function(&mut self, route: &FunctionRoute) -> Vec<(RevisionId, Reach)> {
        let id = |name: &Arc<str>| RevisionId {
            namespace: route.name.namespace.clone(),
            name: name.clone(),
            function_uid: route.uid.clone(),
        };
        let revisions: Vec<_> = route
            .revisions
            .iter()
            .map(|RevisionRoute { name, port, requires_ready, .. }| {
                (id(name), Reach { port: *port, requires_ready: *requires_ready })
            })
            .collect();
        self.reaches.extend(revisions.iter().cloned());
        self.functions
            .insert(route.name.clone(), revisions.iter().map(|(revision, _)| revision.clone()).collect());
        revisions
    }

    /// Gives the revisions it had, and how their pods were reached.
    fn remove_function(&mut self, name: &FunctionName) -> HashSet<(RevisionId, Reach)> {
        let revisions = self.functions.remove(name).unwrap_or_default();
        revisions.into_iter().filter_map(|revision| self.reaches.remove_entry(&revision)).collect()
    }

    fn insert(&mut self, pod: FunctionPod, changed: &mut HashSet<RevisionId>) {
        if self.pods.get(&pod.uid).is_some_and(|known| known.revision != pod.revision) {
            self.remove(&pod.uid, changed);
        }
        let Some(revision) = &pod.revision else { return };
        // Most updates of a pod's status change nothing that matters here.
        if self.pods.get(&pod.uid) != Some(&pod) {
            self.by_revision.entry(revision.clone()).or_default().insert(pod.uid.clone());
            changed.insert(revision.clone());
            self.pods.insert(pod.uid.clone(), pod);
        }
    }

    fn remove(&mut self, uid: &PodUid, changed: &mut HashSet<RevisionId>) {
        let Some(revision) = self.pods.remove(uid).and_then(|pod| pod.revision) else { return };
        if let Some(uids) = self.by_revision.get_mut(&revision) {
            uids.remove(uid);
            if uids.is_empty() {
                self.by_revision.remove(&revision);
            }
        }
        changed.insert(revision);
    }

    /// All pods of a revision of a live Function; `None` when there is no such revision (yet).
    fn pods_of(&self, revision: &RevisionId) -> Option<Update> {
        let reach = *self.reaches.get(revision)?;
        let uids = self.by_revision.get(revision).into_iter().flatten();
        let pods = uids.filter_map(|uid| self.pods.get(uid)).map(|pod| pod.reached(reach)).collect();
        Some(Update::Pods(revision.clone(), pods))
    }
}

#[cfg(test)]
mod tests;
