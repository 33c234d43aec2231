//! The data path on sockets: listeners, codecs, the connections to pods, and the life of a request between them.
//!
//! Which pod gets a request, and when, is decided by `catnap-activator-core`; this crate moves the bytes. It knows no
//! Kubernetes. Start it with [`Server::start`], end it with [`Handle::drain`].

mod answer;
mod client;
mod config;
mod connections;
mod exchange;
mod forwarded;
mod head;
mod headers;
mod io;
mod lease;
mod listen;
mod observe;
mod pool;
mod probe;
mod record;
mod request_body;
mod response_body;
mod sent;
mod server;
mod socket;
mod timing;
mod tunnel;
mod upstream;
mod worker;

pub use config::{Config, Network, NetworkError};
pub use observe::{Ended, Observer, Outcome};
pub use probe::{ProbeError, probe};
pub use server::{Drained, Handle, Server, StartError};
