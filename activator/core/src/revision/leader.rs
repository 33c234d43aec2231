//! What the leader says of a revision, and what it is told.

use super::{Effects, Revision};
use crate::effect::Effect;
use crate::gate::{CloseAnswer, Findings, Wish};
use catnap_wire::message::{
    ActivatorFrame, Closed, GateId, LeaderFrame, PodUid, Pressure, RevisionReport, Term, WakeAnswer,
};
use std::collections::HashSet;
use std::time::Duration;

/// Counts of exchanges alone are told again at most this often; they only matter for who goes first when shrinking.
const LOADS_TOLD: Duration = Duration::from_secs(1);

/// Where another activator owns the slots, every request waits for its answer: that alone is no sign of too few pods.
const SLOT_ANSWERED: Duration = Duration::from_millis(20);

impl<W> Revision<W> {
    /// A stream to the leader is open; the hello goes first.
    pub fn leader_connected(&mut self, now: Duration) {
        self.link.connected = true;
        self.pressing.link_changed();
        self.gate.connected();
        self.wake.link_changed(now);
    }

    /// The stream is gone. Open gates stay open: what is warm keeps serving.
    pub fn leader_lost(&mut self, now: Duration) {
        self.link.connected = false;
        self.pressing.link_changed();
        self.wake.link_changed(now);
        // Only a leader that is there takes it back.
        self.gate.avoid(&[]);
        self.refresh();
    }

    /// Leaders count their terms from the beginning: the next one is obeyed whatever its term is.
    pub(crate) fn forget_terms(&mut self) {
        self.gate.forget_terms();
    }

    /// The hello was answered in full; `closed` is what the answer lists of this revision.
    pub fn welcomed(&mut self, term: Term, closed: Option<&Closed>, now: Duration, out: &mut Effects<W>) {
        self.gate.welcome(term, closed, now);
        if closed.is_some_and(|closed| closed.zero) {
            self.gate.condemn_at_zero(self.capacity.known());
        }
        self.wake.gate_spoken(closed.is_none(), now);
        self.changed(now, out);
    }

    /// A frame about this revision. A welcome goes to `welcomed`.
    pub fn leader_says(&mut self, frame: &LeaderFrame, now: Duration, out: &mut Effects<W>) {
        match frame {
            LeaderFrame::Welcome(_) | LeaderFrame::Count { .. } => {}
            LeaderFrame::Close { gate, pods, .. } => self.close(*gate, pods, now, out),
            LeaderFrame::Drain { gate, pods, kept, replicas, .. } => {
                let wish = Wish { gate: *gate, pods, kept, replicas: *replicas };
                self.drain(wish, now, out);
            }
            LeaderFrame::Avoid { pods, .. } => self.gate.avoid(pods),
            LeaderFrame::Open(verdict) => {
                if self.gate.open_by(verdict, now) {
                    self.wake.gate_spoken(true, now);
                }
            }
            LeaderFrame::Zero(verdict) => {
                if self.gate.zero_by(verdict, now) {
                    self.gate.condemn_at_zero(self.capacity.known());
                    self.wake.gate_spoken(false, now);
                }
            }
            LeaderFrame::WakeReply { answer, .. } => self.wake_answered(*answer, now),
        }
        self.changed(now, out);
    }

    fn close(&mut self, gate: GateId, pods: &[PodUid], now: Duration, out: &mut Effects<W>) {
        let held = !self.queue.is_empty();
        let in_flight = self.in_flight() > 0;
        let answer = self.gate.close(gate, pods, self.capacity.known(), in_flight, held, now);
        self.answer_round(gate, answer, now, out);
    }

    fn drain(&mut self, wish: Wish<'_>, now: Duration, out: &mut Effects<W>) {
        // Requests wait for this meanwhile, and the leader repeats itself every 100 ms: thousands of pods are not compared
        // with thousands, and what was agreed to is not looked through again.
        let found = if self.gate.agreed_to(wish.gate) {
            Findings { in_flight: self.serves_any(|uid| self.gate.bars(uid)), objection: false }
        } else {
            let kept: HashSet<&PodUid> = wish.kept.iter().collect();
            let living = self.capacity.pods().filter(|(_, state)| state.lives());
            let living: HashSet<&PodUid> = living.map(|(_, state)| &state.pod.uid).collect();
            Findings {
                in_flight: self.serves_any(|uid| !kept.contains(uid)),
                objection: self.lacks_room(now) || !wish.pods.iter().all(|uid| living.contains(uid)),
            }
        };
        let answer = self.gate.drain(wish, found, now);
        self.answer_round(wish.gate, answer, now, out);
    }

