//! Pods that `scale.utilization` asks for beyond those that the requests fill.

use rstest::rstest;

use super::super::*;
use super::{averages, decided, windows};

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
