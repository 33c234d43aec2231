//! What tests of several crates share: an API server in memory that keeps objects, records calls and fails on demand; a network
//! that can be cut; and the checks of flags, and of the pages on flags and metrics.
//!
//! It knows as much of Kubernetes as controllers rely on (names, UIDs, resourceVersions, preconditions, server-side
//! apply without field ownership) and nothing of what controllers of the cluster do.

mod api;
pub mod flags;
pub mod flags_page;
pub mod metrics_page;
mod object;
mod page;
mod relay;
mod route;
mod selection;
mod watch;

pub use api::{Call, FakeApi, silent_client};
pub use relay::Relay;
