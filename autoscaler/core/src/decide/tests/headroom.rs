//! Pods that `scale.utilization` asks for beyond those that the requests fill.

use rstest::rstest;

use super::super::*;
use super::{averages, decided, seconds, windows};

#[rstest]
#[case::all_are_on_their_way(20.0, 0, 20, 20)]
#[case::one_is_not_ready(20.0, 19, 20, 20)]
#[case::all_are_ready(20.0, 20, 20, 29)]
#[case::there_were_more_before(20.0, 19, 25, 25)]
#[case::there_is_headroom_already(20.0, 19, 40, 29)]
#[case::more_come(40.0, 19, 29, 40)]
fn headroom_waits_for_the_pods_of_the_requests_that_are_there(
    #[case] average: f64,
    #[case] ready: u32,
    #[case] replicas: u32,
    #[case] need: u32,
) {
    let policy = Policy { limit: 1, ..Policy::default() };
    let observation = Observation { busy: true, replicas, ..averages(average, average, ready) };
    let decision = decided(&policy, Stage::Routed, &observation);
    assert_eq!(decision.desired, need, "{:?}", decision.reasons);
    let (_, formula) = windows(&policy, &History::default(), &observation, 100);
    assert_eq!(formula.desired, ceiling(average / 0.7), "Knative asks for all of it at once");
}

#[test]
fn where_no_pod_is_ready_headroom_waits_for_the_first_one() {
    let policy = Policy::default();
    let need = |ready| {
        let observation = Observation { busy: true, replicas: 1, ..averages(80.0, 80.0, ready) };
        decided(&policy, Stage::Routed, &observation).desired
    };
    assert_eq!((need(0), need(1)), (1, 2));
}

#[test]
fn a_pod_that_never_gets_ready_keeps_headroom_from_the_others_for_a_while_only() {
    let (policy, settings) = (Policy { limit: 1, ..Policy::default() }, Settings::default());
    let mut history = History::default();
    let mut second = |now: u64, ready: u32| {
        let observation = Observation { busy: true, replicas: 20, ..averages(20.0, 20.0, ready) };
        let before = std::mem::take(&mut history);
        let (after, decision) = decide(&policy, Stage::Routed, &settings, before, &observation, seconds(now));
        // Panic would remember the most that was asked for.
        history = History { over_at: None, highest: 0, ..after };
        decision.desired
    };
    let needs: Vec<u32> = (100..=165).map(|now| second(now, 19)).collect();
    assert_eq!(needs, [[20].repeat(60), [29].repeat(6)].concat());
    // Once they are there, the next ones that are missing have the same time.
    assert_eq!((second(166, 20), second(167, 19), second(226, 19), second(227, 19)), (29, 20, 20, 29));
}
