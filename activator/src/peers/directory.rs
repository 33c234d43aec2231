//! Activators put together from what two watches show: their pods and their Leases.
//!
//! The watches are not ordered among each other. A Lease counts only with its pod, and only at the pod's own address; it is
//! remembered for as long as the pod is there, whoever deletes it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use catnap_activator_core::{Member, PeerId};
use catnap_runtime::tls::Fingerprint;
use catnap_runtime::watch::Change;
use catnap_wire::PodUid;
use tokio::sync::{Notify, watch};

use super::lease::Advertisement;
use crate::members::Members;

/// Another activator that can be talked to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KnownPeer {
    /// Which start of which pod.
    pub(crate) id: PeerId,
    /// Its peer port.
    pub(crate) address: SocketAddr,
    /// The certificate that it must show.
    pub(crate) fingerprint: Fingerprint,
}

/// All others, as known at the moment.
#[derive(Clone, Debug)]
pub(crate) struct KnownPeers(watch::Receiver<Arc<[KnownPeer]>>);

impl KnownPeers {
    /// Whose certificate this is.
    pub(crate) fn by_fingerprint(&self, fingerprint: Fingerprint) -> Option<PeerId> {
        let known = self.0.borrow();
        known.iter().find(|peer| peer.fingerprint == fingerprint).map(|peer| peer.id.clone())
    }

    pub(super) fn latest(&mut self) -> Arc<[KnownPeer]> {
        Arc::clone(&self.0.borrow_and_update())
    }

    /// Returns when there are others; an error when there will not be any more.
    pub(super) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.0.changed().await
    }
}

/// A Lease, and whether it is gone.
#[derive(Debug)]
struct Seen {
    said: Advertisement,
    gone: bool,
}

/// Puts them together.
#[derive(Debug)]
pub(crate) struct Directory {
    own: PodUid,
    advertised: HashMap<PodUid, Seen>,
    known: watch::Sender<Arc<[KnownPeer]>>,
    /// Whom to tell that the own Lease has to be written again.
    own_gone: Arc<Notify>,
    own_missing: bool,
    own_pod: OwnPod,
}

/// What the watch of pods has shown of this activator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnPod {
    NotYet,
    There,
    Gone,
}

impl Directory {
    /// For the activator whose pod is `own`.
    pub(crate) fn new(own: PodUid) -> (Self, KnownPeers) {
        let (known, receiver) = watch::channel(Arc::from([]));
        let own_gone = Arc::new(Notify::new());
        let directory = Self {
            own,
            advertised: HashMap::new(),
            known,
            own_gone,
            own_missing: false,
            own_pod: OwnPod::NotYet,
        };
        (directory, KnownPeers(receiver))
    }

    /// Notified when the own Lease is gone though the pod is not.
    pub(crate) fn own_gone(&self) -> Arc<Notify> {
        Arc::clone(&self.own_gone)
    }

    /// Takes in what the watch of Leases saw.
    pub(crate) fn leases_changed(&mut self, change: Change<Advertisement>) {
        match change {
            Change::Listed(all) => {
                self.own_missing = true;
                self.advertised.values_mut().for_each(|seen| seen.gone = true);
                for said in all {
                    self.insert(said);
                }
            }
            Change::Applied(said) => self.insert(said),
            Change::Deleted(said) => {
                self.own_missing |= said.pod == self.own;
                // With its pod, most likely; if not, the process is still the one that it named.
                if let Some(seen) = self.advertised.get_mut(&said.pod) {
                    seen.gone = true;
                }
            }
        }
    }

    fn insert(&mut self, said: Advertisement) {
        self.own_missing &= said.pod != self.own;
        self.advertised.insert(said.pod.clone(), Seen { said, gone: false });
    }

    /// The API server had a pod of this activator, and has none any more.
    pub(crate) fn own_pod_gone(&self) -> bool {
        self.own_pod == OwnPod::Gone
    }

    /// The other activators now, for the core; publishes how to reach them.
    pub(crate) fn members(&mut self, pods: &Members) -> Vec<Member> {
        self.advertised.retain(|uid, seen| !seen.gone || pods.get(uid).is_some());
        self.own_pod = match (pods.get(&self.own), self.own_pod) {
            (Some(_), _) => OwnPod::There,
            (None, OwnPod::NotYet) => OwnPod::NotYet,
            (None, OwnPod::There | OwnPod::Gone) => OwnPod::Gone,
        };
        // With its pod it goes for good.
        if self.own_missing && pods.get(&self.own).is_some_and(|pod| pod.live) {
            self.own_missing = false;
            self.own_gone.notify_one();
        }
        let others = self.advertised.values().map(|seen| &seen.said).filter(|one| one.pod != self.own);
        let there = others.filter_map(|one| Some((one, pods.get(&one.pod)?)));
        let mut known = Vec::new();
        let mut members = Vec::new();
        for (one, pod) in there.filter(|(one, pod)| pod.address == Some(one.address.ip())) {
            let id = PeerId { pod: one.pod.clone(), boot: one.boot };
            members.push(Member { id: id.clone(), live: pod.live, runs: pod.runs });
            known.push(KnownPeer { id, address: one.address, fingerprint: one.fingerprint });
        }
        known.sort_by(|one, other| one.id.cmp(&other.id));
        members.sort_by(|one, other| one.id.cmp(&other.id));
        self.known.send_if_modified(|before| {
            let changed = **before != *known;
            if changed {
                *before = known.into();
            }
            changed
        });
        members
    }
}

