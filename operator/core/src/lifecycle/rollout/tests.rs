//! What the counts say, row by row.

use rstest::rstest;

use super::*;
use crate::{
    Counts,
    fixtures::{now, seconds},
};

/// Requests of the new and of the old revision (all, errors), with what had been counted before.
fn judged(before: [i64; 4], to: (u64, u64), from: (u64, u64), bound: i32) -> &'static str {
    let [to_ended, to_errors, from_ended, from_errors] = before;
    let counted = Some(RolloutCounts { from_ended, from_errors, to_ended, to_errors, at: Some(Time(now())) });
    let rollout = RolloutStatus { counted, ..begin("old", "new", now()) };
    let counts = |(ended, errors)| Counts { ended, errors };
    let rates = Rates {
        counted_since: Some(now()),
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
    let known = rates(now(), &[("old", 0, 0), ("new", 0, 0)]);
    assert_eq!(judge(&rollout, &known, 5), Judgement::Unknown, "since when?");
    let counted = RolloutStatus { counted: Some(RolloutCounts::default()), ..rollout };
    assert_eq!(judge(&counted, &Rates::default(), 5), Judgement::Unknown);
    assert_eq!(judge(&counted, &rates(now(), &[("old", 0, 0)]), 5), Judgement::Unknown, "half of it");
    assert_eq!(judge(&counted, &known, 5), Judgement::Good);
}

fn rates(since: Timestamp, counts: &[(&str, u64, u64)]) -> Rates {
    let counts = counts
        .iter()
        .map(|(name, ended, errors)| ((*name).into(), Counts { ended: *ended, errors: *errors }));
    Rates { counted_since: Some(since), known_since: Some(since), counts: counts.collect() }
}

fn running(ready: i32) -> Facts {
    Facts {
        wanted: Some(ready),
        replicas: ready,
        pods: usize::try_from(ready).unwrap(),
        ready,
        ..Facts::default()
    }
}

/// A turn of a rollout of which half has moved, ten minutes of one hour ago.
fn turned(counted: [i64; 4], at: i64, rates: &Rates) -> Turn {
    let [to_ended, to_errors, from_ended, from_errors] = counted;
    let rollout = RolloutStatus {
        percent: 50,
        coming_percent: 50,
        counted: Some(RolloutCounts {
            from_ended,
            from_errors,
            to_ended,
            to_errors,
            at: Some(Time(seconds(at))),
        }),
        ..begin("old", "new", now())
    };
    let spec = Rollout { step_percent: 50, interval: "1h".parse().unwrap(), max_error_percent: 5 };
    let facts = running(1);
    let sight = Sight {
        spec: &spec,
        share: 100,
        to: &facts,
        from: &facts,
        needed: &|_| 1,
        unproven: false,
        unready_limit: Duration::from_secs(60),
        rates,
        now: seconds(600),
    };
    turn(&rollout, &sight)
}

/// When what is watched begins, and the requests of the new revision at that moment.
fn baseline(turn: Turn) -> (Timestamp, i64) {
    let Turn::Goes(RolloutStatus { counted: Some(counted), .. }, Wait::Interval, _) = turn else {
        panic!("{turn:?}")
    };
    (counted.at.unwrap().0, counted.to_ended)
}

#[rstest]
#[case::the_same_count([100, 0, 900, 270], 0, 0, (110, 2), (910, 273), (0, 100))]
#[case::another_count([100, 0, 900, 270], 0, 500, (100_110, 2), (100_910, 273), (600, 100_110))]
#[case::another_count_of_a_clock_that_is_late([100, 0, 900, 270], 0, 0, (110, 2), (10, 3), (600, 110))]
#[case::the_new_ones_fell([100, 0, 900, 270], 0, 0, (20, 0), (910, 273), (600, 20))]
#[case::the_errors_fell([100, 10, 900, 270], 0, 0, (110, 1), (910, 273), (600, 110))]
fn numbers_that_cannot_be_compared_are_a_new_beginning(
    #[case] before: [i64; 4],
    #[case] at: i64,
    #[case] since: i64,
    #[case] to: (u64, u64),
    #[case] from: (u64, u64),
    #[case] expected: (i64, i64),
) {
    let rates = rates(seconds(since), &[("new", to.0, to.1), ("old", from.0, from.1)]);
    assert_eq!(baseline(turned(before, at, &rates)), (seconds(expected.0), expected.1));
}

#[test]
fn a_count_of_before_is_never_taken_for_what_ended_now() {
    // All that the new revision ever failed, of before the rollout.
    let rates = rates(seconds(599), &[("new", 1_000, 500), ("old", 2_000, 0)]);
    assert_eq!(baseline(turned([10, 0, 20, 0], 0, &rates)), (seconds(600), 1_000));
}

#[test]
fn where_nothing_runs_it_is_looked_at_only_when_it_may_have_an_end() {
    let counted = RolloutCounts { at: Some(Time(now())), ..RolloutCounts::default() };
    let rollout = RolloutStatus {
        percent: 100,
        coming_percent: 100,
        counted: Some(counted),
        ..begin("old", "new", now())
    };
    let rates = rates(now(), &[("old", 0, 0), ("new", 0, 0)]);
    let spec = |interval: &str| Rollout { interval: interval.parse().unwrap(), ..Rollout::default() };
    let look = |rollout: &RolloutStatus, interval: &str, to: &Facts| {
        let (spec, nothing) = (spec(interval), Facts::default());
        let sight = Sight {
            spec: &spec,
            share: 100,
            to,
            from: &nothing,
            needed: &|_| 0,
            unproven: true,
            unready_limit: Duration::from_secs(60),
            rates: &rates,
            now: seconds(20),
        };
        match turn(rollout, &sight) {
            Turn::Goes(_, _, look) => look,
            turn => panic!("{turn:?}"),
        }
    };
    let nothing = Facts::default();
    assert_eq!(look(&rollout, "1h", &nothing), Some(seconds(20 + 60)));
    assert_eq!(look(&rollout, "1m", &nothing), Some(seconds(60)));
    assert_eq!(look(&rollout, "1h", &running(1)), Some(seconds(21)));
    let ending = Facts { pods: 1, ..Facts::default() };
    assert_eq!(look(&rollout, "1h", &ending), Some(seconds(21)), "a request may be ending in it");
    let unproven = RolloutStatus { unproven: true, ..rollout };
    assert_eq!(look(&unproven, "1m", &nothing), None, "until its first request, whenever that is");
}
