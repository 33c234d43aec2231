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
    activators.opened(StreamId(stream), pod.into(), at(now));
    assert!(activators.hello(StreamId(stream), stream, at(clock), at(now)));
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
    activators.opened(StreamId(2), "b".into(), at(10_000));
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

/// Lets a second pass in which `behind` and `silent` are asked as often as the leader does; what both told.
fn second(activators: &mut Activators, from: u64) -> (Vec<StreamId>, Vec<PodUid>) {
    let (mut behind, mut silent) = (Vec::new(), Vec::new());
    for now in (from..from + 1_000).step_by(20).map(at) {
        behind.extend(activators.behind(now, LAG, Duration::from_secs(10)));
        silent.extend(activators.silent(now, LAG, Duration::from_secs(30)));
    }
    (behind, silent)
}

#[test]
fn a_clock_that_stood_still_is_tied_anew() {
    const DAY: u64 = 86_400_000;
    let mut activators = connected(1, "a", DAY, DAY);
    activators.set_existing(&["a".into()], at(DAY));
    let mut ended = None;
    for now in (DAY..DAY + 20_000).step_by(1_000) {
        // It loses three seconds after the fourth.
        let clock = if now < DAY + 4_000 { now } else { now - 3_000 };
        assert!(activators.finished(1, clock / 1_000 - 1, at(now)));
        activators.through(1, clock / 1_000 - 1);
        let (behind, _) = second(&mut activators, now);
        ended = ended.or((!behind.is_empty()).then_some(now));
    }
    let ended = ended.expect("the stream is ended, for nothing else would tell the activator");
    assert!(!activators.complete(at(DAY + 20_000), LAG));
    activators.closed(StreamId(1));
    activators.opened(StreamId(2), "a".into(), at(ended + 1_000));
    assert!(activators.hello(StreamId(2), 1, at(ended - 2_000), at(ended + 1_000)), "the same process");
    activators.welcomed(StreamId(2));
    assert!(activators.complete(at(ended + 1_000), LAG));
}

#[rstest::rstest]
#[case::slow(-100)]
#[case::fast(100)]
fn a_clock_that_drifts_is_followed(#[case] parts_per_million: i64) {
    let clock =
        |now: u64| now.checked_add_signed(i64::try_from(now).unwrap() * parts_per_million / 1_000_000);
    let mut activators = connected(1, "a", 0, 0);
    activators.set_existing(&["a".into()], at(0));
    for now in (2_000..2 * 86_400_000).step_by(1_000) {
        let over = clock(now).unwrap() / 1_000 - 1;
        assert!(activators.finished(1, over, at(now)), "refused at {now}");
        activators.through(1, over);
        assert!(activators.complete(at(now), LAG), "behind at {now}");
    }
}

#[test]
fn who_is_not_welcomed_or_does_not_keep_up_is_ended() {
    let mut activators = connected(1, "a", 1_000, 0);
    activators.opened(StreamId(2), "b".into(), at(0));
    activators.hello(StreamId(2), 2, at(1_000), at(0));
    let ended: Vec<_> =
        (0..13).map(|elapsed| second(&mut activators, elapsed * 1_000).0.into_iter().min()).collect();
    let first = |stream| ended.iter().position(|ended| *ended == Some(StreamId(stream)));
    assert_eq!(first(2), Some(10), "its hello never ended");
    assert_eq!(first(1), Some(12), "it was fresh for two seconds, and has said nothing more");
}

#[test]
fn one_that_lags_again_and_again_is_told() {
    let mut activators = Activators::default();
    activators.set_existing(&["a".into()], at(0));
    let mut told = Vec::new();
    for now in 0..60 {
        // Its hello is all that it ever says.
        if now % 12 == 0 {
            activators.closed(StreamId(now / 12));
            join(&mut activators, now / 12 + 1, "a", 1_000, now * 1_000);
        }
        told.extend(second(&mut activators, now * 1_000).1.into_iter().map(|pod| (now, pod)));
    }
    assert_eq!(told, [(30, "a".into())]);
}

#[test]
fn a_process_belongs_to_its_pod() {
    let mut activators = connected(1, "a", 0, 0);
    activators.opened(StreamId(2), "b".into(), at(0));
    assert!(!activators.hello(StreamId(2), 1, at(0), at(0)), "the boot of another pod's process");
    activators.opened(StreamId(3), "a".into(), at(0));
    assert!(activators.hello(StreamId(3), 3, at(0), at(0)));
    assert!(!activators.hello(StreamId(3), 4, at(0), at(0)), "a stream is that of one process");
}

#[test]
fn of_a_pod_that_starts_again_and_again_the_last_processes_are_remembered() {
    let mut activators = Activators::default();
    for boot in 0..100 {
        join(&mut activators, boot, "a", 0, boot);
    }
    assert_eq!(activators.processes.len(), PROCESSES);
    assert!(activators.booted(99).is_some());
}

#[test]
fn silence_is_told_once() {
    let mut activators = connected(1, "a", 0, 0);
    activators.set_existing(&["a".into(), "b".into()], at(0));
    let mut told = Vec::new();
    for now in 0..121 {
        if now == 90 {
            activators.closed(StreamId(1));
        } else if now < 90 {
            activators.through(1, now);
        }
        told.extend(second(&mut activators, now * 1_000).1.into_iter().map(|pod| (now, pod)));
    }
    assert_eq!(told, [(30, PodUid::from("b")), (119, "a".into())]);
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

#[test]
fn a_clock_that_jumped_forward_since_an_earlier_hello_is_seen() {
    let activators = connected(1, "a", 10_000, 5_000);
    assert!(activators.has_jumped(1, at(60_000), at(6_000)), "49 s more in one second");
    assert!(!activators.has_jumped(2, at(60_000), at(6_000)), "another process");
    // As late as a hello may be read, its clock may seem to be ahead.
    assert!(!activators.has_jumped(1, at(18_500), at(6_000)));
    assert!(!activators.has_jumped(1, at(1_000), at(6_000)), "behind: it stood still");
}

#[test]
fn who_is_silent_is_counted_until_it_is_well_or_gone() {
    let mut activators = connected(1, "a", 0, 0);
    activators.set_existing(&["a".into(), "b".into()], at(0));
    for now in 0..40 {
        activators.through(1, now);
        second(&mut activators, now * 1_000);
        assert_eq!(activators.silent_count(), usize::from(now >= 30), "after {now} s");
    }
    join(&mut activators, 2, "b", 1_000, 40_000);
    for now in 40..50 {
        for stream in [1, 2] {
            activators.through(stream, if stream == 1 { now } else { now - 39 });
        }
        second(&mut activators, now * 1_000);
    }
    assert_eq!(activators.silent_count(), 0);
    activators.set_existing(&["a".into(), "c".into()], at(50_000));
    for now in 50..85 {
        activators.through(1, now);
        second(&mut activators, now * 1_000);
    }
    assert_eq!(activators.silent_count(), 1);
    activators.set_existing(&["a".into()], at(85_000));
    assert_eq!(activators.silent_count(), 0);
}
