//! The data path on sockets: listeners, codecs, the connections to pods, and the life of a request between them.
//!
//! Which pod gets a request, and when, is decided by `catnap-activator-core`; this crate moves the bytes. It knows no
//! Kubernetes. Start it with [`Server::start`], end it with [`Handle::drain`].

mod accept;
mod answer;
mod body;
mod certificates;
mod client;
mod config;
mod connections;
mod date;
mod deadlines;
mod descriptors;
mod exchange;
mod forwarded;
mod frames;
mod head;
mod headers;
mod http1;
mod http2_body;
mod io;
mod lease;
mod linger;
mod listen;
mod load;
mod observe;
mod pace;
#[cfg(any(test, fuzzing))]
pub mod parsers;
mod pool;
mod probe;
mod progress;
mod record;
mod request_body;
mod response_body;
mod room;
mod sent;
mod server;
mod socket;
mod timing;
mod tls;
mod trace;
mod tunnel;
mod upstream;
mod worker;

pub use certificates::Certificates;
pub use config::{Config, Network, NetworkError, Tls};
pub use observe::{Details, Ended, Observer, Outcome};
pub use probe::{ProbeError, probe};
pub use server::{Drained, Handle, Server, StartError};
pub use trace::{Sampling, Step, StepKind, Trace};