#[cfg(test)]
mod tests {
    use catnap_runtime::tls::SelfMade;
    use futures::FutureExt;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;
    use crate::members::Activator;

    fn said(uid: &str, boot: u64, ip: [u8; 4]) -> Advertisement {
        let fingerprint = SelfMade::generate(uid).unwrap().fingerprint();
        Advertisement { pod: uid.into(), boot, address: (ip, 8444).into(), fingerprint }
    }

    fn pod(uid: &str, ip: &str) -> Activator {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"uid": uid},
            "status": {"phase": "Running", "podIP": ip, "containerStatuses": [{
                "name": "activator", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "state": {"running": {}},
            }]},
        }))
        .unwrap();
        Activator::trim(pod).unwrap()
    }

    #[test]
    fn others_are_known_with_both_a_pod_and_a_lease_at_its_address() {
        let (mut directory, known) = Directory::new("own".into());
        let mut pods = Members::default();
        let [b, c] = [said("b", 1, [10, 0, 0, 2]), said("c", 1, [10, 0, 0, 9])];
        pods.apply(Change::Listed(vec![pod("own", "10.0.0.1"), pod("b", "10.0.0.2"), pod("c", "10.0.0.3")]));
        assert!(directory.members(&pods).is_empty());
        directory.leases_changed(Change::Listed(vec![said("own", 1, [10, 0, 0, 1]), b.clone(), c.clone()]));
        let members = directory.members(&pods);
        assert_eq!(members.len(), 1, "one is itself, and one is not at its pod's address: {members:?}");
        assert!(members[0].live && members[0].runs);
        assert_eq!(known.by_fingerprint(b.fingerprint), Some(members[0].id.clone()));
        assert_eq!(known.by_fingerprint(c.fingerprint), None);
    }

    #[test]
    fn a_process_that_starts_again_is_another_one_and_a_deleted_lease_changes_nothing() {
        let (mut directory, known) = Directory::new("own".into());
        let mut pods = Members::default();
        pods.apply(Change::Applied(pod("b", "10.0.0.2")));
        let [first, second] = [1, 2].map(|boot| said("b", boot, [10, 0, 0, 2]));
        directory.leases_changed(Change::Applied(first.clone()));
        assert_eq!(directory.members(&pods)[0].id.boot, 1);
        directory.leases_changed(Change::Applied(second.clone()));
        assert_eq!(directory.members(&pods)[0].id.boot, 2);
        assert_eq!(known.by_fingerprint(first.fingerprint), None);
        directory.leases_changed(Change::Deleted(second.clone()));
        assert_eq!(directory.members(&pods).len(), 1);
        pods.apply(Change::Deleted(pod("b", "10.0.0.2")));
        assert!(directory.members(&pods).is_empty());
        assert_eq!(known.by_fingerprint(second.fingerprint), None);
    }

    #[test]
    fn the_own_lease_is_missed_while_the_own_pod_is_there() {
        let (mut directory, _known) = Directory::new("own".into());
        let mut pods = Members::default();
        let (own, other) = (said("own", 1, [10, 0, 0, 1]), said("b", 1, [10, 0, 0, 2]));
        let gone = directory.own_gone();
        let told = || gone.notified().now_or_never().is_some();
        let mut change = |change: Change<Advertisement>, pods: &Members| {
            directory.leases_changed(change);
            directory.members(pods);
        };
        change(Change::Listed(vec![other.clone()]), &pods);
        assert!(!told(), "its pod is not known yet");
        pods.apply(Change::Applied(pod("own", "10.0.0.1")));
        change(Change::Deleted(other.clone()), &pods);
        assert!(told(), "it was not on the list");
        change(Change::Listed(vec![own.clone(), other]), &pods);
        assert!(!told());
        change(Change::Deleted(own.clone()), &pods);
        assert!(told());
        change(Change::Applied(own.clone()), &pods);
        assert!(!told());
        pods.apply(Change::Deleted(pod("own", "10.0.0.1")));
        change(Change::Deleted(own), &pods);
        assert!(!told(), "nobody is left whom it would name");
    }

    #[test]
    fn the_own_pod_is_gone_once_it_was_there() {
        let (mut directory, _known) = Directory::new("own".into());
        let mut pods = Members::default();
        let mut gone = |pods: &Members| {
            directory.members(pods);
            directory.own_pod_gone()
        };
        assert!(!gone(&pods), "no list came yet");
        pods.apply(Change::Applied(pod("own", "10.0.0.1")));
        assert!(!gone(&pods));
        pods.apply(Change::Deleted(pod("own", "10.0.0.1")));
        assert!(gone(&pods));
    }
}
