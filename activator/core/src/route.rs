//! What the driver tells of Functions and their revisions.

use crate::pod::Protocol;
use crate::reason::{FunctionName, Trouble};
use crate::settings::Policy;
use crate::timeouts::Timeouts;
use std::sync::Arc;
use std::time::Duration;

/// A Function that exists and is not being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionRoute {
    /// Namespace and name.
    pub name: FunctionName,
    /// UID: a Function that was deleted and made again is another one.
    pub uid: Arc<str>,
    /// The revision that has the traffic; `None` while none was ever proven.
    pub routed: Option<Arc<str>>,
    /// Revisions in the Function's status.
    pub revisions: Vec<RevisionRoute>,
    /// Live settings.
    pub policy: FunctionPolicy,
    /// Why the Function cannot come up, when it is Stalled.
    pub stalled: Option<Trouble>,
}

/// What a revision fixed for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionRoute {
    /// Name of the revision and of its Deployment.
    pub name: Arc<str>,
    /// Port the container listens on.
    pub port: u16,
    /// How it speaks.
    pub protocol: Protocol,
    /// Path of its readiness check; empty: a TCP connection is enough.
    pub readiness_path: Arc<str>,
    /// `concurrency.limit`; 0 is none.
    pub concurrency_limit: u32,
}

/// Settings of a Function that take effect without a new revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionPolicy {
    /// `scale.target`.
    pub target: u32,
    /// `scale.wake`, or `scale.min` when that is more.
    pub wake: u32,
    /// `scale.max`.
    pub max: u32,
    /// `timeouts.activation`.
    pub activation: Duration,
    /// `queue.maxRequests`.
    pub max_requests: usize,
    /// `scale.window`.
    pub window: Duration,
    /// `timeouts`, but for the activation's.
    pub timeouts: Timeouts,
}

impl Default for FunctionPolicy {
    fn default() -> Self {
        let Policy { limit: _, target, wake, max, activation, max_requests, window } = Policy::default();
        let timeouts = Timeouts::default();
        Self { target, wake, max, activation, max_requests, window, timeouts }
    }
}

impl FunctionPolicy {
    pub(crate) fn of_revision(&self, limit: u32) -> Policy {
        // The exchange with a pod is no matter of its revision's queue and capacity.
        let Self { target, wake, max, activation, max_requests, window, timeouts: _ } = *self;
        Policy { limit, target, wake, max, activation, max_requests, window }
    }
}
