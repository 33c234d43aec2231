//! The gate of one revision as the leader sees it: which round is under way, and which pods must never be used again.
//!
//! Only the state is here; the steps between the phases are in `revision::round`. The numbers in brackets are those of the
//! rules without any one of which a request can be lost or held for ever.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use catnap_wire::{GateId, LeaderFrame, PodUid, RevisionId, Term, Verdict};

use crate::decide::Decision;
use crate::effect::StreamId;
use crate::leader::PodFact;

/// Where the gate stands.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// Pods serve, or will.
    Up(Option<Settling>),
    /// All activators were asked to close.
    Closing(Box<Round>),
    /// All have closed; the write of the lower count is under way, or its outcome is unknown.
    Commit(Box<Round>),
    /// The count is zero.
    Zero {
        /// The controllers were seen to have acted on it: pods to come are made for a later count.
        acted: bool,
    },
}

/// After a take-over or a raise: pods that the controllers may still delete are not to be used (12).
#[derive(Clone, Debug)]
pub(crate) struct Settling {
    pub(crate) since: Duration,
    /// From a written zero: the activators rest, and new pods may be used. Otherwise some hold a closed gate.
    pub(crate) rested: bool,
    /// The count was raised before the controllers were seen to have acted on the zero: what nobody named may go with it, too,
    /// so nobody is told yet that new pods may be used (13).
    pub(crate) doubtful: bool,
    /// Those that do; they hear Close again and again, so that they do not open by themselves (3).
    pub(crate) closed: BTreeSet<StreamId>,
    pub(crate) repeated: Duration,
    /// What they hold closed, when it is not all of the revision.
    pub(crate) drained: Option<Scope>,
}

/// Which pods a round is about.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Pods that go.
    pub(crate) named: Vec<PodUid>,
    /// Pods that stay; `None`: none does.
    pub(crate) kept: Option<Vec<PodUid>>,
    /// Count before.
    pub(crate) replicas: u32,
}

impl Scope {
    /// The wish to close, as an activator hears it.
    pub(crate) fn frame(&self, revision: &RevisionId, gate: GateId) -> LeaderFrame {
        let (revision, pods) = (revision.clone(), self.named.clone());
        match &self.kept {
            None => LeaderFrame::Close { revision, gate, pods },
            Some(kept) => {
                LeaderFrame::Drain { revision, gate, pods, kept: kept.clone(), replicas: self.replicas }
            }
        }
    }
}

/// One attempt to go to zero, or to fewer.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    /// When Close was first sent.
    pub(crate) started: Duration,
    pub(crate) repeated: Duration,
    /// When the list of activators was asked for of which all were asked to close.
    pub(crate) listed: Duration,
    /// Who was asked. One that is gone stays, and so does what it last acknowledged.
    pub(crate) members: BTreeMap<StreamId, Member>,
    /// Version of `/scale` before the activators were listed: a write of anybody since then makes ours fail.
    pub(crate) base: Arc<str>,
    pub(crate) scope: Scope,
    /// The count that is written.
    pub(crate) to: u32,
    /// What it follows from; a later one may be about requests that came after the write.
    pub(crate) decision: Decision,
    /// When the write was last sent with an outcome that is unknown: it may have landed, or still land.
    pub(crate) unknown: Option<Duration>,
    /// The next question is a read, not the same write again.
    pub(crate) reading: bool,
}

impl Round {
    /// No write may start later (5): every activator reckons from a Close that it has acknowledged, and one that
    /// started after the list was asked for reckons from its start. `None` while somebody has not answered.
    pub(crate) fn write_until(&self, limit: Duration) -> Option<Duration> {
        Some(self.closed_since()?.min(self.listed) + limit)
    }

    /// When the Close was sent that the slowest activator acknowledged last.
    pub(crate) fn closed_since(&self) -> Option<Duration> {
        self.members.values().map(|member| member.acknowledged).min()?
    }
}

/// One activator in a round. It answers every Close, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Member {
    /// When those were sent that it has not answered.
    pub(crate) sent: VecDeque<Duration>,
    /// When the last one was sent that it has acknowledged.
    pub(crate) acknowledged: Option<Duration>,
}

