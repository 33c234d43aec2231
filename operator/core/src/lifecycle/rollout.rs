//! A revision taking over from another in steps, as a pure machine: its whole memory is `status.rollout`, so that a restart of
//! the operator only makes it watch for one more interval.
//!
//! A step is taken when the new revision has the replicas for it, when the last one was watched for `interval`, and when what is
//! known of how requests end speaks for it. What speaks against it takes everything back at once.

use catnap_crds::{Rollout, RolloutCounts, RolloutStatus, part};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use std::time::Duration;

use crate::{Facts, Rates};

mod judgement;

use judgement::{Comparison, Judgement, judge};

/// What is known is looked at this often while requests are watched.
const LOOK: Duration = Duration::from_secs(1);
/// And this often while nothing runs in which a request could end, so that what was counted is not forgotten.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A last step after which too few requests ended to judge some bad ones is watched for this many intervals.
const PATIENCE_INTERVALS: u32 = 10;
/// A last step in which something is not heard of any more is watched for this many, if that goes on.
const GAP_INTERVALS: u32 = 2;
/// After a gap in what is known it is watched for so long before a step, or for an interval where that is shorter.
const SETTLING: Duration = Duration::from_secs(10);

/// What a rollout is decided by.
pub(super) struct Sight<'a> {
    pub(super) spec: &'a Rollout,
    /// Percent of all requests that follow the latest revision.
    pub(super) share: i32,
    /// The revision that takes over.
    pub(super) to: &'a Facts,
    /// The one that it takes over from.
    pub(super) from: &'a Facts,
    /// Replicas that the new revision needs for this percent of all requests.
    pub(super) needed: &'a dyn Fn(i32) -> i32,
    /// `scale.initial: 0`: the first step waits for nothing.
    pub(super) unproven: bool,
    /// How long the new revision may want replicas and have none ready.
    pub(super) unready_limit: Duration,
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
    /// Everything goes back.
    Back(Fault),
}

/// What the new revision is taken back for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It failed too many requests.
    Errors(Comparison),
    /// It had no ready replica for too long.
    Unready,
}

/// What the next step, or the end, waits for.
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
    /// A ready replica, as all of them stopped being so.
    Ready,
}

impl Sight<'_> {
    /// The old revision has replicas, and none that is ready: nothing is gained by going back to it.
    pub(super) fn is_old_broken(&self) -> bool {
        is_unready(self.from)
    }

    /// No request can be ending.
    fn nothing_runs(&self) -> bool {
        [self.to, self.from].into_iter().all(|it| it.wanted.unwrap_or_default() == 0 && it.pods == 0)
    }

    fn after(&self, pause: Duration) -> Option<Timestamp> {
        self.now.checked_add(pause).ok()
    }
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
        unproven: false,
        unready_since: None,
        counted: None,
    }
}

/// What becomes of `rollout` now.
pub(super) fn turn(rollout: &RolloutStatus, sight: &Sight<'_>) -> Turn {
    let mut rollout = rollout.clone();
    rollout.percent = rollout.percent.min(sight.share);
    observe(&mut rollout, sight);
    if rollout.percent == 0 {
        return step(rollout, sight);
    }
    let judgement = judge(&rollout, sight.rates, sight.spec.max_error_percent);
    if let Some(fault) = fault(&rollout, sight, &judgement) {
        return Turn::Back(fault);
    }
    match watch(&rollout, sight, &judgement) {
        Some(wait) => {
            rollout.coming_percent = rollout.percent;
            let look = next_look(&rollout, sight, &wait);
            Turn::Goes(rollout, wait, look)
        }
        None if rollout.percent == sight.share => Turn::Done,
        None => step(rollout, sight),
    }
}

/// Takes in what has changed since the last look.
fn observe(rollout: &mut RolloutStatus, sight: &Sight<'_>) {
    if let Some(now) = counts(sight.rates, rollout)
        && rollout.counted.as_ref().is_none_or(|before| !precedes(before, &now, sight.rates))
    {
        rollout.counted = Some(RolloutCounts { at: Some(Time(sight.now)), ..now });
    }
    if rollout.unproven && sight.to.ready > 0 {
        // Only from here on there is something to watch.
        rollout.unproven = false;
        begin_watch(rollout, sight);
    }
    if rollout.percent > 0 && is_unready(sight.to) {
        rollout.unready_since.get_or_insert(Time(sight.now));
    } else {
        rollout.unready_since = None;
    }
}

/// What speaks against the new revision, if anything is gained by going back.
fn fault(rollout: &RolloutStatus, sight: &Sight<'_>, judgement: &Judgement) -> Option<Fault> {
    if sight.is_old_broken() {
        return None;
    }
    match judgement {
        Judgement::Bad(comparison) => return Some(Fault::Errors(*comparison)),
        // There will hardly be more of them.
        Judgement::Unclear(comparison)
            if comparison.mostly_failed() && !lasts(rollout, sight, PATIENCE_INTERVALS) =>
        {
            return Some(Fault::Errors(*comparison));
        }
        _ => {}
    }
    let since = rollout.unready_since.as_ref()?.0;
    let over = since.checked_add(sight.unready_limit).is_ok_and(|end| end <= sight.now);
    over.then_some(Fault::Unready)
}

