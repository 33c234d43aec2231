//! Learned keep-alive: how long to keep the last replica of a function, and when to start one ahead of a request.
//!
//! A histogram of the function's idle times tells how likely a request is at each moment of an idle time; a replica is
//! kept where it is likely enough. No clock, no I/O. Ideas: hybrid histogram (Shahrad, ATC 2020), and leaving functions
//! with few requests alone (as `PulseNet` does); the intervals grow and merge as in Ben-Haim and Tom-Tov's streaming histograms.

mod histogram;
mod plan;
mod stored;
pub(crate) mod times;

use std::fmt;
use std::time::Duration;

use histogram::Histogram;
use plan::Plan;
pub use stored::{Malformed, STORED_BYTES};

/// Idle times after which the pattern is believed; before, the idle time is the fixed one.
const FEWEST: f64 = 4.0;
/// A replica is kept at least this long after a request.
const LEAST: Duration = Duration::from_secs(1);
/// Share of all time that may be waited in vain beside the budget, so that a function whose pattern has changed is tried
/// again some day.
const TRIAL: f64 = 0.01;
/// What can be saved up, in idle times of the longest kind: enough to learn by, and soon used up when a pattern ends.
const SAVED: f64 = 8.0;

/// The owner's bounds of what may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The longest that a replica may wait for a request: `scale.idle.after`.
    pub after: Duration,
    /// Percent of a replica's time that may be waited in vain: `scale.idle.budget`.
    pub budget: u32,
}

/// A part of each idle time in which a replica is kept, and what speaks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Begins this long after the last request; zero: the replica that served it stays.
    pub from: Duration,
    /// Ends this long after the last request.
    pub until: Duration,
    /// Percent of the idle times that lasted until `from` and ended before `until`.
    pub percent: u32,
}

impl Hold {
    /// It starts a replica before a request, instead of keeping one after it.
    pub fn is_ahead(&self) -> bool {
        !self.from.is_zero()
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, until, percent } = self;
        let (from, until) = (from.as_secs_f64(), until.as_secs_f64());
        if self.is_ahead() {
            write!(
                formatter,
                "{percent} percent of such idle times end {from:.0} to {until:.0} s after a request"
            )
        } else {
            write!(formatter, "{percent} percent of the idle times end within {until:.0} s")
        }
    }
}

/// What the pattern says of one moment of an idle time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing: the idle time is fixed, or the pattern is not known yet.
    #[default]
    Unknown,
    /// A request is likely: have a replica.
    Likely(Hold),
    /// A request is not likely: the last part of the idle time in which it was has passed.
    Unlikely(Hold),
    /// The budget is used up: only the least idle time is waited.
    Spent,
}

/// What one function's idle times have taught.
#[derive(Clone, Debug)]
pub struct Learned {
    histogram: Histogram,
    /// Time that may still be waited in vain, in seconds; `None`: nothing was, so far.
    credit: Option<f64>,
    /// The plan and the terms that it was made by.
    plan: Option<(Terms, Plan)>,
}

impl Default for Learned {
    fn default() -> Self {
        Self { histogram: Histogram::new(), credit: None, plan: None }
    }
}

impl Learned {
    /// A request came after `idle`, which had begun after the replicas were `busy` without a pause. Shorter idle times than
    /// the least that is waited teach nothing.
    pub fn ended(&mut self, terms: Terms, busy: Duration, idle: Duration) {
        let waited = self.plan(terms).waited(idle);
        let spent = self.is_spent(terms);
        let (vain, used) = if spent { (Duration::ZERO, LEAST.min(idle)) } else { (waited.vain, waited.all) };
        let earned = (busy + used).as_secs_f64() * f64::from(terms.budget) / 100.0;
        let trial = idle.as_secs_f64() * TRIAL;
        let most = most_credit(terms);
        self.credit = Some((self.credit(terms) + earned + trial - vain.as_secs_f64()).min(most));
        if idle >= LEAST {
            self.histogram.record(idle);
            self.plan = None;
        }
    }

    /// A request came after `idle`, in which a floor kept the replicas: it teaches, and nothing was waited for its sake.
    pub fn kept(&mut self, idle: Duration) {
        if idle >= LEAST {
            self.histogram.record(idle);
            self.plan = None;
        }
    }

    /// So long a replica waited in vain that came without a request.
    pub fn wasted(&mut self, terms: Terms, vain: Duration) {
        self.credit = Some(self.credit(terms) - vain.as_secs_f64());
    }

    /// What to expect `idle` after the last request.
    pub fn outlook(&mut self, terms: Terms, idle: Duration) -> Outlook {
        if self.is_spent(terms) {
            return Outlook::Spent;
        }
        match self.plan(terms) {
            Plan::Fixed(_) => Outlook::Unknown,
            Plan::Learned(holds) => {
                holds.iter().rfind(|hold| hold.from <= idle).map_or(Outlook::Unknown, |hold| {
                    if idle < hold.until { Outlook::Likely(*hold) } else { Outlook::Unlikely(*hold) }
                })
            }
        }
    }

    /// Whether the idle time is over at this moment of it: a replica that waits goes.
    pub fn is_over(&mut self, terms: Terms, idle: Duration) -> bool {
        match self.outlook(terms, idle) {
            Outlook::Unknown => idle >= terms.after,
            Outlook::Likely(_) => false,
            Outlook::Unlikely(_) | Outlook::Spent => idle >= LEAST,
        }
    }

    /// When, after `idle` without a request, a replica is wanted ahead of the next one; `None`: not any more.
    pub fn next_ahead(&mut self, terms: Terms, idle: Duration) -> Option<Duration> {
        match self.plan(terms) {
            Plan::Fixed(_) => None,
            Plan::Learned(holds) => holds.iter().map(|hold| hold.from).find(|from| *from > idle),
        }
    }

    /// The budget is used up.
    fn is_spent(&self, terms: Terms) -> bool {
        self.credit(terms) < 0.0
    }

    /// Seconds that may still be waited in vain; negative when the budget is used up.
    pub(crate) fn credit(&self, terms: Terms) -> f64 {
        self.credit.unwrap_or_else(|| most_credit(terms)).min(most_credit(terms))
    }

    fn plan(&mut self, terms: Terms) -> &Plan {
        if self.plan.as_ref().is_some_and(|(by, _)| *by != terms) {
            self.plan = None;
        }
        let histogram = &self.histogram;
        &self.plan.get_or_insert_with(|| (terms, Plan::new(histogram, terms))).1
    }
}

/// Seconds that can be saved up.
fn most_credit(terms: Terms) -> f64 {
    terms.after.as_secs_f64() * SAVED
}

#[cfg(test)]
mod tests;
