//! The gate of one revision at this activator: may requests be dispatched, and to which pods not.
//!
//! It is the activator's half of the protocol by which a revision goes to zero without losing a request. A comment with a
//! number in brackets says what a rule protects against; the model that found the rules loses requests, or strands them,
//! without any one of them.

mod drain;

use catnap_wire::message::{Closed, GateId, PodUid, Term, Verdict};
use drain::Drain;
use std::collections::BTreeSet;
use std::time::Duration;

pub(crate) use drain::{Findings, Wish};

/// A gate is opened without the leader only when its PUT must have landed or died: it starts within 500 ms of the first
/// frame of the round and is bounded by its timeout (5). After a zero, when the controllers must have acted on it (13).
pub const ALONE_AFTER: Duration = Duration::from_secs(2);

/// Answer to the leader's wish to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseAnswer {
    /// Closed, with nothing in flight.
    Ack,
    /// Something is in flight or held.
    Busy,
}

/// Where the gate stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// (1) After a start, or for a revision first heard of without a leader, nothing is known of rounds under way: a request
    /// sent to a pod that others already agreed to give up would be lost.
    Unanswered { since: Duration },
    /// Pods that are not condemned may be used.
    Open,
    /// A round is under way and this activator has agreed, or was told so in a welcome.
    Closed(Box<Round>),
    /// The zero was written. No timer opens it, only the word that the count was raised since: a pod that appears before may
    /// have been made in place of one that went away, and goes itself when the controllers see the zero.
    Resting {
        /// The gate of the leader's round; `None` when this activator found the zero alone.
        gate: Option<GateId>,
        /// (13) The controllers may not have acted on the zero before: until then only the leader, who sees whether they have,
        /// may say that the count was raised. `None` when the zero was there before this activator heard of it.
        young_until: Option<Duration>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Round {
    gate: GateId,
    /// (2) The pods named, and those known when the Ack was sent: what the leader had not seen yet goes too.
    going: BTreeSet<PodUid>,
    /// When the leader last named this gate.
    heard: Duration,
}

/// One gate.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    state: State,
    /// A round about some pods that this activator has agreed to; the others go on. Only while the gate is open.
    drain: Option<Box<Drain>>,
    /// Pods that are used only when no other one has capacity.
    avoided: BTreeSet<PodUid>,
    /// (7) The highest term seen; a leader that was replaced is not obeyed.
    term: Term,
    /// The highest gate seen: a gate that was opened never closes again.
    latest: GateId,
    condemned: BTreeSet<PodUid>,
    condemned_at: Duration,
    /// A frame of the leader on this connection has said where the gate stands.
    answered: bool,
}

impl Gate {
    pub(crate) fn open() -> Self {
        Self {
            state: State::Open,
            drain: None,
            avoided: BTreeSet::new(),
            term: Term::default(),
            latest: GateId::default(),
            condemned: BTreeSet::new(),
            condemned_at: Duration::ZERO,
            answered: false,
        }
    }

    pub(crate) fn unanswered(since: Duration) -> Self {
        Self { state: State::Unanswered { since }, ..Self::open() }
    }

    /// Requests may go to pods that are not condemned.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// The pod may be used, as far as the gate is concerned.
    pub(crate) fn admits(&self, pod: &PodUid) -> bool {
        self.is_open() && !self.condemned.contains(pod) && !self.bars(pod)
    }

    pub(crate) fn condemned(&self, pod: &PodUid) -> bool {
        self.condemned.contains(pod)
    }

    /// What a hello says of it: the gate that this activator holds closed.
    pub(crate) fn closed(&self) -> Option<GateId> {
        match self.state {
            State::Closed(ref round) => Some(round.gate),
            State::Resting { gate, .. } => gate,
            State::Unanswered { .. } | State::Open => None,
        }
    }

    /// Nothing but an open gate without memory.
    pub(crate) fn at_rest(&self) -> bool {
        !matches!(self.state, State::Closed(_)) && self.drain.is_none()
    }

