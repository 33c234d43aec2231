//! The admin server of a process: `/metrics`, `/healthz`, `/readyz`, `/debug/state` and, in test builds, `/debug/failpoints/`.
//!
//! Plain HTTP/1.1 for kubelet, Prometheus and people with a port-forward. Every pod of the cluster can reach it, so a connection
//! serves one request in bounded time, a page of metrics is shared by all who ask at the same time, and what tells of functions
//! is for those who are in this pod. It stops last, so that a draining process can be watched.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
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
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::Causes;

use crate::listen::{accept_until, every_address, listen};
use crate::places::Places;

#[cfg(feature = "failpoints")]
mod failpoints;
mod page;

use page::Page;

const PORT: u16 = 9090;

/// More connections than probes, Prometheus and a few people need.
const MAX_CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest life of a connection: as long as Prometheus waits for an answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ENDS: &str = "the process ends, and has no state any more\n";
const NOT_FROM_HERE: &str = "only from within the pod, as by kubectl port-forward; \
    a process with --debug-endpoints=all (CATNAP_DEBUG_ENDPOINTS) tells everybody\n";

/// Where the admin server listens, and to whom.
#[derive(Clone, Debug, clap::Args)]
pub struct AdminArgs {
    /// Address of the admin server [default: port 9090 of every address, of both families where IPv6 is on].
    #[arg(long, env = "CATNAP_ADMIN_ADDRESS")]
    pub admin_address: Option<SocketAddr>,
    /// Who may ask for /debug/*, which tells of the functions of all namespaces.
    #[arg(long, env = "CATNAP_DEBUG_ENDPOINTS", value_enum, default_value_t)]
    pub debug_endpoints: DebugEndpoints,
}

impl AdminArgs {
    fn address(&self) -> SocketAddr {
        self.admin_address.unwrap_or_else(|| every_address(PORT))
    }
}

/// Who may ask for what is below `/debug/`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DebugEndpoints {
    /// Who connects from within the pod, as `kubectl port-forward` does.
    #[default]
    Loopback,
    /// Whoever reaches the admin server.
    All,
}

impl DebugEndpoints {
    fn are_for(self, peer: IpAddr) -> bool {
        // An IPv4 peer of a socket for both families is no loopback address as it stands.
        self == Self::All || peer.to_canonical().is_loopback()
    }
}

/// The socket of the admin server, before it serves.
#[derive(Debug)]
pub struct AdminListener {
    socket: TcpListener,
    debug_endpoints: DebugEndpoints,
}

impl AdminListener {
    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
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

/// What of the state somebody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebugQuery {
    /// `?function=namespace/name`: this one alone.
    pub function: Option<String>,
}

impl DebugQuery {
    fn of(query: Option<&str>) -> Self {
        let mut pairs = query.into_iter().flat_map(|query| query.split('&'));
        let function = pairs.find_map(|pair| pair.strip_prefix("function="));
        // Of what a client may have encoded a name has only the slash.
        Self { function: function.map(|name| name.replace("%2F", "/").replace("%2f", "/")) }
    }
}

/// Makes the state of the process into what `/debug/state` shows; it may take long, and runs where nobody waits for the thread.
/// Null: there is none any more, because the process ends.
pub type Rendering = Box<dyn FnOnce() -> serde_json::Value + Send>;

/// Asks the process for its state.
pub type DebugState = Arc<dyn Fn(DebugQuery) -> BoxFuture<'static, Rendering> + Send + Sync>;

/// What the admin server shows.
pub struct Admin {
    /// Metrics, in the `OpenMetrics` text format.
    pub registry: Registry,
    /// Decides `/readyz`.
    pub readiness: Readiness,
    /// Decides `/debug/state`.
    pub debug_state: DebugState,
}

/// The same, while it is served.
struct Shown {
    metrics: Page,
    readiness: Readiness,
    debug_state: DebugState,
    /// Whose turn it is to have the state rendered.
    turn: Arc<Mutex<()>>,
}

impl From<Admin> for Shown {
    fn from(Admin { registry, readiness, debug_state }: Admin) -> Self {
        Self { metrics: Page::new(registry), readiness, debug_state, turn: Arc::default() }
    }
}

impl Shown {
    /// The state as text, some megabytes perhaps. It is rendered for one at a time, to its end also when who asked for it leaves:
    /// those who ask again and again have no more threads and memory for it.
    /// `None`: there is none any more.
    async fn state(&self, query: DebugQuery) -> Result<Option<String>, JoinError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let render = (self.debug_state)(query).await;
        let rendered = spawn_blocking(move || {
            let _turn = turn;
            let state = render();
            (!state.is_null()).then(|| format!("{state:#}\n"))
        });
        rendered.await
    }
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
pub fn bind(args: &AdminArgs) -> Result<AdminListener, AdminError> {
    let (address, debug_endpoints) = (args.address(), args.debug_endpoints);
    let socket = listen(address).map_err(|source| AdminError::Bind { address, source })?;
    Ok(AdminListener { socket, debug_endpoints })
}

/// Serves until `stop` is cancelled. When there are as many connections as allowed, an old one goes for a new one: a probe
/// that had to wait for a place would be taken for a process that hangs.
pub async fn serve(listener: AdminListener, admin: Admin, stop: CancellationToken) {
    let AdminListener { socket, debug_endpoints } = listener;
    let admin = Arc::new(Shown::from(admin));
    let places = Places::new(MAX_CONNECTIONS, MAX_CONNECTIONS);
    let failed = |error: &io::Error| tracing::warn!(%error, "cannot accept an admin connection");
    accept_until(socket, &stop, failed, |stream, peer| {
        let place = places.take(peer.ip());
        let connection = serve_connection(stream, Arc::clone(&admin), debug_endpoints.are_for(peer.ip()));
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = place.lost() => tracing::debug!(%peer, "too many admin connections: an old one is closed"),
                ended = timeout(CONNECTION_TIMEOUT, connection) => if ended.is_err() {
                    tracing::debug!(%peer, "an admin connection took too long");
                },
            }
        });
    })
    .await;
}

async fn serve_connection(stream: TcpStream, admin: Arc<Shown>, may_debug: bool) {
    let service = service_fn(move |request| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(answer(&admin, request, may_debug).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(error = %Causes(&error), "admin connection failed");
    }
}

async fn answer(admin: &Shown, request: Request<Incoming>, may_debug: bool) -> Response<Full<Bytes>> {
    if request.uri().path().starts_with("/debug/") && !may_debug {
        return respond(StatusCode::FORBIDDEN, TEXT, NOT_FROM_HERE);
    }
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
        "/metrics" => match admin.metrics.get().await {
            Ok(text) => respond(StatusCode::OK, METRICS_TYPE, text),
            Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{}\n", Causes(&error))),
        },
        "/debug/state" => match admin.state(DebugQuery::of(request.uri().query())).await {
            Ok(Some(text)) => respond(StatusCode::OK, JSON, text),
            Ok(None) => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, ENDS),
            Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        },
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
