//! The peers that only look at the time since the last request.

use std::time::Duration;

use super::{Scaler, Seen, Step};

/// Pods stay for a fixed time after the last request.
#[derive(Clone, Debug)]
pub struct KeepAlive {
    keep: Duration,
    capacity: u32,
    quiet_since: Duration,
}

impl KeepAlive {
    /// Keeps so long; a pod takes `capacity` requests at once.
    pub fn new(keep: Duration, capacity: u32) -> Self {
        Self { keep, capacity: capacity.max(1), quiet_since: Duration::ZERO }
    }
}

impl Scaler for KeepAlive {
    fn requests(&mut self, now: Duration, _requests: u32) {
        self.quiet_since = now;
    }

    fn decide(&mut self, now: Duration, seen: Seen) -> Step {
        if seen.requests() > 0 {
            let replicas = seen.requests().div_ceil(self.capacity).max(seen.replicas);
            return Step { replicas, again: None };
        }
        let over = self.quiet_since + self.keep;
        if now >= over {
            Step { replicas: 0, again: None }
        } else {
            Step { replicas: seen.replicas, again: Some(over) }
        }
    }
}

/// The idle time is looked at only every so often, as by a poller of metrics.
#[derive(Clone, Debug)]
pub struct Polling {
    every: Duration,
    inner: KeepAlive,
}

impl Polling {
    /// Looks every `every` and removes pods that were idle for `keep`.
    pub fn new(every: Duration, keep: Duration, capacity: u32) -> Self {
        Self { every: every.max(Duration::from_secs(1)), inner: KeepAlive::new(keep, capacity) }
    }
}

impl Scaler for Polling {
    fn requests(&mut self, now: Duration, requests: u32) {
        self.inner.requests(now, requests);
    }

    fn decide(&mut self, now: Duration, seen: Seen) -> Step {
        let Step { replicas, again } = self.inner.decide(now, seen);
        let polls = |at: Duration| at.as_nanos().div_ceil(self.every.as_nanos()).max(1);
        let poll = |at: Duration| self.every.saturating_mul(u32::try_from(polls(at)).unwrap_or(u32::MAX));
        Step { replicas, again: again.map(poll) }
    }
}
