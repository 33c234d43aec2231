//! A revision taking over from another in steps, as a pure machine: its whole memory is `status.rollout`, so that a restart of
//! the operator changes nothing.
//!
//! A step is taken when the new revision has the replicas for it, when the last one was watched for `interval`, and when what is
//! known of how requests end speaks for it. What speaks against it takes everything back at once.

use catnap_crds::{Rollout, RolloutCounts, RolloutStatus, part};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use std::time::Duration;

use crate::Rates;

mod judgement;

pub(super) use judgement::Comparison;
use judgement::{Judgement, judge};

/// What is known is looked at this often while requests are watched.
const LOOK: Duration = Duration::from_secs(1);
/// A last step after which too few requests ended to judge some bad ones is watched for this many intervals.
const PATIENCE_INTERVALS: u32 = 10;

/// What a rollout is decided by.
pub(super) struct Sight<'a> {
    pub(super) spec: &'a Rollout,
    /// Percent of all requests that follow the latest revision.
    pub(super) share: i32,
    /// Ready replicas of the new revision.
    pub(super) ready: i32,
    /// Replicas that the new revision needs for this percent of all requests.
    pub(super) needed: &'a dyn Fn(i32) -> i32,
    /// `scale.initial: 0`: the first step waits for nothing.
    pub(super) unproven: bool,
    /// Whether a replica of the new revision was ever ready.
    pub(super) seen_ready: bool,
    /// The old revision has replicas, and none that is ready: nothing is gained by going back to it.
    pub(super) from_broken: bool,
    pub(super) rates: &'a Rates,
    pub(super) now: Timestamp,
}

/// What becomes of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It goes on like this, waits for something, and is looked at again then if not sooner.
    Goes(RolloutStatus, Wait, Option<Timestamp>),
    /// The new revision has everything.
    Done,
    /// The new revision failed too many requests.
    Back(Comparison),
}

/// What the next step waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Replicas.
    Size { ready: i32 },
    /// That it is known how requests end.
    Rates,
    /// The interval.
    Interval,
    /// More requests, as some of the few that ended failed.
    Requests(Comparison),
    /// A first ready replica.
    Proof,
}

/// A rollout that moves nothing yet.
pub(super) fn begin(from: &str, to: &str, now: Timestamp) -> RolloutStatus {
    RolloutStatus {
        from: from.to_owned(),
        to: to.to_owned(),
        percent: 0,
        coming_percent: 0,
        coming_replicas: 0,
        stepped_at: Time(now),
        counted: None,
    }
}

/// What becomes of `rollout` now.
pub(super) fn turn(rollout: &RolloutStatus, sight: &Sight<'_>) -> Turn {
    let mut rollout = rollout.clone();
    let share = sight.share;
    rollout.percent = rollout.percent.min(share);
    let known = sight.rates.known_since.is_some();
    if known && rollout.counted.is_none() {
        rollout.counted = Some(counts(sight.rates, &rollout));
    }
    let mut watched = false;
    if rollout.percent > 0 {
        let after = |since: Timestamp, times: u32| {
            since.checked_add(sight.spec.interval.get().saturating_mul(times)).ok()
        };
        let look = known.then(|| sight.now.checked_add(LOOK).ok()).flatten();
        let goes = |rollout, wait, at: Option<Timestamp>| {
            Turn::Goes(rollout, wait, [at.filter(|at| *at > sight.now), look].into_iter().flatten().min())
        };
        let all = rollout.percent == share;
        let ends =
            after(rollout.stepped_at.0.max(sight.rates.known_since.unwrap_or(rollout.stepped_at.0)), 1);
        let judgement = judge(&rollout, sight.rates, sight.spec.max_error_percent);
        match judgement {
            Judgement::Bad(comparison) if !sight.from_broken => return Turn::Back(comparison),
            Judgement::Unclear(comparison) if !sight.from_broken => {
                let patience = after(rollout.stepped_at.0, PATIENCE_INTERVALS);
                if !all || patience.is_some_and(|end| end > sight.now) {
                    rollout.coming_percent = rollout.percent;
                    return goes(rollout, Wait::Requests(comparison), patience.filter(|_| all));
                }
            }
            // Where everything has moved there is no step left that could wait for it.
            Judgement::Unknown if !all => {
                rollout.coming_percent = rollout.percent;
                return goes(rollout, Wait::Rates, look_again(sight));
            }
            _ => {}
        }
        if ends.is_some_and(|ends| ends > sight.now) {
            rollout.coming_percent = rollout.percent;
            return goes(rollout, Wait::Interval, ends);
        }
        if all && sight.unproven && !sight.seen_ready {
            return goes(rollout, Wait::Proof, None);
        }
        if all {
            return Turn::Done;
        }
        watched = true;
    }
    step(rollout, sight, watched)
}

/// Prepares and takes the next step.
fn step(mut rollout: RolloutStatus, sight: &Sight<'_>, watched: bool) -> Turn {
    let at_once = sight.spec.step_percent >= 100;
    let coming = sight.share.min(rollout.percent + part(sight.share, sight.spec.step_percent, 1));
    if !watched && !at_once && sight.rates.known_since.is_none() {
        return Turn::Goes(rollout, Wait::Rates, look_again(sight));
    }
    let needed = (sight.needed)(coming);
    let begun = rollout.coming_percent == coming;
    // Never more than when the wait began: what it grows by while it waits must not raise the bar.
    rollout.coming_replicas = if begun { needed.min(rollout.coming_replicas) } else { needed };
    rollout.coming_percent = coming;
    let takes_any = sight.unproven && rollout.percent == 0;
    if !takes_any && sight.ready < rollout.coming_replicas {
        return Turn::Goes(rollout, Wait::Size { ready: sight.ready }, look_again(sight));
    }
    rollout.percent = coming;
    rollout.stepped_at = Time(sight.now);
    rollout.counted = sight.rates.known_since.is_some().then(|| {
        let now = counts(sight.rates, &rollout);
        let RolloutCounts { from_ended, from_errors, .. } = rollout.counted.unwrap_or(now);
        RolloutCounts { from_ended, from_errors, ..now }
    });
    let ends = sight.now.checked_add(sight.spec.interval.get()).ok();
    Turn::Goes(rollout, Wait::Interval, [ends, look_again(sight)].into_iter().flatten().min())
}

fn look_again(sight: &Sight<'_>) -> Option<Timestamp> {
    sight.now.checked_add(LOOK).ok()
}

fn counts(rates: &Rates, rollout: &RolloutStatus) -> RolloutCounts {
    let of = |revision: &str| {
        let counts = rates.counts.get(revision).copied().unwrap_or_default();
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        (signed(counts.ended), signed(counts.errors))
    };
    let ((from_ended, from_errors), (to_ended, to_errors)) = (of(&rollout.from), of(&rollout.to));
    RolloutCounts { from_ended, from_errors, to_ended, to_errors }
}

#[cfg(test)]
mod tests;
