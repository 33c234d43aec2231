//! Going to zero without losing a request: UP, CLOSING, COMMIT, ZERO and back.
//!
//! Every activator has closed and has nothing in flight when the zero is written, and the write fails if anybody wrote in
//! between. The numbers in brackets are those of the rules.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use catnap_wire::{GateId, LeaderFrame, PodUid, RevisionId};

use super::Revision;
use super::write::Question;
use crate::context::Context;
use crate::effect::{Effect, Event, StreamId};
use crate::gate::{Gate, Phase, Round, Settling};
use crate::leader::ScaleFact;
use crate::version::older;

impl Revision {
    /// The activators were listed after version `base` of the candidate was known: asks all of them to close.
    pub(crate) fn start_round(&mut self, base: Arc<str>, existing: &[PodUid], context: &mut Context<'_>) {
        let wished = self.candidate.take().is_some_and(|candidate| candidate == base);
        let current = self.scale.as_ref().is_some_and(|scale| scale.resource_version == base);
        if !wished || !current || self.question.is_some() || self.wanted(context) || !self.knows_all_pods() {
            return;
        }
        let (now, lag) = (context.now, context.settings.lag);
        let Some(members) = context.activators.quorum(existing, now, lag) else {
            self.round_after = now + context.settings.pause;
            return;
        };
        let (Some(gate), Some(scale)) = (&mut self.gate, &self.scale) else { return };
        if !matches!(gate.phase, Phase::Up(None)) || members.is_empty() {
            return;
        }
        gate.id.number += 1;
        let named = self.pods.iter().map(|pod| pod.uid.clone()).collect();
        let replicas = scale.replicas;
        let round =
            Round { started: now, repeated: now, base, replicas, named, unknown: false, reading: false };
        context.send_all(&close(self.id.clone(), gate.id, &round.named));
        gate.phase = Phase::Closing(round, members);
    }

    /// An activator has closed and has nothing in flight or held.
    pub(crate) fn acknowledged(&mut self, stream: StreamId, id: GateId, context: &mut Context<'_>) {
        let Some(gate) = self.gate.as_mut().filter(|gate| gate.id == id) else { return };
        let Phase::Closing(round, waiting) = &mut gate.phase else { return };
        waiting.remove(&stream);
        if !waiting.is_empty() {
            return;
        }
        // The activators reckon with a write that starts within this time (5).
        if context.now.saturating_sub(round.started) >= context.settings.closing {
            self.open_all(context);
            return;
        }
        gate.phase = Phase::Commit(round.clone());
        self.write_zero(context);
    }

    /// An activator has something in flight or held.
    pub(crate) fn refused(&mut self, id: GateId, context: &mut Context<'_>) {
        if self.gate.as_ref().is_some_and(|gate| gate.id == id && matches!(gate.phase, Phase::Closing(..))) {
            self.idle.restart(context.now);
            self.open_all(context);
        }
    }

    /// Somebody connected who was not asked.
    pub(crate) fn stranger(&mut self, context: &mut Context<'_>) {
        if matches!(self.phase(), Some(Phase::Closing(..))) {
            self.open_all(context);
        }
    }

    /// Sends the write of zero, or the same one again: with the same version at most one of them lands (9).
    fn write_zero(&mut self, context: &mut Context<'_>) {
        let Some(Gate { phase: Phase::Commit(round), .. }) = &self.gate else { return };
        let base = Arc::clone(&round.base);
        // No first write later than this after the first Close (5); one that may have landed must be repeated in any case.
        let not_after = (!round.unknown).then_some(round.started + context.settings.closing);
        let token = context.ask(&self.id);
        self.question = Some((token, Question::Zero));
        context.effects.push(Effect::PutScale {
            revision: self.id.clone(),
            replicas: 0,
            resource_version: base,
            not_after,
            token,
        });
    }

    /// What time alone does to a round.
    pub(super) fn advance_round(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        if let Some(gate) = &mut self.gate {
            gate.age_out(&self.pods, now, context.settings.condemned);
        }
        self.repeat_close(context);
        match self.phase() {
            Some(Phase::Closing(round, _))
                if now.saturating_sub(round.started) >= context.settings.closing =>
            {
                self.open_all(context);
            }
            Some(Phase::Commit(round)) if self.question.is_none() && now >= self.write_after => {
                if round.reading || overdue(round.started, context) {
                    self.ask_round(context);
                } else {
                    self.write_zero(context);
                }
            }
            Some(Phase::Up(settling)) => {
                let observed = self.scale.as_ref().is_some_and(|scale| scale.observed);
                let overdue =
                    settling.as_ref().is_some_and(|s| now.saturating_sub(s.since) >= context.settings.settle);
                if (observed || overdue)
                    && let Some(gate) = &mut self.gate
                    && (gate.pardon(&self.pods) || matches!(gate.phase, Phase::Up(Some(_))))
                {
                    gate.phase = Phase::Up(None);
                    context.send_all(&LeaderFrame::Open(gate.verdict(&self.id)));
                    self.news = true;
                }
            }
            _ => {}
        }
    }

