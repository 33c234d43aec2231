//! What an activator looks like from outside at one moment: for `/debug/state`, gauges and the local live view.

use super::{Activator, Control};
use crate::aliases::Claim;
use crate::function::Function;
use crate::reason::FunctionName;
use crate::route::{HostRoute, Share, TagRoute};
use crate::slots::PeerId;
use catnap_wire::message::{PodUid, RevisionId};
use std::net::SocketAddr;
use std::sync::Arc;

/// The state of a process at one moment, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// A stream to the leader is open and its hello was answered.
    pub leader: bool,
    /// The process is on its way out.
    pub draining: bool,
    /// The other activators.
    pub peers: Vec<PeerState>,
    /// All Functions, or the one that was asked for.
    pub functions: Vec<FunctionState>,
    /// All revisions, or those of that Function.
    pub revisions: Vec<RevisionState>,
}

/// A Function at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionState {
    /// Namespace and name.
    pub name: FunctionName,
    /// UID.
    pub uid: Arc<str>,
    /// Its revisions that may have pods.
    pub revisions: Vec<RevisionId>,
    /// How its requests are split.
    pub traffic: Vec<Share>,
    /// Its revisions with names of their own.
    pub tags: Vec<TagRoute>,
    /// Hosts that it asks for outside the cluster.
    pub hosts: Vec<HostRoute>,
    /// Requests that wait for a first revision.
    pub pending: usize,
}

/// Another activator at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerState {
    /// Which start of which pod.
    pub id: PeerId,
    /// There is a stream to it.
    pub linked: bool,
    /// It has been silent for so long that it does not count any more.
    pub given_up: bool,
}

/// A revision at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionState {
    /// The revision.
    pub revision: RevisionId,
    /// `open`, `draining` (closed for some pods), `closed`, `zero` or `unanswered`.
    pub gate: &'static str,
    /// It has traffic.
    pub routed: bool,
    /// Requests held.
    pub held: u64,
    /// Requests dispatched and not ended.
    pub in_flight: u64,
    /// Requests that the measurements count now.
    pub measured: u64,
    /// Arrivals since the process started.
    pub arrivals: u64,
    /// With a limit and other activators: `owner`, `following`, `claiming` or `idle`.
    pub slots: Option<&'static str>,
    /// `concurrency.limit`: exchanges that one pod may have; 0 is no limit.
    pub limit: u32,
    /// Its pods.
    pub pods: Vec<PodSnapshot>,
}

/// A pod at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, shown as they are")]
pub struct PodSnapshot {
    /// UID.
    pub uid: PodUid,
    /// Where it listens.
    pub address: Option<SocketAddr>,
    /// It takes requests now, limits aside.
    pub usable: bool,
    /// It is being deleted, or gone with exchanges still open.
    pub terminating: bool,
    /// It refused connections and waits for a probe to succeed.
    pub set_aside: bool,
    /// It is never used again.
    pub condemned: bool,
    /// Exchanges open.
    pub in_flight: u32,
    /// Exchanges that other activators have open, as far as this one counts them.
    pub elsewhere: u32,
}

impl Activator {
    /// The state at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let control = self.control.lock();
        let revisions = control.revisions.iter().map(|known| known.0.snapshot());
        self.snapshot_with(&control, &self.routes.all(), revisions.collect())
    }

    /// The state at this moment, of one Function and its revisions alone. Nothing is copied of others.
    pub fn snapshot_of(&self, name: &FunctionName) -> Snapshot {
        let control = self.control.lock();
        let functions = Vec::from_iter(self.routes.get(name));
        let ids = functions.iter().flat_map(|function| function.revisions());
        let revisions = ids.filter_map(|id| Some(control.revisions.get(&id)?.0.snapshot()));
        self.snapshot_with(&control, &functions, revisions.collect())
    }

    fn snapshot_with(
        &self,
        control: &Control,
        functions: &[Arc<Function>],
        mut revisions: Vec<RevisionState>,
    ) -> Snapshot {
        let mut functions: Vec<_> = functions.iter().map(|function| state_of(control, function)).collect();
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        revisions.sort_by(|a, b| a.revision.cmp(&b.revision));
        Snapshot {
            leader: control.leader.welcomed,
            draining: self.process.draining(),
            peers: control.links.states().collect(),
            functions,
            revisions,
        }
    }
}

fn state_of(control: &Control, function: &Function) -> FunctionState {
    let (traffic, tags) = function.traffic();
    FunctionState {
        name: function.name().clone(),
        uid: Arc::clone(function.uid()),
        revisions: function.revisions(),
        traffic,
        tags,
        hosts: control.claims.of(function.name()).map_or_else(Vec::new, Claim::hosts),
        pending: function.pending(),
    }
}
