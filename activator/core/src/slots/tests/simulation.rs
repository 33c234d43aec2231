//! Several activators, the links between them and the pods of one revision, simulated: thousands of seeds, each of which
//! decides what happens when. Time is simulated, in microseconds; a seed repeats exactly.

mod activator;
mod checks;
mod faults;
mod network;
mod world;

use std::time::Duration;
use world::{Faults, World};

pub(in crate::slots) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Runs seeds until one fails, which is named.
fn run(seeds: std::ops::Range<u64>, faults: Faults) {
    let mut granted = 0;
    for seed in seeds {
        let mut world = World::new(seed, faults);
        if let Err(violation) = world.run() {
            panic!("seed {seed} with {faults:?}: {violation}\n{}", world.story());
        }
        granted += world.granted;
    }
    assert!(granted > 1_000, "hardly a request was served: {granted}");
}

#[test]
fn without_faults() {
    run(0..100, Faults::default());
}

#[test]
fn activators_join_and_leave() {
    run(0..300, Faults { joins: true, ..Faults::default() });
}

#[test]
fn links_break() {
    run(0..300, Faults { links: true, ..Faults::default() });
}

#[test]
fn activators_are_killed() {
    run(0..300, Faults { kills: true, ..Faults::default() });
}

#[test]
fn activators_are_stopped_for_a_while() {
    run(0..500, Faults { pauses: true, ..Faults::default() });
}

#[test]
fn activators_are_cut_off_from_each_other() {
    run(0..300, Faults { partitions: true, ..Faults::default() });
}

#[test]
fn pod_objects_are_deleted_before_their_processes_end() {
    run(0..300, Faults { expulsions: true, ..Faults::default() });
}

#[test]
fn everything_at_once() {
    let all =
        Faults { joins: true, links: true, kills: true, pauses: true, expulsions: true, partitions: false };
    run(0..1_200, all);
    run(1_200..1_500, Faults { partitions: true, ..all });
}
