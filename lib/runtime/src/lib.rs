//! What every Catnap process shares: who it is, logs, the admin server, shutdown, leadership, TLS material and the API client.
//!
//! No scaling, routing or reconciling here, and of HTTP servers nothing but the admin one.

pub mod admin;
mod causes;
pub mod failpoint;
pub mod identity;
pub mod kubernetes;
pub mod lease;
pub mod listen;
pub mod places;
pub mod shutdown;
pub mod telemetry;
pub mod tls;

pub use causes::Causes;
pub use prometheus_client;
pub use tokio_util::sync::CancellationToken;
