//! Requests at once, second by second, as an activator measures them.

use std::time::Duration;

use catnap_wire::Bucket;

use crate::moment::moment;
use crate::policy::Metric;
use crate::series::{Averages, Series};

/// One activator that has been there from the beginning.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    series: Series,
    requests: u32,
    measured: Duration,
    /// Of the second that is not over.
    request_microseconds: u64,
}

const BOOT: u64 = 0;
const SECOND: Duration = Duration::from_secs(1);

impl Meter {
    /// From now on there are so many requests.
    pub(super) fn requests(&mut self, now: Duration, requests: u32) {
        self.advance(now);
        self.requests = requests;
    }

    /// Averages over the windows that end with the last whole second.
    pub(super) fn averages(&mut self, now: Duration, window: Duration, panic_window: Duration) -> Averages {
        self.advance(now);
        let booted = |_| Some(0);
        self.series.age_out(moment(now), window, booted);
        self.series.averages(Metric::Concurrency, moment(now), window, panic_window, booted)
    }

    fn advance(&mut self, now: Duration) {
        if self.requests == 0 && self.request_microseconds == 0 {
            self.measured = self.measured.max(now);
        }
        while self.measured < now {
            let index = self.measured.as_secs();
            let second_over = SECOND * u32::try_from(index + 1).unwrap_or(u32::MAX);
            let until = second_over.min(now);
            let microseconds =
                u64::try_from(until.saturating_sub(self.measured).as_micros()).unwrap_or(u64::MAX);
            self.request_microseconds += microseconds * u64::from(self.requests);
            self.measured = until;
            if until == second_over {
                let request_microseconds = std::mem::take(&mut self.request_microseconds);
                if request_microseconds > 0 {
                    self.series.record(BOOT, Bucket { index, request_microseconds, arrivals: 0 });
                } else if self.requests == 0 {
                    self.measured = now;
                }
            }
        }
    }
}
