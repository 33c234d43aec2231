//! Callers of every kind, over one of the activators' Services, until they are told to stop.
//!
//! All run in this process: what they met has one clock, and a request costs little. Each keeps its own pace and catches
//! up when it was kept waiting (an open loop), so that a slow moment shows as a late answer and not as less traffic.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, DOMAIN, Resolver};
use catnap_e2e::functions::deployment;
use catnap_e2e::lateness::Lateness;
use kube::ResourceExt as _;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Interval, sleep, timeout},
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::http1;
use super::http2;
use super::journal::{Caller, Event, Journal, Kind};
use super::tunnel;

/// The function that is never at zero.
pub(crate) const WARM: &str = "warm";
/// Functions that rest a second after their last request, and are called again as soon as they rest.
pub(crate) const COLD: [&str; 3] = ["cold-a", "cold-b", "cold-c"];

/// Callers of each kind that has a pace, and the time between two requests of one. Together 580 requests a second, so that
/// 500 are left when a caller has to open a connection or two.
const KEEP_ALIVE: (usize, Duration) = (16, Duration::from_millis(50));
const NEW_CONNECTIONS: (usize, Duration) = (10, Duration::from_millis(100));
const HTTP2: (usize, Duration) = (4, Duration::from_millis(25));
const STREAMING: usize = 4;
const WEB_SOCKETS: (usize, Duration) = (6, Duration::from_millis(100));
const ENDLESS: (usize, Duration) = (2, Duration::from_millis(200));
/// Callers whom an activator that goes tells so, of each kind, and those that wake a function then.
pub(crate) const TOLD: [(Kind, usize); 5] = [
    (Kind::KeepAlive, KEEP_ALIVE.0),
    (Kind::Http2, HTTP2.0),
    (Kind::Endless, ENDLESS.0),
    (Kind::WebSocket, WEB_SOCKETS.0),
    (Kind::Cold, COLD.len()),
];

/// A caller that was refused a connection tries again after this long.
const RETRY: Duration = Duration::from_millis(10);
/// Longest wait for a connection to be taken or refused.
const CONNECTING: Duration = Duration::from_secs(5);

/// A connection, with TLS around it or without.
pub(crate) type Transport = Box<dyn Stream>;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How callers from outside the cluster trust the edge; each offers the one protocol that it speaks.
pub(crate) struct Trust {
    pub(crate) http1: TlsConnector,
    pub(crate) http2: TlsConnector,
}

/// What all callers share.
pub(crate) struct Shared {
    pub(crate) journal: Journal,
    /// The callers are of no use while the machine stands still.
    pub(crate) lateness: Lateness,
    pub(crate) activator: SocketAddr,
    /// Set for callers at the edge.
    trust: Option<Trust>,
    /// Ids of requests that must have been served once, at a function that reports them.
    pub(crate) recorded: Mutex<Vec<String>>,
    namespace: String,
    stopped: watch::Receiver<bool>,
    count: AtomicU64,
}

/// Running callers.
pub(crate) struct Traffic {
    pub(crate) shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    callers: JoinSet<anyhow::Result<()>>,
}

impl Traffic {
    /// Starts all callers, inside the cluster.
    pub(crate) async fn start(test: &Context) -> anyhow::Result<Self> {
        let activator = Resolver::new(test.client.clone()).activator().await?;
        let mut traffic = Self::lasting(test, activator, None)?;
        let Self { shared, callers, .. } = &mut traffic;
        for caller in numbered(Kind::NewConnections, NEW_CONNECTIONS.0) {
            callers.spawn(http1::new_connections(Arc::clone(shared), caller, NEW_CONNECTIONS.1));
        }
        for caller in numbered(Kind::WebSocket, WEB_SOCKETS.0) {
            callers.spawn(tunnel::web_sockets(Arc::clone(shared), caller, WEB_SOCKETS.1));
        }
        for caller in numbered(Kind::Endless, ENDLESS.0) {
            callers.spawn(tunnel::endless(Arc::clone(shared), caller, ENDLESS.1));
        }
        for (caller, function) in numbered(Kind::Cold, COLD.len()).zip(COLD) {
            let deployment = deployment(test, function).await?.name_any();
            callers.spawn(http1::cold(Arc::clone(shared), caller, function, test.api(), deployment));
        }
        Ok(traffic)
    }

