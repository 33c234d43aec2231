use proptest::prelude::*;

use super::*;
use crate::policy::{IdlePolicy, Policy};

const CAPACITY: u32 = 10;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Requests of `takes` seconds at these times, on pods that start in 2 s.
fn workload(takes: f64, at: impl IntoIterator<Item = f64>, until: f64) -> Workload {
    let requests = at.into_iter().map(|at| Request { at: seconds(at), takes: seconds(takes) }).collect();
    Workload {
        requests,
        capacity: CAPACITY,
        starts: vec![seconds(2.0)],
        counted_from: Duration::ZERO,
        until: seconds(until),
    }
}

fn learned(after: f64, budget: u32) -> Policy {
    Policy {
        target: CAPACITY,
        idle_after: seconds(after),
        idle_policy: IdlePolicy::Learned { budget },
        ..Policy::default()
    }
}

#[test]
fn a_request_waits_for_the_start_of_its_pod() {
    let outcome = simulate(&workload(1.0, [10.0], 100.0), KeepAlive::new(seconds(30.0), CAPACITY));
    assert_eq!(outcome.waits, [seconds(2.0)]);
    assert_eq!((outcome.pod_time, outcome.vain), (seconds(33.0), seconds(30.0)));
    assert_eq!((outcome.requests, outcome.changes), (1, 2));
}

#[test]
fn a_kept_pod_serves_the_next_request_at_once() {
    let requests = workload(1.0, [10.0, 30.0], 100.0);
    let outcome = simulate(&requests, KeepAlive::new(seconds(30.0), CAPACITY));
    assert_eq!(outcome.waits.len(), 1);
    assert_eq!((outcome.pod_time, outcome.vain), (seconds(51.0), seconds(30.0)));
}

#[test]
fn more_requests_than_a_pod_takes_start_more_pods() {
    for pods in [1_u32, 3] {
        let requests = workload(5.0, (0..pods * CAPACITY).map(|_| 1.0), 100.0);
        let fixed = simulate(&requests, KeepAlive::new(seconds(10.0), CAPACITY));
        assert_eq!(fixed.pod_time, seconds(17.0) * pods);
        let ours = simulate(&requests, Product::new(Policy { target: CAPACITY, ..Policy::default() }));
        assert!(ours.waits.iter().all(|wait| *wait <= seconds(2.0)), "{:?}", ours.waits.iter().max());
    }
}

#[test]
fn what_comes_before_the_time_that_counts_is_left_out() {
    let mut requests = workload(1.0, [10.0, 60.0], 100.0);
    requests.counted_from = seconds(20.0);
    let outcome = simulate(&requests, KeepAlive::new(seconds(15.0), CAPACITY));
    // 8 s are left of the first pod.
    assert_eq!((outcome.requests, outcome.pod_time), (1, seconds(8.0 + 18.0)));
}

#[test]
fn a_poller_sees_an_idle_pod_late() {
    let polling = Polling::new(seconds(30.0), seconds(60.0), CAPACITY);
    let outcome = simulate(&workload(1.0, [10.0], 300.0), polling);
    assert_eq!(outcome.pod_time, seconds(80.0), "idle at 73 s, removed at 90 s");
}

#[test]
fn knative_keeps_a_pod_until_its_window_is_empty() {
    let outcome = simulate(&workload(1.0, [10.0], 300.0), Knative::default());
    let kept = outcome.pod_time.as_secs_f64();
    assert!((62.0..67.0).contains(&kept), "{kept}");
}

#[test]
fn fixed_is_what_the_owner_asked_for() {
    let policy = Policy { target: CAPACITY, idle_after: seconds(30.0), ..Policy::default() };
    let outcome = simulate(&workload(1.0, [10.0], 300.0), Product::new(policy));
    let kept = outcome.pod_time.as_secs_f64();
    assert!((33.0..=34.0).contains(&kept), "{kept}");
}

#[test]
fn nobody_beats_the_clairvoyant() {
    let requests = workload(1.0, [10.0, 11.5, 13.0, 40.0], 100.0);
    let (bound, working) = clairvoyant(&requests);
    assert_eq!(working, seconds(4.0));
    // Twice started ahead, and kept for the half seconds between.
    assert_eq!(bound.pod_time, seconds(4.0 + 2.0 + 2.0 * 0.5 + 2.0));
    assert!(bound.waits.is_empty());
}

#[test]
fn the_requests_of_a_timer_stop_waiting() {
    let requests = workload(0.5, (1..100).map(|turn| f64::from(turn) * 300.0), 30_000.0);
    let fixed =
        simulate(&requests, Product::new(Policy { idle_policy: IdlePolicy::Fixed, ..learned(60.0, 50) }));
    let ours = simulate(&requests, Product::new(learned(60.0, 50)));
    assert_eq!(fixed.waits.len(), 99);
    assert!(ours.waits.len() <= 6, "{}", ours.waits.len());
    assert!(ours.pod_time < fixed.pod_time / 2, "{:?} {:?}", ours.pod_time, fixed.pod_time);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// In the long run, and with pods that come and go by the second: the least idle time of each request is free.
    #[test]
    fn pods_wait_in_vain_within_the_budget(
        gaps in prop::collection::vec(0.0..8.0_f64, 1..300),
        after in 2.0..600.0_f64,
        budget in 1_u32..=100,
    ) {
        let mut at = 0.0;
        let times: Vec<f64> = gaps.iter().map(|gap| { at += gap.exp(); at }).collect();
        let until = at + 4.0 * after;
        let outcome = simulate(&workload(0.2, times.clone(), until), Product::new(learned(after, budget)));
        let pauses = times.len() as f64 + 1.0;
        // A pod that starts late serves late: by its start time, and by a look a second for its beginning and its end.
        let late = 5.0 * pauses;
        let allowed = outcome.pod_time.as_secs_f64() * f64::from(budget) / 100.0
            + until * 0.01
            + 11.0 * after
            + late;
        prop_assert!(outcome.vain.as_secs_f64() <= allowed, "{:?} in vain, {allowed} s allowed", outcome.vain);
    }
}
