//! Plain types of the protocol: what the cores of the activator and of the autoscaler say to each other.
//!
//! No wire format here, no I/O and no Kubernetes. Times are on the sender's own monotonic clock.

use std::fmt;
use std::sync::Arc;

/// UID of a pod, as the API server gave it.
pub type PodUid = Arc<str>;

/// One revision of one Function, never the same again after the Function was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RevisionId {
    /// Namespace of the Function.
    pub namespace: Arc<str>,
    /// Name of the revision, which is also the name of its Deployment.
    pub name: Arc<str>,
    /// UID of the Function that owns the revision.
    pub function_uid: Arc<str>,
}

impl fmt::Display for RevisionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// Term of a leader: rises with every start of a leading process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term {
    /// `spec.leaseTransitions` of the autoscaler's Lease when it was acquired.
    pub transitions: u64,
    /// Random number of the process, to tell two processes that believe in the same transition apart.
    pub boot: u64,
}

/// Identity of a gate: ordered by the leader's term, then by the number which that leader counts up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GateId {
    /// Term of the leader that asked for it.
    pub term: Term,
    /// Counted up by that leader, per revision.
    pub number: u64,
}

/// What one activator measured of one revision in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Seconds on the sender's monotonic clock since its boot.
    pub index: u64,
    /// Integral of requests in the activator (held and dispatched) over this second, in request-microseconds.
    pub request_microseconds: u64,
    /// Requests that arrived in this second.
    pub arrivals: u64,
}

/// One pod as one activator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReport {
    /// UID of the pod.
    pub uid: PodUid,
    /// This activator could use the pod if no gate were closed.
    pub usable: bool,
    /// Exchanges open from this activator to the pod.
    pub in_flight: u64,
}

/// All that a (re)connecting activator knows of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionReport {
    /// The revision.
    pub revision: RevisionId,
    /// The gate that is closed here; `None` when it is open, or closed only because this activator just started.
    pub closed: Option<GateId>,
    /// Requests held now.
    pub held: u64,
    /// Requests dispatched and not ended.
    pub in_flight: u64,
    /// Milliseconds since the end of the last request; `None` when this activator never served one.
    pub idle_milliseconds: Option<u64>,
    /// All buckets kept, oldest first.
    pub buckets: Vec<Bucket>,
    /// All pods known and not terminating.
    pub pods: Vec<PodReport>,
}

/// First message of an activator on a new stream, in parts: see [`crate::limits::hello_parts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Random, new with every start of the process.
    pub boot: u64,
    /// UID of the activator's own pod.
    pub pod_uid: PodUid,
    /// Milliseconds on the activator's monotonic clock since its boot, when this part was made.
    pub clock_milliseconds: u64,
    /// Revisions with requests, a closed gate or buckets; the others are at rest here.
    pub revisions: Vec<RevisionReport>,
    /// Another part follows.
    pub more: bool,
}

/// Most revisions in one part of a [`Hello`] or a [`Welcome`].
pub const HELLO_PART: usize = 1_000;

/// Requests held for lack of capacity, for one revision that has pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// The revision.
    pub revision: RevisionId,
    /// Requests held now; none: what was told before is over.
    pub held: u64,
    /// Requests dispatched and not ended.
    pub in_flight: u64,
    /// Not repeated: it holds until the next one about the revision, or the end of the stream.
    pub standing: bool,
}

/// How requests of one revision ended in one activator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcomes {
    /// The revision.
    pub revision: RevisionId,
    /// Requests since the boot of the activator whose end says something of the revision.
    pub ended: u64,
    /// How many of them it failed.
    pub errors: u64,
}

/// What an activator says to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActivatorFrame {
    /// State on connect.
    Hello(Hello),
    /// Finished seconds of one revision.
    Buckets {
        /// The revision.
        revision: RevisionId,
        /// Finished seconds; sent again it changes nothing.
        buckets: Vec<Bucket>,
    },
    /// Every second up to and including this one is complete for all revisions.
    Through {
        /// Index of the last complete second.
        index: u64,
    },
    /// Requests are held and no pod is usable.
    Wake {
        /// The revision.
        revision: RevisionId,
        /// Requests held now.
        held: u64,
        /// Requests that arrived in a second: in the first of this state all of them so far, then those of the last one.
        arrivals: u64,
    },
    /// Revisions without free capacity.
    Pressure(Vec<Pressure>),
    /// Pods of a revision, all of them, whenever one changes.
    Pods {
        /// The revision.
        revision: RevisionId,
        /// All pods known and not terminating.
        pods: Vec<PodReport>,
    },
    /// How requests of the revisions of the last [`LeaderFrame::Count`] ended: of each once, then where it changed.
    Outcomes(Vec<Outcomes>),
    /// The gate is closed here and nothing is in flight or held.
    Ack {
        /// The revision.
        revision: RevisionId,
        /// The gate that was asked for.
        gate: GateId,
    },
    /// Something is in flight or held, so the gate was not closed.
    Busy {
        /// The revision.
        revision: RevisionId,
        /// The gate that was asked for.
        gate: GateId,
    },
}

/// How a round ended: the gate it was about and the pods that must never be used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The revision.
    pub revision: RevisionId,
    /// The gate that is opened, or stays closed.
    pub gate: GateId,
    /// Pods that are never to be used again.
    pub condemned: Vec<PodUid>,
}

/// A revision whose gate is not open, in a [`Welcome`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Gate and condemned pods.
    pub verdict: Verdict,
    /// True when the leader rests at zero, false while a round is under way.
    pub zero: bool,
}

/// Answer to a [`Hello`], in parts; what no part lists is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The leader's term.
    pub term: Term,
    /// Revisions whose gate is not open.
    pub closed: Vec<Closed>,
    /// Another part follows.
    pub more: bool,
}

/// What became of a [`ActivatorFrame::Wake`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeAnswer {
    /// Accepted, not written yet.
    Queued,
    /// `/scale` was written with this count.
    Written {
        /// Replicas asked for.
        replicas: u32,
    },
    /// Pods exist: use them.
    Open,
    /// Already at the most replicas allowed.
    AtMax,
}

/// What the leader says to an activator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaderFrame {
    /// Answer to a hello.
    Welcome(Welcome),
    /// The revision seems idle: close the gate unless something is in flight or held.
    Close {
        /// The revision.
        revision: RevisionId,
        /// The new gate.
        gate: GateId,
        /// The pods that would go.
        pods: Vec<PodUid>,
    },
    /// Fewer pods are needed: close the gate of these unless something is in flight there.
    Drain {
        /// The revision.
        revision: RevisionId,
        /// The new gate.
        gate: GateId,
        /// The pods that would go.
        pods: Vec<PodUid>,
        /// The pods that would stay: while the gate is closed, only these are used.
        kept: Vec<PodUid>,
        /// Replicas before: while the count is not lower, nothing was removed.
        replicas: u32,
    },
    /// These pods may go soon, and no others: no new request for them while others have capacity. Nothing relies on it.
    Avoid {
        /// The revision.
        revision: RevisionId,
        /// All such pods.
        pods: Vec<PodUid>,
    },
    /// The [`Outcomes`] of these revisions are wanted, and of no others.
    Count {
        /// At most [`MAX_COUNTED`](crate::limits::MAX_COUNTED).
        revisions: Vec<RevisionId>,
    },
    /// The round ended without a removal, or replicas rose again: use what is not condemned.
    Open(Verdict),
    /// The count was written: stay closed.
    Zero(Verdict),
    /// Answer to a wake.
    WakeReply {
        /// The revision.
        revision: RevisionId,
        /// What became of it.
        answer: WakeAnswer,
    },
}
