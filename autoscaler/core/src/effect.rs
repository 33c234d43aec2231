//! What the leader asks its process to do, and what the process answers.
//!
//! The process only carries these out: it decides nothing, and it answers every token exactly once.

use std::sync::Arc;
use std::time::Duration;

use catnap_wire::{LeaderFrame, PodUid, RevisionId};

use crate::decide::Decision;

/// One connection of one activator, numbered by the process that accepts them; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Ties an answer to its question; never used again by the same leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// The `/scale` of a Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// `spec.replicas`.
    pub replicas: u32,
    /// `metadata.resourceVersion`.
    pub resource_version: Arc<str>,
}

/// Something for the process to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send a frame on a stream, in order; on a stream that is gone it is dropped.
    Send {
        /// Where to.
        stream: StreamId,
        /// What.
        frame: LeaderFrame,
    },
    /// End a stream whose activator broke the protocol.
    Disconnect {
        /// Which.
        stream: StreamId,
        /// Why, for the log.
        reason: &'static str,
    },
    /// GET `/scale` from the API server itself, not from a cache; answer with [`crate::Leader::scale_read`].
    ReadScale {
        /// Of which revision's Deployment.
        revision: RevisionId,
        /// Requests wait for what comes of it.
        urgent: bool,
        /// To answer with.
        token: Token,
    },
    /// PUT `/scale`; answer with [`crate::Leader::scale_written`].
    PutScale {
        /// Of which revision's Deployment.
        revision: RevisionId,
        /// The new `spec.replicas`.
        replicas: u32,
        /// The write must fail with a conflict unless this is still current.
        resource_version: Arc<str>,
        /// Time of the leader's clock after which the request must not be started any more
        /// (answer [`WriteOutcome::NotSent`]); `None`: whenever its turn comes.
        not_after: Option<Duration>,
        /// To answer with.
        token: Token,
    },
    /// Set the annotation `controller.kubernetes.io/pod-deletion-cost` of a pod so that the ReplicaSet controller takes it before
    /// other ready ones, or remove it. No answer: the watch shows what came of it.
    MarkPod {
        /// Of which revision.
        revision: RevisionId,
        /// UID of the pod; one of the same name with another UID must not be touched.
        pod: PodUid,
        /// Set it, or remove it.
        marked: bool,
    },
    /// LIST the activator pods that have an IP and are not Succeeded or Failed, from the API server itself and not from a
    /// cache; answer with [`crate::Leader::activators_listed`].
    ListActivators {
        /// To answer with.
        token: Token,
    },
    /// Tell people.
    Report(Event),
}

/// Answer to [`Effect::ReadScale`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// The object as it is.
    Read(Scale),
    /// There is no such Deployment.
    Missing,
    /// No answer, or an error that may pass.
    Failed,
}

/// Answer to [`Effect::PutScale`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// 200, with the new resourceVersion.
    Written {
        /// `metadata.resourceVersion` of the answer.
        resource_version: Arc<str>,
    },
    /// 409: the resourceVersion was not current.
    Conflict,
    /// 429: certainly not written, because the API server has too much to do.
    Throttled {
        /// How long it wants to be left alone.
        after: Duration,
    },
    /// Certainly not written: any other 4xx answer.
    Refused,
    /// Never left this process (its turn came after `not_after`).
    NotSent,
    /// Timed out, broken connection or 5xx: it may have been written, or still be.
    Unknown,
}

/// Something worth telling a person, once.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Replicas were raised.
    ScaledUp {
        /// Of which revision.
        revision: RevisionId,
        /// From this count.
        from: u32,
        /// To this one.
        to: u32,
        /// Why.
        decision: Box<Decision>,
    },
    /// Replicas were raised from zero because requests are held.
    Woken {
        /// Which revision.
        revision: RevisionId,
        /// To this count.
        to: u32,
        /// Why.
        decision: Box<Decision>,
    },
    /// Some replicas were removed, and some stay.
    ScaledDown {
        /// Of which revision.
        revision: RevisionId,
        /// From this count.
        from: u32,
        /// To this one.
        to: u32,
        /// Why.
        decision: Box<Decision>,
    },
    /// The last replicas were removed.
    ScaledToZero {
        /// Which revision.
        revision: RevisionId,
        /// From this count.
        from: u32,
        /// Why.
        decision: Box<Decision>,
    },
    /// Somebody else wrote a count that was not asked for.
    ForeignScale {
        /// Of which revision.
        revision: RevisionId,
        /// What this leader knew.
        known: u32,
        /// What somebody wrote.
        found: u32,
    },
    /// A write was refused by the API server.
    WriteRefused {
        /// Of which revision.
        revision: RevisionId,
        /// The count that was refused.
        replicas: u32,
    },
    /// An activator whose pod exists has said nothing for 30 s, or lags: nothing can go to zero.
    ActivatorSilent {
        /// Its pod.
        pod: PodUid,
    },
}
