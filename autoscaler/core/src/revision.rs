//! One revision at the leader: what is known of it, and when to decide.
//!
//! The steps are beside it: `demand` (what the activators want), `pattern` (what their requests teach), `round` (going to zero or to
//! fewer), `shrink` (what comes before the latter), `write` (answers of `/scale`) and
//! `hello` (answering an activator that connects).

mod changes;
mod demand;
mod hello;
mod pattern;
mod round;
mod shrink;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catnap_wire::RevisionId;

use crate::activators::Reach;
use crate::context::Context;
use crate::decide::{Decision, History, Observation, decide};
use crate::effect::{Event, Scale, StreamId, Token};
use crate::gate::{Gate, Phase};
use crate::leader::{Explanation, PodFact, ScaleFact};
use crate::learned::times::Times;
use crate::moment::moment;
use crate::policy::{Policy, Stage};
use crate::series::{Averages, Series};
use crate::version::older;
pub use changes::Change;
use changes::Changes;
use demand::{IdleClock, View};
pub(crate) use hello::Said;
pub(crate) use pattern::Patterns;
use shrink::Shrink;
use write::{Question, Unsettled};

/// Decisions without news are made this often.
const DECIDE_EVERY: Duration = Duration::from_secs(1);

/// One revision.
#[derive(Debug)]
pub(crate) struct Revision {
    id: RevisionId,
    /// `None`: in no status, so it is left alone.
    policy: Option<(Policy, Stage)>,
    scale: Option<ScaleFact>,
    pods: Vec<PodFact>,
    /// Made at the first step after policy and scale are known, when the pods are too.
    gate: Option<Gate>,
    /// The one question about `/scale` that is not answered.
    question: Option<(Token, Question)>,
    /// A raise whose outcome is unknown.
    unsettled: Option<Unsettled>,
    /// The known scale is not to be relied on for a write.
    reread: bool,
    /// No write before.
    write_after: Duration,
    /// Questions in a row that came to nothing while replicas are to be raised.
    failures: u32,
    /// No round before.
    round_after: Duration,
    /// Asks for a round on this version of `/scale`.
    candidate: Option<Arc<str>>,
    shrink: Shrink,
    views: BTreeMap<StreamId, View>,
    series: Series,
    idle: IdleClock,
    times: Times,
    history: Option<History>,
    /// The last decision and what it was made from.
    decision: Option<(Observation, Decision)>,
    changes: Changes,
    decided_at: Duration,
    /// When in every second its turn is.
    turn: Duration,
    /// When it is decided without news.
    next_turn: Duration,
    /// Something happened that a decision must not wait for.
    news: bool,
}

impl Revision {
    /// One of which nothing is known. `turn` is the part of every second at whose end it is decided.
    pub(crate) fn new(id: RevisionId, turn: Duration) -> Self {
        Self {
            id,
            policy: None,
            scale: None,
            pods: Vec::new(),
            gate: None,
            question: None,
            unsettled: None,
            reread: false,
            write_after: Duration::ZERO,
            failures: 0,
            round_after: Duration::ZERO,
            candidate: None,
            shrink: Shrink::default(),
            views: BTreeMap::new(),
            series: Series::default(),
            idle: IdleClock::default(),
            times: Times::default(),
            history: None,
            decision: None,
            changes: Changes::default(),
            decided_at: Duration::ZERO,
            turn,
            next_turn: Duration::ZERO,
            news: true,
        }
    }

    pub(crate) fn id(&self) -> &RevisionId {
        &self.id
    }

    /// A write of a lower count is under way, or its outcome is unknown.
    pub(crate) fn is_committing(&self) -> bool {
        matches!(self.phase(), Some(Phase::Commit(_)))
    }

