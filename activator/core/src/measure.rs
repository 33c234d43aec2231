//! What a revision is measured by: the exact integral of requests in it and its arrivals, in buckets of one second.
//!
//! Seconds in which nothing happened have no bucket: up to the sender's watermark an absent one is a zero.

use catnap_wire::message::Bucket;
use std::collections::VecDeque;
use std::time::Duration;

/// Finished seconds that are kept at least, whatever the window.
const KEPT_SECONDS: u64 = 64;
/// Kept beyond the window, for a leader that lags.
const SLACK_SECONDS: u64 = 4;

/// Index of the last second that is complete at `now`; `None` in the first one.
pub fn through(now: Duration) -> Option<u64> {
    now.as_secs().checked_sub(1)
}

/// Measurements of one revision in one activator.
#[derive(Debug, Default)]
pub(crate) struct Measure {
    requests: u64,
    arrivals_total: u64,
    measured_to: Duration,
    current: Bucket,
    finished: VecDeque<Bucket>,
    /// Finished buckets below this index were sent.
    sent_below: u64,
    last_end: Option<Duration>,
}

impl Measure {
    /// A request came in.
    pub(crate) fn arrived(&mut self, now: Duration) {
        self.advance(now);
        self.requests += 1;
        self.arrivals_total += 1;
        self.current.arrivals += 1;
    }

    /// A request came over from another revision of the Function: it was counted as an arrival there.
    pub(crate) fn moved_in(&mut self, now: Duration) {
        self.advance(now);
        self.requests += 1;
    }

    /// A request ended, left or went to another revision.
    pub(crate) fn ended(&mut self, now: Duration) {
        self.advance(now);
        self.requests = self.requests.saturating_sub(1);
        self.last_end = Some(now);
    }

    /// Requests in the revision now, held and dispatched.
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// Arrivals in the second that is not over, or in the one before it when they were more.
    pub(crate) fn arrivals_of_a_second(&mut self, now: Duration) -> u64 {
        self.advance(now);
        let before = self.finished.back().filter(|bucket| bucket.index + 1 == self.current.index);
        before.map_or(0, |bucket| bucket.arrivals).max(self.current.arrivals)
    }

    /// Arrivals since the process started.
    pub(crate) fn arrivals_total(&self) -> u64 {
        self.arrivals_total
    }

    /// Time since the last request ended; zero while there is one, `None` when there never was one.
    pub(crate) fn idle(&self, now: Duration) -> Option<Duration> {
        if self.requests > 0 {
            return Some(Duration::ZERO);
        }
        self.last_end.map(|end| now.saturating_sub(end))
    }

    /// Drops what is older than the window.
    pub(crate) fn forget(&mut self, now: Duration, window: Duration) {
        let kept = KEPT_SECONDS.max(window.as_secs() + SLACK_SECONDS);
        let oldest = now.as_secs().saturating_sub(kept);
        while self.finished.front().is_some_and(|bucket| bucket.index < oldest) {
            self.finished.pop_front();
        }
    }

    /// Finished seconds that were not sent yet; they count as sent from now on.
    pub(crate) fn unsent(&mut self, now: Duration) -> Vec<Bucket> {
        self.advance(now);
        let first = self.finished.partition_point(|bucket| bucket.index < self.sent_below);
        self.sent_below = now.as_secs();
        self.finished.range(first..).copied().collect()
    }

    /// All finished seconds; they count as sent from now on.
    pub(crate) fn all(&mut self, now: Duration) -> Vec<Bucket> {
        self.advance(now);
        self.sent_below = now.as_secs();
        self.finished.iter().copied().collect()
    }

    /// Nothing but the sum of arrivals.
    pub(crate) fn is_empty(&self) -> bool {
        self.at_rest() && self.finished.is_empty()
    }

    /// Measurements that go on from a sum of arrivals.
    pub(crate) fn resumed(arrivals_total: u64) -> Self {
        Self { arrivals_total, ..Self::default() }
    }

    /// Nothing is measured now and nothing is left to send.
    pub(crate) fn at_rest(&self) -> bool {
        self.requests == 0
            && self.current == Bucket { index: self.current.index, ..Bucket::default() }
            && self.finished.back().is_none_or(|bucket| bucket.index < self.sent_below)
    }

    /// Integrates up to `now`. A caller that read the clock before another one did adds nothing.
    pub(crate) fn advance(&mut self, now: Duration) {
        while self.measured_to.as_secs() < now.as_secs() {
            if self.requests == 0 {
                // A quiet stretch has no buckets: jump over it.
                self.finish();
                self.measured_to = Duration::from_secs(now.as_secs());
            } else {
                let end = Duration::from_secs(self.measured_to.as_secs() + 1);
                self.integrate(end);
                self.finish();
            }
            self.current.index = self.measured_to.as_secs();
        }
        self.integrate(now.max(self.measured_to));
    }

    fn integrate(&mut self, to: Duration) {
        // Differences of whole microseconds since the start, so that no rounding adds up.
        let microseconds = to.as_micros() - self.measured_to.as_micros();
        let microseconds = u64::try_from(microseconds).unwrap_or(u64::MAX);
        self.current.request_microseconds += self.requests * microseconds;
        self.measured_to = to;
    }

    fn finish(&mut self) {
        let bucket = std::mem::take(&mut self.current);
        if bucket.request_microseconds > 0 || bucket.arrivals > 0 {
            self.finished.push_back(bucket);
        }
    }
}

#[cfg(test)]
mod tests;
