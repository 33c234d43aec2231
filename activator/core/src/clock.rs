//! Where the activator gets its time from: the monotonic time since the process started.
//!
//! Everything below the [`Activator`](crate::Activator) takes the time as a parameter.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Monotonic time since the process started.
pub trait Clock: Send + Sync {
    /// Never less than what an earlier call gave.
    fn now(&self) -> Duration;
}

/// The clock of the machine, starting at zero when made.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// A clock that shows zero now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A clock that moves only when told, for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock(Mutex<Duration>);

impl ManualClock {
    /// Moves the clock forward.
    pub fn advance(&self, step: Duration) {
        *self.0.lock() += step;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        *self.0.lock()
    }
}
