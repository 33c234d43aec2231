//! When to try a pod's port: often at first, then less and less, one attempt at a time.

use std::time::Duration;

/// An attempt at a pod that starts is abandoned after this time: the next one may find it up.
const READINESS_TIMEOUT: Duration = Duration::from_millis(50);
/// An attempt at a pod that was set aside: as long as kubelet's probe, because a slow network is no reason to do without it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Shortest pause between attempts.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// The pause grows with the time since the first attempt, so that it adds at most this part of it to a cold start.
const PAUSE_PARTS: u32 = 20;
/// Pods that were set aside are tried this often.
const SET_ASIDE_PAUSE: Duration = Duration::from_secs(1);
/// An attempt without a result for this long is taken for lost.
const LOST: Duration = Duration::from_secs(2);

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Whether the pod is ready: a GET of its readiness path when it has one.
    Readiness,
    /// Whether the pod takes connections. It was set aside because it did not, and it was ready before.
    Connect,
}

impl Attempt {
    /// Abandon it, as a failure, after this time.
    pub(crate) fn timeout(self) -> Duration {
        match self {
            Self::Readiness => READINESS_TIMEOUT,
            Self::Connect => CONNECT_TIMEOUT,
        }
    }
}

/// Attempts at one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Schedule {
    first: Option<Duration>,
    under_way: Option<(Duration, Attempt)>,
    last_end: Option<Duration>,
}

impl Schedule {
    /// Earliest time of the next attempt.
    pub(crate) fn next(&self, now: Duration, set_aside: bool) -> Duration {
        if let Some((started, _)) = self.under_way {
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

    pub(crate) fn started(&mut self, attempt: Attempt, now: Duration) {
        self.first.get_or_insert(now);
        self.under_way = Some((now, attempt));
    }

    /// The attempt under way ended. Returns what it was, if there was one.
    pub(crate) fn finished(&mut self, now: Duration) -> Option<Attempt> {
        self.last_end = Some(now);
        self.under_way.take().map(|(_, attempt)| attempt)
    }

    /// The next attempt is a first one again. One under way goes on.
    pub(crate) fn restart(&mut self) {
        *self = Self { under_way: self.under_way, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn probes_are_as_quick_as_documented() {
        assert_eq!(READINESS_TIMEOUT, ms(50));
        assert_eq!(SHORTEST_PAUSE, ms(5));
        assert_eq!(SET_ASIDE_PAUSE, ms(1_000));
    }

    #[test]
    fn attempts_thin_out_with_the_time_since_the_first() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.next(ms(100), false), ms(100));
        schedule.started(Attempt::Readiness, ms(100));
        assert_eq!(schedule.next(ms(110), false), ms(2_100), "one attempt at a time");
        schedule.finished(ms(101));
        assert_eq!(schedule.next(ms(101), false), ms(106));
        schedule.started(Attempt::Readiness, ms(1_100));
        schedule.finished(ms(1_100));
        assert_eq!(schedule.next(ms(1_100), false), ms(1_150));
        assert_eq!(schedule.next(ms(1_100), true), ms(2_100), "set aside: once a second");
    }
}
