//! Exchanges per pod: this activator's own, and those of the others as far as they count here.
//!
//! Kept by UID, because an owner also grants pods that its own watch does not show yet.

use catnap_wire::message::PodUid;
use catnap_wire::peer::OpenExchanges;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
struct Pod {
    own: u32,
    others: u32,
    /// Activators that can use it.
    wanted: u32,
}

impl Pod {
    fn load(&self) -> u32 {
        self.own.saturating_add(self.others)
    }

    fn is_nothing(&self) -> bool {
        self.load() == 0 && self.wanted == 0
    }
}

/// The counts, and which of the pods that others can use have the fewest.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pods: BTreeMap<PodUid, Pod>,
    /// The wanted ones.
    by_load: BTreeSet<(u32, PodUid)>,
    /// Pods whose count of the others is another one since they were taken last.
    changed: BTreeSet<PodUid>,
}

impl Counts {
    pub(super) fn opened(&mut self, uid: &PodUid) {
        self.update(uid, |pod| pod.own += 1);
    }

    pub(super) fn closed(&mut self, uid: &PodUid) {
        self.update(uid, |pod| pod.own = pod.own.saturating_sub(1));
    }

    /// `open` more of the others.
    pub(super) fn add(&mut self, uid: &PodUid, open: u32) {
        self.changed.insert(PodUid::clone(uid));
        self.update(uid, |pod| pod.others = pod.others.saturating_add(open));
    }

    /// `open` fewer of the others.
    pub(super) fn subtract(&mut self, uid: &PodUid, open: u32) {
        self.changed.insert(PodUid::clone(uid));
        self.update(uid, |pod| pod.others = pod.others.saturating_sub(open));
    }

    pub(super) fn wanted(&mut self, uid: &PodUid) {
        self.update(uid, |pod| pod.wanted += 1);
    }

    pub(super) fn unwanted(&mut self, uid: &PodUid) {
        self.update(uid, |pod| pod.wanted = pod.wanted.saturating_sub(1));
    }

    /// Exchanges of the others.
    pub(super) fn others(&self, uid: &PodUid) -> u32 {
        self.pods.get(uid).map_or(0, |pod| pod.others)
    }

    /// This activator's own.
    pub(super) fn own(&self) -> Vec<OpenExchanges> {
        let open = self.pods.iter().filter(|(_, pod)| pod.own > 0);
        open.map(|(uid, pod)| OpenExchanges { pod: PodUid::clone(uid), count: pod.own }).collect()
    }

    /// Nobody has anything open.
    pub(super) fn is_empty(&self) -> bool {
        self.pods.values().all(|pod| pod.load() == 0)
    }

    /// The pod with the fewest exchanges below `limit` among those that are `usable`.
    pub(super) fn choose(&self, limit: u32, usable: impl Fn(&PodUid) -> bool) -> Option<PodUid> {
        let free = self.by_load.iter().take_while(|(load, _)| *load < limit);
        free.map(|(_, uid)| uid).find(|uid| usable(uid)).cloned()
    }

    pub(super) fn take_changed(&mut self) -> BTreeSet<PodUid> {
        std::mem::take(&mut self.changed)
    }

    fn update(&mut self, uid: &PodUid, change: impl FnOnce(&mut Pod)) {
        let pod = self.pods.entry(PodUid::clone(uid)).or_default();
        let before = (pod.load(), pod.wanted > 0);
        change(pod);
        let after = (pod.load(), pod.wanted > 0);
        let nothing = pod.is_nothing();
        if before != after {
            if before.1 {
                self.by_load.remove(&(before.0, PodUid::clone(uid)));
            }
            if after.1 {
                self.by_load.insert((after.0, PodUid::clone(uid)));
            }
        }
        if nothing {
            self.pods.remove(uid);
        }
    }
}
