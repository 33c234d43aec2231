//! The peer port: connections of the other activators, under TLS in which both sides prove who they are.
//!
//! Every pod can reach this port. Who shows no certificate that an activator's Lease names has a short time, and a place among
//! the strangers that it may lose to another one; whoever shows one is let in as the activator of that Lease.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::PeerId;
use catnap_runtime::listen::accept_until;
use catnap_runtime::places::Places;
use catnap_runtime::tls::{Known, SelfMade, TlsError, shown};
use catnap_runtime::{CancellationToken, Causes};
use catnap_wire::limits::MAX_PEER_FRAME_BYTES;
use catnap_wire::peers_proto as proto;
use catnap_wire::peers_proto::peers_server::{Peers, PeersServer};
use futures::stream::BoxStream;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

use super::directory::KnownPeers;
use super::stream::{Streams, answers};

/// Most connections in the middle of a handshake.
const MAX_STRANGERS: usize = 64;
const MAX_STRANGERS_PER_ADDRESS: usize = 4;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// One stream, and one that takes over from it.
const MAX_STREAMS_PER_CONNECTION: u32 = 2;

/// What the port is served with.
pub(crate) struct Server {
    tls: TlsAcceptor,
    known: KnownPeers,
    streams: Streams,
}

impl Server {
    pub(crate) fn new(certificate: &SelfMade, known: KnownPeers, streams: Streams) -> Result<Self, TlsError> {
        let lookup = known.clone();
        let is_known: Known = Arc::new(move |fingerprint| lookup.by_fingerprint(fingerprint).is_some());
        let tls = TlsAcceptor::from(certificate.mutual_server_config(is_known, &[b"h2"])?);
        Ok(Self { tls, known, streams })
    }

    /// Serves until `stop`.
    pub(crate) async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let shared = Arc::new(self);
        let strangers = Places::new(MAX_STRANGERS, MAX_STRANGERS_PER_ADDRESS);
        let failed = |error: &io::Error| warn!(%error, "cannot accept a connection on the peer port");
        accept_until(listener, &stop, failed, |socket, address| {
            let place = strangers.take(address.ip());
            let (server, stop) = (Arc::clone(&shared), stop.clone());
            tokio::spawn(async move {
                let admitted = tokio::select! {
                    admitted = server.admit(socket) => admitted,
                    () = place.lost() => Err(ConnectionError::Crowded),
                    () = stop.cancelled() => return,
                };
                drop(place);
                let outcome = match admitted {
                    Ok((socket, peer)) => tokio::select! {
                        ended = server.serve_peer(socket, peer) => ended,
                        () = stop.cancelled() => return,
                    },
                    Err(error) => Err(error),
                };
                if let Err(error) = outcome {
                    debug!(%address, error = %Causes(&error), "connection on the peer port ended");
                }
            });
        })
        .await;
    }

    async fn admit(&self, socket: TcpStream) -> Result<(TlsStream<TcpStream>, PeerId), ConnectionError> {
        // Frames are small and must not wait for one another.
        socket.set_nodelay(true).map_err(|source| ConnectionError::Handshake { source })?;
        let socket = timeout(HANDSHAKE_TIMEOUT, self.tls.accept(socket))
            .await
            .map_err(|_| ConnectionError::SlowHandshake)?
            .map_err(|source| ConnectionError::Handshake { source })?;
        let fingerprint = shown(socket.get_ref().1).ok_or(ConnectionError::Unknown)?;
        let peer = self.known.by_fingerprint(fingerprint).ok_or(ConnectionError::Unknown)?;
        Ok((socket, peer))
    }

    async fn serve_peer(&self, socket: TlsStream<TcpStream>, peer: PeerId) -> Result<(), ConnectionError> {
        let service = PeersServer::new(Service { peer, streams: self.streams.clone() })
            .max_decoding_message_size(MAX_PEER_FRAME_BYTES);
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
            .serve_connection(TokioIo::new(socket), TowerToHyperService::new(service))
            .await
            .map_err(|source| ConnectionError::Http { source })
    }
}

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    /// The peer showed no certificate that is known, or cannot prove that it is its own.
    #[error("the TLS handshake failed")]
    Handshake {
        /// What the socket or rustls said.
        #[source]
        source: std::io::Error,
    },
    /// The peer did not finish it in time.
    #[error("the TLS handshake took too long")]
    SlowHandshake,
    /// No Lease names its certificate any more.
    #[error("its activator is gone")]
    Unknown,
    /// Its place was needed for another one.
    #[error("too many handshakes at once")]
    Crowded,
    /// HTTP/2 failed, or pings were not answered.
    #[error("HTTP/2 failed")]
    Http {
        /// What hyper said.
        #[source]
        source: hyper::Error,
    },
}

/// The service for one connection, whose other end is known.
struct Service {
    peer: PeerId,
    streams: Streams,
}

#[tonic::async_trait]
impl Peers for Service {
    type ConnectStream = BoxStream<'static, Result<proto::PeerFrame, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<proto::PeerFrame>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        info!(peer = %self.peer, "another activator connected");
        let (frames, opened) = self.streams.prepare(self.peer.clone());
        let peer = self.peer.clone();
        tokio::spawn(async move {
            match opened.run(request.into_inner()).await {
                Ok(()) => info!(%peer, "the stream of another activator ended"),
                Err(error) => warn!(%peer, error = %Causes(&error), "the stream of another activator ended"),
            }
        });
        Ok(Response::new(answers(frames)))
    }
}
