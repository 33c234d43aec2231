//! The admin server of a process: `/metrics`, `/healthz`, `/readyz`, `/debug/state` and, in test builds, `/debug/failpoints/`.
//!
//! Plain HTTP/1.1 for kubelet, Prometheus and people with a port-forward. It stops last, so that a draining process can be watched.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::Causes;

#[cfg(feature = "failpoints")]
mod failpoints;

/// More connections than probes, Prometheus and a few people need.
const MAX_CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Where the admin server listens.
#[derive(Clone, Debug, clap::Args)]
pub struct AdminArgs {
    /// Address of the admin server: metrics, health and debugging.
    #[arg(long, env = "CATNAP_ADMIN_ADDRESS", default_value = "0.0.0.0:9090")]
    pub admin_address: SocketAddr,
}

/// Whether the process should get work, as `/readyz` tells. Clones share it; it begins as not ready.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Changes it.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// What it is now.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Tells the state of the process for `/debug/state`.
pub type DebugState = Arc<dyn Fn() -> BoxFuture<'static, serde_json::Value> + Send + Sync>;

/// What the admin server shows.
pub struct Admin {
    /// Metrics, in the `OpenMetrics` text format.
    pub registry: Registry,
    /// Decides `/readyz`.
    pub readiness: Readiness,
    /// Decides `/debug/state`.
    pub debug_state: DebugState,
}

/// Why the admin server is not there.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for the admin server")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// Listens; separate from [`serve`], so that a process fails early when its port is taken.
pub async fn bind(args: &AdminArgs) -> Result<TcpListener, AdminError> {
    let address = args.admin_address;
    TcpListener::bind(address).await.map_err(|source| AdminError::Bind { address, source })
}

/// Serves until `stop` is cancelled. Connections beyond the most allowed wait to be accepted.
pub async fn serve(listener: TcpListener, admin: Admin, stop: CancellationToken) {
    let admin = Arc::new(admin);
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = async {
            let permit = Arc::clone(&connections).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve_connection(stream, Arc::clone(&admin));
                let stop = stop.clone();
                tokio::spawn(async move {
                    let _permit = permit;
                    tokio::select! { () = stop.cancelled() => {}, () = connection => {} }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an admin connection");
                // Out of file descriptors, most likely: do not spin until some are free.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, admin: Arc<Admin>) {
    let service = service_fn(move |request| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(answer(&admin, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(error = %Causes(&error), "admin connection failed");
    }
}

async fn answer(admin: &Admin, request: Request<Incoming>) -> Response<Full<Bytes>> {
    #[cfg(feature = "failpoints")]
    if request.uri().path().starts_with(failpoints::PREFIX) {
        return failpoints::answer(request).await;
    }
    if request.method() != Method::GET {
        return respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n");
    }
    match request.uri().path() {
        "/healthz" => respond(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" if admin.readiness.get() => respond(StatusCode::OK, TEXT, "ready\n"),
        "/readyz" => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not ready\n"),
        "/metrics" => {
            let mut text = String::new();
            match encode(&mut text, &admin.registry) {
                Ok(()) => respond(StatusCode::OK, METRICS_TYPE, text),
                Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            }
        }
        "/debug/state" => respond(StatusCode::OK, JSON, format!("{:#}\n", (admin.debug_state)().await)),
        _ => respond(StatusCode::NOT_FOUND, TEXT, "nothing here\n"),
    }
}

fn respond(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests;
