//! Requests that move from one revision of a Function to another make no dip.
//!
//! The operator moves them when the one that gets them has replicas enough: until then these are its floor. What it then gets its
//! windows know only later, so it does not shrink for a stable window, as after a change of leaders.

use std::time::Duration;

use super::{Decision, History, Reason};
use crate::policy::{Policy, Stage};

/// Keeps the replicas that a revision had when it last got more of the requests, for as long as it takes any.
pub(super) fn remember(
    policy: &Policy,
    stage: Stage,
    history: &mut History,
    replicas: u32,
    now: Duration,
    decision: &mut Decision,
) {
    if stage != Stage::Routed {
        (history.percent, history.grown) = (None, None);
        return;
    }
    let percent = policy.shift.map(|shift| shift.percent);
    match (history.percent, percent) {
        (Some(before), Some(percent)) if percent > before => history.grown = Some((now, replicas)),
        (Some(before), Some(percent)) if percent < before => history.grown = None,
        _ => {}
    }
    history.percent = percent;
    history.grown = history.grown.filter(|(at, _)| now.saturating_sub(*at) <= policy.window);
    if let Some((_, replicas)) = history.grown.filter(|(_, replicas)| *replicas > decision.desired) {
        decision.set(replicas, Reason::Shifted(replicas));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::{Observation, decide};
    use crate::policy::Shift;
    use crate::settings::Settings;

    fn policy(percent: u32, awaited: u32) -> Policy {
        Policy { limit: 1, utilization: 100, shift: Some(Shift { percent, awaited }), ..Policy::default() }
    }

    /// One request fills a replica.
    fn loaded(requests: u32, replicas: u32) -> Observation {
        Observation {
            replicas,
            ready: replicas,
            stable: f64::from(requests),
            panic: f64::from(requests),
            busy: requests > 0,
            ..Observation::default()
        }
    }

    fn decided(policy: &Policy, history: History, observation: &Observation, at: u64) -> (History, Decision) {
        let now = Duration::from_secs(at);
        decide(policy, Stage::Routed, &Settings::default(), history, observation, now)
    }

    #[test]
    fn before_it_gets_requests_it_has_the_replicas_that_are_awaited() {
        for (replicas, awaited, expected) in [(1, 13, 13), (0, 13, 13), (13, 13, 13), (1, 500, 100)] {
            let (_, decision) = decided(&policy(0, awaited), History::default(), &loaded(0, replicas), 100);
            assert_eq!(decision.desired, expected, "{awaited} awaited, {replicas} there");
        }
        let (_, decision) = decided(&policy(0, 13), History::default(), &loaded(0, 1), 100);
        assert_eq!(decision.rule(), Some(&Reason::Awaited(13)));
        let (_, resting) = decided(&policy(0, 0), History::default(), &loaded(0, 0), 100);
        assert_eq!(resting.desired, 0, "nothing is started for a function at rest");
    }

    #[test]
    fn what_it_then_gets_is_remembered_for_a_window() {
        let (history, _) = decided(&policy(0, 50), History::default(), &loaded(0, 50), 100);
        let (history, decision) = decided(&policy(100, 0), history, &loaded(5, 50), 101);
        assert_eq!((decision.desired, decision.rule()), (50, Some(&Reason::Shifted(50))));
        // Nor does it matter that nothing moves any more.
        let over = Policy { shift: None, ..policy(100, 0) };
        let (history, decision) = decided(&over, history, &loaded(45, 50), 161);
        assert_eq!(decision.desired, 50);
        let (_, decision) = decided(&over, history, &loaded(45, 50), 162);
        assert_eq!(decision.desired, 45);
    }

    #[test]
    fn what_is_taken_away_leaves_nothing_to_remember() {
        let (history, _) = decided(&policy(0, 25), History::default(), &loaded(0, 25), 100);
        let (history, decision) = decided(&policy(50, 0), history, &loaded(0, 25), 101);
        assert_eq!(decision.desired, 25);
        let (_, decision) = decided(&policy(0, 0), history, &loaded(3, 25), 102);
        assert_eq!(decision.desired, 12, "as fast as the rates allow");
    }

    #[test]
    fn a_revision_that_was_taken_back_gives_its_replicas_up_at_once() {
        let (history, _) = decided(&policy(0, 50), History::default(), &loaded(0, 50), 100);
        let (history, decision) = decided(&policy(50, 0), history, &loaded(0, 50), 101);
        assert_eq!(decision.rule(), Some(&Reason::Shifted(50)));
        let back = Policy { shift: None, ..policy(0, 0) };
        let now = Duration::from_secs(102);
        let (history, decision) =
            decide(&back, Stage::Retiring, &Settings::default(), history, &loaded(0, 50), now);
        assert_eq!(decision.desired, 0, "{:?}", decision.reasons);
        assert_eq!((history.percent, history.grown), (None, None), "nor when it gets requests again");
    }

    #[test]
    fn a_revision_that_always_had_its_share_remembers_nothing() {
        let (_, decision) = decided(&policy(100, 0), History::default(), &loaded(3, 25), 100);
        assert_eq!(decision.desired, 12);
    }

    proptest! {
        /// A rollout of any steps under a steady load: the one that gets requests always has replicas for them, though its
        /// windows know of them only later, or at once.
        #[test]
        fn no_step_makes_a_dip(load in 1..90_u32, mut steps in prop::collection::vec(1..100_u32, 0..5), late in any::<bool>()) {
            steps.extend([0, 100]);
            steps.sort_unstable();
            steps.dedup();
            let needed = |percent: u32| (load * percent).div_ceil(100);
            let (mut history, mut replicas, mut at) = (History::default(), 1, 100);
            for pair in steps.windows(2) {
                let (before, percent) = (pair[0], pair[1]);
                for (policy, own) in [
                    (policy(before, needed(percent)), needed(before)),
                    (policy(percent, 0), if late { 0 } else { needed(percent) }),
                ] {
                    at += 20;
                    let (next, decision) = decided(&policy, history, &loaded(own, replicas), at);
                    (history, replicas) = (next, decision.desired);
                    let taken = policy.shift.map_or(0, |shift| shift.percent);
                    prop_assert!(replicas >= needed(taken), "{replicas} of {} at {taken}", needed(taken));
                }
            }
        }
    }
}
