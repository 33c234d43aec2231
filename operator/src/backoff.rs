//! How long to wait before a Function that could not be reconciled is tried again: longer each time, up to a minute.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

/// Failures in a row, by Function.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Mutex<HashMap<String, u32>>);

impl Backoff {
    /// Counts a failure of `function` and says how long to wait.
    pub(crate) fn failed(&self, function: &str) -> Duration {
        let mut failures = self.0.lock();
        let count = failures.entry(function.to_owned()).or_default();
        let wait = FIRST.saturating_mul(2_u32.saturating_pow(*count)).min(LONGEST);
        *count = count.saturating_add(1);
        wait
    }

    /// Forgets the failures of `function`.
    pub(crate) fn succeeded(&self, function: &str) {
        self.0.lock().remove(function);
    }

    /// How many Functions fail now.
    pub(crate) fn failing(&self) -> usize {
        self.0.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_start_again_after_a_success() {
        let backoff = Backoff::default();
        let waits: Vec<_> = (0..40).map(|_| backoff.failed("a").as_millis()).collect();
        assert_eq!(waits[..4], [100, 200, 400, 800]);
        assert_eq!(waits[39], 60_000);
        assert_eq!(backoff.failed("b").as_millis(), 100);
        backoff.succeeded("a");
        assert_eq!(backoff.failed("a").as_millis(), 100);
    }
}
