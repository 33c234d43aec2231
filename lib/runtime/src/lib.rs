//! What every Catnap process shares: who it is, logs, Events, the admin server, shutdown, leadership, TLS material, the API client and watches.
//!
//! No scaling, routing or reconciling here, and of HTTP servers nothing but the admin one.

pub mod admin;
pub mod backoff;
mod causes;
pub mod channel;
pub mod events;
pub mod failpoint;
pub mod flags;
pub mod identity;
pub mod kubernetes;
pub mod leader;
pub mod lease;
pub mod listen;
pub mod places;
pub mod process;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod watch;

pub use causes::Causes;
pub use prometheus_client;
pub use tokio_util::sync::CancellationToken;
