//! Waiting longer after each failure, with jitter so that many activators do not come back at the same instant.
//!
//! Used for watches of the API server and for the stream to the leading autoscaler.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use rand::Rng;

/// An endless series of growing delays: each is drawn from the upper half of twice the one before, up to a cap.
#[derive(Clone, Debug)]
pub(crate) struct GrowingDelay {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl GrowingDelay {
    /// Starts at `first` and never exceeds `most`.
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// For watches: an API server that restarts is noticed within a few seconds of its return.
    pub(crate) fn for_watches() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(5))
    }

    /// For the stream: a new leader is found fast, because until then this activator wakes alone.
    pub(crate) fn for_streams() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(2))
    }

    /// The next delay.
    pub(crate) fn delay(&mut self) -> Duration {
        let ceiling = self.next;
        self.next = (ceiling * 2).min(self.most);
        ceiling.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Starts over, after a success.
    pub(crate) fn start_over(&mut self) {
        self.next = self.first;
    }
}

impl Iterator for GrowingDelay {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.delay())
    }
}

impl Backoff for GrowingDelay {
    fn reset(&mut self) {
        self.start_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_cap_and_starts_over() {
        let mut delay = GrowingDelay::new(Duration::from_millis(100), Duration::from_millis(400));
        for ceiling in [100, 200, 400, 400] {
            let drawn = delay.delay();
            assert!(drawn <= Duration::from_millis(ceiling), "{drawn:?} of {ceiling}");
            assert!(drawn >= Duration::from_millis(ceiling / 2), "{drawn:?} of {ceiling}");
        }
        delay.start_over();
        assert!(delay.delay() <= Duration::from_millis(100));
    }
}
