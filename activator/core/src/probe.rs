//! When to try a pod's port: often at first, then less and less, one attempt at a time.

use std::time::Duration;

/// An attempt is abandoned after this time.
pub(crate) const ATTEMPT: Duration = Duration::from_millis(50);
/// Shortest pause between attempts.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// The pause grows with the time since the first attempt, so that it adds at most this part of it to a cold start.
const PAUSE_PARTS: u32 = 20;
/// Pods that were set aside are tried this often.
const SET_ASIDE_PAUSE: Duration = Duration::from_secs(1);
/// An attempt without a result for this long is taken for lost.
const LOST: Duration = Duration::from_secs(1);

/// Attempts at one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Schedule {
    first: Option<Duration>,
    under_way: Option<Duration>,
    last_end: Option<Duration>,
}

impl Schedule {
    /// Earliest time of the next attempt.
    pub(crate) fn next(&self, now: Duration, set_aside: bool) -> Duration {
        if let Some(started) = self.under_way {
            return started + LOST;
        }
        let (Some(first), Some(last_end)) = (self.first, self.last_end) else { return now };
        let pause = if set_aside {
            SET_ASIDE_PAUSE
        } else {
            SHORTEST_PAUSE.max(last_end.saturating_sub(first) / PAUSE_PARTS)
        };
        last_end + pause
    }

    pub(crate) fn started(&mut self, now: Duration) {
        self.first.get_or_insert(now);
        self.under_way = Some(now);
    }

    pub(crate) fn finished(&mut self, now: Duration) {
        self.under_way = None;
        self.last_end = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn attempts_thin_out_with_the_time_since_the_first() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.next(ms(100), false), ms(100));
        schedule.started(ms(100));
        assert_eq!(schedule.next(ms(110), false), ms(1_100), "one attempt at a time");
        schedule.finished(ms(101));
        assert_eq!(schedule.next(ms(101), false), ms(106));
        schedule.started(ms(1_100));
        schedule.finished(ms(1_100));
        assert_eq!(schedule.next(ms(1_100), false), ms(1_150));
        assert_eq!(schedule.next(ms(1_100), true), ms(2_100), "set aside: once a second");
    }
}
