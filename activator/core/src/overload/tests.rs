//! A simulated worker that is offered more than it can do: who is refused, how much, and for how long.

use proptest::prelude::*;

use super::*;

fn name(number: usize) -> FunctionName {
    FunctionName { namespace: "default".into(), name: format!("function-{number}").into() }
}

/// A worker that serves requests in the order of their arrival. What it has no time for waits with its client, which sends
/// nothing meanwhile.
struct Worker {
    overload: Overload,
    now: Duration,
    busy: Duration,
    /// Time that is taken already by what was admitted.
    owed: f64,
    /// Requests that were due, by function.
    offered: Vec<f64>,
    admitted: Vec<u32>,
    refused: Vec<u32>,
    /// Whose streams, which began long ago, are how much work each step, seconds for each of it, and whether it is told.
    streaming: Option<(usize, u32, f64, bool)>,
}

const STEPS: u32 = 100;
const STEP: f64 = 0.01;
const REFUSAL: f64 = 0.2;

impl Worker {
    fn new(functions: usize) -> Self {
        Self {
            overload: Overload::new(BUSY_LIMIT),
            now: Duration::ZERO,
            busy: Duration::ZERO,
            owed: 0.0,
            offered: vec![0.0; functions],
            admitted: vec![0; functions],
            refused: vec![0; functions],
            streaming: None,
        }
    }

    /// Offers `rates` requests a second that cost `costs` seconds each. Gives how busy it was meanwhile.
    fn run(&mut self, seconds: u32, rates: &[f64], costs: &[f64]) -> f64 {
        let before = (self.now, self.busy);
        self.admitted.fill(0);
        self.refused.fill(0);
        for _ in 0..seconds * STEPS {
            self.step(rates, costs);
        }
        self.busy.saturating_sub(before.1).as_secs_f64() / self.now.saturating_sub(before.0).as_secs_f64()
    }

    fn step(&mut self, rates: &[f64], costs: &[f64]) {
        if self.overload.due(self.now) {
            // The other measure shows nothing.
            self.overload.sample(self.now, [Duration::ZERO, self.busy]);
        }
        for (offered, rate) in self.offered.iter_mut().zip(rates) {
            // Clients that wait send nothing.
            *offered = (*offered + rate * STEP).min(rate * STEP * 2.0 + 1.0);
        }
        if let Some((function, work, cost, told)) = self.streaming {
            self.owed += f64::from(work) * cost;
            if told {
                self.overload.moved(&name(function), u64::from(work));
            }
        }
        let mut left = true;
        while left && self.owed < STEP {
            left = false;
            for (function, cost) in costs.iter().enumerate() {
                if self.offered[function] >= 1.0 && self.owed < STEP {
                    self.offered[function] -= 1.0;
                    left = true;
                    if self.overload.admit(&name(function)) {
                        self.admitted[function] += 1;
                        self.owed += cost;
                    } else {
                        self.refused[function] += 1;
                        self.owed += cost * REFUSAL;
                    }
                }
            }
        }
        let done = self.owed.min(STEP);
        self.owed -= done;
        self.busy += Duration::from_secs_f64(done);
        self.now += Duration::from_secs_f64(STEP);
    }
}

#[test]
fn a_worker_with_time_left_refuses_nobody() {
    let mut worker = Worker::new(2);
    let busy = worker.run(10, &[700.0, 20.0], &[0.001, 0.001]);
    assert!((0.7..0.75).contains(&busy), "{busy}");
    assert_eq!(worker.refused, [0, 0]);
}

#[test]
fn one_function_alone_may_have_all_of_a_worker() {
    let mut worker = Worker::new(1);
    assert!(worker.run(10, &[5_000.0], &[0.001]) > 0.99);
    assert_eq!(worker.refused, [0]);
    assert!(!worker.overload.refuses());
}

#[test]
fn functions_of_equal_weight_have_nobody_to_be_protected_from() {
    let mut worker = Worker::new(2);
    assert!(worker.run(10, &[2_000.0, 1_500.0], &[0.001, 0.001]) > 0.99);
    assert_eq!(worker.refused, [0, 0]);
}

