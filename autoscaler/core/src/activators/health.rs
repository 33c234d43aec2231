//! Since when an activator keeps up, or does not.
//!
//! One whose lag swings around the bound keeps up for a moment of every second: that makes nobody well.

use std::time::Duration;

/// Looked at with every tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    /// When it was last well.
    well: Duration,
    /// Since when it keeps up; `None`: it does not.
    fresh: Option<Duration>,
}

impl Health {
    /// Nothing is known against it.
    pub(super) fn new(now: Duration) -> Self {
        Self { well: now, fresh: None }
    }

    /// Whether it keeps up now. It is well when it has for so long without a break.
    pub(super) fn look(&mut self, fresh: bool, now: Duration, lasting: Duration) {
        self.fresh = fresh.then(|| self.fresh.unwrap_or(now));
        if self.fresh.is_some_and(|since| now.saturating_sub(since) >= lasting) {
            self.well = now;
        }
    }

    /// For how long it has not been well.
    pub(super) fn ill(&self, now: Duration) -> Duration {
        now.saturating_sub(self.well)
    }
}
