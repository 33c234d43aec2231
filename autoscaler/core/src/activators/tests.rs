//! Clocks, watermarks and who keeps up.

use super::*;

const LAG: Duration = Duration::from_secs(2);

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn connected(stream: u64, pod: &str, clock: u64, now: u64) -> Activators {
    let mut activators = Activators::default();
    join(&mut activators, stream, pod, clock, now);
    activators
}

fn join(activators: &mut Activators, stream: u64, pod: &str, clock: u64, now: u64) {
    activators.opened(StreamId(stream), pod.into());
    activators.hello(StreamId(stream), stream, at(clock), at(now));
    activators.welcomed(StreamId(stream));
}

#[test]
fn the_least_delay_seen_ties_the_clocks() {
    let mut activators = connected(1, "a", 10_000, 5_300);
    assert_eq!(activators.booted(1), Some(-4_700_000));
    assert!(activators.finished(1, 10, at(6_200)), "second 10 ended at 11.0 on its clock: 100 ms closer");
    assert_eq!(activators.booted(1), Some(-4_800_000));
    assert!(activators.finished(1, 10, at(9_000)), "late, so it tells nothing");
    assert_eq!(activators.booted(1), Some(-4_800_000));
}

#[test]
fn a_second_of_the_future_is_refused() {
    let mut activators = connected(1, "a", 10_000, 5_000);
    assert!(!activators.finished(1, 18, at(5_000)));
    assert!(!activators.finished(1, u64::MAX, at(5_000)));
    assert_eq!(activators.booted(1), Some(-5_000_000));
    assert!(!activators.finished(2, 0, at(5_000)), "an unknown process");
}

#[test]
fn a_hello_that_was_read_late_does_not_make_the_present_the_future() {
    // The leader was paused for 4 s while the hello and what followed it waited.
    let mut activators = connected(1, "a", 100, 4_100);
    assert!(activators.finished(1, 3, at(4_100)));
    activators.through(1, 3);
    assert_eq!(activators.booted(1), Some(100_000));
    activators.set_existing(&["a".into()], at(0));
    assert!(activators.complete(at(4_100), LAG));
}

#[test]
fn the_lowest_watermark_of_those_that_keep_up_counts() {
    let mut activators = connected(1, "a", 10_000, 10_000);
    join(&mut activators, 2, "b", 4_500, 10_000);
    assert_eq!(activators.lowest_watermark(at(10_000), LAG), Some(9_500_000));
    activators.through(2, 9);
    assert_eq!(activators.lowest_watermark(at(12_000), LAG), Some(10_000_000));
    assert_eq!(activators.lowest_watermark(at(13_000), LAG), Some(15_500_000), "the first one lags");
}

#[test]
fn all_that_exist_must_keep_up() {
    let mut activators = connected(1, "a", 10_000, 10_000);
    assert!(!activators.complete(at(10_000), LAG), "nobody exists");
    activators.set_existing(&["a".into()], at(0));
    assert!(activators.complete(at(10_000), LAG));
    assert!(!activators.complete(at(12_100), LAG));
    activators.set_existing(&["a".into(), "b".into()], at(0));
    assert!(!activators.complete(at(10_000), LAG));
}

#[test]
fn a_round_needs_everybody_listed_and_everybody_connected() {
    let mut activators = connected(1, "a", 10_000, 10_000);
    assert!(activators.quorum(&["a".into()], at(10_000), LAG).is_some());
    assert!(activators.quorum(&["a".into(), "b".into()], at(10_000), LAG).is_none(), "b is not connected");
    activators.opened(StreamId(2), "b".into());
    assert!(activators.quorum(&["a".into()], at(10_000), LAG).is_none(), "b has said nothing yet");
    join(&mut activators, 2, "b", 1_000, 10_000);
    assert_eq!(activators.quorum(&["a".into()], at(10_000), LAG).map(|all| all.len()), Some(2));
    assert!(activators.quorum(&["a".into()], at(12_500), LAG).is_none(), "they lag");
}

#[test]
fn the_older_stream_of_a_pod_is_replaced() {
    let mut activators = connected(1, "a", 0, 0);
    join(&mut activators, 2, "b", 0, 0);
    join(&mut activators, 3, "a", 0, 0);
    assert_eq!(activators.replaced_by(StreamId(3)), [StreamId(1)]);
}

#[test]
fn silence_is_told_once() {
    let mut activators = connected(1, "a", 0, 0);
    activators.set_existing(&["a".into(), "b".into()], at(0));
    let limit = Duration::from_secs(30);
    assert!(activators.silent(at(29_000), limit).is_empty());
    assert_eq!(activators.silent(at(30_000), limit), [PodUid::from("b")]);
    assert!(activators.silent(at(90_000), limit).is_empty());
    activators.closed(StreamId(1));
    assert_eq!(activators.silent(at(120_000), limit), [PodUid::from("a")]);
}

#[test]
fn a_process_that_ended_is_remembered_until_its_buckets_are_old() {
    let mut activators = connected(1, "a", 0, 0);
    activators.closed(StreamId(1));
    activators.age_out(Duration::from_secs(7_199));
    assert!(activators.booted(1).is_some());
    activators.age_out(Duration::from_secs(7_200));
    assert!(activators.booted(1).is_none());
}