#[test]
fn a_flood_is_kept_to_what_the_light_ones_leave() {
    let mut worker = Worker::new(3);
    worker.run(5, &[3_000.0, 50.0, 100.0], &[0.001; 3]);
    let busy = worker.run(10, &[3_000.0, 50.0, 100.0], &[0.001; 3]);
    assert!((0.75..0.85).contains(&busy), "{busy}");
    assert!(worker.refused[0] > 0);
    assert_eq!(worker.refused[1..], [0, 0]);
    // Each second is like the one before.
    let mut admitted = Vec::new();
    for _ in 0..10 {
        worker.run(1, &[3_000.0, 50.0, 100.0], &[0.001; 3]);
        admitted.push(f64::from(worker.admitted[0]));
    }
    let (least, most) =
        admitted.iter().fold((f64::MAX, 0.0), |(least, most), each| (each.min(least), each.max(most)));
    assert!(most < least * 1.1, "{admitted:?}");
}

#[test]
fn two_floods_are_treated_alike() {
    let mut worker = Worker::new(3);
    let rates = [3_000.0, 2_500.0, 50.0];
    worker.run(5, &rates, &[0.001; 3]);
    worker.run(10, &rates, &[0.001; 3]);
    assert_eq!(worker.refused[2], 0);
    let (one, other) = (f64::from(worker.admitted[0]), f64::from(worker.admitted[1]));
    assert!((0.8..1.25).contains(&(one / other)), "{one} {other}");
}

#[test]
fn what_ended_leaves_nothing_behind() {
    let mut worker = Worker::new(2);
    worker.run(5, &[3_000.0, 50.0], &[0.001; 2]);
    assert!(worker.overload.refuses());
    worker.run(5, &[300.0, 50.0], &[0.001; 2]);
    assert!(!worker.overload.refuses());
    worker.run(5, &[300.0, 50.0], &[0.001; 2]);
    assert_eq!(worker.refused, [0, 0]);
    assert!(worker.overload.functions.is_empty(), "nothing is counted while there is time");
}

#[test]
fn a_light_function_whose_requests_take_long_is_not_the_heaviest() {
    let mut worker = Worker::new(2);
    // Forty requests keep the worker busy, those of the other function do not.
    assert!(worker.run(10, &[40.0, 90.0], &[0.03, 0.0005]) > 0.9);
    assert_eq!(worker.refused, [0, 0]);
}

#[test]
fn streams_are_work_of_the_function_that_has_them() {
    let mut worker = Worker::new(3);
    // Downloads that began long ago, at 1.2 GB a second: most of the time.
    worker.streaming = Some((0, 180, 0.000_05, true));
    let (rates, costs) = ([0.0, 150.0, 0.5], [0.0, 0.000_15, 0.000_15]);
    let busy = worker.run(60, &rates, &costs);
    assert!(busy > 0.9, "{busy}");
    assert_eq!(worker.refused, [0, 0, 0]);
    // A new download is refused meanwhile.
    worker.run(1, &[20.0, 150.0, 0.5], &[0.000_05, 0.000_15, 0.000_15]);
    assert!(worker.refused[0] > 0);
    assert_eq!(worker.refused[1..], [0, 0]);
}

#[test]
fn who_does_not_keep_the_worker_busy_is_left_something() {
    let mut worker = Worker::new(3);
    // Nobody knows whose work it is.
    worker.streaming = Some((0, 190, 0.000_05, false));
    let (rates, costs) = ([0.0, 150.0, 0.5], [0.0, 0.000_15, 0.000_15]);
    worker.run(60, &rates, &costs);
    assert!(worker.admitted[1] >= 98 * 60, "{} of {}", worker.admitted[1], 150 * 60);
    assert_eq!(worker.refused[2], 0);
}

