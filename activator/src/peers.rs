//! The other activators: who they are, and a stream to each of them, on which nothing but slots is talked about.
//!
//! Each publishes address and certificate fingerprint in a Lease of its own. Of two, the one whose pod has the smaller UID
//! connects. What the frames mean is the core's matter.

pub(crate) mod dial;
pub(crate) mod directory;
pub(crate) mod lease;
pub(crate) mod links;
pub(crate) mod server;
pub(crate) mod stream;

#[cfg(test)]
mod tests;

use catnap_activator_core::PeerId;
use catnap_wire::codec::DecodeError;
use catnap_wire::peer::PeerFrame;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;
use tonic::Status;

/// Frames that may wait for the network; the control loop ends a stream that is further behind.
const OUTGOING_FRAMES: usize = 16_384;

/// What happens on a stream, in order.
#[derive(Debug)]
pub(crate) enum PeerEvent {
    /// There is one.
    Connected {
        /// Tells it apart from all others of this process.
        stream: u64,
        /// Whom to, proved by its certificate.
        peer: PeerId,
        /// Frames go in here.
        outgoing: Outgoing,
    },
    /// The other one said something.
    Frame {
        /// On this stream.
        stream: u64,
        /// What it said.
        frame: PeerFrame,
    },
    /// It ended. Frames sent since may or may not have arrived.
    Lost {
        /// This stream.
        stream: u64,
    },
}

/// The control loop's end of a stream. Dropping it ends the stream.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) frames: mpsc::Sender<PeerFrame>,
    _ended: DropGuard,
}

/// Why there is no stream to another activator, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Configure {
        /// What is wrong.
        #[source]
        source: catnap_runtime::tls::TlsError,
    },
    /// It cannot be reached, or one of the two does not know the other's certificate.
    #[error("cannot connect to {peer}")]
    Connect {
        /// The other one.
        peer: String,
        /// What the network or TLS said.
        #[source]
        source: tonic::transport::Error,
    },
    /// It did not answer in time.
    #[error("{peer} does not answer")]
    Timeout {
        /// The other one.
        peer: String,
    },
    /// It did not let this one in, or ended the stream with an error.
    #[error("{peer} ended the stream")]
    Ended {
        /// The other one.
        peer: String,
        /// What it said.
        #[source]
        source: Box<Status>,
    },
    /// It sent something malformed.
    #[error("{peer} sent a frame that is refused")]
    Malformed {
        /// The other one.
        peer: String,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
}