/// What a step that was taken still waits for.
fn watch(rollout: &RolloutStatus, sight: &Sight<'_>, judgement: &Judgement) -> Option<Wait> {
    let all = rollout.percent == sight.share;
    if all && rollout.unproven {
        return Some(Wait::Proof);
    }
    match judgement {
        Judgement::Unclear(comparison)
            if !sight.is_old_broken() && (!all || lasts(rollout, sight, PATIENCE_INTERVALS)) =>
        {
            return Some(Wait::Requests(*comparison));
        }
        Judgement::Unknown if !all => return Some(Wait::Rates),
        // Where nobody ever counted there is nothing to wait for: no step is left.
        Judgement::Unknown if rollout.counted.is_some() && lasts(rollout, sight, GAP_INTERVALS) => {
            return Some(Wait::Interval);
        }
        _ => {}
    }
    if lasts(rollout, sight, 1) || settles_at(sight).is_some_and(|end| end > sight.now) {
        return Some(Wait::Interval);
    }
    (all && rollout.unready_since.is_some()).then_some(Wait::Ready)
}

/// Whether so many intervals are not over since what is watched began.
fn lasts(rollout: &RolloutStatus, sight: &Sight<'_>, intervals: u32) -> bool {
    ends(rollout, sight, intervals).is_some_and(|end| end > sight.now)
}

fn ends(rollout: &RolloutStatus, sight: &Sight<'_>, intervals: u32) -> Option<Timestamp> {
    let counted_at = rollout.counted.as_ref().and_then(|counted| counted.at.as_ref());
    let since = counted_at.map_or(rollout.stepped_at.0, |at| at.0.max(rollout.stepped_at.0));
    since.checked_add(sight.spec.interval.get().saturating_mul(intervals)).ok()
}

fn settles_at(sight: &Sight<'_>) -> Option<Timestamp> {
    sight.rates.known_since?.checked_add(sight.spec.interval.get().min(SETTLING)).ok()
}

/// When to look at requests that have moved: every second, but where nothing runs, only when it may have an end.
fn next_look(rollout: &RolloutStatus, sight: &Sight<'_>, wait: &Wait) -> Option<Timestamp> {
    if !sight.nothing_runs() {
        return sight.after(LOOK);
    }
    if *wait == Wait::Proof {
        return None;
    }
    if rollout.counted.is_none() {
        return sight.after(LOOK);
    }
    let ends = [1, GAP_INTERVALS, PATIENCE_INTERVALS].map(|intervals| ends(rollout, sight, intervals));
    let ends = ends.into_iter().chain([settles_at(sight)]).flatten().filter(|end| *end > sight.now);
    ends.chain(sight.after(LONGEST_PAUSE)).min()
}

/// Prepares and takes the next step.
fn step(mut rollout: RolloutStatus, sight: &Sight<'_>) -> Turn {
    let first = rollout.percent == 0;
    let at_once = sight.spec.step_percent >= 100;
    let coming = sight.share.min(rollout.percent + part(sight.share, sight.spec.step_percent, 1));
    if first && !at_once && counts(sight.rates, &rollout).is_none() {
        return Turn::Goes(rollout, Wait::Rates, sight.after(LOOK));
    }
    let needed = (sight.needed)(coming);
    let begun = rollout.coming_percent == coming;
    // Never more than when the wait began: what it grows by while it waits must not raise the bar.
    rollout.coming_replicas = if begun { needed.min(rollout.coming_replicas) } else { needed };
    rollout.coming_percent = coming;
    let takes_any = sight.unproven && first;
    if !takes_any && sight.to.ready < rollout.coming_replicas {
        return Turn::Goes(rollout, Wait::Size { ready: sight.to.ready }, sight.after(LOOK));
    }
    rollout.unproven |= takes_any && sight.to.ready == 0;
    rollout.percent = coming;
    begin_watch(&mut rollout, sight);
    Turn::Goes(rollout, Wait::Interval, sight.after(LOOK))
}

/// The new revision is judged by what ends from now on, the old one by all since the rollout began.
fn begin_watch(rollout: &mut RolloutStatus, sight: &Sight<'_>) {
    rollout.stepped_at = Time(sight.now);
    let before = rollout.counted.take();
    rollout.counted = counts(sight.rates, rollout).map(|now| {
        let RolloutCounts { from_ended, from_errors, .. } = before.unwrap_or_else(|| now.clone());
        RolloutCounts { from_ended, from_errors, at: Some(Time(sight.now)), ..now }
    });
}

/// It is to have replicas, and none is ready.
fn is_unready(facts: &Facts) -> bool {
    facts.wanted.unwrap_or_default() > 0 && facts.ready == 0
}

/// What is counted of both revisions, if everything is known.
fn counts(rates: &Rates, rollout: &RolloutStatus) -> Option<RolloutCounts> {
    rates.known_since?;
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let (from, to) = (rates.counts.get(&rollout.from)?, rates.counts.get(&rollout.to)?);
    Some(RolloutCounts {
        from_ended: signed(from.ended),
        from_errors: signed(from.errors),
        to_ended: signed(to.ended),
        to_errors: signed(to.errors),
        at: None,
    })
}

/// Whether `before` is of the same count as `now`, so that the difference is what ended in between.
fn precedes(before: &RolloutCounts, now: &RolloutCounts, rates: &Rates) -> bool {
    let same = before.at.as_ref().zip(rates.counted_since).is_some_and(|(at, since)| at.0 >= since);
    same && before.from_ended <= now.from_ended
        && before.from_errors <= now.from_errors
        && before.to_ended <= now.to_ended
        && before.to_errors <= now.to_errors
}

#[cfg(test)]
mod tests;
