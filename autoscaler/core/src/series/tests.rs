//! Averages over buckets of one and of several activators.

use proptest::prelude::*;

use super::*;

const WINDOW: Duration = Duration::from_secs(60);
const PANIC: Duration = Duration::from_secs(6);

fn bucket(index: u64, requests: u64) -> Bucket {
    Bucket { index, request_microseconds: requests * 1_000_000, arrivals: requests }
}

fn at(second: i64) -> Moment {
    second * SECOND
}

/// Averages of boots that all began at second 0.
fn averages(series: &Series, second: i64) -> (f64, f64) {
    let averages = series.averages(Metric::Concurrency, at(second), WINDOW, PANIC, |_| Some(0));
    (averages.stable, averages.panic)
}

fn filled(boot: u64, seconds: std::ops::Range<u64>, requests: u64) -> Series {
    let mut series = Series::default();
    seconds.for_each(|index| series.record(boot, bucket(index, requests)));
    series
}

fn assert_close(left: (f64, f64), right: (f64, f64)) {
    assert!((left.0 - right.0).abs() < 1e-9 && (left.1 - right.1).abs() < 1e-9, "{left:?} {right:?}");
}

#[test]
fn steady_load_is_its_average() {
    assert_close(averages(&filled(1, 0..100, 5), 100), (5.0, 5.0));
}

#[test]
fn after_a_quiet_window_the_average_begins_with_the_first_sample() {
    let series = filled(1, 200..203, 50);
    assert_close(averages(&series, 203), (50.0, 50.0));
    assert_close(averages(&series, 206), (25.0, 25.0));
    assert_close(averages(&series, 260), (150.0 / 60.0, 0.0));
    assert_close(averages(&series, 263), (0.0, 0.0));
}

#[test]
fn a_pause_shorter_than_the_window_counts_as_zeros() {
    let mut series = filled(1, 0..1, 60);
    series.record(1, bucket(50, 60));
    assert_close(averages(&series, 51), (120.0 / 51.0, 10.0));
    assert_close(averages(&series, 61), (1.0, 0.0));
}

#[test]
fn activators_add_up_each_on_its_own_clock() {
    let mut series = filled(1, 100..160, 2);
    (0..60).for_each(|index| series.record(2, bucket(index, 3)));
    let booted = |boot| Some(if boot == 1 { 0 } else { at(100) });
    let averages = series.averages(Metric::Concurrency, at(160), WINDOW, PANIC, booted);
    assert_close((averages.stable, averages.panic), (5.0, 5.0));
}

#[test]
fn a_rate_is_averaged_over_arrivals() {
    let mut series = Series::default();
    (0..60).for_each(|index| {
        series.record(1, Bucket { index, request_microseconds: 1, arrivals: 4 });
        series.record(2, Bucket { index, request_microseconds: 1, arrivals: index });
    });
    let averages = series.averages(Metric::RequestRate, at(60), WINDOW, PANIC, |_| Some(0));
    assert_close((averages.stable, averages.panic), (4.0 + 29.5, 4.0 + 56.5));
    assert_eq!(averages.arrivals, 4 + 59, "of the last second");
    let later = series.averages(Metric::RequestRate, at(61), WINDOW, PANIC, |_| Some(0));
    assert_eq!(later.arrivals, 0);
}

#[test]
fn what_is_beyond_the_watermark_does_not_count_yet() {
    let mut series = filled(1, 0..100, 1);
    series.record(1, bucket(100, 1_000));
    assert_close(averages(&series, 100), (1.0, 1.0));
}

#[test]
fn a_bucket_received_again_changes_nothing_and_a_larger_value_wins() {
    let mut series = filled(1, 0..60, 4);
    series.record(1, bucket(30, 4));
    series.record(1, bucket(31, 1));
    assert_close(averages(&series, 60), (4.0, 4.0));
    series.record(1, bucket(59, 10));
    assert_close(averages(&series, 60), (246.0 / 60.0, 5.0));
}

#[test]
fn old_buckets_and_unknown_boots_are_dropped() {
    let mut series = filled(1, 0..10, 4);
    series.record(2, bucket(5, 4));
    let booted = |boot| (boot == 1).then_some(0);
    series.age_out(at(100), WINDOW, booted);
    assert_eq!(series.boots.len(), 1);
    series.age_out(at(131), WINDOW, booted);
    assert!(series.is_empty());
}

proptest! {
    #[test]
    fn order_and_repetition_do_not_matter(
        buckets in proptest::collection::vec((0_u64..3, 0_u64..100, 0_u64..50), 0..60),
        order in any::<u64>(),
    ) {
        let mut straight = Series::default();
        for (boot, index, requests) in &buckets {
            straight.record(*boot, bucket(*index, *requests));
        }
        let mut shuffled = Series::default();
        let mut rest: Vec<_> = buckets.iter().chain(&buckets).collect();
        let mut random = order;
        while !rest.is_empty() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (boot, index, requests) = rest.swap_remove(usize::try_from(random >> 33).unwrap() % rest.len());
            shuffled.record(*boot, bucket(*index, *requests));
        }
        prop_assert_eq!(averages(&straight, 100), averages(&shuffled, 100));
    }

    #[test]
    fn an_average_is_the_sum_over_its_window(
        buckets in proptest::collection::vec((0_u64..2, 0_u64..100, 1_u64..50), 1..80),
        now in 60_u64..140,
    ) {
        let (mut series, mut largest) = (Series::default(), std::collections::BTreeMap::new());
        for (boot, index, requests) in buckets {
            series.record(boot, bucket(index, requests));
            let known: &mut u64 = largest.entry((boot, index)).or_default();
            *known = requests.max(*known);
        }
        let age = |index: u64| now.checked_sub(index).filter(|age| *age > 0);
        let aged: Vec<_> =
            largest.iter().filter_map(|((_, index), requests)| Some((age(*index)?, *requests))).collect();
        let first = aged.iter().map(|(age, _)| *age).filter(|age| *age <= 60).max();
        let sum = |seconds| aged.iter().filter(|(age, _)| *age <= seconds).map(|(_, most)| *most).sum::<u64>();
        let quiet = |first| !aged.iter().any(|(age, _)| *age > first && *age <= first + 60);
        let expected = first.map_or((0.0, 0.0), |first| {
            let measured = if quiet(first) { first } else { 60 };
            let short = measured.min(6);
            (sum(measured) as f64 / measured as f64, sum(short) as f64 / short as f64)
        });
        assert_close(averages(&series, i64::try_from(now).unwrap()), expected);
        series.age_out(at(i64::try_from(now).unwrap()), WINDOW, |_| Some(0));
        assert_close(averages(&series, i64::try_from(now).unwrap()), expected);
    }

    #[test]
    fn an_average_is_never_more_than_the_most_at_once(
        buckets in proptest::collection::vec((0_u64..100, 1_u64..50), 1..60),
    ) {
        let mut series = Series::default();
        for (index, requests) in &buckets {
            series.record(1, bucket(*index, *requests));
        }
        let most = buckets.iter().map(|(_, requests)| *requests).max().unwrap() as f64;
        let (stable, panic) = averages(&series, 100);
        prop_assert!(stable <= most && panic <= most);
    }
}
