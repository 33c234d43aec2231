//! How long to wait before a Function that could not be reconciled is tried again: longer each time, up to a minute.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// Longer than an API server or a webhook is away while it is replaced, and short enough for who waits for a word.
const LASTING: Duration = Duration::from_secs(10);

/// Failures in a row, by Function.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Mutex<HashMap<String, Failures>>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    since: Instant,
}

impl Backoff {
    /// Counts a failure of `function` and says how long to wait.
    pub(crate) fn failed(&self, function: &str) -> Duration {
        let mut failures = self.0.lock();
        let Failures { count, .. } = failures
            .entry(function.to_owned())
            .or_insert_with(|| Failures { count: 0, since: Instant::now() });
        let wait = FIRST.saturating_mul(2_u32.saturating_pow(*count)).min(LONGEST);
        *count = count.saturating_add(1);
        wait
    }

    /// Whether `function` fails for so long that it has to be told of.
    pub(crate) fn lasts(&self, function: &str) -> bool {
        // Not after one that took all this time by itself.
        self.0.lock().get(function).is_some_and(|it| it.count >= 2 && it.since.elapsed() >= LASTING)
    }

    /// Forgets the failures of `function`, which was reconciled or is gone.
    pub(crate) fn forget(&self, function: &str) {
        self.0.lock().remove(function);
    }

    /// Forgets the failures of those that `exists` denies.
    pub(crate) fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.0.lock().retain(|function, _| exists(function));
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
        backoff.forget("a");
        assert_eq!(backoff.failed("a").as_millis(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_again_after_some_time_lasts() {
        let backoff = Backoff::default();
        assert!(!backoff.lasts("a"));
        backoff.failed("a");
        tokio::time::advance(LASTING).await;
        assert!(!backoff.lasts("a"), "once");
        backoff.failed("a");
        assert!(backoff.lasts("a"));
        assert!(!backoff.lasts("b"));
        backoff.forget("a");
        backoff.failed("a");
        backoff.failed("a");
        assert!(!backoff.lasts("a"), "not for long");
    }
}
