//! The part of the gate that is about some pods: closed while a lower count is written, so that those that go have nothing in
//! flight, while the others go on.
//!
//! The rules are those of the whole gate, with their numbers. What is only avoided is in no round: it may be used at any time.

use super::{ALONE_AFTER, CloseAnswer, Gate, State};
use catnap_wire::message::{GateId, PodUid};
use std::collections::BTreeSet;
use std::time::Duration;

/// What the leader asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) gate: GateId,
    /// Pods that would go.
    pub(crate) pods: &'a [PodUid],
    /// Pods that would stay.
    pub(crate) kept: &'a [PodUid],
    /// The count before.
    pub(crate) replicas: u32,
}

/// What this activator finds when it is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Findings {
    /// Something is in flight on a pod that would not stay.
    pub(crate) in_flight: bool,
    /// Requests are held for want of room, or a pod that would go is not known here as one that lives: then another one would
    /// go. It does not count once this was agreed to.
    pub(crate) objection: bool,
}

/// A round that this activator has agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Drain {
    pub(super) gate: GateId,
    going: BTreeSet<PodUid>,
    /// (2) Only these are used: a pod that nobody named may have been made in place of one that went, and may go itself.
    kept: BTreeSet<PodUid>,
    replicas: u32,
    /// When the leader last named this gate.
    pub(super) heard: Duration,
}

impl Gate {
    /// `Drain`: closes the gate of all pods but those that stay. `None`: not obeyed.
    pub(crate) fn drain(&mut self, wish: Wish<'_>, found: Findings, now: Duration) -> Option<CloseAnswer> {
        if !self.obeys(wish.gate.term) {
            return None;
        }
        let answer = |busy| Some(if busy { CloseAnswer::Busy } else { CloseAnswer::Ack });
        if let Some(drain) = self.drain.as_mut().filter(|drain| drain.gate == wish.gate) {
            drain.heard = now;
            return answer(found.in_flight);
        }
        if wish.gate <= self.latest {
            return answer(true);
        }
        self.latest = wish.gate;
        let busy = found.in_flight || found.objection || !self.is_open();
        self.drain = (!busy).then(|| {
            Box::new(Drain {
                gate: wish.gate,
                going: wish.pods.iter().cloned().collect(),
                kept: wish.kept.iter().cloned().collect(),
                replicas: wish.replicas,
                heard: now,
            })
        });
        answer(busy)
    }

    /// A round about some pods under this gate is under way, and this activator has agreed to it.
    pub(crate) fn agreed_to(&self, gate: GateId) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.gate == gate)
    }

    /// The pod is closed by a round about some pods.
    pub(crate) fn bars(&self, pod: &PodUid) -> bool {
        self.drain.as_ref().is_some_and(|drain| !drain.kept.contains(pod))
    }

    /// Pods that alone may be used; `None` when there is no round about some.
    pub(crate) fn kept(&self) -> Option<&BTreeSet<PodUid>> {
        self.drain.as_ref().map(|drain| &drain.kept)
    }

    /// Pods that get no new request while others have capacity: all that the leader named last.
    pub(crate) fn avoid(&mut self, pods: &[PodUid]) {
        self.avoided = pods.iter().cloned().collect();
    }

    pub(crate) fn avoided(&self) -> &BTreeSet<PodUid> {
        &self.avoided
    }

    /// The leader has spoken of this gate, or of a later one.
    pub(super) fn end_drain(&mut self, gate: GateId) {
        self.drain.take_if(|drain| gate >= drain.gate);
    }

    /// The leader is silent and the scale is above zero. As many as before: nothing goes. Fewer: the round was written, and all
    /// goes that did not stay, of what was known when the GET was sent.
    pub(super) fn drain_read(&mut self, replicas: u32, known: &[PodUid], now: Duration) {
        let Some(drain) = self.drain.take() else { return };
        if replicas < drain.replicas {
            let others = known.iter().filter(|pod| !drain.kept.contains(*pod)).cloned();
            self.condemned.extend(others);
            self.condemned.extend(drain.going);
            self.condemned_at = now;
        }
    }

    /// The leader is silent and the scale is zero: this gate becomes one of the whole revision.
    pub(super) fn drain_into_zero(&mut self, now: Duration) {
        if let Some(drain) = self.drain.take() {
            self.condemned.extend(drain.going);
            self.state = State::Resting { gate: Some(drain.gate), young_until: Some(now + ALONE_AFTER) };
        }
    }
}

#[cfg(test)]
mod tests;