    /// Something is in flight on such a pod.
    fn serves_any(&self, such: impl Fn(&PodUid) -> bool) -> bool {
        self.capacity.pods().any(|(_, state)| state.in_flight > 0 && state.lives() && such(&state.pod.uid))
    }

    fn answer_round(
        &mut self,
        gate: GateId,
        answer: Option<CloseAnswer>,
        now: Duration,
        out: &mut Effects<W>,
    ) {
        let Some(answer) = answer else { return };
        self.wake.gate_spoken(false, now);
        let revision = self.id.clone();
        out.push(Effect::Send(match answer {
            CloseAnswer::Ack => ActivatorFrame::Ack { revision, gate },
            CloseAnswer::Busy => ActivatorFrame::Busy { revision, gate },
        }));
    }

    fn wake_answered(&mut self, answer: WakeAnswer, now: Duration) {
        match answer {
            WakeAnswer::Written { .. } => self.gate.raised(),
            WakeAnswer::AtMax => self.pressing.at_max(),
            WakeAnswer::Queued | WakeAnswer::Open => {}
        }
        if self.wake.needed() {
            self.wake.answered(answer, now);
        }
    }

    /// Everything the hello says of the revision. All buckets in it count as sent.
    pub fn report(&mut self, now: Duration) -> RevisionReport {
        self.measure.forget(now, self.route.policy.window);
        let mut pods = self.capacity.reports(&self.gate);
        self.link.pods_told.clone_from(&pods);
        // A leader that does not know of the round must not take them for pods that serve.
        for pod in &mut pods {
            pod.usable &= !self.gate.bars(&pod.uid);
        }
        self.link.pods_told_at = now;
        let idle = self.measure.idle(now);
        RevisionReport {
            revision: self.id.clone(),
            closed: self.gate.closed(),
            held: self.held(),
            in_flight: self.in_flight(),
            idle_milliseconds: idle.map(|idle| u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)),
            buckets: self.measure.all(now),
            pods,
        }
    }

    /// Since when requests are held while there are pods, but none has room; this may be a time to come.
    pub fn pressed_from(&self) -> Option<Duration> {
        let oldest = self.queue.oldest().filter(|_| self.capacity.usable() > 0)?;
        let asks = self.slots.as_ref().is_some_and(|slots| !slots.is_owner());
        Some(if asks { oldest + SLOT_ANSWERED } else { oldest })
    }

    fn is_pressed(&self, now: Duration) -> bool {
        self.pressed_from().is_some_and(|from| from <= now)
    }

    /// Requests are held for want of a pod, or of room in one: not only until another activator has answered.
    fn lacks_room(&self, now: Duration) -> bool {
        self.is_pressed(now) || !self.queue.is_empty() && self.capacity.usable() == 0
    }

    /// What the leader is to be told of that now; asked every 100 ms.
    pub fn pressure(&mut self, now: Duration) -> Option<Pressure> {
        if !self.is_pressed(now) {
            return None;
        }
        let pods_pending = self.capacity.usable() < self.capacity.living(&self.gate);
        let (held, in_flight) = (self.held(), self.in_flight());
        let standing = self.pressing.tell(held + in_flight, pods_pending)?;
        Some(Pressure { revision: self.id.clone(), held, in_flight, standing })
    }

    /// What the leader was told of is over.
    fn end_pressure(&mut self, now: Duration, out: &mut Effects<W>) {
        if !self.is_pressed(now) && self.pressing.over() {
            let (held, in_flight) = (0, self.in_flight());
            let over = Pressure { revision: self.id.clone(), held, in_flight, standing: false };
            out.push(Effect::Send(ActivatorFrame::Pressure(vec![over])));
        }
    }

    /// Finished seconds and changed pods, while a leader is connected. Returns when there may be more to tell.
    pub(super) fn tell(&mut self, now: Duration, out: &mut Effects<W>) -> Option<Duration> {
        self.measure.forget(now, self.route.policy.window);
        if !self.link.connected {
            return None;
        }
        self.end_pressure(now, out);
        let buckets = self.measure.unsent(now);
        if !buckets.is_empty() {
            out.push(Effect::Send(ActivatorFrame::Buckets { revision: self.id.clone(), buckets }));
        }
        let reports = self.capacity.reports(&self.gate);
        if reports == self.link.pods_told {
            return None;
        }
        let told = &self.link.pods_told;
        let same_pods = reports.len() == told.len()
            && reports.iter().zip(told).all(|(new, old)| new.uid == old.uid && new.usable == old.usable);
        let due = self.link.pods_told_at + LOADS_TOLD;
        if same_pods && now < due {
            return Some(due);
        }
        self.link.pods_told.clone_from(&reports);
        self.link.pods_told_at = now;
        out.push(Effect::Send(ActivatorFrame::Pods { revision: self.id.clone(), pods: reports }));
        None
    }
}
