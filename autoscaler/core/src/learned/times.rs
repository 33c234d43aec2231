//! From the times at which requests were there to the idle times between them.

use std::time::Duration;

use crate::moment::{Moment, SECOND};

/// When requests were there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// Since when there has been no idle time worth the name.
    busy_since: Moment,
    /// The last moment of a request; `None`: none is known.
    last: Option<Moment>,
}

/// A time without requests that has ended, and the time with requests before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdleTime {
    /// How long requests had been there without a pause.
    pub(crate) busy: Duration,
    /// How long none was there after that.
    pub(crate) idle: Duration,
}

impl Times {
    /// The last moment of a request; `None`: none is known.
    pub(crate) fn last(&self) -> Option<Moment> {
        self.last
    }

    /// A request ended then, which somebody else has measured.
    pub(crate) fn ended(&mut self, at: Moment) {
        if self.last.is_none() {
            self.busy_since = at;
        }
        self.last = self.last.max(Some(at));
    }

    /// Requests were there from then until then. `Some` when they end an idle time: less than a second is none.
    pub(crate) fn busy(&mut self, from: Moment, until: Moment) -> Option<IdleTime> {
        let ended = self.last.filter(|last| from >= last.saturating_add(SECOND));
        let idle_time =
            ended.map(|last| IdleTime { busy: length(last - self.busy_since), idle: length(from - last) });
        if idle_time.is_some() || self.last.is_none() {
            self.busy_since = from;
        }
        self.last = self.last.max(Some(until));
        idle_time
    }
}

/// A length of time that is not negative.
pub(crate) fn length(span: Moment) -> Duration {
    Duration::from_micros(u64::try_from(span).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_a_second_is_no_idle_time() {
        let mut times = Times::default();
        assert_eq!(times.busy(0, SECOND), None, "nothing was before");
        assert_eq!(times.busy(SECOND, 2 * SECOND), None);
        assert_eq!(times.busy(3 * SECOND - 1, 3 * SECOND), None);
        let (busy, idle) = (Duration::from_secs(3), Duration::from_secs(1));
        assert_eq!(times.busy(4 * SECOND, 5 * SECOND), Some(IdleTime { busy, idle }));
        let (busy, idle) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(times.busy(65 * SECOND, 66 * SECOND), Some(IdleTime { busy, idle }));
    }

    #[test]
    fn what_is_told_late_ends_nothing() {
        let mut times = Times::default();
        times.ended(10 * SECOND);
        assert_eq!(times.busy(2 * SECOND, 3 * SECOND), None);
        assert_eq!(times.last(), Some(10 * SECOND));
    }
}
