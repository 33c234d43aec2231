//! Questions about `/scale` and their answers: one at a time for a revision.

use std::sync::Arc;
use std::time::Duration;

use super::Revision;
use super::round::given_up;
use crate::context::Context;
use crate::decide::Decision;
use crate::effect::{Effect, Event, ReadOutcome, Token, WriteOutcome};
use crate::gate::{Gate, Phase};
use crate::leader::ScaleFact;
use crate::version::older;

/// Pause before a question that failed is asked again.
const RETRY: Duration = Duration::from_millis(100);
/// The pause doubles this often at most.
const DOUBLINGS: u32 = 4;

/// What was asked.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// The count, before a raise.
    Read,
    /// To raise to this count.
    Raise { from: u32, to: u32, decision: Box<Decision> },
    /// To write a lower count, in COMMIT.
    Lower { sent: Duration },
    /// What became of it.
    Round,
}

/// A raise whose outcome is unknown.
#[derive(Clone, Debug)]
pub(super) struct Unsettled {
    from: u32,
    to: u32,
    decision: Box<Decision>,
}

impl Revision {
    /// The count went from `known` to `found`. True when that is what a raise of ours with an unknown outcome wrote.
    pub(super) fn settles(&mut self, known: u32, found: u32, context: &mut Context<'_>) -> bool {
        let Some(Unsettled { from, to, decision }) = self.unsettled.take() else { return false };
        let ours = (from, to) == (known, found);
        if ours {
            self.tell_raise(from, to, decision, context);
        }
        ours
    }

    /// Raises to what the decision asks for, on the version that is known; after a conflict it reads first, and never
    /// writes less than it read.
    pub(super) fn raise(&mut self, decision: &Decision, context: &mut Context<'_>) {
        let Some(scale) = &self.scale else { return };
        if self.question.is_some() || context.now < self.write_after {
            self.news |= self.question.is_none();
            return;
        }
        if self.reread {
            let token = context.ask(&self.id);
            self.question = Some((token, Question::Read));
            context.effects.push(Effect::ReadScale { revision: self.id.clone(), urgent: true, token });
            return;
        }
        let to = decision.desired.max(scale.replicas);
        let resource_version = Arc::clone(&scale.resource_version);
        let token = context.ask(&self.id);
        let decision = Box::new(decision.clone());
        self.question = Some((token, Question::Raise { from: scale.replicas, to, decision }));
        let revision = self.id.clone();
        context.effects.push(Effect::PutScale {
            revision,
            replicas: to,
            resource_version,
            not_after: None,
            token,
        });
    }

    /// Asks what became of the lower count.
    pub(super) fn ask_round(&mut self, context: &mut Context<'_>) {
        let token = context.ask(&self.id);
        self.question = Some((token, Question::Round));
        let urgent = self.wanted(context);
        context.effects.push(Effect::ReadScale { revision: self.id.clone(), urgent, token });
    }

    fn take_question(&mut self, token: Token) -> Option<Question> {
        self.question.take_if(|(asked, _)| *asked == token).map(|(_, question)| question)
    }

    /// Answer to a write.
    pub(crate) fn written(&mut self, token: Token, outcome: WriteOutcome, context: &mut Context<'_>) {
        match self.take_question(token) {
            Some(Question::Raise { from, to, decision }) => match outcome {
                WriteOutcome::Written { resource_version } => {
                    self.failures = 0;
                    self.unsettled = None;
                    self.tell_raise(from, to, decision, context);
                    let one_replica_set = self.scale.as_ref().is_some_and(|known| known.one_replica_set);
                    let fact = ScaleFact { replicas: to, resource_version, observed: false, one_replica_set };
                    self.raised(fact, context);
                }
                other => {
                    // It may have landed: when the count is seen, it is this leader's own.
                    if other == WriteOutcome::Unknown {
                        self.unsettled = Some(Unsettled { from, to, decision });
                    }
                    self.raise_failed(to, &other, context);
                }
            },
            Some(Question::Lower { sent }) => self.lower_answered(sent, outcome, context),
            Some(Question::Read | Question::Round) | None => {}
        }
        if self.gate.is_some() {
            self.release();
        }
        self.decide(context);
    }

    pub(super) fn tell_raise(
        &mut self,
        from: u32,
        to: u32,
        decision: Box<Decision>,
        context: &mut Context<'_>,
    ) {
        let revision = self.id.clone();
        self.changes.add(context.now, from, to, &decision.reasons);
        context.report(if from == 0 && decision.is_wake() {
            Event::Woken { revision, to, decision }
        } else {
            Event::ScaledUp { revision, from, to, decision }
        });
    }

