//! How long an exchange with a pod may take: live settings of a Function, which workers read with every request.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Limits of one exchange with a pod, each precise to the millisecond. `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `timeouts.firstByte`: from the dispatch to the head of the response.
    pub first_byte: Option<Duration>,
    /// `timeouts.request`: from the dispatch to the last byte of the response.
    pub request: Option<Duration>,
    /// `timeouts.inactivity`: without a byte in either direction.
    pub inactivity: Option<Duration>,
}

impl Timeouts {
    /// The limits as a Function has them: zero is none.
    pub fn of(first_byte: Duration, request: Duration, inactivity: Duration) -> Self {
        let limit = |limit: Duration| Some(limit).filter(|limit| !limit.is_zero());
        Self { first_byte: limit(first_byte), request: limit(request), inactivity: limit(inactivity) }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { first_byte: None, request: Some(Duration::from_secs(300)), inactivity: None }
    }
}

/// The limits as they are now, read without a lock: a reader that meets a change may see one old and one new limit, which is
/// no worse than to come a moment earlier.
#[derive(Debug)]
pub(crate) struct LiveTimeouts {
    first_byte: Milliseconds,
    request: Milliseconds,
    inactivity: Milliseconds,
}

/// 0 is no limit.
#[derive(Debug, Default)]
struct Milliseconds(AtomicU64);

impl LiveTimeouts {
    pub(crate) fn new(timeouts: Timeouts) -> Self {
        let live = Self {
            first_byte: Milliseconds::default(),
            request: Milliseconds::default(),
            inactivity: Milliseconds::default(),
        };
        live.set(timeouts);
        live
    }

    pub(crate) fn set(&self, timeouts: Timeouts) {
        let Timeouts { first_byte, request, inactivity } = timeouts;
        self.first_byte.set(first_byte);
        self.request.set(request);
        self.inactivity.set(inactivity);
    }

    pub(crate) fn get(&self) -> Timeouts {
        Timeouts {
            first_byte: self.first_byte.get(),
            request: self.request.get(),
            inactivity: self.inactivity.get(),
        }
    }
}

impl Milliseconds {
    fn set(&self, limit: Option<Duration>) {
        let milliseconds = limit.map_or(0, |limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        self.0.store(milliseconds, Relaxed);
    }

    fn get(&self) -> Option<Duration> {
        Some(self.0.load(Relaxed)).filter(|limit| *limit > 0).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_last_is_read() {
        let live = LiveTimeouts::new(Timeouts::default());
        assert_eq!(live.get(), Timeouts::default());
        let all = Timeouts {
            first_byte: Some(Duration::from_millis(1)),
            request: None,
            inactivity: Some(Duration::from_secs(99_999 * 3600)),
        };
        live.set(all);
        assert_eq!(live.get(), all);
    }
}
