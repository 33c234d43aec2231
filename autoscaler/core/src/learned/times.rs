//! From the times at which requests were there to the idle times between them, what these teach, and when one has passed.
//!
//! Leader, replay and simulator all go through here, so that they teach and charge the same.

use std::time::Duration;

use super::{Learned, Outlook, Terms};
use crate::moment::{Moment, SECOND, span};

/// When requests were there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// Since when there has been no idle time worth the name.
    busy_since: Moment,
    /// The last moment of a request; `None`: none is known.
    last: Option<Moment>,
    /// When a replica came that no request had asked for; it counts until one comes.
    granted: Option<Moment>,
}

/// A time without requests that has ended, and the time with requests before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdleTime {
    /// How long requests had been there without a pause.
    pub(crate) busy: Duration,
    /// How long none was there after that.
    pub(crate) idle: Duration,
    /// How much of that, up to its end, a replica was there that no request had asked for.
    pub(crate) granted: Option<Duration>,
}

impl IdleTime {
    /// Tells the pattern, and charges it with what was waited in vain. Beside a floor nothing was waited for its sake, nor
    /// did a replica that no request had asked for wait while the budget was used up.
    pub(crate) fn teach(self, learned: &mut Learned, terms: Terms, floor: bool) {
        let Self { busy, idle, granted } = self;
        if floor {
            return learned.kept(idle);
        }
        let spent = learned.is_spent(terms);
        learned.ended(terms, busy, idle);
        if !spent && granted.is_some_and(|waited| waited >= terms.after) {
            learned.wasted(terms, terms.after);
        }
    }
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

    /// A replica came that no request had asked for, or a floor that kept one was lifted: it waits for one from now on,
    /// whatever the pattern says.
    pub(crate) fn grant(&mut self, now: Moment) {
        self.granted = Some(now);
    }

    /// The same, if no request has come since.
    fn granted_since(&self, last: Moment) -> Option<Moment> {
        self.granted.filter(|granted| *granted > last)
    }

    /// Whether the idle time has passed, and what the pattern says of this moment of it; `None`: no request is known. What
    /// ended before `earliest` counts as if it had ended then.
    pub(crate) fn rest(
        &self,
        learned: &mut Learned,
        terms: Terms,
        earliest: Moment,
        now: Moment,
    ) -> Option<(bool, Outlook)> {
        let last = self.last?.max(earliest);
        let idle = length(now.saturating_sub(last));
        let outlook = learned.outlook(terms, idle);
        let waits = self.granted_since(last).is_some_and(|granted| now - granted < span(terms.after));
        Some((!(waits && outlook != Outlook::Spent) && learned.is_over(terms, idle), outlook))
    }

    /// Requests were there from then until then. `Some` when they end an idle time: less than a second is none.
    pub(crate) fn busy(&mut self, from: Moment, until: Moment) -> Option<IdleTime> {
        let ended = self.last.filter(|last| from >= last.saturating_add(SECOND));
        let idle_time = ended.map(|last| IdleTime {
            busy: length(last - self.busy_since),
            idle: length(from - last),
            granted: self.granted_since(last).map(|granted| length(from - granted)),
        });
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

    const TERMS: Terms = Terms { after: Duration::from_secs(30), budget: 50 };

    /// What an idle time of five minutes after a second of work adds to the credit, with a replica that came without a
    /// request so many seconds after that work, or before its end.
    fn credited(mut learned: Learned, floor: bool, granted: Option<Moment>) -> f64 {
        let mut times = Times::default();
        times.busy(0, SECOND);
        if let Some(granted) = granted {
            times.grant((1 + granted) * SECOND);
        }
        let before = learned.credit(TERMS);
        let idle_time = times.busy(301 * SECOND, 302 * SECOND).unwrap();
        idle_time.teach(&mut learned, TERMS, floor);
        learned.credit(TERMS) - before
    }

    #[test]
    fn only_a_replica_that_waited_its_time_without_a_request_is_charged() {
        // A percent of 300 s, and half of 31 s; without the second that is free 29 s were waited in vain.
        let ordinary = 3.0 + 15.5 - 29.0;
        let close =
            |credited: f64, wanted: f64| assert!((credited - wanted).abs() < 1e-6, "{credited} {wanted}");
        close(credited(Learned::default(), false, None), ordinary);
        close(credited(Learned::default(), false, Some(100)), ordinary - 30.0);
        close(credited(Learned::default(), false, Some(280)), ordinary);
        close(credited(Learned::default(), false, Some(-1)), ordinary);
        close(credited(Learned::default(), true, Some(100)), 0.0);
        let mut spent = Learned::default();
        spent.wasted(TERMS, Duration::from_secs(300));
        close(credited(spent, false, Some(100)), 3.0 + 1.0);
    }

    #[test]
    fn a_replica_that_came_without_a_request_waits_its_time_unless_the_budget_is_used_up() {
        let mut learned = Learned::default();
        for _ in 0..20 {
            learned.ended(TERMS, Duration::ZERO, Duration::from_secs(300));
        }
        let mut times = Times::default();
        times.busy(0, SECOND);
        times.grant(101 * SECOND);
        let rests =
            |learned: &mut Learned, at| times.rest(learned, TERMS, Moment::MIN, at * SECOND).unwrap().0;
        assert!(!rests(&mut learned, 130) && rests(&mut learned, 131));
        learned.wasted(TERMS, Duration::from_secs(300));
        assert!(rests(&mut learned, 130));
        times.busy(110 * SECOND, 111 * SECOND);
        let served = |at| times.rest(&mut Learned::default(), TERMS, Moment::MIN, at * SECOND).unwrap().0;
        assert!(!served(140) && served(141), "since the last request");
    }

    #[test]
    fn less_than_a_second_is_no_idle_time() {
        let mut times = Times::default();
        assert_eq!(times.busy(0, SECOND), None, "nothing was before");
        assert_eq!(times.busy(SECOND, 2 * SECOND), None);
        assert_eq!(times.busy(3 * SECOND - 1, 3 * SECOND), None);
        let (busy, idle) = (Duration::from_secs(3), Duration::from_secs(1));
        assert_eq!(times.busy(4 * SECOND, 5 * SECOND), Some(IdleTime { busy, idle, granted: None }));
        let (busy, idle) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(times.busy(65 * SECOND, 66 * SECOND), Some(IdleTime { busy, idle, granted: None }));
    }

    #[test]
    fn what_is_told_late_ends_nothing() {
        let mut times = Times::default();
        times.ended(10 * SECOND);
        assert_eq!(times.busy(2 * SECOND, 3 * SECOND), None);
        assert_eq!(times.last(), Some(10 * SECOND));
    }
}
