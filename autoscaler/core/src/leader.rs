//! The whole of one leading process: revisions, activators, and what is under way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use catnap_wire::{ActivatorFrame, PodUid, RevisionId, Term};

use crate::decide::Decision;
use crate::effect::{Effect, ReadOutcome, StreamId, Token, WriteOutcome};
use crate::policy::{Policy, Stage};
use crate::settings::Settings;

/// What the watches say of the Deployment of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaleFact {
    /// `spec.replicas`.
    pub replicas: u32,
    /// `metadata.resourceVersion` of the Deployment, which is also that of its `/scale`.
    pub resource_version: Arc<str>,
    /// The ReplicaSet controller has acted on this count: `status.observedGeneration` of the Deployment and of its one
    /// active ReplicaSet are current, and the ReplicaSet's `spec.replicas` is the Deployment's.
    pub observed: bool,
}

/// A pod of a revision, as the watch says; pods that ended (Succeeded, Failed, deleted) are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFact {
    /// UID of the pod.
    pub uid: PodUid,
    /// It has a deletionTimestamp.
    pub terminating: bool,
    /// Condition Ready.
    pub ready: bool,
}

/// What the leader thinks of one revision, for `/debug/state` and for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The revision.
    pub revision: RevisionId,
    /// `spec.replicas` as last known.
    pub replicas: u32,
    /// State of the gates: `Up`, `Closing`, `Commit` or `Zero`.
    pub gate: &'static str,
    /// The last decision; `None` before the first.
    pub decision: Option<Decision>,
}

/// One leading autoscaler. Drop it when the lease is lost; a new term is a new `Leader`.
#[derive(Debug)]
pub struct Leader {
    term: Term,
    settings: Settings,
    revisions: HashMap<RevisionId, (Policy, Stage)>,
    effects: Vec<Effect>,
}

impl Leader {
    /// A leader that knows nothing yet. Give it every revision, scale, pod and activator before its first stream: what it
    /// does not know it tells activators to open.
    pub fn new(term: Term, settings: Settings, _now: Duration) -> Self {
        Self { term, settings, revisions: HashMap::new(), effects: Vec::new() }
    }

    /// Its term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Its bounds and rates.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A revision that is in its Function's status, or what changed of it.
    pub fn upsert_revision(&mut self, id: RevisionId, policy: Policy, stage: Stage, _now: Duration) {
        self.revisions.insert(id, (policy, stage));
    }

    /// A revision that is in no Function's status any more: it is left alone from now on.
    pub fn remove_revision(&mut self, id: &RevisionId) {
        self.revisions.remove(id);
    }

    /// The Deployment of a revision as a watch saw it; `None`: it is gone.
    pub fn set_scale(&mut self, _id: &RevisionId, _fact: Option<ScaleFact>, _now: Duration) {}

    /// All pods of a revision as the watch sees them.
    pub fn set_pods(&mut self, _id: &RevisionId, _pods: Vec<PodFact>, _now: Duration) {}

    /// All activator pods that have an IP and are not Succeeded or Failed, as the watch sees them.
    pub fn set_activators(&mut self, _pods: &[PodUid], _now: Duration) {}

    /// An authenticated activator connected. Its first frame must be a Hello.
    pub fn stream_opened(&mut self, _stream: StreamId, _pod: PodUid, _now: Duration) {}

    /// A stream ended, whoever ended it.
    pub fn stream_closed(&mut self, _stream: StreamId, _now: Duration) {}

    /// A frame of an activator, in the order of its stream.
    pub fn activator_frame(&mut self, _stream: StreamId, _frame: ActivatorFrame, _now: Duration) {}

    /// Answer to [`Effect::ReadScale`].
    pub fn scale_read(&mut self, _token: Token, _outcome: ReadOutcome, _now: Duration) {}

    /// Answer to [`Effect::PutScale`].
    pub fn scale_written(&mut self, _token: Token, _outcome: WriteOutcome, _now: Duration) {}

    /// Answer to [`Effect::ListActivators`]; `None`: it failed.
    pub fn activators_listed(&mut self, _token: Token, _pods: Option<&[PodUid]>, _now: Duration) {}

    /// Lets time pass. Call it every 20 to 50 ms, with a `now` that never goes back.
    pub fn tick(&mut self, _now: Duration) {}

    /// What is to be done now, in order. Call it after every other call.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What the leader thinks of every revision it acts for, in the order of their names.
    pub fn explain(&self) -> Vec<Explanation> {
        Vec::new()
    }
}
