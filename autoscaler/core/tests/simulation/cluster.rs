//! The API server's Deployment, the controllers behind it, and its pods.
//!
//! Controllers lag and coalesce: the ReplicaSet may never see a count that was there for a moment.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::Scale;
use catnap_autoscaler_core::{PodFact, ScaleFact};
use catnap_wire::PodUid;

/// `preStop: sleep 3s`: for so long a deleted pod answers as before.
pub(crate) const LAME_DUCK: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) replicas: u32,
    version: u64,
    /// Counts up with every change of the count.
    generation: u64,
    /// What the Deployment controller has copied to the ReplicaSet.
    copied: (u64, u32),
    /// What the ReplicaSet controller has acted on.
    acted: u64,
    /// `status.replicas`: what that controller counted last, before it made or deleted any.
    counted: u32,
    pub(crate) pods: Vec<Pod>,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub(crate) struct Pod {
    pub(crate) uid: PodUid,
    pub(crate) address: SocketAddr,
    pub(crate) progress: Progress,
    pub(crate) deleted: Option<Duration>,
    /// Made in place of an evicted pod when the count was zero already and the controller had not seen it: it goes as soon as
    /// it does, whoever uses it. Its lame-duck time and grace cover that.
    pub(crate) doomed: bool,
    pub(crate) gone: bool,
    created: i64,
    /// It carries the deletion cost.
    pub(crate) marked: bool,
    /// The ReplicaSet controller has seen that it does.
    pub(crate) first: bool,
    /// Requests that reached it and have not ended.
    pub(crate) serving: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    Starting,
    Answers,
    /// kubelet has seen it, too.
    Ready,
}

impl Pod {
    pub(crate) fn has_started(&self) -> bool {
        self.progress >= Progress::Answers
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.progress == Progress::Ready
    }

    pub(crate) fn is_terminating(&self) -> bool {
        self.deleted.is_some()
    }

    /// Takes new connections.
    pub(crate) fn answers(&self, now: Duration) -> bool {
        self.has_started() && !self.gone && self.deleted.is_none_or(|deleted| now < deleted + LAME_DUCK)
    }
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self {
            replicas: 0,
            version: 100,
            generation: 1,
            copied: (1, 0),
            acted: 1,
            counted: 0,
            pods: Vec::new(),
        }
    }

    pub(crate) fn version(&self) -> Arc<str> {
        self.version.to_string().into()
    }

    /// PUT of `/scale`; `None`: conflict.
    pub(crate) fn put(&mut self, replicas: u32, version: &str, checked: bool) -> Option<Arc<str>> {
        if checked && *self.version() != *version {
            return None;
        }
        if replicas != self.replicas {
            self.replicas = replicas;
            self.generation += 1;
            self.version += 1;
        }
        Some(self.version())
    }

    /// Somebody writes something else in the Deployment.
    pub(crate) fn touch(&mut self) {
        self.version += 1;
    }

    /// What a GET of `/scale` says.
    pub(crate) fn scale(&self) -> Scale {
        Scale { replicas: self.replicas, pods: self.counted, resource_version: self.version() }
    }

    /// The ReplicaSet controller counts its pods.
    pub(crate) fn count(&mut self) {
        self.counted = u32::try_from(self.live()).unwrap();
    }

    fn live(&self) -> usize {
        self.pods.iter().filter(|pod| !pod.is_terminating() && !pod.gone).count()
    }

    pub(crate) fn scale_fact(&self) -> ScaleFact {
        ScaleFact {
            replicas: self.replicas,
            resource_version: self.version(),
            observed: self.acted == self.generation,
            one_replica_set: true,
        }
    }

    pub(crate) fn pod_facts(&self) -> Vec<PodFact> {
        let fact = |pod: &Pod| PodFact {
            uid: pod.uid.clone(),
            terminating: pod.is_terminating(),
            ready: pod.is_ready() && !pod.is_terminating(),
            created: pod.created,
            marked: pod.marked,
        };
        self.pods.iter().filter(|pod| !pod.gone).map(fact).collect()
    }

    pub(crate) fn pods_seen_by_activators(&self) -> Vec<catnap_activator_core::Pod> {
        let seen = |pod: &Pod| catnap_activator_core::Pod {
            uid: pod.uid.clone(),
            address: pod.has_started().then_some(pod.address),
            started: pod.has_started(),
            ready: pod.is_ready(),
            requires_ready: false,
            terminating: pod.is_terminating(),
            trouble: None,
        };
        self.pods.iter().filter(|pod| !pod.gone).map(seen).collect()
    }

    /// The Deployment controller copies the count. True when there was something to copy.
    pub(crate) fn copy(&mut self) -> bool {
        let changed = self.copied.0 != self.generation;
        self.copied = (self.generation, self.replicas);
        self.version += u64::from(changed);
        changed
    }

    /// The ReplicaSet controller makes as many pods as it sees asked for: pods made, pods deleted.
    pub(crate) fn act(&mut self, now: Duration) -> (Vec<usize>, Vec<usize>) {
        if self.acted != self.copied.0 {
            self.acted = self.copied.0;
            self.version += 1;
        }
        self.count();
        let wanted = self.copied.1 as usize;
        let (mut made, mut deleted) = (Vec::new(), Vec::new());
        while self.live() < wanted {
            made.push(self.pods.len());
            self.make_pod(now);
        }
        while self.live() > wanted {
            // Not ready ones go first, then those of the lowest cost, then the youngest: the order of the real controller
            // (ActivePodsWithRanks in pkg/controller/controller_utils.go), nodes and restarts apart.
            let candidates =
                self.pods.iter().enumerate().filter(|(_, pod)| !pod.is_terminating() && !pod.gone);
            let Some((index, _)) =
                candidates.min_by_key(|(index, pod)| (pod.is_ready(), !pod.first, usize::MAX - index))
            else {
                break;
            };
            self.delete(index, now);
            deleted.push(index);
        }
        (made, deleted)
    }

    pub(crate) fn delete(&mut self, index: usize, now: Duration) {
        self.version += 1;
        self.pods[index].deleted = Some(now);
    }

    pub(crate) fn pod(&self, uid: &PodUid) -> Option<usize> {
        self.pods.iter().position(|pod| pod.uid == *uid)
    }

    fn make_pod(&mut self, now: Duration) {
        let number = self.pods.len();
        let [low, high, ..] = number.to_le_bytes();
        self.pods.push(Pod {
            uid: format!("pod-{number}").into(),
            address: SocketAddr::from(([10, 1, high, low], 8080)),
            progress: Progress::Starting,
            deleted: None,
            doomed: self.replicas == 0 || self.copied.0 != self.generation,
            gone: false,
            created: i64::try_from(now.as_secs()).unwrap(),
            marked: false,
            first: false,
            serving: BTreeSet::new(),
        });
    }
}
