//! The Function API (`catnap.dev/v1alpha1`): types, defaults, admission rules, names and labels; and how objects of any kind are
//! read that may be none ([`guarded`]).
//!
//! Nothing here talks to a cluster. The manifest that users install is generated from these types by
//! [`crd_yaml`]; a field is in it only when something acts on it.

mod defaults;
mod duration;
mod function;
pub mod guarded;
mod http;
pub mod labels;
pub mod names;
#[cfg(any(test, fuzzing))]
pub mod parsers;
mod pod_owner;
mod pod_template;
mod scale;
mod schedule;
mod schema;
mod status;
mod traffic;

pub use duration::{Duration, ParseDurationError};
pub use function::{
    Concurrency, Function, FunctionSpec, ImagePullPolicy, Protocol, Queue, Readiness, Timeouts,
};
pub use http::{Http, Visibility};
pub use pod_owner::PodOwner;
pub use scale::{Idle, IdlePolicy, Metric, Panic, Scale};
pub use schedule::{Schedule, ScheduleError, Window};
pub use schema::{RenderError, crd, crd_yaml};
pub use status::{
    FunctionStatus, HostStatus, RevisionState, RevisionStatus, RolloutCounts, RolloutStatus, TrafficStatus,
};
pub use traffic::{Rollout, TrafficTarget, effective_percents, part};
