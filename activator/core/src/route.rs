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
    /// When it was made, in seconds since 1970: of several that have the same tag's name or host, the oldest gets it.
    pub created: i64,
    /// How its requests are split; empty while no revision was ever proven.
    pub traffic: Vec<Share>,
    /// Revisions with a name of their own. They take requests, even without a share.
    pub tags: Vec<TagRoute>,
    /// Hosts that it has outside the cluster.
    pub hosts: Vec<HostRoute>,
    /// Revisions in the Function's status.
    pub revisions: Vec<RevisionRoute>,
    /// Live settings.
    pub policy: FunctionPolicy,
    /// Why the Function cannot come up, when it is Stalled.
    pub stalled: Option<Trouble>,
}

impl FunctionRoute {
    /// A Function that has nothing yet.
    pub fn new(name: FunctionName, uid: Arc<str>) -> Self {
        Self {
            name,
            uid,
            created: 0,
            traffic: Vec::new(),
            tags: Vec::new(),
            hosts: Vec::new(),
            revisions: Vec::new(),
            policy: FunctionPolicy::default(),
            stalled: None,
        }
    }

    /// A Function with one revision, which gets all requests.
    pub fn of_one(name: FunctionName, uid: Arc<str>, revision: RevisionRoute) -> Self {
        let traffic = vec![Share { revision: Arc::clone(&revision.name), percent: 100 }];
        Self { traffic, revisions: vec![revision], ..Self::new(name, uid) }
    }
}

/// A revision's part of the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Name of the revision.
    pub revision: Arc<str>,
    /// How much; only how the shares compare to each other counts.
    pub percent: u32,
}

/// A revision under a name of its own: `<tag>-<function>` in place of the Function's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRoute {
    /// The tag.
    pub tag: Arc<str>,
    /// Name of the revision.
    pub revision: Arc<str>,
}

/// A host outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoute {
    /// The host; with `*.` in front every name below it.
    pub host: Arc<str>,
    /// The tag that it belongs to; `None`: to the Function as a whole.
    pub tag: Option<Arc<str>>,
}

/// What a revision fixed for itself, and its part of what the Function may have.
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
    /// Its pods take requests only while Kubernetes calls them Ready.
    pub requires_ready: bool,
    /// Replicas to start when waking: of `scale.wake`, or of `scale.min` when that is more.
    pub wake: u32,
    /// Most replicas: of `scale.max`.
    pub max: u32,
}

impl RevisionRoute {
    /// A revision with the defaults, on port 8080.
    pub fn new(name: Arc<str>) -> Self {
        let Policy { limit, wake, max, .. } = Policy::default();
        Self {
            name,
            port: 8080,
            protocol: Protocol::default(),
            readiness_path: "".into(),
            concurrency_limit: limit,
            requires_ready: false,
            wake,
            max,
        }
    }
}

/// Settings of a Function that take effect without a new revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionPolicy {
    /// `scale.target`.
    pub target: u32,
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
        let Policy { limit: _, wake: _, max: _, target, activation, max_requests, window } =
            Policy::default();
        let timeouts = Timeouts::default();
        Self { target, activation, max_requests, window, timeouts }
    }
}

impl FunctionPolicy {
    pub(crate) fn of_revision(&self, revision: &RevisionRoute) -> Policy {
        // The exchange with a pod is no matter of its revision's queue and capacity.
        let Self { target, activation, max_requests, window, timeouts: _ } = *self;
        let RevisionRoute { concurrency_limit: limit, wake, max, .. } = *revision;
        Policy { limit, target, wake, max, activation, max_requests, window }
    }
}
