//! The activator of one process: what the HTTP layer asks for routes and slots, and what the driver feeds.
//!
//! Every method may be called from any thread and returns at once. What the driver has to do comes as [`Command`]s.

mod functions;
mod leader;
mod peers;
mod snapshot;
mod ticking;

pub use snapshot::{FunctionState, PeerState, PodSnapshot, RevisionState, Snapshot};

use crate::aliases::Claims;
use crate::clock::Clock;
use crate::destination::Destination;
use crate::effect::{Scale, ScaleError};
use crate::pod::Pod;
use crate::process::{Command, Process};
use crate::reason::{Reason, Refusal, Trouble};
use crate::revision::{Resting, Start};
use crate::routes::{Listener, Routes};
use crate::settings::Settings;
use crate::shared::{ByName, SharedRevision};
use crate::slots::Links;
use crate::sync::Mutex;
use catnap_wire::message::{Closed, PodUid, RevisionId, Term};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// All of Catnap's data path but the sockets.
#[derive(Debug)]
pub struct Activator {
    process: Arc<Process>,
    routes: Routes,
    control: Mutex<Control>,
}

/// What only the driver's side touches.
#[derive(Debug, Default)]
struct Control {
    revisions: HashSet<ByName>,
    /// Names that Functions have besides their own.
    claims: Claims,
    members: Vec<PodUid>,
    links: Links,
    leader: Leader,
    pressure_at: Duration,
    /// There was some the last time.
    pressed: bool,
    swept_at: Duration,
    /// No tick does anything before.
    rests_until: Duration,
}

/// The stream to the leader.
#[derive(Debug, Default)]
struct Leader {
    connections: u64,
    /// The latest Lease that a leader leads by. One that was made anew counts its terms from the beginning.
    lease: u64,
    /// The highest term of that Lease that ever answered a hello.
    term: Term,
    /// The hello on this stream was answered in full.
    welcomed: bool,
    /// This stream's leader leads by a Lease that is gone: nothing it says counts.
    replaced: bool,
    /// Parts of the answer so far.
    closed: HashMap<RevisionId, Closed>,
    /// When the last stream ended.
    lost_at: Duration,
    /// Last second that was said to be complete.
    through: Option<u64>,
}

impl Activator {
    /// An activator without functions, and the commands to its driver.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> (Arc<Self>, UnboundedReceiver<Command>) {
        let (sender, receiver) = unbounded_channel();
        let activator = Self {
            process: Process::new(settings, clock, sender),
            routes: Routes::default(),
            control: Mutex::default(),
        };
        (Arc::new(activator), receiver)
    }

    /// What a request is for.
    pub fn route(&self, listener: Listener, authority: &str) -> Result<Destination, Refusal> {
        let found = self.routes.find(listener, authority, &self.process.settings.cluster_domain);
        match (&self.process.settings.any_host, listener) {
            (Some(name), Listener::InCluster) => found.or_else(|refusal| {
                let function = self.routes.get(name).ok_or(refusal)?;
                Ok(Destination::new(&function, None))
            }),
            _ => found,
        }
    }

    /// Requests held now in the whole process.
    pub fn held(&self) -> usize {
        self.process.budgets.held()
    }

    /// The process is on its way out. Requests that still come are served; the HTTP layer closes what it can.
    pub fn drain(&self) {
        self.process.set_draining();
        self.leave_peers();
    }

    /// [`drain`](Self::drain) was called.
    pub fn draining(&self) -> bool {
        self.process.draining()
    }

    /// The drain's time is over: everything held fails.
    pub fn give_up_held(&self) {
        let trouble = Trouble {
            reason: Reason::Draining,
            detail: "the activator ends before the function had capacity".into(),
        };
        let control = self.control.lock();
        for ByName(shared) in control.revisions.iter().filter(|ByName(shared)| shared.held() > 0) {
            shared.with(|machine, now, effects| machine.fail_held(&trouble, now, effects));
        }
        for function in self.routes.all() {
            function.fail_pending(&trouble);
        }
    }

    /// All pods of a revision that the watch shows, whenever one of them changes; those that are gone are left out.
    pub fn set_pods(&self, revision: &RevisionId, pods: Vec<Pod>) {
        let shared = {
            let mut control = self.control.lock();
            if pods.is_empty() && !control.revisions.contains(revision) {
                return;
            }
            self.revision(&mut control, revision)
        };
        shared.with(|machine, now, effects| machine.set_pods(pods, now, effects));
    }

    /// Answer to [`Command::Probe`].
    pub fn probed(&self, revision: &RevisionId, pod: &PodUid, answered: bool) {
        if let Some(shared) = self.known(revision) {
            shared.with(|machine, now, effects| machine.probed(pod, answered, now, effects));
        }
    }

    /// Answer to [`Command::ReadScale`].
    pub fn scale_read(&self, revision: &RevisionId, attempt: u64, result: Result<Scale, ScaleError>) {
        if let Some(shared) = self.known(revision) {
            shared.with(|machine, now, effects| machine.scale_read(attempt, result, now, effects));
        }
    }

    /// Answer to [`Command::RaiseScale`].
    pub fn scale_raised(&self, revision: &RevisionId, attempt: u64, result: Result<(), ScaleError>) {
        if let Some(shared) = self.known(revision) {
            shared.with(|machine, now, effects| machine.scale_raised(attempt, result, now, effects));
        }
    }

    fn known(&self, revision: &RevisionId) -> Option<Arc<SharedRevision>> {
        self.control.lock().revisions.get(revision).map(|known| Arc::clone(&known.0))
    }

    /// The revision of this name, made when nobody spoke of it before.
    fn revision(&self, control: &mut Control, id: &RevisionId) -> Arc<SharedRevision> {
        if let Some(known) = control.revisions.get(id) {
            return Arc::clone(&known.0);
        }
        // What the leader lists of a revision, it lists in the answer to the hello or says later: silence means open.
        let start = if control.leader.welcomed {
            Start::Open
        } else {
            Start::Unanswered { since: control.leader.lost_at }
        };
        let first = crate::members::is_first(id, &self.process.settings.pod_uid, &control.members);
        let shared = SharedRevision::new(id.clone(), Resting::new(start, first), Arc::clone(&self.process));
        control.revisions.insert(ByName(Arc::clone(&shared)));
        shared
    }
}

#[cfg(test)]
mod tests;
