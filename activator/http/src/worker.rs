//! One thread of the data path: its listeners, its client connections and its pool of connections to pods.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catnap_activator_core::{Activator, Slot};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::accept::accept;
use crate::client;
use crate::config::Config;
use crate::connections::{Connections, PhaseLimits, Registration};
use crate::date::Date;
use crate::deadlines::Deadlines;
use crate::descriptors::{is_reserved, is_scarce};
use crate::listen::{self, Bound, Endpoint};
use crate::load::Load;
use crate::observe::Observer;
use crate::pool::Pool;
use crate::room::{Room, turn_away_at_once};
use crate::server::Stage;
use crate::tls::Acceptor;

/// Late connections are closed this often.
const SWEEP: Duration = Duration::from_secs(1);
/// While ending, quiet connections are looked for this often.
const CLOSING_SWEEP: Duration = Duration::from_millis(100);
/// A cut-off connection's tasks get this long to notice.
pub(crate) const CUTTING_OFF: Duration = Duration::from_secs(1);
/// A worker with this many more connections than another hands a new one over.
const UNEVEN: usize = 2;

/// What the connections of a worker share.
pub(crate) struct Worker {
    pub(crate) config: Arc<Config>,
    pub(crate) activator: Arc<Activator>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) stage: watch::Receiver<Stage>,
    /// Of the listeners under TLS, if there are any.
    pub(crate) tls: Option<Acceptor>,
    /// Of the exchanges of its clients.
    pub(crate) deadlines: Deadlines,
    pub(crate) load: Load,
    pub(crate) room: Arc<Room>,
    pub(crate) date: Date,
    own_pool: Arc<Pool>,
    /// For pods with a limit: one of the process.
    limited_pool: Arc<Pool>,
    number: usize,
    /// All workers, this one included, by number.
    peers: Arc<[Peer]>,
    /// Whoever accepts connections, of all workers.
    accepting: TaskTracker,
}

/// Another worker, as one sees it that has a connection to give away.
#[derive(Debug)]
struct Peer {
    connections: Arc<Connections>,
    hand_over: mpsc::UnboundedSender<HandedOver>,
}

/// A new connection that no byte was read of.
type HandedOver = (Endpoint, std::net::TcpStream, Registration);

/// A worker before it runs.
pub(crate) struct Prepared {
    worker: Arc<Worker>,
    handed_over: mpsc::UnboundedReceiver<HandedOver>,
    /// For its listeners. It has it before it runs: another one may be asked to end meanwhile.
    accepting: TaskTrackerToken,
}

/// Makes the workers known to each other.
pub(crate) fn prepare(
    config: &Arc<Config>,
    tls: Option<&Arc<ServerConfig>>,
    activator: &Arc<Activator>,
    observer: Arc<dyn Observer>,
    stage: &watch::Sender<Stage>,
    count: usize,
    most_connections: usize,
) -> Vec<Prepared> {
    let limited_pool = Arc::new(Pool::default());
    let (peers, receivers): (Vec<_>, Vec<_>) = (0..count)
        .map(|_| {
            let (hand_over, handed_over) = mpsc::unbounded_channel();
            (Peer { connections: Arc::default(), hand_over }, handed_over)
        })
        .unzip();
    let peers: Arc<[Peer]> = peers.into();
    let accepting = TaskTracker::new();
    // It ends when nobody is left in it: none comes later.
    accepting.close();
    let connections = peers.iter().map(|peer| Arc::clone(&peer.connections)).collect();
    let room = Room::new(most_connections, config.quiet_after, connections);
    receivers
        .into_iter()
        .zip(std::iter::repeat_n(observer, count))
        .enumerate()
        .map(|(number, (handed_over, observer))| Prepared {
            worker: Arc::new(Worker {
                config: Arc::clone(config),
                activator: Arc::clone(activator),
                observer,
                connections: Arc::clone(&peers[number].connections),
                stage: stage.subscribe(),
                tls: tls.cloned().map(Acceptor::new),
                deadlines: Deadlines::default(),
                load: Load::new(config.busy_limit),
                room: Arc::clone(&room),
                date: Date::default(),
                own_pool: Arc::default(),
                limited_pool: Arc::clone(&limited_pool),
                number,
                peers: Arc::clone(&peers),
                accepting: accepting.clone(),
            }),
            handed_over,
            accepting: accepting.token(),
        })
        .collect()
}

