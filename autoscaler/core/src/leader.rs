//! The whole of one leading process: revisions, activators, and what is under way.
//!
//! It routes: what a call means for one revision is in `revision`, what a stream may say is in `leader::frames`.

mod frames;
mod patterns;
mod revisions;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catnap_wire::{PodUid, RevisionId, Term};

use crate::activators::Activators;
use crate::context::{Context, Questions};
use crate::decide::{Decision, Observation};
use crate::effect::{Effect, Event, ReadOutcome, StreamId, Token, WriteOutcome};
use crate::policy::{Policy, Stage};
pub use crate::revision::Change;
use crate::revision::{Patterns, Revision};
use crate::settings::Settings;
use frames::Greeting;
pub use frames::Refusal;
use revisions::Revisions;

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
    /// Only one ReplicaSet of the Deployment has pods or is to have some.
    pub one_replica_set: bool,
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
    /// When it was made, in seconds of the API server's clock.
    pub created: i64,
    /// It carries the deletion cost by which the ReplicaSet controller takes it before others that are ready.
    pub marked: bool,
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
    /// Pods that are to go because fewer replicas are needed.
    pub leaving: Vec<PodUid>,
    /// What the owner asked for, and where the revision is in its life; `None` when it is in no status.
    pub policy: Option<(Policy, Stage)>,
    /// When it was decided last, on the leader's clock.
    pub decided_at: Duration,
    /// What the last decision was made from; `None` before the first.
    pub observation: Option<Observation>,
    /// The last decision; `None` before the first.
    pub decision: Option<Decision>,
    /// The last changes of the count, the latest first, up to a bound.
    pub changes: Vec<Change>,
}

/// A list of activators that is under way.
#[derive(Debug)]
struct Listing {
    token: Token,
    asked: Duration,
    /// Revisions that wait for it, and the version of `/scale` that each knew before.
    waiting: Vec<(RevisionId, Arc<str>)>,
}

/// One leading autoscaler. Drop it when the lease is lost; a new term is a new `Leader`.
#[derive(Debug)]
pub struct Leader {
    term: Term,
    settings: Settings,
    started: Duration,
    now: Duration,
    revisions: Revisions,
    activators: Activators,
    greetings: BTreeMap<StreamId, Greeting>,
    listing: Option<Listing>,
    /// No list before.
    list_after: Duration,
    patterns: Patterns,
    questions: Questions,
    refused: BTreeMap<Refusal, u64>,
    /// It hands over: no round begins any more.
    resigning: bool,
    effects: Vec<Effect>,
}

impl Leader {
    /// A leader that knows nothing yet. Give it every revision, scale, pod and activator before its first stream: what it
    /// does not know it tells activators to open.
    pub fn new(term: Term, settings: Settings, now: Duration) -> Self {
        Self {
            term,
            settings,
            started: now,
            now,
            revisions: Revisions::default(),
            activators: Activators::default(),
            greetings: BTreeMap::new(),
            listing: None,
            list_after: Duration::ZERO,
            patterns: Patterns::new(),
            questions: Questions::default(),
            refused: BTreeMap::new(),
            resigning: false,
            effects: Vec::new(),
        }
    }

    /// Its term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Its bounds and rates.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Activators whose pods exist but that were not connected for [`Settings::silent`] or longer.
    pub fn silent_activators(&self) -> usize {
        self.activators.silent_count()
    }

    /// What it refused of the activators' frames, by reason, since it started.
    pub fn refused(&self) -> &BTreeMap<Refusal, u64> {
        &self.refused
    }

    /// A revision that is in its Function's status, or what changed of it.
    pub fn upsert_revision(&mut self, id: &RevisionId, policy: Policy, stage: Stage, now: Duration) {
        self.at(now);
        self.revisions.upsert(id, |revision| revision.set_policy(policy, stage, now));
    }

    /// A revision that is in no Function's status any more: it is left alone and forgotten, once no write of zero is unsettled.
    /// When it comes back, its scale and pods are to be told again.
    pub fn remove_revision(&mut self, id: &RevisionId, now: Duration) {
        self.at(now);
        self.with_revision(id, Revision::drop_policy);
        self.forget(id);
    }

    /// The Deployment of a revision as a watch saw it; `None`: it is gone.
    pub fn set_scale(&mut self, id: &RevisionId, fact: Option<ScaleFact>, now: Duration) {
        self.at(now);
        if let Some(fact) = fact {
            let (revisions, mut context) = self.parts();
            revisions.upsert(id, |revision| revision.learn(fact, &mut context));
        } else {
            self.with_revision(id, |revision, _| revision.drop_scale());
            self.forget(id);
        }
    }

    /// All pods of a revision as the watch sees them.
    pub fn set_pods(&mut self, id: &RevisionId, pods: Vec<PodFact>, now: Duration) {
        self.at(now);
        if !pods.is_empty() || self.revisions.get(id).is_some() {
            self.revisions.upsert(id, |revision| revision.set_pods(pods));
            self.forget(id);
        }
    }

    /// All activator pods that have an IP and are not Succeeded or Failed, as the watch sees them.
    pub fn set_activators(&mut self, pods: &[PodUid], now: Duration) {
        self.at(now);
        self.activators.set_existing(pods, now);
    }

    /// Answer to [`Effect::ReadScale`].
    pub fn scale_read(&mut self, token: Token, outcome: ReadOutcome, now: Duration) {
        self.at(now);
        if let Some(id) = self.questions.answered(token) {
            self.with_revision(&id, |revision, context| revision.read(token, outcome, context));
            self.forget(&id);
        }
    }

