//! The clock of one activator process, tied to the leader's by the least delay seen lately.
//!
//! Clocks drift, and that of a virtual machine may stand still for seconds: the least delay of a whole life would make such
//! a process late for ever, so only what was said in the last one to two minutes counts.

use crate::moment::{Moment, SECOND};

/// How long an observation counts at least; twice that at most.
const KEPT: Moment = 60 * SECOND;
/// How late a Hello may have been read: pings end a stream that is slower than 2 s, and a leader that was paused for longer
/// than 4 s leads no more. What would prove a longer delay lies in the future.
const TOLERANCE: Moment = 8 * SECOND;

/// When a process's second 0 began, as far as its messages tell: each says that it was no later than then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// The least since `since`.
    least: Moment,
    /// The least of the time before that.
    before: Moment,
    since: Moment,
    /// What was known at `since`: nothing is believed that is much earlier.
    known: Moment,
}

impl Clock {
    /// Tied by one message.
    pub(super) fn tied(second_zero: Moment, now: Moment) -> Self {
        Self { least: second_zero, before: second_zero, since: now, known: second_zero }
    }

    /// When its second 0 began, at the latest.
    pub(super) fn second_zero(&self) -> Moment {
        self.least.min(self.before)
    }

    /// It may have begun then.
    pub(super) fn allows(&self, second_zero: Moment) -> bool {
        second_zero >= self.known - TOLERANCE
    }

    /// A message says that its second 0 began no later than this. False: it would lie in the future.
    pub(super) fn observe(&mut self, second_zero: Moment, now: Moment) -> bool {
        if !self.allows(second_zero) {
            return false;
        }
        if now - self.since >= KEPT {
            *self = Self { least: second_zero, before: self.least, since: now, known: self.known };
            self.known = self.second_zero();
        }
        self.least = self.least.min(second_zero);
        true
    }
}