    fn raise_failed(&mut self, to: u32, outcome: &WriteOutcome, context: &mut Context<'_>) {
        self.news = true;
        match outcome {
            WriteOutcome::Refused => self.write_refused(to, context),
            WriteOutcome::Throttled { after } => self.write_after = context.now + *after,
            // Unknown: it may have landed, now or later; a raise does no harm, and the read tells. Somebody may write all the
            // time, so the first conflict alone is followed at once.
            WriteOutcome::Conflict | WriteOutcome::Unknown => {
                self.reread = true;
                if self.failures > 0 {
                    self.write_after = context.now + self.back_off();
                }
                self.failures = self.failures.saturating_add(1);
            }
            WriteOutcome::NotSent | WriteOutcome::Written { .. } => {}
        }
    }

    /// The longer, the more questions came to nothing.
    fn back_off(&self) -> Duration {
        RETRY * 2_u32.pow(self.failures.saturating_sub(1).min(DOUBLINGS))
    }

    /// Our own raise: not a foreign count, unless the watch told of a later one in the meantime.
    fn raised(&mut self, fact: ScaleFact, context: &mut Context<'_>) {
        let replicas = fact.replicas;
        let up = matches!(self.phase(), Some(Phase::Up(_)));
        if let Some(known) = &mut self.scale
            && !older(&fact.resource_version, &known.resource_version)
        {
            known.replicas = replicas;
        }
        self.learn(fact, context);
        self.news = true;
        if up {
            self.answer_written(replicas, context);
        }
    }

    fn lower_answered(&mut self, sent: Duration, outcome: WriteOutcome, context: &mut Context<'_>) {
        let Some(Gate { phase: Phase::Commit(round), .. }) = &mut self.gate else { return };
        match outcome {
            WriteOutcome::Written { resource_version } => self.lower_written(resource_version, context),
            WriteOutcome::Conflict => {
                round.reading = true;
                self.ask_round(context);
            }
            // The gates stay closed; the same write goes out again (9).
            WriteOutcome::Unknown => {
                round.unknown = Some(sent);
                self.write_after = context.now + RETRY;
            }
            WriteOutcome::Refused | WriteOutcome::Throttled { .. } | WriteOutcome::NotSent
                if round.unknown.is_some() =>
            {
                self.write_after = context.now + RETRY;
            }
            WriteOutcome::Throttled { after } => {
                self.open_all(context);
                self.round_after = self.round_after.max(context.now + after);
            }
            WriteOutcome::NotSent => self.open_all(context),
            WriteOutcome::Refused => {
                let to = round.to;
                self.open_all(context);
                self.write_refused(to, context);
            }
        }
    }

    fn write_refused(&mut self, replicas: u32, context: &mut Context<'_>) {
        self.write_after = context.now + context.settings.pause;
        context.report(Event::WriteRefused { revision: self.id.clone(), replicas });
    }

    /// Answer to a read.
    pub(crate) fn read(&mut self, token: Token, outcome: ReadOutcome, context: &mut Context<'_>) {
        match (self.take_question(token), outcome) {
            (Some(Question::Read), ReadOutcome::Read(scale)) => {
                self.reread = false;
                self.learn(scale.into(), context);
                self.news = true;
            }
            (Some(Question::Round), ReadOutcome::Read(scale)) => self.round_read(scale.into(), context),
            (Some(Question::Read | Question::Round), ReadOutcome::Missing) => {
                self.open_all(context);
                self.drop_scale();
            }
            (Some(Question::Read), ReadOutcome::Failed) => {
                self.failures = self.failures.saturating_add(1);
                self.write_after = context.now + self.back_off();
                self.news = true;
            }
            // Gates are closed until it is known.
            (Some(Question::Round), ReadOutcome::Failed) => {
                self.write_after = context.now + RETRY;
                self.news = true;
            }
            (Some(Question::Raise { .. } | Question::Lower { .. }) | None, _) => {}
        }
        if self.gate.is_some() {
            self.release();
        }
        self.decide(context);
    }

    fn round_read(&mut self, fact: ScaleFact, context: &mut Context<'_>) {
        let Some(Gate { phase: Phase::Commit(round), .. }) = &mut self.gate else { return };
        if fact.resource_version == round.base {
            // Nobody has written. Before the time is over, a write of ours may still be under way.
            if given_up(round, context) {
                self.open_all(context);
            } else {
                round.reading = false;
                self.write_after = context.now + RETRY;
            }
        } else if fact.replicas == 0 {
            self.zero_written(fact.resource_version, context);
        } else if fact.replicas == round.to {
            self.fewer_written(fact.resource_version, context);
        } else {
            self.zero_overtaken(context);
            if self.scale.is_some() {
                self.learn(fact, context);
            }
        }
    }
}
