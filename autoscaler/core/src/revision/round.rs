//! Going to zero, or to fewer, without losing a request: UP, CLOSING, COMMIT, ZERO and back.
//!
//! Every activator has closed and has nothing in flight there when the lower count is written, and the write fails if anybody wrote in
//! between. The numbers in brackets are those of the rules.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use catnap_wire::{GateId, LeaderFrame, PodUid, RevisionId};

use super::Revision;
use super::write::Question;
use crate::context::Context;
use crate::effect::{Effect, Event, StreamId};
use crate::gate::{Gate, Member, Phase, Round, Scope, Settling};
use crate::leader::ScaleFact;
use crate::moment::moment;
use crate::version::older;

impl Revision {
    /// The activators were listed, after version `base` of the candidate was known and not before `asked`: a round begins, or
    /// a write whose outcome is unknown is repeated.
    pub(crate) fn listed(
        &mut self,
        base: &Arc<str>,
        existing: &[PodUid],
        asked: Duration,
        context: &mut Context<'_>,
    ) {
        let wished = self.candidate.take_if(|candidate| candidate == base).is_some();
        if !wished || self.question.is_some() {
            return;
        }
        let (now, settings) = (context.now, context.settings);
        let members = context.activators.quorum(existing, now, settings.lag);
        let Some(members) = members.filter(|members| !members.is_empty() && now < asked + settings.closing)
        else {
            self.round_after = now + settings.pause;
            self.write_after = self.write_after.max(now + settings.repeat);
            return;
        };
        match &mut self.gate {
            Some(Gate { phase: Phase::Commit(round), .. })
                if members.iter().all(|stream| round.members.contains_key(stream)) =>
            {
                round.listed = asked;
                self.write_lower(context);
            }
            Some(Gate { phase: Phase::Up(None), .. }) => self.start_round(base, members, asked, context),
            _ => {}
        }
    }

    /// Asks all activators to close.
    fn start_round(
        &mut self,
        base: &Arc<str>,
        members: BTreeSet<StreamId>,
        asked: Duration,
        context: &mut Context<'_>,
    ) {
        let now = context.now;
        let current = self.scale.as_ref().is_some_and(|scale| scale.resource_version == *base);
        if !current || self.wanted(context) || !self.knows_all_pods() {
            return;
        }
        let Some(replicas) = self.scale.as_ref().map(|scale| scale.replicas) else { return };
        let all =
            || Scope { named: self.pods.iter().map(|pod| pod.uid.clone()).collect(), kept: None, replicas };
        let resting = self.decision.as_ref().is_some_and(|(_, decision)| decision.desired == 0);
        let aim = if resting { Some((all(), 0)) } else { self.drain_scope(replicas) };
        let Some((scope, to)) = aim.filter(|_| resting || self.is_ripe(context)) else { return };
        let Some(gate) = &mut self.gate else { return };
        gate.id.number += 1;
        let mut round = Box::new(Round {
            started: now,
            repeated: now,
            listed: asked,
            members: members.into_iter().map(|stream| (stream, Member::default())).collect(),
            base: Arc::clone(base),
            scope,
            to,
            decision: self.decision.as_ref().map(|(_, decision)| decision.clone()).unwrap_or_default(),
            unknown: None,
            reading: false,
        });
        send_close(&self.id, gate.id, &mut round, context);
        gate.phase = Phase::Closing(round);
    }

    /// An activator has closed and has nothing in flight or held.
    pub(crate) fn acknowledged(&mut self, stream: StreamId, id: GateId, context: &mut Context<'_>) {
        let Some(gate) = self.gate.as_mut().filter(|gate| gate.id == id) else { return };
        let (Phase::Closing(round) | Phase::Commit(round)) = &mut gate.phase else { return };
        if let Some(member) = round.members.get_mut(&stream)
            && let Some(sent) = member.sent.pop_front()
        {
            member.acknowledged = Some(sent);
        }
        let all = round.write_until(context.settings.closing).is_some();
        if let (true, Phase::Closing(round)) = (all, &gate.phase) {
            gate.phase = Phase::Commit(round.clone());
            self.write_lower(context);
        }
    }

    /// An activator has something in flight or held.
    pub(crate) fn refused(&mut self, id: GateId, context: &mut Context<'_>) {
        let Some(gate) = self.gate.as_ref().filter(|gate| gate.id == id) else { return };
        if let Phase::Closing(round) = &gate.phase {
            if round.scope.kept.is_none() {
                self.idle.restart(context.now);
            }
            self.open_all(context);
        }
    }

    /// Somebody connected who was not asked, or this leader hands over.
    pub(crate) fn stranger(&mut self, context: &mut Context<'_>) {
        if matches!(self.phase(), Some(Phase::Closing(_))) {
            self.open_all(context);
        }
    }

