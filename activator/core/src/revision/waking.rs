//! Waking and opening, with the leader and without it.

use super::{Effects, Revision};
use crate::effect::{Effect, Scale, ScaleError};
use crate::wake::{Allows, Due, head_start};
use catnap_wire::message::ActivatorFrame;
use std::time::Duration;

impl<W> Revision<W> {
    /// Tells the leader of held requests, or acts without it. Returns when to look again.
    pub(super) fn wake(&mut self, now: Duration, out: &mut Effects<W>) -> Option<Duration> {
        let tell = self.tell_of_wake(now, out);
        let alone = self.act_alone(now, out);
        match (tell, alone) {
            (Some(tell), Some(alone)) => Some(tell.min(alone)),
            (tell, alone) => tell.or(alone),
        }
    }

    fn tell_of_wake(&mut self, now: Duration, out: &mut Effects<W>) -> Option<Duration> {
        if !self.link.connected {
            return None;
        }
        let held = self.held();
        let due = self.wake.tell_at(held)?;
        if now < due {
            return Some(due);
        }
        self.wake.told(held, now);
        let arrivals = self.measure.arrivals_of_a_second(now).max(self.wake.arrivals(now).unwrap_or(0));
        out.push(Effect::Send(ActivatorFrame::Wake { revision: self.id.clone(), held, arrivals }));
        self.wake.tell_at(held)
    }

    fn act_alone(&mut self, now: Duration, out: &mut Effects<W>) -> Option<Duration> {
        self.no_permit = false;
        if self.wake.busy() {
            return None;
        }
        let due = self.alone_due()?;
        if now < due.at {
            return Some(due.at);
        }
        let Some(permit) = self.budgets.wake() else {
            // All places taken: the answer that frees one is followed by a tick.
            self.no_permit = true;
            return None;
        };
        let old_enough = self.gate.alone_from().is_none_or(|from| now >= from);
        let allows = match due.silent {
            true if old_enough => Allows::Opening,
            true => Allows::Pardon,
            false => Allows::Nothing,
        };
        let attempt = self.wake.begin(permit, self.capacity.known().collect(), allows);
        out.push(Effect::ReadScale { attempt });
        None
    }

    /// Requests wait and the leader does not help, or a round was begun and the leader fell silent in it.
    pub(super) fn alone_due(&self) -> Option<Due> {
        let waking = self.wake.alone_at(self.link.connected, self.first);
        let opening = self.gate.round_heard().and(self.gate.alone_from()).map(|from| Due {
            at: (from + head_start(self.first)).max(self.wake.not_before()),
            silent: true,
        });
        match (waking, opening) {
            (Some(waking), Some(opening)) => Some(if opening.at <= waking.at { opening } else { waking }),
            (waking, opening) => waking.or(opening),
        }
    }

    /// The answer to a `ReadScale`.
    pub fn scale_read(
        &mut self,
        attempt: u64,
        result: Result<Scale, ScaleError>,
        now: Duration,
        out: &mut Effects<W>,
    ) {
        let Some(attempt) = self.wake.take(attempt, false) else { return };
        let scale = match result {
            Err(_) => return self.wake.back_off(now, &mut self.random),
            // (6) The leader has spoken of the gate in between: this answer says nothing about the state of now.
            Ok(_) if attempt.stale => return,
            Ok(scale) => scale,
        };
        if scale.replicas > 0 {
            self.wake.seen(scale.replicas, now);
            if attempt.allows == Allows::Opening {
                self.gate.open_alone(scale.replicas, &attempt.known, now);
            }
            if attempt.allows != Allows::Nothing {
                self.gate.pardon(now);
            }
            // (3) While the leader talks nothing opens by itself: patience begins again.
            self.wake.back_off(now, &mut self.random);
            self.wake.not_later(self.gate.alone_from(), now);
        } else {
            self.gate.read_zero(&attempt.known, scale.pods == 0, now);
            self.changed(now, out);
            if scale.pods > 0 && self.gate.is_young(now) {
                // (10) Raised before the controllers have acted on the zero, it would be those that were given up who stay.
                self.wake.back_off(now, &mut self.random);
                self.wake.not_later(self.gate.alone_from(), now);
            } else if self.wake.needed() {
                let replicas = self.replicas_to_wake();
                let attempt_number = attempt.number;
                self.wake.raise(attempt);
                out.push(Effect::RaiseScale {
                    attempt: attempt_number,
                    replicas,
                    resource_version: scale.resource_version,
                });
            }
        }
        self.changed(now, out);
    }

    /// The answer to a `RaiseScale`.
    #[expect(clippy::needless_pass_by_value, reason = "the same shape as `scale_read`")]
    pub fn scale_raised(
        &mut self,
        attempt: u64,
        result: Result<(), ScaleError>,
        now: Duration,
        out: &mut Effects<W>,
    ) {
        if self.wake.take(attempt, true).is_none() {
            return;
        }
        match result {
            Ok(()) => {
                self.gate.raised_alone(now);
                self.wake.seen(self.replicas_to_wake(), now);
                self.wake.back_off(now, &mut self.random);
                self.wake.not_later(self.gate.alone_from(), now);
            }
            Err(ScaleError::Conflict) => self.wake.retry_soon(now, &mut self.random),
            Err(ScaleError::NotFound | ScaleError::Failed(_)) => self.wake.back_off(now, &mut self.random),
        }
        self.changed(now, out);
    }

    fn replicas_to_wake(&self) -> u32 {
        self.route.policy.wake.clamp(1, self.route.policy.max.max(1))
    }
}
