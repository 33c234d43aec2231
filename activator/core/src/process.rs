//! What everything in the process shares: settings, clock, budgets, tickets, and the way to the driver.

use crate::budget::Budgets;
use crate::clock::Clock;
use crate::effect::Probe;
use crate::function::Function;
use crate::queue::Ticket;
use crate::settings::Settings;
use crate::shared::SharedRevision;
use crate::slots::{LinkId, Neighbours};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use catnap_wire::message::{ActivatorFrame, RevisionId};
use catnap_wire::peer::PeerFrame;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// One stream to a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Connection(pub(crate) u64);

/// What the driver is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Something needs the clock: call `tick` now.
    Tick,
    /// Send on this stream; drop it when the stream is another one by now.
    Send {
        /// The stream.
        connection: Connection,
        /// What to send.
        frame: ActivatorFrame,
    },
    /// End this stream, if it is still the one there is: its leader was replaced, and counts on an activator that obeys it for
    /// as long as the stream is there. For the core it is lost already.
    Disconnect {
        /// The stream.
        connection: Connection,
    },
    /// GET `/scale` and answer with `scale_read`, exactly once, within a second.
    ReadScale {
        /// The revision; its name is the Deployment's.
        revision: RevisionId,
        /// To be given back.
        attempt: u64,
    },
    /// PUT `/scale` and answer with `scale_raised`, exactly once, within a second.
    RaiseScale {
        /// The revision; its name is the Deployment's.
        revision: RevisionId,
        /// To be given back.
        attempt: u64,
        /// Replicas to ask for.
        replicas: u32,
        /// Precondition of the PUT.
        resource_version: Arc<str>,
    },
    /// Send to another activator on this link; drop it when the link is gone.
    SendPeer {
        /// The link.
        link: LinkId,
        /// What to send.
        frame: PeerFrame,
    },
    /// End this link to another activator, if it is still there. For the core it is lost already.
    ClosePeer {
        /// The link.
        link: LinkId,
    },
    /// Try a pod's port once and answer with `probed`, exactly once.
    Probe {
        /// The revision.
        revision: RevisionId,
        /// The attempt.
        probe: Probe,
    },
}

/// Shared by all revisions and functions of the process.
pub(crate) struct Process {
    pub(crate) settings: Settings,
    clock: Arc<dyn Clock>,
    pub(crate) budgets: Arc<Budgets>,
    commands: UnboundedSender<Command>,
    tickets: AtomicU64,
    /// Number of the stream that frames belong to; zero when there is none.
    connection: AtomicU64,
    draining: AtomicBool,
    /// The other activators; `None` until there is one.
    neighbours: Mutex<Option<Arc<Neighbours>>>,
    awake: Mutex<Vec<Arc<SharedRevision>>>,
    pending: Mutex<Vec<Arc<Function>>>,
}

impl Process {
    pub(crate) fn new(
        settings: Settings,
        clock: Arc<dyn Clock>,
        commands: UnboundedSender<Command>,
    ) -> Arc<Self> {
        let Settings { max_held, max_held_bytes, max_wakes, max_probes_per_second, .. } = settings;
        let budgets = Budgets::new(max_held, max_held_bytes, max_wakes, max_probes_per_second);
        Arc::new(Self {
            settings,
            clock,
            budgets,
            commands,
            tickets: AtomicU64::new(0),
            connection: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            neighbours: Mutex::default(),
            awake: Mutex::default(),
            pending: Mutex::default(),
        })
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    /// A driver that is gone is ending the process: nothing is left to ask of it.
    pub(crate) fn send(&self, command: Command) {
        drop(self.commands.send(command));
    }

    pub(crate) fn send_frame(&self, frame: ActivatorFrame) {
        if let Some(connection) = self.connection() {
            self.send(Command::Send { connection, frame });
        }
    }

    pub(crate) fn connection(&self) -> Option<Connection> {
        Some(self.connection.load(Ordering::Relaxed)).filter(|number| *number > 0).map(Connection)
    }

    pub(crate) fn set_connection(&self, connection: Option<Connection>) {
        self.connection.store(connection.map_or(0, |connection| connection.0), Ordering::Relaxed);
    }

    pub(crate) fn neighbours(&self) -> Option<Arc<Neighbours>> {
        self.neighbours.lock().clone()
    }

    pub(crate) fn set_neighbours(&self, neighbours: &Arc<Neighbours>) {
        *self.neighbours.lock() = Some(Arc::clone(neighbours));
    }

    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn add_awake(&self, revision: Arc<SharedRevision>) {
        self.awake.lock().push(revision);
    }

    pub(crate) fn take_awake(&self) -> Vec<Arc<SharedRevision>> {
        std::mem::take(&mut self.awake.lock())
    }

    pub(crate) fn still_awake(&self, mut revisions: Vec<Arc<SharedRevision>>) {
        self.awake.lock().append(&mut revisions);
    }

    /// A Function without a routed revision begins to hold requests.
    pub(crate) fn add_pending(&self, function: Arc<Function>) {
        self.pending.lock().push(function);
        self.send(Command::Tick);
    }

    pub(crate) fn take_pending(&self) -> Vec<Arc<Function>> {
        std::mem::take(&mut self.pending.lock())
    }

    pub(crate) fn still_pending(&self, mut functions: Vec<Arc<Function>>) {
        self.pending.lock().append(&mut functions);
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Process").field("settings", &self.settings).finish_non_exhaustive()
    }
}
