//! What the counts say, row by row.

use catnap_crds::{RolloutCounts, RolloutStatus};
use rstest::rstest;

use super::judgement::{Judgement, judge};
use super::*;
use crate::{Counts, fixtures::now};

/// Requests of the new and of the old revision (all, errors), with what had been counted before.
fn judged(before: [i64; 4], to: (u64, u64), from: (u64, u64), bound: i32) -> &'static str {
    let [to_ended, to_errors, from_ended, from_errors] = before;
    let counted = Some(RolloutCounts { from_ended, from_errors, to_ended, to_errors });
    let rollout = RolloutStatus { counted, ..begin("old", "new", now()) };
    let counts = |(ended, errors)| Counts { ended, errors };
    let rates = Rates {
        known_since: Some(now()),
        counts: [("new".to_owned(), counts(to)), ("old".to_owned(), counts(from))].into(),
    };
    match judge(&rollout, &rates, bound) {
        Judgement::Unknown => "unknown",
        Judgement::Good => "good",
        Judgement::Unclear(_) => "unclear",
        Judgement::Bad(_) => "bad",
    }
}

#[rstest]
#[case::nothing([0; 4], (0, 0), (0, 0), 5, "good")]
#[case::no_error([0; 4], (1000, 0), (0, 0), 5, "good")]
#[case::at_the_bound([0; 4], (100, 5), (100, 0), 5, "good")]
#[case::above_it([0; 4], (100, 6), (100, 0), 5, "bad")]
#[case::above_it_as_the_old_one([0; 4], (100, 6), (100, 6), 5, "good")]
#[case::above_it_and_above_the_old_one([0; 4], (100, 7), (100, 6), 5, "bad")]
#[case::too_few_to_say([0; 4], (39, 39), (100, 0), 5, "unclear")]
#[case::just_enough([0; 4], (40, 3), (100, 0), 5, "bad")]
#[case::at_least_twenty([0; 4], (19, 19), (100, 0), 50, "unclear")]
#[case::twenty([0; 4], (20, 11), (100, 0), 50, "bad")]
#[case::more_for_a_lower_bound([0; 4], (199, 3), (100, 0), 1, "unclear")]
#[case::no_error_allowed([0; 4], (20, 1), (100, 0), 0, "bad")]
#[case::all_allowed([0; 4], (100, 100), (100, 0), 100, "good")]
#[case::before_the_step([1000, 500, 0, 0], (1100, 500), (0, 0), 5, "good")]
#[case::since_the_step([1000, 0, 0, 0], (1100, 10), (0, 0), 5, "bad")]
#[case::begun_anew([1000, 0, 0, 0], (100, 10), (0, 0), 5, "bad")]
#[case::the_old_one_since_the_beginning([0, 0, 1000, 500], (100, 10), (2000, 500), 5, "bad")]
fn the_counts_judge(
    #[case] before: [i64; 4],
    #[case] to: (u64, u64),
    #[case] from: (u64, u64),
    #[case] bound: i32,
    #[case] expected: &str,
) {
    assert_eq!(judged(before, to, from, bound), expected);
}

#[test]
fn who_counts_nothing_says_nothing() {
    let rollout = begin("old", "new", now());
    let known = Rates { known_since: Some(now()), ..Rates::default() };
    assert_eq!(judge(&rollout, &known, 5), Judgement::Unknown, "since when?");
    let counted = RolloutStatus { counted: Some(RolloutCounts::default()), ..rollout };
    assert_eq!(judge(&counted, &Rates::default(), 5), Judgement::Unknown);
    assert_eq!(judge(&counted, &known, 5), Judgement::Good);
}