    /// Starts those whose connections last; with `trust` at the edge.
    pub(crate) fn lasting(
        test: &Context,
        activator: SocketAddr,
        trust: Option<Trust>,
    ) -> anyhow::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            journal: Journal::default(),
            lateness: Lateness::watch()?,
            activator,
            trust,
            recorded: Mutex::default(),
            namespace: test.namespace.clone(),
            stopped,
            count: AtomicU64::new(0),
        });
        let mut callers = JoinSet::new();
        for caller in numbered(Kind::KeepAlive, KEEP_ALIVE.0) {
            callers.spawn(http1::keep_alive(Arc::clone(&shared), caller, KEEP_ALIVE.1));
        }
        for caller in numbered(Kind::Http2, HTTP2.0) {
            callers.spawn(http2::call(Arc::clone(&shared), caller, HTTP2.1));
        }
        for caller in numbered(Kind::Streaming, STREAMING) {
            callers.spawn(http1::streaming(Arc::clone(&shared), caller));
        }
        Ok(Self { shared, stop, callers })
    }

    /// Lets every caller finish what it is at.
    ///
    /// # Errors
    /// When one cannot go on, for a reason that is not what it met of Catnap: that is in the journal.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Arc<Shared>> {
        self.stop.send_replace(true);
        while let Some(ended) = self.callers.join_next().await {
            ended.context("a caller panicked")??;
        }
        Ok(self.shared)
    }
}

fn numbered(kind: Kind, count: usize) -> impl Iterator<Item = Caller> {
    (0..count).map(move |number| Caller { kind, number })
}

impl Shared {
    /// Waits for the next turn of a caller; false when it is to stop.
    pub(crate) async fn next(&self, every: &mut Interval) -> bool {
        let mut stopped = self.stopped.clone();
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => false,
            _ = every.tick() => true,
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Ends when the callers are to stop.
    pub(crate) async fn stopping(&self) {
        // An error: nobody is there who could say go on.
        let _ = self.stopped.clone().wait_for(|stopped| *stopped).await;
    }

    pub(crate) fn host(&self, function: &str) -> String {
        match self.trust {
            None => format!("{function}.{}", self.namespace),
            Some(_) => format!("{function}-{}.{DOMAIN}", self.namespace),
        }
    }

    /// Address of a path of a function, with all that HTTP/2 says of it.
    pub(crate) fn url(&self, function: &str, path: &str) -> String {
        let scheme = if self.trust.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.host(function))
    }

    /// An id that no other request has.
    pub(crate) fn id(&self, caller: Caller) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!("{:?}-{}-{count}", caller.kind, caller.number)
    }

    /// A new connection through the Service: whoever is refused one tries again at once. `None`: told to stop meanwhile.
    pub(crate) async fn connect(&self, caller: Caller) -> Option<(Transport, SocketAddr)> {
        loop {
            if let Ok(Ok(connected)) = timeout(CONNECTING, self.connect_once(caller)).await {
                return Some(connected);
            }
            self.journal.note(caller, Event::Refused);
            if self.is_stopped() {
                return None;
            }
            sleep(RETRY).await;
        }
    }

    async fn connect_once(&self, caller: Caller) -> io::Result<(Transport, SocketAddr)> {
        let stream = TcpStream::connect(self.activator).await?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let transport: Transport = match &self.trust {
            None => Box::new(stream),
            Some(trust) => {
                let connector = if caller.kind == Kind::Http2 { &trust.http2 } else { &trust.http1 };
                let name = ServerName::try_from(self.host(WARM)).map_err(io::Error::other)?;
                Box::new(connector.connect(name, stream).await?)
            }
        };
        Ok((transport, local))
    }
}