impl Prepared {
    /// Serves until the end of the drain. Gives the number of connections that were cut off.
    pub(crate) async fn run(mut self, listeners: Vec<Bound>) -> usize {
        let worker = self.worker;
        let deadlines = Arc::clone(&worker);
        // Until the runtime ends: exchanges have their limits while draining too.
        tokio::spawn(async move { deadlines.deadlines.keep().await });
        for Bound { endpoint, socket, spare } in listeners {
            match listen::register(socket) {
                Ok(socket) => {
                    let accepting = self.accepting.clone();
                    tokio::spawn(accept(Arc::clone(&worker), endpoint, socket, spare, accepting));
                }
                Err(error) => tracing::error!(%error, ?endpoint, "a worker cannot use its listener"),
            }
        }
        drop(self.accepting);
        let mut stage = worker.stage.clone();
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                () = Stage::Closing.reached(&mut stage) => break,
                _ = sweep.tick() => worker.sweep(),
                Some((endpoint, stream, registration)) = self.handed_over.recv() => {
                    worker.take_over(endpoint, stream, registration);
                }
            }
        }
        worker.close(&mut self.handed_over).await
    }
}

impl Worker {
    /// The connections to a slot's pod.
    pub(crate) fn pool(&self, slot: &Slot) -> Arc<Pool> {
        Arc::clone(if slot.limited() { &self.limited_pool } else { &self.own_pool })
    }

    /// True once clients are to be told to leave.
    pub(crate) fn draining(&self) -> bool {
        *self.stage.borrow() >= Stage::Draining
    }

    fn sweep(&self) {
        let (busy, refuses) = self.load.look(Instant::now());
        self.observer.looked_at(self.number, busy, refuses);
        let Config { head_timeout, idle_timeout, stall_timeout, .. } = *self.config;
        self.connections.end_late(PhaseLimits {
            head: head_timeout,
            idle: idle_timeout,
            stall: stall_timeout,
        });
        self.own_pool.sweep();
        // The first one whose thread is not gone.
        let first = self.peers.iter().position(|peer| !peer.hand_over.is_closed());
        if first == Some(self.number) {
            self.limited_pool.sweep();
        }
    }

    /// Serves a new connection here, or has the least busy worker do it, if there is room for it.
    pub(crate) fn place(self: &Arc<Self>, endpoint: Endpoint, stream: TcpStream) {
        if !self.room.admits() {
            self.observer.turned_away();
            self.room.turn_away(stream, endpoint.tls);
            return;
        }
        if is_reserved(&stream) {
            let replaces = self.room.close_longest_quiet();
            if !replaces || is_scarce(&stream) {
                self.observer.turned_away();
                if let Ok(stream) = stream.into_std() {
                    turn_away_at_once(stream, endpoint.tls);
                }
                return;
            }
        }
        // One whose thread is gone has the fewest for ever.
        let living = self.peers.iter().filter(|peer| !peer.hand_over.is_closed());
        let least = living.min_by_key(|peer| peer.connections.open());
        match least.filter(|least| least.connections.open() + UNEVEN <= self.connections.open()) {
            // A draining worker may be about to end.
            Some(least) if !self.draining() => {
                let registration = least.connections.reserve();
                let Ok(stream) = stream.into_std() else { return };
                if let Err(back) = least.hand_over.send((endpoint, stream, registration)) {
                    // Its thread ended in between.
                    let (endpoint, stream, _) = back.0;
                    self.take_over(endpoint, stream, self.connections.reserve());
                }
            }
            _ => {
                tokio::spawn(client::serve(Arc::clone(self), endpoint, stream, self.connections.reserve()));
            }
        }
    }

    pub(crate) fn take_over(
        self: &Arc<Self>,
        endpoint: Endpoint,
        stream: std::net::TcpStream,
        registration: Registration,
    ) {
        match TcpStream::from_std(stream) {
            Ok(stream) => {
                tokio::spawn(client::serve(Arc::clone(self), endpoint, stream, registration));
            }
            Err(error) => tracing::warn!(%error, "a connection that was handed over is lost"),
        }
    }

    /// Waits until no worker has a connection, or may get one: others may be using connections to pods that this one moves.
    async fn all_emptied(&self) {
        self.accepting.wait().await;
        for peer in self.peers.iter() {
            peer.connections.emptied().await;
        }
    }

    /// Lets what is in flight end. Gives the number of connections that were cut off.
    async fn close(self: &Arc<Self>, handed_over: &mut mpsc::UnboundedReceiver<HandedOver>) -> usize {
        let mut stage = self.stage.clone();
        let mut sweep = tokio::time::interval(CLOSING_SWEEP);
        loop {
            tokio::select! {
                biased;
                Some((endpoint, stream, registration)) = handed_over.recv() => {
                    self.take_over(endpoint, stream, registration);
                }
                () = self.all_emptied() => return self.connections.cut_off(),
                () = Stage::Ended.reached(&mut stage) => break,
                _ = sweep.tick() => {
                    self.connections.close_quiet();
                    self.sweep();
                }
            }
        }
        self.connections.close_all();
        let _ = tokio::time::timeout(CUTTING_OFF, self.connections.emptied()).await;
        self.connections.cut_off()
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Worker").field("number", &self.number).finish_non_exhaustive()
    }
}
