//! The bar of the learned keep-alive on a slice of the trace, and that a run says the same every time.
//!
//! `make bench-policy` judges the whole trace; this is small enough for every test run, and fails when a constant of the
//! learned keep-alive is changed for the worse.

use super::*;

const ARGUMENTS: PolicyArgs = PolicyArgs { part: Part::Judging, seeds: 1, budget: BUDGET };

/// Waste of the slice at each of [`OURS`] against the best fixed time, as it was measured and a fiftieth more: it is far below
/// the bar, so that the bar alone would let much be lost.
const SLICE: [f64; 5] = [0.59, 0.67, 0.70, 0.77, 0.79];

/// Every fifth function of the trace, of all kinds: they are in the order of their recording.
fn slice() -> Vec<Function> {
    recorded::azure().unwrap().into_iter().step_by(5).collect()
}

/// What each row says that the test is about.
fn said(rows: &[Row]) -> Vec<(String, Option<f64>, Option<bool>)> {
    rows.iter().map(|row| (row.what.clone(), row.ratio, row.holds)).collect()
}

#[test]
fn the_learned_keep_alive_holds_its_bar_on_a_slice_of_the_trace() {
    let field = field(&slice(), Placement::Anywhere, &ARGUMENTS);
    let rows = judged(&field, "any second").unwrap();
    let missed: Vec<_> = said(&rows).into_iter().filter(|(_, _, holds)| *holds == Some(false)).collect();
    assert!(missed.is_empty(), "{missed:?}");
    let ratios: Vec<f64> = rows.iter().filter_map(|row| row.ratio).collect();
    assert_eq!(ratios.len(), OURS.len(), "each setting was compared: {rows:?}");
    let worse: Vec<_> = ratios.iter().zip(SLICE).filter(|(ratio, bar)| *ratio > bar).collect();
    assert!(worse.is_empty(), "{worse:?} of {ratios:?}");
}

#[test]
fn a_run_says_the_same_every_time() {
    let run = || {
        let functions: Vec<_> = slice().into_iter().step_by(4).collect();
        let field = field(&functions, Placement::TimersOnTime, &ARGUMENTS);
        (standing::table(&field), said(&judged(&field, "timers on time").unwrap()))
    };
    assert_eq!(run(), run());
}

#[test]
fn a_row_that_cannot_be_compared_misses_its_bar() {
    let functions: Vec<_> = slice().into_iter().step_by(4).collect();
    let mut field = field(&functions, Placement::Anywhere, &ARGUMENTS);
    // Only the longest of the fixed times is left as it was: all others have no cold starts any more.
    let longest = standing::fixed(KEPT[KEPT.len() - 1]);
    let warm = field.iter().find(|standing| standing.name == longest).unwrap().clone();
    for standing in field.iter_mut().filter(|standing| standing.name.ends_with(" s")) {
        if KEPT.iter().any(|seconds| standing.name == standing::fixed(*seconds)) {
            let name = std::mem::take(&mut standing.name);
            *standing = warm.clone();
            standing.name = name;
        }
    }
    let rows = judged(&field, "any second").unwrap();
    let [first, ..] = &rows[..] else { panic!("no rows") };
    assert_eq!((first.ratio, first.bar, first.holds), (None, Some(BAR), Some(false)), "{first:?}");
}
