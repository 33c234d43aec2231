//! The clock of one process: it starts anew with the process, runs a little fast or slow, and may stand still for seconds, as
//! that of a virtual machine does while it is moved.

use std::time::Duration;

const MILLION: i64 = 1_000_000;

pub(crate) struct Clock {
    started: Duration,
    /// Microseconds that it gains in a second.
    drift: i64,
    /// How long it stood still, and will have by `stands_until`.
    stood: Duration,
    stands_until: Duration,
}

impl Clock {
    /// A clock that begins now.
    pub(crate) fn new(now: Duration, drift: i64) -> Self {
        Self { started: now, drift, stood: Duration::ZERO, stands_until: now }
    }

    /// What it shows.
    pub(crate) fn shows(&self, now: Duration) -> Duration {
        let still = self.stood.saturating_sub(self.stands_until.saturating_sub(now));
        scaled(now.saturating_sub(self.started + still), MILLION + self.drift, MILLION)
    }

    /// When it will show this, unless it stands still once more.
    pub(crate) fn when(&self, shown: Duration) -> Duration {
        self.started + self.stood + scaled(shown, MILLION, MILLION + self.drift)
    }

    /// It shows the same for so long.
    pub(crate) fn stand_still(&mut self, now: Duration, length: Duration) {
        if now >= self.stands_until {
            self.stood += length;
            self.stands_until = now + length;
        }
    }
}

fn scaled(length: Duration, by: i64, of: i64) -> Duration {
    let nanoseconds = length.as_nanos() * u128::try_from(by).unwrap() / u128::try_from(of).unwrap();
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap())
}