    pub(crate) fn state_name(&self) -> &'static str {
        match self.state {
            State::Unanswered { .. } => "unanswered",
            State::Open if self.drain.is_some() => "draining",
            State::Open => "open",
            State::Closed(_) => "closed",
            State::Resting { .. } => "zero",
        }
    }

    /// A new stream: its hello is not answered yet.
    pub(crate) fn connected(&mut self) {
        self.answered = false;
        self.avoided.clear();
    }

    /// Leaders count their terms from the beginning. What is closed stays so until one of them, or a GET, says otherwise.
    pub(crate) fn forget_terms(&mut self) {
        self.term = Term::default();
        self.latest = GateId::default();
        if let Some(drain) = &mut self.drain {
            drain.gate = GateId::default();
        }
        match &mut self.state {
            State::Closed(round) => round.gate = GateId::default(),
            State::Resting { gate: Some(gate), .. } => *gate = GateId::default(),
            State::Unanswered { .. } | State::Open | State::Resting { gate: None, .. } => {}
        }
    }

    /// `Idle` or `Drain`: the pods of this round are `named`, this activator knows `known`. `None`: not obeyed.
    pub(crate) fn close(
        &mut self,
        gate: GateId,
        named: &[PodUid],
        known: impl Iterator<Item = PodUid>,
        in_flight: bool,
        held: bool,
        now: Duration,
    ) -> Option<CloseAnswer> {
        if !self.obeys(gate.term) {
            return None;
        }
        if let State::Closed(round) = &mut self.state
            && round.gate == gate
        {
            // The leader may have counted the first Ack already: whatever is held waits for its decision.
            round.heard = now;
            return Some(if in_flight { CloseAnswer::Busy } else { CloseAnswer::Ack });
        }
        if gate <= self.latest {
            return Some(CloseAnswer::Busy);
        }
        self.latest = gate;
        self.drain = None;
        if in_flight || held {
            self.state = State::Open;
            return Some(CloseAnswer::Busy);
        }
        let going = named.iter().cloned().chain(known).collect();
        self.state = State::Closed(Box::new(Round { gate, going, heard: now }));
        Some(CloseAnswer::Ack)
    }

    /// `Open`: the round ended without a removal, or replicas rose again. False: not obeyed.
    pub(crate) fn open_by(&mut self, verdict: &Verdict, now: Duration) -> bool {
        if !self.obeys(verdict.gate.term) {
            return false;
        }
        self.latest = self.latest.max(verdict.gate);
        self.condemn_exactly(&verdict.condemned, now);
        self.end_drain(verdict.gate);
        if self.closed().is_none_or(|closed| verdict.gate >= closed) {
            self.state = State::Open;
        }
        true
    }

    /// `Zero`: the count was written. False: not obeyed.
    pub(crate) fn zero_by(&mut self, verdict: &Verdict, now: Duration) -> bool {
        if !self.obeys(verdict.gate.term) {
            return false;
        }
        self.latest = self.latest.max(verdict.gate);
        let later = self.closed().is_none_or(|closed| verdict.gate >= closed);
        self.rest(verdict, later, Some(now + ALONE_AFTER), now);
        true
    }

    /// (11) The answer to the hello: where the leader stands, or `None` when it lists nothing: open.
    pub(crate) fn welcome(&mut self, term: Term, closed: Option<&Closed>, now: Duration) {
        if term < self.term || (closed.is_none() && self.answered) {
            return;
        }
        self.term = term;
        self.answered = true;
        self.drain = None;
        let Some(Closed { verdict, zero }) = closed else {
            self.condemn_exactly(&[], now);
            self.state = State::Open;
            return;
        };
        self.latest = self.latest.max(verdict.gate);
        if *zero {
            let young_until = match self.state {
                // It is older than the process or than the silence of leaders, and may be hours old.
                State::Unanswered { since } => Some(since + ALONE_AFTER),
                State::Resting { young_until, .. } => young_until,
                State::Open | State::Closed(_) => Some(now + ALONE_AFTER),
            };
            self.rest(verdict, true, young_until, now);
            return;
        }
        let going = self.going_of(verdict.gate);
        self.condemn_exactly(&verdict.condemned, now);
        self.state = State::Closed(Box::new(Round { gate: verdict.gate, going, heard: now }));
    }

    /// (2) The zero was just heard of: a pod that is known by now may have been made before it, in place of one whose end the
    /// leader had not seen, and goes with the others. If it was made since, the leader pardons it.
    pub(crate) fn condemn_at_zero(&mut self, known: impl Iterator<Item = PodUid>) {
        if matches!(self.state, State::Resting { .. }) {
            self.condemned.extend(known);
        }
    }

    /// The count was raised after the zero, says the leader: pods made since may be used.
    pub(crate) fn raised(&mut self) {
        if matches!(self.state, State::Resting { .. }) {
            self.state = State::Open;
        }
    }

    /// This activator has raised the count after the zero.
    pub(crate) fn raised_alone(&mut self, now: Duration) {
        if !self.is_young(now) {
            self.raised();
        }
    }

    /// (13) The zero was written so lately that the controllers may not have acted on it.
    pub(crate) fn is_young(&self, now: Duration) -> bool {
        matches!(self.state, State::Resting { young_until: Some(until), .. } if now < until)
    }

    /// When a GET may be sent that could open this gate without the leader (5, 13); `None`: at any time, if it is shut.
    pub(crate) fn alone_from(&self) -> Option<Duration> {
        match self.state {
            State::Unanswered { since } => Some(since + ALONE_AFTER),
            State::Closed(ref round) => Some(round.heard + ALONE_AFTER),
            State::Open if let Some(drain) = &self.drain => Some(drain.heard + ALONE_AFTER),
            State::Resting { young_until, .. } => young_until,
            State::Open => None,
        }
    }

    /// When the leader last spoke of a round under way; it repeats itself every 100 ms.
    pub(crate) fn round_heard(&self) -> Option<Duration> {
        match self.state {
            State::Closed(ref round) => Some(round.heard),
            _ => self.drain.as_ref().map(|drain| drain.heard),
        }
    }

    /// The leader is silent and the scale is above zero: what was closed for a zero did not go.
    pub(crate) fn open_alone(&mut self, replicas: u32, known: &[PodUid], now: Duration) {
        self.drain_read(replicas, known, now);
        if !self.is_open() {
            self.state = State::Open;
        }
    }

    /// The leader is silent, the scale is above zero, and pods condemned long ago are still there: use them again, or a
    /// request could wait for ever. Lame-duck time covers the rest.
    pub(crate) fn pardon(&mut self, now: Duration) -> bool {
        let pardoned = !self.condemned.is_empty() && now >= self.condemned_at + ALONE_AFTER;
        if pardoned {
            self.condemned.clear();
        }
        pardoned
    }

    /// The scale is zero: those `known` when the GET was sent are never used, and pods to come only once the count was raised.
    /// `acted`: no pods are left, so that a zero of which this activator had not heard is an old one.
    pub(crate) fn read_zero(&mut self, known: &[PodUid], acted: bool, now: Duration) {
        self.drain_into_zero(now);
        let new = Some(now + ALONE_AFTER);
        let (gate, young_until) = match &mut self.state {
            State::Open => return,
            State::Closed(round) => {
                self.condemned.append(&mut round.going);
                (Some(round.gate), new)
            }
            State::Resting { gate, young_until } => (*gate, young_until.or(new.filter(|_| !acted))),
            State::Unanswered { .. } => (None, new.filter(|_| !acted)),
        };
        self.condemned.extend(known.iter().cloned());
        self.condemned_at = now;
        self.state = State::Resting { gate, young_until };
    }

    /// A pod is gone for good; its UID never comes again.
    pub(crate) fn forget(&mut self, pod: &PodUid) {
        self.condemned.remove(pod);
    }

    fn obeys(&mut self, term: Term) -> bool {
        if term < self.term {
            return false;
        }
        self.term = term;
        self.answered = true;
        true
    }

    fn going_of(&mut self, wanted: GateId) -> BTreeSet<PodUid> {
        match &mut self.state {
            State::Closed(round) if round.gate == wanted => std::mem::take(&mut round.going),
            _ => BTreeSet::new(),
        }
    }

    fn rest(&mut self, verdict: &Verdict, later: bool, young_until: Option<Duration>, now: Duration) {
        let mut going = self.going_of(verdict.gate);
        self.end_drain(verdict.gate);
        self.condemn_exactly(&verdict.condemned, now);
        self.condemned.append(&mut going);
        if later {
            self.state = State::Resting { gate: Some(verdict.gate), young_until };
        }
    }

    /// The leader's list is complete: who is not on it is pardoned.
    fn condemn_exactly(&mut self, pods: &[PodUid], now: Duration) {
        self.condemned = pods.iter().cloned().collect();
        self.condemned_at = now;
    }
}

#[cfg(test)]
mod tests;
