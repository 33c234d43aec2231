//! What a Deployment, its ReplicaSet and kubelet are in a cluster: a count, and as many replicas.
//!
//! The count has a version that every write raises, because the autoscaler's protocol relies on refused stale writes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use catnap_activator_core::{Pod, Trouble};
use catnap_autoscaler_core::{PodFact, ScaleFact};
use catnap_wire::PodUid;
use tokio_util::sync::CancellationToken;

use super::replica::Event;

/// A write named a version that is not current.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Conflict;

/// Starts the replica of this name at this address; it must tell [`Event::Gone`] some time after the token is cancelled.
pub(crate) type Start = Box<dyn FnMut(PodUid, SocketAddr, CancellationToken) + Send>;

/// The replicas of the one revision.
pub(crate) struct Fleet {
    prefix: String,
    start: Start,
    wanted: u32,
    version: u64,
    started_ever: u64,
    /// By age.
    replicas: BTreeMap<u64, Known>,
}

struct Known {
    uid: PodUid,
    address: SocketAddr,
    stop: CancellationToken,
    started: bool,
    ready: bool,
    /// It goes before others that are ready.
    marked: bool,
    trouble: Option<Trouble>,
}

impl Fleet {
    /// No replicas, whose names will begin with `prefix`.
    pub(crate) fn new(prefix: &str, start: Start) -> Self {
        Self {
            prefix: prefix.to_owned(),
            start,
            wanted: 0,
            version: 1,
            started_ever: 0,
            replicas: BTreeMap::new(),
        }
    }

    /// The count and its version.
    pub(crate) fn scale(&self) -> (u32, Arc<str>) {
        (self.wanted, self.version.to_string().into())
    }

    /// The same for the autoscaler; what is written is acted on at once.
    pub(crate) fn scale_fact(&self) -> ScaleFact {
        let (replicas, resource_version) = self.scale();
        ScaleFact { replicas, resource_version, observed: true, one_replica_set: true }
    }

    /// Writes the count, unless somebody wrote since `version`.
    pub(crate) fn write(&mut self, replicas: u32, version: &str) -> Result<Arc<str>, Conflict> {
        if version != self.version.to_string() {
            return Err(Conflict);
        }
        self.wanted = replicas;
        self.version += 1;
        self.act();
        Ok(self.version.to_string().into())
    }

    /// Has this replica go before others that are ready, or not.
    pub(crate) fn mark(&mut self, uid: &PodUid, marked: bool) {
        if let Some(replica) = self.replicas.values_mut().find(|replica| replica.uid == *uid) {
            replica.marked = marked;
        }
    }

    /// Takes in what a replica told.
    pub(crate) fn told(&mut self, uid: &PodUid, event: Event) {
        let Some((&age, replica)) = self.replicas.iter_mut().find(|(_, replica)| replica.uid == *uid) else {
            return;
        };
        match event {
            Event::Started => {
                replica.started = true;
                replica.trouble = None;
            }
            Event::Ready(ready) => replica.ready = ready,
            Event::Crashed(trouble) => {
                (replica.started, replica.ready) = (false, false);
                replica.trouble = trouble;
            }
            Event::Gone => {
                self.replicas.remove(&age);
                self.act();
            }
        }
    }

    /// All replicas, for the activator.
    pub(crate) fn pods(&self) -> Vec<Pod> {
        let pod = |replica: &Known| Pod {
            uid: Arc::clone(&replica.uid),
            address: Some(replica.address),
            started: replica.started,
            ready: replica.ready,
            requires_ready: false,
            terminating: replica.stop.is_cancelled(),
            trouble: replica.trouble.clone(),
        };
        self.replicas.values().map(pod).collect()
    }

    /// All replicas, for the autoscaler.
    pub(crate) fn pod_facts(&self) -> Vec<PodFact> {
        let fact = |(age, replica): (&u64, &Known)| PodFact {
            uid: Arc::clone(&replica.uid),
            terminating: replica.stop.is_cancelled(),
            ready: replica.ready,
            created: i64::try_from(*age).unwrap_or(i64::MAX),
            marked: replica.marked,
        };
        self.replicas.iter().map(fact).collect()
    }

    /// Replicas that answer, and all that are not on their way out.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let staying = self.replicas.values().filter(|replica| !replica.stop.is_cancelled());
        staying.fold((0, 0), |(ready, all), replica| (ready + usize::from(replica.ready), all + 1))
    }

    /// Replicas of which anything is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.replicas.is_empty()
    }

    /// Begins to end all replicas, and starts as many others: what they run has changed.
    pub(crate) fn renew(&mut self) {
        for replica in self.replicas.values() {
            replica.stop.cancel();
        }
        self.act();
    }

    /// Begins to end all replicas; none is started any more.
    pub(crate) fn stop_all(&mut self) {
        self.wanted = 0;
        self.version += 1;
        self.act();
    }

    /// Starts or stops as many as the count says. Those that are not ready go first, then those that
    /// are marked, then the youngest, as a ReplicaSet does it.
    fn act(&mut self) {
        let staying = self.replicas.iter().filter(|(_, replica)| !replica.stop.is_cancelled());
        let mut staying: Vec<_> =
            staying.map(|(&age, replica)| (replica.ready, !replica.marked, std::cmp::Reverse(age))).collect();
        let wanted = usize::try_from(self.wanted).unwrap_or(usize::MAX);
        staying.sort_unstable();
        for (.., std::cmp::Reverse(age)) in staying.iter().take(staying.len().saturating_sub(wanted)) {
            self.replicas[age].stop.cancel();
        }
        for _ in staying.len()..wanted {
            let Some(address) = self.free_address() else { return };
            self.started_ever += 1;
            let uid: PodUid = format!("{}-{}", self.prefix, self.started_ever).into();
            let stop = CancellationToken::new();
            (self.start)(Arc::clone(&uid), address, stop.clone());
            let known =
                Known { uid, address, stop, started: false, ready: false, marked: false, trouble: None };
            self.replicas.insert(self.started_ever, known);
        }
    }

    /// A port of this machine that nobody listens on, and that no replica was given that may not listen yet.
    fn free_address(&self) -> Option<SocketAddr> {
        let free =
            || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).ok();
        let given = |address: &SocketAddr| self.replicas.values().any(|replica| replica.address == *address);
        std::iter::from_fn(free).take(100).find(|address| !given(address))
    }
}

#[cfg(test)]
mod tests;