#[test]
fn a_flood_that_asks_again_at_once_is_served_as_much_as_it_is_refused() {
    let mut worker = Worker::new(2);
    // What is refused takes all the time there is: its clients ask again as soon as they have their answer.
    let (rates, costs) = ([100_000.0, 20.0], [0.000_2; 2]);
    worker.run(60, &rates, &costs);
    let busy = worker.run(120, &rates, &costs);
    assert!(busy > 0.99, "{busy}");
    let (served, refused) = (f64::from(worker.admitted[0]) / 120.0, f64::from(worker.refused[0]) / 120.0);
    assert!((1_500.0..3_500.0).contains(&served), "{served} of the 5,000 a second that it could do");
    assert!(refused > 1_000.0, "{refused}");
    assert_eq!(worker.refused[1], 0);
}

#[test]
fn who_asks_rarely_is_protected_too() {
    let mut worker = Worker::new(2);
    let (rates, costs) = ([3_000.0, 0.05], [0.001; 2]);
    worker.run(40, &rates, &costs);
    assert!(worker.overload.refuses());
    for _ in 0..40 {
        let busy = worker.run(1, &rates, &costs);
        assert!((0.7..0.9).contains(&busy), "{busy}");
    }
    assert_eq!(worker.refused[1], 0);
    // Until it has not asked for a minute.
    worker.run(61, &[3_000.0, 0.0], &costs);
    assert!(!worker.overload.refuses());
}

#[test]
fn nothing_is_refused_before_a_second_is_known() {
    let mut overload = Overload::new(BUSY_LIMIT);
    // A process that starts is busy with that.
    for sample in 0..10 {
        let now = Duration::from_millis(100 * sample);
        overload.sample(now, [now, Duration::ZERO]);
        for request in 0..100 {
            assert!(overload.admit(&name(usize::from(request == 0))), "at {now:?}");
        }
        assert!(!overload.refuses(), "at {now:?}");
    }
    overload.sample(Duration::from_secs(1), [Duration::from_secs(1), Duration::ZERO]);
    assert!(overload.refuses());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is offered: who sends less than half of what the heaviest does is never refused, and a worker that refuses
    /// anything has no time to waste.
    #[test]
    fn only_the_heavy_are_refused_and_only_by_a_busy_worker(
        rates in prop::collection::vec(1.0..5_000.0_f64, 1..6),
        costs in prop::collection::vec(0.0001..0.002_f64, 6),
    ) {
        let mut worker = Worker::new(rates.len());
        let costs = &costs[..rates.len()];
        worker.run(10, &rates, costs);
        let busy = worker.run(10, &rates, costs);
        let begun: Vec<u32> = worker.admitted.iter().zip(&worker.refused).map(|(a, b)| a + b).collect();
        let heaviest = f64::from(begun.iter().copied().max().unwrap_or_default());
        for (function, refused) in worker.refused.iter().enumerate() {
            // Those near the half are on either side of it from moment to moment.
            if f64::from(begun[function]) < heaviest * 0.4 {
                prop_assert_eq!(*refused, 0, "{} of {:?}", function, begun);
            }
        }
        if worker.refused.iter().any(|refused| *refused > 0) {
            prop_assert!(busy > 0.65, "busy {}", busy);
        }
    }

    /// Any sequence of times and totals is taken.
    #[test]
    fn no_measure_is_too_odd(samples in prop::collection::vec((0..5_000_u64, 0..5_000_u64, 0..300_usize), 0..50)) {
        let mut overload = Overload::new(BUSY_LIMIT);
        for (at, busy, requests) in samples {
            overload.sample(Duration::from_millis(at), [Duration::from_millis(busy), Duration::ZERO]);
            prop_assert!((0.0..=1.0).contains(&overload.busy()));
            for request in 0..requests {
                overload.admit(&name(request % 7));
            }
            overload.moved(&name(requests % 7), at);
            prop_assert!(overload.cap.is_none_or(|cap| cap.work.is_finite() && cap.work >= HEAVY_RATE));
        }
    }
}
