//! What the state machines ask for: the only way out of the core.

use crate::phases::Phases;
use crate::pod::{PodKey, Protocol};
use crate::queue::Ticket;
use crate::reason::Trouble;
use catnap_wire::message::{ActivatorFrame, PodUid};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A request may go to this pod now; the pod counts it until it is finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The request.
    pub ticket: Ticket,
    /// When the request arrived; a retry keeps it.
    pub arrived: Duration,
    /// The pod, as the revision names it.
    pub key: PodKey,
    /// UID of the pod.
    pub uid: PodUid,
    /// Where the pod listens.
    pub address: SocketAddr,
    /// How the wait was spent; `None` when the request did not wait.
    pub phases: Option<Phases>,
}

impl Grant {
    /// The request waited, and there was no pod at some time.
    pub(crate) fn waited_cold(&self) -> bool {
        self.phases.is_some_and(|phases| phases.cold)
    }
}

/// Something that only the surroundings of a revision can do.
#[derive(Debug)]
pub enum Effect<W> {
    /// A held request may go.
    Grant {
        /// Its handle, given when it was held.
        waiter: W,
        /// Where to.
        grant: Grant,
    },
    /// A held request must be answered with an error.
    Fail {
        /// The request.
        ticket: Ticket,
        /// Its handle, given when it was held.
        waiter: W,
        /// Why.
        trouble: Trouble,
    },
    /// Tell the leader, if there is one.
    Send(ActivatorFrame),
    /// GET `/scale` of the revision's Deployment and answer with `scale_read`, exactly once.
    ReadScale {
        /// To be given back with the answer.
        attempt: u64,
    },
    /// PUT `/scale` with this resourceVersion and answer with `scale_raised`, exactly once.
    RaiseScale {
        /// To be given back with the answer.
        attempt: u64,
        /// Replicas to ask for.
        replicas: u32,
        /// Precondition of the PUT.
        resource_version: Arc<str>,
    },
    /// Try the pod's port once and answer with `probed`, exactly once.
    Probe(Probe),
}

/// One attempt to see whether a pod answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// UID of the pod, to be given back with the result.
    pub uid: PodUid,
    /// Where the pod listens.
    pub address: SocketAddr,
    /// How it speaks.
    pub protocol: Protocol,
    /// An HTTP GET of this path must answer 2xx or 3xx; empty: a TCP connection is enough, as for a pod that was set aside.
    pub path: Arc<str>,
    /// Abandon the attempt, as a failure, after this time.
    pub timeout: Duration,
}

/// Answer to a GET of `/scale`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// `spec.replicas`.
    pub replicas: u32,
    /// `status.replicas`: pods that are not on their way out, as the controllers counted them last.
    pub pods: u32,
    /// `metadata.resourceVersion`.
    pub resource_version: Arc<str>,
}

/// Why a `/scale` call did not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// Somebody wrote in between: read again.
    #[error("the scale changed in between")]
    Conflict,
    /// The Deployment does not exist.
    #[error("the Deployment does not exist")]
    NotFound,
    /// Refused, timed out or unreachable.
    #[error("the call failed: {0}")]
    Failed(String),
}

/// What an arrival or a retry led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It goes to a pod now.
    Dispatched(Grant),
    /// It is in the queue; its handle was taken.
    Held,
    /// It is answered with an error now.
    Refused(Trouble),
    /// The revision has no traffic any more: another one of the Function has.
    NotRouted,
}
