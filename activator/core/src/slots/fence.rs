//! Until when an owner may count on that nobody has taken over from it: one number for the whole process, read at each grant.
//!
//! A silent activator is given up after a time. So whoever owns must stop before that by its own clock, which also notices
//! that the process itself was stopped for a while.

use crate::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Shared by the contact with the other activators, which moves it, and the slots of all revisions, which obey it.
#[derive(Debug)]
pub struct Fence {
    /// Nanoseconds on the process's clock.
    until: AtomicU64,
    /// How often the time was over: what was owned before is owned no more.
    lapses: AtomicU64,
}

impl Default for Fence {
    fn default() -> Self {
        Self { until: AtomicU64::new(u64::MAX), lapses: AtomicU64::new(0) }
    }
}

impl Fence {
    /// The number of the lapse that `now` follows; `None` while the time is over.
    pub(crate) fn open(&self, now: Duration) -> Option<u64> {
        // In this order: whoever reads a time that was moved also reads the lapse that was counted before it was.
        let until = self.until.load(Ordering::Acquire);
        let lapses = self.lapses.load(Ordering::Acquire);
        (nanoseconds(now) < until).then_some(lapses)
    }

    pub(crate) fn lapses(&self) -> u64 {
        self.lapses.load(Ordering::Acquire)
    }

    /// Sets the time anew. True when it had been over and is not any more.
    pub(crate) fn set(&self, until: Duration, now: Duration) -> bool {
        let opens = self.open(now).is_none() && now < until;
        if opens {
            self.lapse();
        }
        self.until.store(nanoseconds(until), Ordering::Release);
        opens
    }

    /// Everything owned has to be claimed anew.
    pub(crate) fn lapse(&self) {
        self.lapses.fetch_add(1, Ordering::AcqRel);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
