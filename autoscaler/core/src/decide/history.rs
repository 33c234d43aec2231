//! What one decision remembers for the next: panic, and the needs of the last `scale.downDelay`.

use std::collections::VecDeque;
use std::time::Duration;

/// What a decision remembers for the next one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// When demand was last over the threshold; `None`: not in panic.
    pub over_at: Option<Duration>,
    /// The highest need since panic began.
    pub highest: u32,
    /// Since when fewer pods are ready than the requests fill; `None`: as many are.
    pub missing_since: Option<Duration>,
    /// Needs of the last `scale.downDelay`.
    pub recent: RecentNeeds,
    /// Percent of the Function's requests that it took at the last decision, while they move.
    pub percent: Option<u32>,
    /// When it last got more of the Function's requests, and the replicas that it had then.
    pub grown: Option<(Duration, u32)>,
}

impl History {
    /// What a new leader assumes of a revision that it finds with `replicas`: they were needed just now, more than one of
    /// them in panic, so that a change of leaders never makes a dip.
    pub fn found(replicas: u32, now: Duration) -> Self {
        let recent =
            RecentNeeds { descending: (replicas > 0).then_some((now, replicas)).into_iter().collect() };
        let panic = replicas > 1;
        let highest = if panic { replicas } else { 0 };
        Self { over_at: panic.then_some(now), highest, recent, ..Self::default() }
    }
}

/// The highest need within a time that moves along.
///
/// Only needs that may yet be the highest are kept: each is lower than all before it, so there are at most `scale.max`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecentNeeds {
    descending: VecDeque<(Duration, u32)>,
}

impl RecentNeeds {
    /// Takes in a need, and tells the highest that is younger than `delay`.
    pub(super) fn highest(&mut self, need: u32, now: Duration, delay: Duration) -> u32 {
        while self.descending.back().is_some_and(|(_, earlier)| *earlier <= need) {
            self.descending.pop_back();
        }
        if delay.is_zero() {
            self.descending.clear();
            return need;
        }
        self.descending.push_back((now, need));
        while self.descending.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= delay) {
            self.descending.pop_front();
        }
        self.descending.front().map_or(need, |(_, highest)| *highest)
    }

    /// Nothing is held back any more.
    pub(super) fn forget(&mut self) {
        self.descending.clear();
    }
}
