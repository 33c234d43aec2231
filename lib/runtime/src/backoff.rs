//! Waiting longer after each failure, with jitter so that many processes do not come back at the same instant.

use std::time::Duration;

use rand::Rng;

/// An endless series of growing delays: each is drawn from the upper half of twice the one before, up to a cap.
#[derive(Clone, Debug)]
pub struct GrowingDelay {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl GrowingDelay {
    /// Starts at `first` and never exceeds `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// The next delay.
    pub fn delay(&mut self) -> Duration {
        let ceiling = self.next;
        self.next = (ceiling * 2).min(self.most);
        ceiling.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Starts over, after a success.
    pub fn start_over(&mut self) {
        self.next = self.first;
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
