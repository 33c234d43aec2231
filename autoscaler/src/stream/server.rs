//! Connections of the measurement stream: TLS, then HTTP/2 with pings, bounded in the time of each step.
//!
//! Every pod can reach this port. A connection on which no activator's stream was accepted yet has little time, and a place that
//! it may lose to another one; those of activators are as few as there are activators.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use catnap_runtime::places::{Place, Places};
use catnap_runtime::{CancellationToken, Causes};
use catnap_wire::limits::MAX_FRAME_BYTES;
use catnap_wire::proto::measurements_server::MeasurementsServer;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::Measurements;

/// Most connections that have not proved to be an activator's: far more than there are activators.
const MAX_STRANGERS: usize = 256;
const MAX_STRANGERS_PER_ADDRESS: usize = 8;
/// Longest time until a stream is accepted; longer than activators try.
const PROOF_TIMEOUT: Duration = Duration::from_secs(5);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// One stream, and one that takes over from it.
const MAX_STREAMS_PER_CONNECTION: u32 = 4;

/// Serves until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    measurements: Measurements,
    stop: CancellationToken,
) {
    let tls = TlsAcceptor::from(tls);
    let strangers = Places::new(MAX_STRANGERS, MAX_STRANGERS_PER_ADDRESS);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let place = strangers.take(peer.ip());
                let proved = CancellationToken::new();
                let service = MeasurementsServer::new(measurements.on_connection(proved.clone()))
                    .max_decoding_message_size(MAX_FRAME_BYTES);
                let connection = once_proved(serve_connection(stream, tls.clone(), service), proved, place);
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
    /// No activator's stream was accepted on it in time.
    #[error("no activator's stream was accepted on it in time")]
    Unproved,
    /// Its place was needed for another one before a stream was accepted on it.
    #[error("too many connections without an activator's stream")]
    Crowded,
    /// HTTP/2 failed, or pings were not answered.
    #[error("HTTP/2 failed")]
    Http {
        /// What hyper said.
        #[source]
        source: hyper::Error,
    },
}

/// Lets a connection go on for as long as it likes once it has `proved` to be an activator's, and hardly any longer if not.
async fn once_proved(
    connection: impl Future<Output = Result<(), ConnectionError>>,
    proved: CancellationToken,
    place: Place,
) -> Result<(), ConnectionError> {
    let mut connection = pin!(connection);
    tokio::select! {
        ended = &mut connection => return ended,
        () = proved.cancelled() => drop(place),
        () = place.lost() => return Err(ConnectionError::Crowded),
        () = sleep(PROOF_TIMEOUT) => return Err(ConnectionError::Unproved),
    }
    connection.await
}

async fn serve_connection(
    stream: TcpStream,
    tls: TlsAcceptor,
    service: MeasurementsServer<Measurements>,
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    const PEER: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_proves_nothing_is_closed() {
        let (began, place) = (Instant::now(), Places::new(1, 1).take(PEER));
        let ended = once_proved(pending(), CancellationToken::new(), place).await;
        assert!(matches!(ended, Err(ConnectionError::Unproved)));
        assert_eq!(began.elapsed().as_secs(), PROOF_TIMEOUT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn an_activators_connection_stays_and_needs_no_place() {
        let strangers = Places::new(1, 1);
        let proved = CancellationToken::new();
        let connection = once_proved(pending(), proved.clone(), strangers.take(PEER));
        let mut connection = pin!(connection);
        assert!(timeout(PROOF_TIMEOUT / 2, &mut connection).await.is_err());
        proved.cancel();
        assert!(timeout(2 * PROOF_TIMEOUT, &mut connection).await.is_err());
        let _other = strangers.take(PEER);
        assert!(timeout(PROOF_TIMEOUT, &mut connection).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_gives_way_to_the_next_one() {
        let strangers = Places::new(1, 1);
        let first = strangers.take(PEER);
        let _second = strangers.take(PEER);
        let ended = once_proved(pending(), CancellationToken::new(), first).await;
        assert!(matches!(ended, Err(ConnectionError::Crowded)));
    }
}
