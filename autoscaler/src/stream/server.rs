//! Connections of the measurement stream: TLS, then HTTP/2 with pings, bounded in number and in the time of each step.

use std::sync::Arc;
use std::time::Duration;

use catnap_runtime::{CancellationToken, Causes};
use catnap_wire::limits::MAX_FRAME_BYTES;
use catnap_wire::proto::measurements_server::MeasurementsServer;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Measurements;

/// Far more than there are activators.
const MAX_CONNECTIONS: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// One stream, and one that takes over from it.
const MAX_STREAMS_PER_CONNECTION: u32 = 4;

/// Serves until `stop`. Connections beyond the most allowed wait to be accepted.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    measurements: Measurements,
    stop: CancellationToken,
) {
    let tls = TlsAcceptor::from(tls);
    let service = MeasurementsServer::new(measurements).max_decoding_message_size(MAX_FRAME_BYTES);
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = async {
            let permit = Arc::clone(&connections).acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = serve_connection(stream, tls.clone(), service.clone(), permit);
                let stop = stop.clone();
                tokio::spawn(async move {
                    let served = tokio::select! {
                        () = stop.cancelled() => return,
                        served = connection => served,
                    };
                    if let Err(error) = served {
                        tracing::debug!(%peer, error = %Causes(&error), "connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Out of file descriptors, most likely: do not spin until some are free.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    /// TLS could not be agreed on.
    #[error("the TLS handshake failed")]
    Handshake {
        /// What the socket or rustls said.
        #[source]
        source: std::io::Error,
    },
    /// The peer did not finish it in time.
    #[error("the TLS handshake took too long")]
    SlowHandshake,
    /// HTTP/2 failed, or pings were not answered.
    #[error("HTTP/2 failed")]
    Http {
        /// What hyper said.
        #[source]
        source: hyper::Error,
    },
}

async fn serve_connection(
    stream: TcpStream,
    tls: TlsAcceptor,
    service: MeasurementsServer<Measurements>,
    _permit: Option<OwnedSemaphorePermit>,
) -> Result<(), ConnectionError> {
    // Frames are small and must not wait for one another.
    stream.set_nodelay(true).map_err(|source| ConnectionError::Handshake { source })?;
    let stream = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream))
        .await
        .map_err(|_| ConnectionError::SlowHandshake)?
        .map_err(|source| ConnectionError::Handshake { source })?;
    http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await
        .map_err(|source| ConnectionError::Http { source })
}
