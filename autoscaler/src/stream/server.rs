//! Connections of activators and operators: TLS, then HTTP/2 with pings, bounded in the time of each step.
//!
//! Every pod can reach this port. A connection on which no stream was accepted yet has little time, and a place that it may lose
//! to another one; those of activators and operators are as few as there are of them.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use catnap_runtime::listen::accept_until;
use catnap_runtime::places::{Place, Places};
use catnap_runtime::{CancellationToken, Causes};
use catnap_wire::limits::MAX_FRAME_BYTES;
use catnap_wire::proto::measurements_server::MeasurementsServer;
use catnap_wire::rates_proto::rates_server::{RatesServer, SERVICE_NAME};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::Measurements;
use super::rates::Rates;

/// Most connections that have not proved to be an activator's or an operator's: far more than there are of them.
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
    rates: Rates,
    stop: CancellationToken,
) {
    let tls = TlsAcceptor::from(tls);
    let strangers = Places::new(MAX_STRANGERS, MAX_STRANGERS_PER_ADDRESS);
    let failed = |error: &io::Error| tracing::warn!(%error, "cannot accept a connection");
    accept_until(listener, &stop, failed, |stream, peer| {
        let place = strangers.take(peer.ip());
        let proved = CancellationToken::new();
        let measurements = MeasurementsServer::new(measurements.on_connection(proved.clone()))
            .max_decoding_message_size(MAX_FRAME_BYTES);
        let rates =
            RatesServer::new(rates.on_connection(proved.clone())).max_decoding_message_size(MAX_FRAME_BYTES);
        let serving = serve_connection(stream, tls.clone(), measurements, rates);
        let connection = once_proved(serving, proved, place);
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
    })
    .await;
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
    /// No stream was accepted on it in time.
    #[error("no stream was accepted on it in time")]
    Unproved,
    /// Its place was needed for another one before a stream was accepted on it.
    #[error("too many connections without a stream")]
    Crowded,
    /// HTTP/2 failed, or pings were not answered.
    #[error("HTTP/2 failed")]
    Http {
        /// What hyper said.
        #[source]
        source: hyper::Error,
    },
}

/// Lets a connection go on for as long as it likes once it has `proved` whose it is, and hardly any longer if not.
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
    measurements: MeasurementsServer<Measurements>,
    rates: RatesServer<Rates>,
) -> Result<(), ConnectionError> {
    // Frames are small and must not wait for one another.
    stream.set_nodelay(true).map_err(|source| ConnectionError::Handshake { source })?;
    let stream = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream))
        .await
        .map_err(|_| ConnectionError::SlowHandshake)?
        .map_err(|source| ConnectionError::Handshake { source })?;
    let measurements = TowerToHyperService::new(measurements);
    let rates = TowerToHyperService::new(rates);
    let service = service_fn(move |request: Request<Incoming>| {
        let (measurements, rates) = (measurements.clone(), rates.clone());
        let service = request.uri().path().strip_prefix('/').and_then(|path| path.split('/').next());
        let for_operators = service == Some(SERVICE_NAME);
        async move { if for_operators { rates.call(request).await } else { measurements.call(request).await } }
    });
    http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .serve_connection(TokioIo::new(stream), service)
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