/// One gate.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) id: GateId,
    pub(crate) phase: Phase,
    /// Pods never to be used again, and since when each is gone from our watch: an activator's may lag.
    condemned: BTreeMap<PodUid, Option<Duration>>,
}

impl Gate {
    /// The gate of a revision that this leader has not seen before.
    pub(crate) fn taken_over(
        term: Term,
        replicas: u32,
        observed: bool,
        pods: &[PodFact],
        now: Duration,
    ) -> Self {
        let settling = Settling {
            since: now,
            rested: false,
            doubtful: false,
            closed: BTreeSet::new(),
            repeated: now,
            drained: None,
        };
        let phase = match (replicas, observed) {
            (0, acted) => Phase::Zero { acted },
            (_, true) => Phase::Up(None),
            (_, false) => Phase::Up(Some(settling)),
        };
        let doomed = pods.iter().filter(|pod| pod.terminating || replicas == 0);
        let condemned = doomed.map(|pod| (pod.uid.clone(), None)).collect();
        // Numbers begin at the time: an activator that still rests on a gate of a revision that was forgotten and came back
        // obeys only higher ones.
        let number = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        Self { id: GateId { term, number }, phase, condemned }
    }

    /// Nothing about it changes as time passes.
    pub(crate) fn is_settled(&self) -> bool {
        self.condemned.is_empty() && matches!(self.phase, Phase::Up(None) | Phase::Zero { .. })
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.phase {
            Phase::Up(_) => "Up",
            Phase::Closing(_) => "Closing",
            Phase::Commit(_) => "Commit",
            Phase::Zero { .. } => "Zero",
        }
    }

    /// The count is above zero, and pods made for it may be used.
    pub(crate) fn lets_use(&self) -> bool {
        matches!(&self.phase, Phase::Up(settling) if !settling.as_ref().is_some_and(|settling| settling.doubtful))
    }

    pub(crate) fn verdict(&self, revision: &RevisionId) -> Verdict {
        let condemned = self.condemned.keys().cloned().collect();
        Verdict { revision: revision.clone(), gate: self.id, condemned }
    }

    pub(crate) fn condemn(&mut self, pods: impl IntoIterator<Item = PodUid>) {
        for pod in pods {
            self.condemned.entry(pod).or_insert(None);
        }
    }

    /// For an activator that connects while some pods are closed: those that go are not used, whatever it answers to the wish
    /// that follows.
    pub(crate) fn verdict_while(&self, scope: &Scope, revision: &RevisionId) -> Verdict {
        let number = self.id.number.saturating_sub(1);
        let condemned: BTreeSet<_> = self.condemned.keys().chain(&scope.named).cloned().collect();
        Verdict {
            revision: revision.clone(),
            gate: GateId { number, ..self.id },
            condemned: condemned.into_iter().collect(),
        }
    }

    pub(crate) fn condemns_nothing(&self) -> bool {
        self.condemned.is_empty()
    }

    /// A condemned pod is not terminating yet, as far as seen.
    pub(crate) fn condemned_alive(&self, pods: &[PodFact]) -> bool {
        pods.iter().any(|pod| !pod.terminating && self.condemned.contains_key(&pod.uid))
    }

    /// There is a pod that may be used.
    pub(crate) fn has_usable(&self, pods: &[PodFact]) -> bool {
        pods.iter().any(|pod| !pod.terminating && !self.condemned.contains_key(&pod.uid))
    }

    /// Pods that outlived the zero may be used again (10). True when there was one.
    pub(crate) fn pardon(&mut self, pods: &[PodFact]) -> bool {
        let before = self.condemned.len();
        for pod in pods.iter().filter(|pod| !pod.terminating) {
            self.condemned.remove(&pod.uid);
        }
        self.condemned.len() < before
    }

    /// Forgets condemned pods that were gone for so long.
    pub(crate) fn age_out(&mut self, pods: &[PodFact], now: Duration, memory: Duration) {
        if self.condemned.is_empty() {
            return;
        }
        let there: HashSet<&PodUid> = pods.iter().map(|pod| &pod.uid).collect();
        self.condemned.retain(|uid, gone| {
            if there.contains(uid) {
                *gone = None;
                return true;
            }
            now.saturating_sub(*gone.get_or_insert(now)) < memory
        });
    }
}