    /// Answer to [`Effect::PutScale`].
    pub fn scale_written(&mut self, token: Token, outcome: WriteOutcome, now: Duration) {
        self.at(now);
        if let Some(id) = self.questions.answered(token) {
            self.with_revision(&id, |revision, context| revision.written(token, outcome, context));
            self.forget(&id);
        }
    }

    /// Answer to [`Effect::ListActivators`]; `None`: it failed.
    pub fn activators_listed(&mut self, token: Token, pods: Option<&[PodUid]>, now: Duration) {
        self.at(now);
        let Some(listing) = self.listing.take_if(|listing| listing.token == token) else { return };
        let Some(pods) = pods else {
            self.list_after = now + self.settings.pause;
            return;
        };
        let (asked, resigning) = (listing.asked, self.resigning);
        for (id, base) in listing.waiting {
            self.with_revision(&id, |revision, context| {
                if !resigning || revision.is_committing() {
                    revision.listed(&base, pods, asked, context);
                }
            });
        }
    }

    /// Before this moment of its clock, time alone changes nothing in any revision: zero while something is under way in one,
    /// [`Duration::MAX`] where all rest at zero.
    pub fn next_turn(&self) -> Duration {
        self.revisions.soonest()
    }

    /// Lets time pass. Call it every 20 to 50 ms, or every 100 ms before [`Leader::next_turn`], with a `now` that never goes back.
    pub fn tick(&mut self, now: Duration) {
        self.at(now);
        let Settings { lag, behind, silent, .. } = self.settings;
        for stream in self.activators.behind(now, lag, behind) {
            self.disconnect(stream, "measurements lag, or no hello was made");
        }
        for pod in self.activators.silent(now, lag, silent) {
            self.effects.push(Effect::Report(Event::ActivatorSilent { pod }));
        }
        self.activators.age_out(now);
        let (revisions, mut context) = self.parts();
        revisions.each_due(context.now, |revision| revision.tick(&mut context));
        self.list_activators();
    }

    /// What is to be done now, in order. Call it after every other call.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// The process is about to hand over: rounds that are not committed are given up, and none begins. Everything else goes
    /// on until the lease is given back, so that nobody waits for the next leader without need.
    pub fn resign(&mut self, now: Duration) {
        self.at(now);
        self.resigning = true;
        self.each(Revision::stranger);
    }

    /// A write of a lower count is under way, or its outcome is unknown: another leader could open a gate before it lands.
    /// Give the lease back only while this is false; else let it expire. After [`Leader::resign`] it does not become true again.
    pub fn is_committing(&self) -> bool {
        self.revisions.iter().any(Revision::is_committing)
    }

    /// What the leader thinks of every revision it acts for, in the order of their names.
    pub fn explain(&self) -> Vec<Explanation> {
        self.explain_most(usize::MAX)
    }

    /// The same, of so many revisions at most: those that are at zero and rest are left out first.
    pub fn explain_most(&self, most: usize) -> Vec<Explanation> {
        let mut explained: Vec<_> =
            self.revisions.awake_first().filter_map(Revision::explain).take(most).collect();
        explained.sort_by(|one, other| one.revision.cmp(&other.revision));
        explained
    }

    /// What the leader thinks of one revision; `None` when it does not act for it.
    pub fn explain_one(&self, id: &RevisionId) -> Option<Explanation> {
        self.revisions.get(id)?.explain()
    }

    /// Every activator that exists is connected and has lately told what it measures.
    pub fn hears_all(&self) -> bool {
        self.activators.reach(self.now, self.settings.lag).complete
    }

    /// Revisions of which something is known.
    pub fn revision_count(&self) -> usize {
        self.revisions.len()
    }

    /// One list for all revisions that want a lower count; the versions of their scales are known before it is asked for.
    fn list_activators(&mut self) {
        let under_way = self.revisions.soonest().is_zero();
        if !under_way || self.listing.is_some() || self.now < self.list_after {
            return;
        }
        let waiting: Vec<_> = self
            .revisions
            .under_way()
            .filter(|revision| !self.resigning || revision.is_committing())
            .filter_map(|revision| Some((revision.id().clone(), Arc::clone(revision.candidate()?))))
            .collect();
        if !waiting.is_empty() {
            let token = self.questions.token();
            self.listing = Some(Listing { token, asked: self.now, waiting });
            self.effects.push(Effect::ListActivators { token });
        }
    }

    fn at(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    fn forget(&mut self, id: &RevisionId) {
        if self.revisions.get(id).is_some_and(Revision::is_forgotten) {
            self.revisions.remove(id);
        }
    }

    /// One step of every revision.
    fn each(&mut self, mut step: impl FnMut(&mut Revision, &mut Context<'_>)) {
        let (revisions, mut context) = self.parts();
        revisions.each(|revision| step(revision, &mut context));
    }

    /// One step of one revision, if it is known.
    fn with_revision<T>(
        &mut self,
        id: &RevisionId,
        step: impl FnOnce(&mut Revision, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let (revisions, mut context) = self.parts();
        revisions.step(id, |revision| step(revision, &mut context))
    }

    /// The revisions, and what a step of one needs of the rest.
    fn parts(&mut self) -> (&mut Revisions, Context<'_>) {
        let context = Context {
            now: self.now,
            started: self.started,
            term: self.term,
            settings: &self.settings,
            activators: &self.activators,
            reach: OnceCell::new(),
            patterns: &mut self.patterns,
            questions: &mut self.questions,
            effects: &mut self.effects,
        };
        (&mut self.revisions, context)
    }
}

#[cfg(test)]
mod tests;
