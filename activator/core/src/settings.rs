//! What the process and a revision are configured with.

use crate::reason::FunctionName;
use catnap_wire::message::PodUid;
use std::sync::Arc;
use std::time::Duration;

/// Settings of the process. They never change while it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Random, new with every start of the process.
    pub boot: u64,
    /// UID of the activator's own pod.
    pub pod_uid: PodUid,
    /// DNS domain of the cluster, usually `cluster.local`.
    pub cluster_domain: Arc<str>,
    /// Serves every host that no Function has on the in-cluster listener: a local run has just one Function.
    pub any_host: Option<FunctionName>,
    /// Most requests held at once in the whole process.
    pub max_held: usize,
    /// Most bytes of the requests held at once in the whole process.
    pub max_held_bytes: usize,
    /// Most `/scale` conversations at once in the whole process.
    pub max_wakes: usize,
    /// Most probe attempts a second in the whole process.
    pub max_probes_per_second: u32,
}

impl Settings {
    /// The defaults of the page on the data path.
    pub fn new(boot: u64, pod_uid: impl Into<PodUid>) -> Self {
        Self {
            boot,
            pod_uid: pod_uid.into(),
            cluster_domain: "cluster.local".into(),
            any_host: None,
            max_held: 100_000,
            max_held_bytes: 512 << 20,
            max_wakes: 16,
            max_probes_per_second: 2_000,
        }
    }
}

/// Live settings of a revision: those of its Function, and what the revision itself fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `concurrency.limit`: most exchanges at once in one pod; 0 is no limit.
    pub limit: u32,
    /// `scale.target` per pod where that counts requests at once; 0 is the limit, or 100 without one.
    pub target: u32,
    /// `scale.wake`: replicas to start when waking.
    pub wake: u32,
    /// `scale.max`.
    pub max: u32,
    /// `timeouts.activation`: longest hold.
    pub activation: Duration,
    /// `queue.maxRequests`: most requests held at once.
    pub max_requests: usize,
    /// `scale.window`: for how long measurements are kept.
    pub window: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            limit: 0,
            target: 0,
            wake: 1,
            max: 100,
            activation: Duration::from_secs(60),
            max_requests: 1_000,
            window: Duration::from_secs(60),
        }
    }
}

impl Policy {
    /// Requests that one pod is meant to have at once.
    pub fn effective_target(&self) -> u32 {
        match (self.target, self.limit) {
            (0, 0) => 100,
            (0, limit) => limit,
            (target, 0) => target,
            (target, limit) => target.min(limit),
        }
    }
}