    /// Nothing is known of it any more, and nothing that was written is unsettled.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.policy.is_none() && self.scale.is_none() && self.pods.is_empty() && !self.is_committing()
    }

    pub(crate) fn explain(&self) -> Option<Explanation> {
        let (observation, decision) = self.decision.clone().unzip();
        Some(Explanation {
            revision: self.id.clone(),
            replicas: self.scale.as_ref().map_or(0, |scale| scale.replicas),
            gate: self.gate.as_ref()?.name(),
            leaving: self.shrink.victims(),
            policy: self.policy.clone(),
            decided_at: self.decided_at,
            observation,
            decision,
            changes: self.changes.latest_first(),
        })
    }

    pub(crate) fn set_policy(&mut self, policy: Policy, stage: Stage, now: Duration) {
        if let Some((old, old_stage)) = &self.policy {
            if (old, *old_stage) == (&policy, stage) {
                return;
            }
            let proved = *old_stage == Stage::Proving && stage == Stage::Routed;
            if proved || policy.floor(stage) < old.floor(*old_stage) {
                self.idle.restart(now);
                self.times.grant(moment(now));
            }
        }
        self.policy = Some((policy, stage));
        self.news = true;
    }

    /// The revision is in no status any more. A round that was not committed is given up; one in COMMIT keeps its gate until
    /// the write of zero is settled.
    pub(crate) fn drop_policy(&mut self, context: &mut Context<'_>) {
        if matches!(self.phase(), Some(Phase::Closing(_))) {
            self.open_all(context);
        }
        self.stay(context);
        self.policy = None;
        self.candidate = None;
        self.release();
    }

    pub(crate) fn set_pods(&mut self, pods: Vec<PodFact>) {
        self.news |= self.pods != pods;
        self.pods = pods;
    }

    /// The Deployment is gone, and so is the gate, unless a write of zero is not settled.
    pub(crate) fn drop_scale(&mut self) {
        self.scale = None;
        self.candidate = None;
        if !self.is_committing() {
            self.gate = None;
        }
    }

    /// Nothing is kept of what is in no status, or of a gate without a Deployment, once no write of zero is unsettled.
    /// Whoever brings the revision back tells all of it again.
    fn release(&mut self) {
        if self.is_committing() || self.is_active() {
            return;
        }
        self.drop_scale();
        if self.policy.is_none() {
            self.pods.clear();
        }
    }

    /// Takes in a count from the watch, a read or our own write, unless a later one is known.
    pub(crate) fn learn(&mut self, fact: ScaleFact, context: &mut Context<'_>) {
        let known = self.scale.take();
        if let Some(known) = known {
            if older(&fact.resource_version, &known.resource_version) {
                self.scale = Some(known);
                return;
            }
            let same = fact.resource_version == known.resource_version;
            let observed = fact.observed || (same && known.observed);
            if known.replicas != fact.replicas {
                self.changed_elsewhere(known.replicas, fact.replicas, context);
            }
            self.news |= !same;
            self.scale = Some(ScaleFact { observed, ..fact });
        } else {
            self.news = true;
            self.scale = Some(fact);
        }
        self.follow_count(context);
    }

    /// A count that this leader may not have written; tells of it unless a waking activator did.
    fn changed_elsewhere(&mut self, known: u32, found: u32, context: &mut Context<'_>) {
        if self.settles(known, found, context) {
            return;
        }
        // Its own lower count, whose outcome is unknown to it: the round tells.
        if matches!(self.phase(), Some(Phase::Commit(round)) if found == round.to) {
            return;
        }
        let Some((policy, _)) = &self.policy else { return };
        let woken = known == 0 && found == policy.first();
        if self.gate.is_none() || self.question.is_some() {
            return;
        }
        self.changes.add(context.now, known, found, &[]);
        if !woken {
            let revision = self.id.clone();
            context.report(Event::ForeignScale { revision, known, found });
        }
    }

    fn phase(&self) -> Option<&Phase> {
        self.gate.as_ref().map(|gate| &gate.phase)
    }

    /// When time alone may change something: zero for with every tick, [`Duration::MAX`] for never.
    pub(crate) fn due(&self) -> Duration {
        let Some(gate) = &self.gate else {
            return if self.is_active() { Duration::ZERO } else { Duration::MAX };
        };
        let news = self.news && self.is_active();
        if news || self.candidate.is_some() || !gate.is_settled() || self.is_shrinking() {
            Duration::ZERO
        } else if self.rests() || !self.is_active() {
            Duration::MAX
        } else {
            self.next_turn
        }
    }

    /// At zero, with nothing that gets old: what would start it is news.
    fn rests(&self) -> bool {
        let decided_to = self.decision.as_ref().map(|(_, decision)| decision.desired);
        matches!(self.phase(), Some(Phase::Zero { .. }))
            && decided_to == Some(0)
            && self.series.is_empty()
            && self.views.values().all(View::is_quiet)
            && !self.is_learning()
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, context: &mut Context<'_>) {
        self.take_over(context);
        self.advance_round(context);
        self.decide(context);
        self.advance_shrink(context);
    }

    /// Makes the gate when enough is known.
    pub(crate) fn take_over(&mut self, context: &Context<'_>) {
        if self.gate.is_some() || self.policy.is_none() {
            return;
        }
        let Some(scale) = &self.scale else { return };
        let gate = Gate::taken_over(context.term, scale.replicas, scale.observed, &self.pods, context.now);
        self.gate = Some(gate);
        self.history.get_or_insert_with(|| History::found(scale.replicas, context.now));
        self.news = true;
    }

    /// Decides if there is news or it is its turn, and acts on it.
    pub(crate) fn decide(&mut self, context: &mut Context<'_>) {
        let its_turn = context.now >= self.next_turn;
        if !(self.news || its_turn) || self.gate.is_none() {
            return;
        }
        let Some(replicas) = self.scale.as_ref().map(|scale| scale.replicas) else { return };
        let Some((policy, stage)) = self.policy.take() else { return };
        let observation = self.observe(&policy, replicas, context);
        let history = self.history.take().unwrap_or_default();
        let (history, decision) =
            decide(&policy, stage, context.settings, history, &observation, context.now);
        debug_assert_eq!(crate::invariants::decision(&policy, stage, &observation, &decision), Ok(()));
        self.policy = Some((policy, stage));
        self.history = Some(history);
        self.decided_at = context.now;
        self.next_turn = next_turn(self.turn, context.now);
        self.news = false;
        self.act(&decision, replicas, stage, context);
        if replicas == 0 && decision.desired == 0 && self.question.is_none() {
            self.forget_wakes();
        }
        self.decision = Some((observation, decision));
    }

    fn observe(&mut self, policy: &Policy, replicas: u32, context: &mut Context<'_>) -> Observation {
        let Context { now, activators, .. } = *context;
        let Reach { watermark, complete, youngest } = context.reach();
        let mut averages = Averages::default();
        if !self.series.is_empty() {
            let booted = |boot| activators.booted(boot);
            // Where nobody keeps up nothing is averaged, and yet it gets old.
            self.series.age_out(watermark.unwrap_or_else(|| moment(now)), policy.window, booted);
            if let Some(watermark) = watermark {
                let Policy { metric, window, panic_window, .. } = *policy;
                averages = self.series.averages(metric, watermark, window, panic_window, booted);
            }
        }
        let (idle, outlook) = self.idleness(policy, youngest, context);
        let (held, pressed) = (self.held(context), self.pressed(context));
        Observation {
            replicas,
            stable: averages.stable,
            panic: averages.panic,
            arrivals: averages.arrivals,
            arriving: self.arrivals(context),
            ready: self.ready(),
            held,
            pressed,
            busy: held > 0 || pressed > 0 || self.is_serving(),
            idle,
            outlook,
            incomplete: !complete || demand::history_is_short(policy.window, youngest, context),
        }
    }

    fn act(&mut self, decision: &Decision, replicas: u32, stage: Stage, context: &mut Context<'_>) {
        if !self.is_committing() {
            self.candidate = None;
        }
        if decision.desired <= replicas {
            self.failures = 0;
        }
        if decision.desired == 0 || decision.desired >= replicas {
            self.stay(context);
        }
        let (Some(gate), Some(scale)) = (&self.gate, &self.scale) else { return };
        match &gate.phase {
            Phase::Up(settling) if decision.desired == 0 && replicas > 0 => {
                let ready = settling.is_none() && self.question.is_none() && stage != Stage::Proving;
                if ready && context.now >= self.round_after && self.knows_all_pods() {
                    self.candidate = Some(Arc::clone(&scale.resource_version));
                }
            }
            Phase::Up(_) if decision.desired > replicas => self.raise(decision, context),
            // The named pods must be seen to go before their number is raised again, or it would be them who stay (10).
            Phase::Zero { .. } if decision.desired > 0 && !gate.condemned_alive(&self.pods) => {
                self.raise(decision, context);
            }
            Phase::Up(None) if decision.desired < replicas => self.shrink(decision.desired, context),
            Phase::Closing(round)
                if decision.desired > round.to
                    || !self.all_unready_in(|uid| {
                        round.scope.kept.is_none() || round.scope.named.contains(uid)
                    }) =>
            {
                self.open_all(context);
            }
            _ => {}
        }
    }

    /// As many live pods are known as the count says, so that all that would go can be named (8).
    fn knows_all_pods(&self) -> bool {
        let alive = self.pods.iter().filter(|pod| !pod.terminating).count();
        self.scale.as_ref().is_some_and(|scale| u32::try_from(alive) == Ok(scale.replicas))
    }

    /// It is acted for: it is in a status, and its Deployment exists.
    fn is_active(&self) -> bool {
        self.policy.is_some() && self.scale.is_some()
    }

    /// The version of `/scale` on which it asks for a round.
    pub(crate) fn candidate(&self) -> Option<&Arc<str>> {
        self.candidate.as_ref()
    }
}

/// The first moment after `now` that is this much after a whole second.
fn next_turn(turn: Duration, now: Duration) -> Duration {
    let turn = Duration::from_secs(now.as_secs()) + turn;
    if turn > now { turn } else { turn + DECIDE_EVERY }
}

impl From<Scale> for ScaleFact {
    /// What a read says of the count; whether the controllers have seen it, it does not say.
    fn from(scale: Scale) -> Self {
        let Scale { replicas, resource_version } = scale;
        Self { replicas, resource_version, observed: false, one_replica_set: false }
    }
}
