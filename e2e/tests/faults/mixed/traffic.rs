//! Callers of every kind, over the activators' Service, until they are told to stop.
//!
//! All run in this process: what they met has one clock, and a request costs little. Each keeps its own pace and catches
//! up when it was kept waiting (an open loop), so that a slow moment shows as a late answer and not as less traffic.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Resolver};
use catnap_e2e::functions::deployment;
use kube::ResourceExt as _;
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Interval, sleep, timeout},
};

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
pub(crate) const KEEP_ALIVE: (usize, Duration) = (16, Duration::from_millis(50));
const NEW_CONNECTIONS: (usize, Duration) = (10, Duration::from_millis(100));
pub(crate) const HTTP2: (usize, Duration) = (4, Duration::from_millis(25));
const STREAMING: usize = 4;
pub(crate) const WEB_SOCKETS: (usize, Duration) = (6, Duration::from_millis(100));
pub(crate) const ENDLESS: (usize, Duration) = (2, Duration::from_millis(200));

/// A caller that was refused a connection tries again after this long.
const RETRY: Duration = Duration::from_millis(10);
/// Longest wait for a connection to be taken or refused.
const CONNECTING: Duration = Duration::from_secs(5);

/// What all callers share.
pub(crate) struct Shared {
    pub(crate) journal: Journal,
    pub(crate) activator: SocketAddr,
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
    /// Starts all callers.
    pub(crate) async fn start(test: &Context) -> anyhow::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            journal: Journal::default(),
            activator: Resolver::new(test.client.clone()).activator().await?,
            recorded: Mutex::default(),
            namespace: test.namespace.clone(),
            stopped,
            count: AtomicU64::new(0),
        });
        let mut callers = JoinSet::new();
        let numbered = |kind, count| (0..count).map(move |number| Caller { kind, number });
        for caller in numbered(Kind::KeepAlive, KEEP_ALIVE.0) {
            callers.spawn(http1::keep_alive(Arc::clone(&shared), caller, KEEP_ALIVE.1));
        }
        for caller in numbered(Kind::NewConnections, NEW_CONNECTIONS.0) {
            callers.spawn(http1::new_connections(Arc::clone(&shared), caller, NEW_CONNECTIONS.1));
        }
        for caller in numbered(Kind::Http2, HTTP2.0) {
            callers.spawn(http2::call(Arc::clone(&shared), caller, HTTP2.1));
        }
        for caller in numbered(Kind::Streaming, STREAMING) {
            callers.spawn(http1::streaming(Arc::clone(&shared), caller));
        }
        for caller in numbered(Kind::WebSocket, WEB_SOCKETS.0) {
            callers.spawn(tunnel::web_sockets(Arc::clone(&shared), caller, WEB_SOCKETS.1));
        }
        for caller in numbered(Kind::Endless, ENDLESS.0) {
            callers.spawn(tunnel::endless(Arc::clone(&shared), caller, ENDLESS.1));
        }
        for (caller, function) in numbered(Kind::Cold, COLD.len()).zip(COLD) {
            let deployment = deployment(test, function).await?.name_any();
            callers.spawn(http1::cold(Arc::clone(&shared), caller, function, test.api(), deployment));
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
        format!("{function}.{}", self.namespace)
    }

    /// An id that no other request has.
    pub(crate) fn id(&self, caller: Caller) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!("{:?}-{}-{count}", caller.kind, caller.number)
    }

    /// A new connection through the Service: whoever is refused one tries again at once. `None`: told to stop meanwhile.
    pub(crate) async fn connect(&self, caller: Caller) -> Option<(TcpStream, SocketAddr)> {
        loop {
            let connected = async {
                let stream = TcpStream::connect(self.activator).await?;
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                std::io::Result::Ok((stream, local))
            };
            if let Ok(Ok(connected)) = timeout(CONNECTING, connected).await {
                return Some(connected);
            }
            self.journal.note(caller, Event::Refused);
            if self.is_stopped() {
                return None;
            }
            sleep(RETRY).await;
        }
    }
}
