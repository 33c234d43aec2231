//! What the counts of a rollout say: whether the new revision fails more of its requests than it may.

use std::fmt;

use catnap_crds::{RolloutCounts, RolloutStatus};

use super::counts;
use crate::Rates;

/// Fewer requests than this judge nothing.
const LEAST_REQUESTS: i64 = 20;
/// At the bound that many errors are to be expected among the requests that judge.
const EXPECTED_ERRORS: i64 = 2;

/// What is known against the new revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nobody counts.
    Unknown,
    /// Nothing.
    Good,
    /// Some of its requests failed, of too few to say.
    Unclear(Comparison),
    /// Too many of its requests failed.
    Bad(Comparison),
}

/// Requests of two revisions that ended since a step began (since the rollout began, for the old one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Comparison {
    to: Ended,
    from: Ended,
    /// So many requests judge.
    enough: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended {
    all: i64,
    errors: i64,
}

/// What the counts since the last step say.
pub(super) fn judge(rollout: &RolloutStatus, rates: &Rates, max_error_percent: i32) -> Judgement {
    let (Some(before), Some(now)) = (&rollout.counted, counts(rates, rollout)) else {
        return Judgement::Unknown;
    };
    let RolloutCounts { from_ended, from_errors, to_ended, to_errors, .. } = now;
    let bound = i64::from(max_error_percent);
    let comparison = Comparison {
        to: Ended::since(before.to_ended, before.to_errors, to_ended, to_errors),
        from: Ended::since(before.from_ended, before.from_errors, from_ended, from_errors),
        enough: LEAST_REQUESTS.max(if bound > 0 { EXPECTED_ERRORS * 100 / bound } else { 0 }),
    };
    let Comparison { to, from, enough } = comparison;
    let above = to.errors * 100 > bound * to.all && to.is_worse_than(from);
    match above {
        false => Judgement::Good,
        true if to.all < enough => Judgement::Unclear(comparison),
        true => Judgement::Bad(comparison),
    }
}

impl Ended {
    fn since(all_before: i64, errors_before: i64, all: i64, errors: i64) -> Self {
        Self { all: (all - all_before).max(0), errors: (errors - errors_before).max(0) }
    }

    fn is_worse_than(self, other: Self) -> bool {
        other.all == 0
            || i128::from(self.errors) * i128::from(other.all)
                > i128::from(other.errors) * i128::from(self.all)
    }
}

impl Comparison {
    /// How many requests of the new revision have to end before they are judged.
    pub(in super::super) fn enough(&self) -> i64 {
        self.enough
    }

    /// More than one of its requests failed, and most of them.
    pub(super) fn mostly_failed(&self) -> bool {
        self.to.errors >= EXPECTED_ERRORS && self.to.errors > self.to.all - self.to.errors
    }

    /// What the new revision did, in words.
    pub(in super::super) fn of_new(&self) -> impl fmt::Display {
        self.to
    }

    /// What the old one did.
    pub(in super::super) fn of_old(&self) -> impl fmt::Display {
        self.from
    }
}

/// `12.5 percent of 200 requests (25)`.
impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { all, errors } = self;
        let tenths = if *all == 0 { 0 } else { i128::from(*errors) * 1000 / i128::from(*all) };
        write!(formatter, "{}.{} percent of {all} requests ({errors})", tenths / 10, tenths % 10)
    }
}
