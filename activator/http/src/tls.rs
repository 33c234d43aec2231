//! TLS on a client's connection: the handshake, and which protocol was agreed on in it (ALPN). Certificates are
//! [`Certificates`]; what is said inside is HTTP as on any other listener.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificates::Certificates;
use crate::io::{Io, Protocol};
use crate::socket::Socket;

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";
/// Key exchanges between two turns of a worker's other tasks.
const HANDSHAKES: usize = 8;

/// What TLS is spoken with, for all workers: 1.2 and 1.3.
pub(crate) fn configuration(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    // Tickets keep the state of a session with its client, so that workers share no table of sessions.
    config.ticketer = Ticketer::new()?;
    Ok(Arc::new(config))
}

/// The handshakes of one worker.
#[derive(Debug)]
pub(crate) struct Acceptor {
    config: Arc<ServerConfig>,
    places: Semaphore,
}

impl Acceptor {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Self {
        Self { config, places: Semaphore::new(HANDSHAKES) }
    }

    /// Shakes hands. The sweep ends it when it takes as long as a request head may.
    pub(crate) async fn accept(&self, io: Io, socket: &Socket) -> io::Result<(TlsStream<Io>, Protocol)> {
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), io).await?;
        let rest = {
            // All that is expensive is computed in one go. A place is kept for that and for a turn of everybody else, not
            // until the client answers: clients that never do would use the places up.
            let _place = self.places.acquire().await;
            if socket.hung_up() {
                // While it waited its time passed, or it left: nothing is computed for the dead.
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let rest = hello.into_stream(Arc::clone(&self.config));
            tokio::task::yield_now().await;
            rest
        };
        let stream = rest.await?;
        let protocol = if stream.get_ref().1.alpn_protocol() == Some(HTTP2) {
            socket.multiplex();
            Protocol::Http2
        } else {
            Protocol::Http1
        };
        Ok((stream, protocol))
    }
}

#[cfg(test)]
pub(crate) mod tests;
