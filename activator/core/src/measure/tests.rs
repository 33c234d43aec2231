use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

#[test]
fn a_request_over_three_seconds_is_split_between_them() {
    let mut measure = Measure::default();
    measure.arrived(ms(1_250));
    measure.ended(ms(3_500));
    assert_eq!(
        measure.unsent(ms(4_000)),
        [
            Bucket { index: 1, request_microseconds: 750_000, arrivals: 1 },
            Bucket { index: 2, request_microseconds: 1_000_000, arrivals: 0 },
            Bucket { index: 3, request_microseconds: 500_000, arrivals: 0 },
        ]
    );
    assert!(measure.unsent(ms(5_000)).is_empty());
    assert!(measure.at_rest());
}

#[test]
fn what_is_kept_follows_the_window() {
    for (window, kept) in [(60, 64), (3_600, 3_604)] {
        let mut measure = Measure::default();
        measure.arrived(ms(0));
        measure.advance(Duration::from_secs(10_000));
        measure.forget(Duration::from_secs(10_000), Duration::from_secs(window));
        let buckets = measure.all(Duration::from_secs(10_000));
        assert_eq!(buckets.len(), kept);
        assert_eq!(buckets[0].index, 10_000 - kept as u64);
    }
}

/// A revision that is never quiet, looked at every second for four hours: 24 bytes a second, in a buffer that doubles.
#[test]
fn the_longest_window_keeps_a_hundred_kilobytes() {
    for (window, most) in [(60, 3_072), (3_600, 98_304)] {
        let mut measure = Measure::default();
        measure.arrived(ms(0));
        for second in 1..=14_400 {
            let now = Duration::from_secs(second);
            measure.unsent(now);
            measure.forget(now, Duration::from_secs(window));
        }
        let bytes = measure.finished.capacity() * size_of::<Bucket>();
        assert!(bytes <= most, "{bytes} bytes for {window} s");
    }
}

#[test]
fn a_clock_read_earlier_than_the_last_one_changes_nothing() {
    let mut measure = Measure::default();
    measure.arrived(ms(900));
    measure.ended(ms(1_100));
    measure.arrived(ms(1_050));
    measure.ended(ms(1_200));
    let sum: u64 = measure.all(ms(2_000)).iter().map(|bucket| bucket.request_microseconds).sum();
    assert_eq!(sum, 300_000);
}

proptest! {
    /// The buckets equal what one gets by adding up every request on its own.
    #[test]
    fn integrals_equal_a_naive_recomputation(
        requests in prop::collection::vec((0_u64..20_000_000, 0_u64..6_000_000), 0..40)
    ) {
        let mut events: Vec<(u64, bool)> = Vec::new();
        let mut expected: BTreeMap<u64, Bucket> = BTreeMap::new();
        for &(start, length) in &requests {
            events.push((start, true));
            events.push((start + length, false));
            expected.entry(start / 1_000_000).or_default().arrivals += 1;
            for second in start / 1_000_000..=(start + length) / 1_000_000 {
                let from = start.max(second * 1_000_000);
                let to = (start + length).min((second + 1) * 1_000_000);
                expected.entry(second).or_default().request_microseconds += to.saturating_sub(from);
            }
        }
        // At one time arrivals first, so that a request of no length is counted in before it is counted out.
        events.sort_by_key(|&(at, arrival)| (at, !arrival));
        let mut measure = Measure::default();
        for (at, arrival) in events {
            let at = Duration::from_micros(at);
            if arrival { measure.arrived(at) } else { measure.ended(at) }
        }
        expected.retain(|_, bucket| bucket.arrivals > 0 || bucket.request_microseconds > 0);
        let expected: Vec<Bucket> =
            expected.into_iter().map(|(index, bucket)| Bucket { index, ..bucket }).collect();
        prop_assert_eq!(measure.all(Duration::from_secs(30)), expected);
        prop_assert_eq!(measure.requests(), 0);
    }
}