    /// A leader that is silent is taken for dead, so it repeats itself while gates are closed.
    fn repeat_close(&mut self, context: &mut Context<'_>) {
        let (now, every) = (context.now, context.settings.repeat);
        let Some(gate) = &mut self.gate else { return };
        match &mut gate.phase {
            Phase::Closing(round, _) | Phase::Commit(round)
                if now.saturating_sub(round.repeated) >= every =>
            {
                round.repeated = now;
                context.send_all(&close(self.id.clone(), gate.id, &round.named));
            }
            Phase::Up(Some(settling)) if now.saturating_sub(settling.repeated) >= every => {
                settling.repeated = now;
                for stream in &settling.closed {
                    context.send(*stream, close(self.id.clone(), gate.id, &[]));
                }
            }
            _ => {}
        }
    }

    /// The round is over without a removal.
    pub(super) fn open_all(&mut self, context: &mut Context<'_>) {
        let Some(gate) = &mut self.gate else { return };
        gate.phase = Phase::Up(None);
        context.send_all(&LeaderFrame::Open(gate.verdict(&self.id)));
        self.round_after = context.now + context.settings.pause;
        self.news = true;
    }

    /// The zero is written, at this version of `/scale`.
    pub(super) fn zero_written(&mut self, version: Arc<str>, context: &mut Context<'_>) {
        let Some(gate) = &mut self.gate else { return };
        let Phase::Commit(round) = &gate.phase else { return };
        let (named, from) = (round.named.clone(), round.replicas);
        gate.condemn(named);
        gate.phase = Phase::Zero;
        context.send_all(&LeaderFrame::Zero(gate.verdict(&self.id)));
        context.report(Event::ScaledToZero { revision: self.id.clone(), from });
        let later = self.scale.as_ref().is_some_and(|known| older(&version, &known.resource_version));
        if !later {
            self.scale = Some(ScaleFact { replicas: 0, resource_version: version, observed: false });
        }
        self.history = None;
        self.news = true;
        // The watch may have told of a raise before the answer to our write came.
        self.follow_count(context);
    }

    /// The count moved while a zero was being written, and is not zero: whether the pods go is the controllers' to say.
    pub(super) fn zero_overtaken(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let Some(gate) = &mut self.gate else { return };
        let Phase::Commit(round) = &gate.phase else { return };
        let named = round.named.clone();
        gate.condemn(named);
        let closed: BTreeSet<StreamId> = context.activators.welcomed_streams().map(|(id, _)| id).collect();
        gate.phase = Phase::Up(Some(Settling { since: now, rested: false, closed, repeated: now }));
        self.round_after = now + context.settings.pause;
        self.news = true;
    }

    /// The count is known anew: from the watch, a read or a write of ours.
    pub(super) fn follow_count(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let Some(replicas) = self.scale.as_ref().map(|scale| scale.replicas) else { return };
        if let Some(Phase::Closing(round, _)) = self.phase()
            && round.replicas != replicas
        {
            self.open_all(context);
        }
        let Some(gate) = &mut self.gate else { return };
        match &gate.phase {
            Phase::Up(_) if replicas == 0 => {
                gate.condemn(self.pods.iter().map(|pod| pod.uid.clone()));
                gate.phase = Phase::Zero;
                context.send_all(&LeaderFrame::Zero(gate.verdict(&self.id)));
                self.news = true;
            }
            Phase::Zero if replicas > 0 => {
                let closed = BTreeSet::new();
                gate.phase = Phase::Up(Some(Settling { since: now, rested: true, closed, repeated: now }));
                self.idle.restart(now);
                self.answer_written(replicas, context);
                self.news = true;
            }
            _ => {}
        }
    }
}

/// The outcome of a write of zero was unknown for so long that it is given up.
pub(super) fn overdue(started: Duration, context: &Context<'_>) -> bool {
    context.now.saturating_sub(started) >= context.settings.commit
}

fn close(revision: RevisionId, gate: GateId, pods: &[PodUid]) -> LeaderFrame {
    LeaderFrame::Close { revision, gate, pods: pods.to_vec() }
}