    /// Sends the write of the lower count, or the same one again: with the same version at most one of them lands (9).
    fn write_lower(&mut self, context: &mut Context<'_>) {
        let Some(Gate { phase: Phase::Commit(round), .. }) = &self.gate else { return };
        let Some(until) = round.write_until(context.settings.closing) else { return };
        let (resource_version, replicas) = (Arc::clone(&round.base), round.to);
        let token = context.ask(&self.id);
        self.question = Some((token, Question::Lower { sent: context.now }));
        context.effects.push(Effect::PutScale {
            revision: self.id.clone(),
            replicas,
            resource_version,
            not_after: Some(until),
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
            Some(Phase::Closing(round)) if now >= round.started + context.settings.closing => {
                self.open_all(context);
            }
            Some(Phase::Commit(round)) if self.question.is_none() && now >= self.write_after => {
                let settings = context.settings;
                if round.reading || given_up(round, context) {
                    self.ask_round(context);
                } else if self.is_active() && in_time(round, context) && now < round.started + settings.commit
                {
                    self.candidate = Some(Arc::clone(&round.base));
                }
            }
            Some(Phase::Up(_)) => self.settle(context),
            _ => {}
        }
    }

    /// Opens when the controllers have acted on the count, or must have (12, 13); what outlived it is pardoned (10). Of pods that
    /// were named among others it is to be seen whether they go: when that takes too long, the others alone are used.
    fn settle(&mut self, context: &mut Context<'_>) {
        let Some(Gate { phase: Phase::Up(settling), .. }) = &self.gate else { return };
        let doubtful = settling.as_ref().is_some_and(|settling| settling.doubtful);
        let since = settling.as_ref().map(|settling| settling.since);
        let overdue = since.is_some_and(|since| context.now >= since + context.settings.settle);
        let drained = settling.as_ref().is_some_and(|settling| settling.drained.is_some());
        let gone = !drained || self.knows_all_pods();
        let observed = gone && self.scale.as_ref().is_some_and(|scale| scale.observed);
        if let Some(gate) = self.gate.as_mut().filter(|_| observed || overdue)
            && ((observed || !drained) && gate.pardon(&self.pods) || since.is_some())
        {
            gate.phase = Phase::Up(None);
            let opened = LeaderFrame::Open(gate.verdict(&self.id));
            if let Some(scale) = self.scale.as_ref().filter(|_| doubtful) {
                self.answer_written(scale.replicas, context);
            }
            context.send_all(&opened);
            self.news = true;
        }
    }

    /// A leader that is silent is taken for dead, so it repeats itself while gates are closed.
    fn repeat_close(&mut self, context: &mut Context<'_>) {
        let (now, every) = (context.now, context.settings.repeat);
        let Some(gate) = &mut self.gate else { return };
        match &mut gate.phase {
            Phase::Closing(round) | Phase::Commit(round) if now >= round.repeated + every => {
                send_close(&self.id, gate.id, round, context);
            }
            Phase::Up(Some(settling)) if now >= settling.repeated + every => {
                settling.repeated = now;
                let all = Scope { named: Vec::new(), kept: None, replicas: 0 };
                let frame = settling.drained.as_ref().unwrap_or(&all).frame(&self.id, gate.id);
                for stream in &settling.closed {
                    context.send(*stream, frame.clone());
                }
            }
            _ => {}
        }
    }

    /// The round is over without a removal.
    pub(super) fn open_all(&mut self, context: &mut Context<'_>) {
        let Some(gate) = &mut self.gate else { return };
        let drain = matches!(
            &gate.phase,
            Phase::Closing(round) | Phase::Commit(round) if round.scope.kept.is_some()
        );
        gate.phase = Phase::Up(None);
        context.send_all(&LeaderFrame::Open(gate.verdict(&self.id)));
        self.round_after = context.now + context.settings.pause;
        if drain {
            self.drain_failed(context);
        }
        self.news = true;
    }

    /// The lower count is written, at this version of `/scale`.
    pub(super) fn lower_written(&mut self, version: Arc<str>, context: &mut Context<'_>) {
        let Some(Gate { phase: Phase::Commit(round), .. }) = &self.gate else { return };
        if round.to == 0 { self.zero_written(version, context) } else { self.fewer_written(version, context) }
    }

    /// Fewer are written: gates stay closed until the controllers have acted on it, and then those that went are known.
    pub(super) fn fewer_written(&mut self, version: Arc<str>, context: &mut Context<'_>) {
        let Some(Gate { phase: Phase::Commit(round), .. }) = &self.gate else { return };
        let Round { scope, to, decision, .. } = Round::clone(round);
        let (named, from) = (scope.named.clone(), scope.replicas);
        self.begin_settling(scope, context);
        self.drained(&named, context);
        self.changes.add(context.now, from, to, &decision.reasons);
        let (revision, decision) = (self.id.clone(), Box::new(decision));
        context.report(Event::ScaledDown { revision, from, to, decision });
        if let Some(known) = self.scale.as_mut().filter(|known| !older(&version, &known.resource_version)) {
            *known = ScaleFact { replicas: to, resource_version: version, observed: false, ..known.clone() };
        }
        self.news = true;
        self.follow_count(context);
    }

    /// The zero is written, at this version of `/scale`.
    pub(super) fn zero_written(&mut self, version: Arc<str>, context: &mut Context<'_>) {
        let Some(gate) = &mut self.gate else { return };
        let Phase::Commit(round) = &gate.phase else { return };
        let (named, from) = (round.scope.named.clone(), round.scope.replicas);
        let decision = round.decision.clone();
        // A pod seen since the round began was made before the zero, or is pardoned.
        gate.condemn(named.into_iter().chain(self.pods.iter().map(|pod| pod.uid.clone())));
        gate.phase = Phase::Zero { acted: false };
        context.send_all(&LeaderFrame::Zero(gate.verdict(&self.id)));
        self.changes.add(context.now, from, 0, &decision.reasons);
        let decision = Box::new(decision);
        context.report(Event::ScaledToZero { revision: self.id.clone(), from, decision });
        // Without a Deployment there is no count to learn.
        if self.scale.as_ref().is_some_and(|known| !older(&version, &known.resource_version)) {
            let one_replica_set = false;
            self.scale =
                Some(ScaleFact { replicas: 0, resource_version: version, observed: false, one_replica_set });
        }
        self.history = None;
        self.news = true;
        // The watch may have told of a raise before the answer to our write came.
        self.follow_count(context);
    }

    /// The count moved while a lower one was being written, and is not that: whether the pods go is the controllers' to say.
    pub(super) fn zero_overtaken(&mut self, context: &mut Context<'_>) {
        let Some(Gate { phase: Phase::Commit(round), .. }) = &self.gate else { return };
        let scope = round.scope.clone();
        let drain = scope.kept.is_some();
        self.begin_settling(scope, context);
        self.round_after = context.now + context.settings.pause;
        if drain {
            self.drain_failed(context);
        }
        self.news = true;
    }

    /// What was named may go, and is not used until the controllers have acted.
    fn begin_settling(&mut self, scope: Scope, context: &Context<'_>) {
        let now = context.now;
        let Some(gate) = &mut self.gate else { return };
        gate.condemn(scope.named.iter().cloned());
        let closed: BTreeSet<StreamId> = context.activators.welcomed_streams().map(|(id, _)| id).collect();
        let drained = Some(scope).filter(|scope| scope.kept.is_some());
        let (rested, doubtful) = (false, false);
        let settling = Settling { since: now, rested, doubtful, closed, repeated: now, drained };
        gate.phase = Phase::Up(Some(settling));
    }

    /// The count is known anew: from the watch, a read or a write of ours.
    pub(super) fn follow_count(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let Some(&ScaleFact { replicas, observed, .. }) = self.scale.as_ref() else { return };
        if let Some(Phase::Closing(round)) = self.phase()
            && round.scope.replicas != replicas
        {
            self.open_all(context);
        }
        let Some(gate) = &mut self.gate else { return };
        match &mut gate.phase {
            Phase::Up(_) if replicas == 0 => {
                gate.condemn(self.pods.iter().map(|pod| pod.uid.clone()));
                gate.phase = Phase::Zero { acted: observed };
                context.send_all(&LeaderFrame::Zero(gate.verdict(&self.id)));
                self.news = true;
            }
            Phase::Zero { acted } if replicas == 0 => *acted |= observed,
            Phase::Zero { acted } => {
                let (rested, doubtful, closed) = (true, !*acted, BTreeSet::new());
                let settling =
                    Settling { since: now, rested, doubtful, closed, repeated: now, drained: None };
                gate.phase = Phase::Up(Some(settling));
                self.idle.restart(now);
                // What was started ahead of a request waits only as long as the pattern says.
                if !self.decision.as_ref().is_some_and(|(_, decision)| decision.is_ahead()) {
                    self.times.grant(moment(now));
                }
                self.answer_written(replicas, context);
                self.news = true;
            }
            _ => {}
        }
    }
}

/// Every activator has lately shown that its gate is closed.
fn in_time(round: &Round, context: &Context<'_>) -> bool {
    round.closed_since().is_some_and(|since| context.now < since + context.settings.closing)
}

/// A write whose outcome is unknown is given up: it was repeated for long enough, or can be repeated no more, and
/// what was sent has landed by now or never will.
pub(super) fn given_up(round: &Round, context: &Context<'_>) -> bool {
    let (now, settings) = (context.now, context.settings);
    let over = !in_time(round, context) || now >= round.started + settings.commit;
    over && now >= round.unknown.unwrap_or(round.started) + settings.landing
}

/// Close to everybody who is connected, and a note of when.
fn send_close(revision: &RevisionId, id: GateId, round: &mut Round, context: &mut Context<'_>) {
    round.repeated = context.now;
    for (stream, _) in context.activators.welcomed_streams() {
        if let Some(member) = round.members.get_mut(&stream) {
            member.sent.push_back(context.now);
        }
    }
    context.send_all(&round.scope.frame(revision, id));
}
