//! The joint simulation: the real state machines of activators and leader in a world where messages and writes are late or
//! lost and processes pause, die and start. Deterministic by seed; `SEED=n cargo test --test simulation` reruns one seed of
//! every kind of run and prints what happened when it fails, `SEEDS=n` runs so many of each kind.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is a test")]

mod activator;
mod agenda;
mod api;
mod cluster;
mod event;
mod fault;
mod leader;
mod network;
mod options;
mod random;
mod request;
mod world;

use options::{Faults, Options, Rule};
use rstest::rstest;
use world::{Summary, World};

/// Runs of each kind.
const SEEDS: u64 = 1_000;
/// Lines of the trace that are printed.
const SHOWN: usize = 150;

/// Runs every seed; the first that fails is printed with its trace.
fn simulate(options: impl Fn(u64) -> Options) -> Summary {
    let only = number_from("SEED");
    let seeds = number_from("SEEDS").unwrap_or(SEEDS);
    let range = only.map_or(0..seeds, |seed| seed..seed + 1);
    let mut total = Summary::default();
    for seed in range {
        match World::new(options(seed), only.is_some()).run() {
            Ok(summary) => {
                total.runs += 1;
                total.requests += summary.requests;
                total.zeros += summary.zeros;
            }
            Err((violation, _)) => {
                let Err((_, trace)) = World::new(options(seed), true).run() else {
                    panic!("not deterministic")
                };
                let first = trace.len().saturating_sub(SHOWN);
                panic!("SEED={seed}: {violation}\n{:?}\n{}", options(seed), trace[first..].join("\n"));
            }
        }
    }
    total
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Runs that never went to zero, or had no request, would prove nothing.
fn assert_telling(total: Summary) {
    println!("{total:?}");
    assert!(total.zeros > 2 * total.runs, "{total:?}");
    assert!(total.requests > 10 * total.runs, "{total:?}");
}

fn options(seed: u64, activators: usize, faults: Faults) -> Options {
    Options { seed, activators, joiner: seed.is_multiple_of(2), faults, without: None }
}

#[test]
fn delays_lose_nothing() {
    let total = simulate(|seed| options(seed, 1 + usize::from(seed % 4 > 1), Faults::None));
    assert_telling(total);
}

#[test]
fn a_broken_network_loses_nothing() {
    let total = simulate(|seed| options(seed, 1 + usize::from(seed % 4 > 1), Faults::Network));
    assert_telling(total);
}

#[test]
fn one_activator_among_failing_processes_loses_nothing() {
    let total = simulate(|seed| options(seed, 1, Faults::Processes));
    assert_telling(total);
}

#[test]
fn two_activators_among_failing_processes_lose_nothing() {
    let total = simulate(|seed| options(seed, 2, Faults::Processes));
    assert_telling(total);
}

/// Without the rule some seed must lose a request, send one to a pod that cannot answer, or leave one waiting: else these
/// tests could not fail.
#[rstest]
#[case(Rule::ClosedUntilWelcome, Faults::Processes)]
#[case(Rule::Condemned, Faults::Processes)]
#[case(Rule::Precondition, Faults::Processes)]
#[case(Rule::InTime, Faults::Processes)]
#[case(Rule::Busy, Faults::None)]
#[case(Rule::Listed, Faults::Processes)]
#[case(Rule::Unknown, Faults::Network)]
#[case(Rule::Observed, Faults::Processes)]
#[case(Rule::HelloByState, Faults::Processes)]
// What the protocol cannot see is bounded: watches that lag for longer than the lame-duck time lose something.
#[case(Rule::WatchLag, Faults::None)]
fn every_rule_is_missed(#[case] rule: Rule, #[case] faults: Faults) {
    let found = (0..40_000).find_map(|seed| {
        let options = Options { without: Some(rule), ..options(seed, 2, faults) };
        World::new(options, false).run().err().map(|(violation, _)| (seed, violation))
    });
    println!("{rule:?}: {found:?}");
    assert!(found.is_some(), "nothing goes wrong without {rule:?}");
}
