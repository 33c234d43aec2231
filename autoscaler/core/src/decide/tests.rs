//! Tables of the formula, row by row, and properties that hold for all inputs.

mod binding;
mod headroom;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::invariants;
use crate::policy::{OpenSchedule, Shift};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Ten requests at once a replica, aimed at exactly.
fn ten() -> Policy {
    Policy { target: 10, utilization: 100, ..Policy::default() }
}

fn averages(stable: f64, panic: f64, ready: u32) -> Observation {
    Observation { stable, panic, ready, replicas: ready, ..Observation::default() }
}

fn windows(policy: &Policy, history: &History, observation: &Observation, now: u64) -> (History, Decision) {
    formula(policy, &Settings::default(), history.clone(), observation, seconds(now))
}

fn decided(policy: &Policy, stage: Stage, observation: &Observation) -> Decision {
    decide(policy, stage, &Settings::default(), History::default(), observation, seconds(1_000)).1
}

#[rstest]
#[case::nothing(0.0, 0.0, 1, 0, false)]
#[case::a_trace_of_a_request(0.01, 0.0, 1, 1, false)]
#[case::exactly_full(10.0, 10.0, 1, 1, false)]
#[case::a_little_more(10.1, 10.1, 1, 2, true)]
#[case::steady(50.0, 50.0, 5, 5, false)]
#[case::grows_below_the_threshold(50.0, 99.0, 6, 5, false)]
#[case::twice_as_much_as_ready_is_panic(50.0, 100.0, 5, 10, true)]
#[case::panic_from_one(50.0, 100.0, 1, 10, true)]
#[case::the_stable_window_asks_for_more(120.0, 100.0, 5, 12, true)]
#[case::at_most_half_goes_at_once(10.0, 10.0, 10, 5, false)]
#[case::half_of_an_odd_number(0.0, 0.0, 5, 2, false)]
#[case::no_pod_ready_counts_as_one(20.0, 20.0, 0, 2, true)]
fn the_windows_decide(
    #[case] stable: f64,
    #[case] panic: f64,
    #[case] ready: u32,
    #[case] need: u32,
    #[case] panics: bool,
) {
    let (_, decision) = windows(&ten(), &History::default(), &averages(stable, panic, ready), 100);
    assert_eq!((decision.desired, decision.panic), (need, panics), "{:?}", decision.reasons);
}

#[rstest]
#[case::default(Policy::default(), 100, 70.0)]
#[case::limit(Policy { limit: 10, ..Policy::default() }, 10, 7.0)]
#[case::target(Policy { target: 20, ..Policy::default() }, 20, 14.0)]
#[case::smaller_target(Policy { target: 5, limit: 10, ..Policy::default() }, 5, 3.5)]
#[case::larger_target(Policy { target: 50, limit: 10, ..Policy::default() }, 10, 7.0)]
#[case::rate(Policy { metric: Metric::RequestRate, limit: 10, ..Policy::default() }, 200, 140.0)]
#[case::target_of_a_rate(Policy { metric: Metric::RequestRate, target: 50, limit: 10, ..Policy::default() }, 50, 35.0)]
#[case::never_nothing(Policy { target: 1, utilization: 0, ..Policy::default() }, 1, 0.01)]
fn a_replica_is_aimed_at_a_part_of_its_total(#[case] policy: Policy, #[case] total: u32, #[case] goal: f64) {
    assert_eq!(policy.total(), total);
    assert!((policy.goal() - goal).abs() < 1e-9);
}

#[test]
fn growth_in_one_step_is_bounded_by_the_rate() {
    let settings = Settings { up_rate: 10.0, ..Settings::default() };
    let decide = |ready| {
        let observation = averages(1_000.0, 0.0, ready);
        formula(&ten(), &settings, History::default(), &observation, seconds(1)).1.desired
    };
    assert_eq!(decide(1), 10);
    assert_eq!(decide(3), 30);
    assert_eq!(decide(20), 100);
}

#[test]
fn any_demand_asks_for_wake() {
    let policy = Policy { wake: 3, ..ten() };
    let need = |stable| windows(&policy, &History::default(), &averages(stable, 0.0, 1), 1).1.desired;
    assert_eq!(need(0.0), 0);
    assert_eq!(need(1.0), 3);
    assert_eq!(need(40.0), 4);
}

#[test]
fn panic_keeps_the_highest_and_ends_a_window_after_it_was_last_over() {
    let policy = Policy { window: seconds(60), ..ten() };
    let (history, first) = windows(&policy, &History::default(), &averages(10.0, 100.0, 1), 100);
    assert_eq!((first.desired, first.panic), (10, true));
    let (history, lower) = windows(&policy, &history, &averages(20.0, 20.0, 10), 120);
    assert_eq!((lower.desired, lower.panic), (10, true));
    let (history, higher) = windows(&policy, &history, &averages(120.0, 120.0, 10), 130);
    assert_eq!((higher.desired, higher.panic), (12, true), "not over, but higher");
    let (history, last) = windows(&policy, &history, &averages(20.0, 20.0, 10), 160);
    assert_eq!((last.desired, last.panic), (12, true), "60 s after it was last over");
    let (history, after) = windows(&policy, &history, &averages(20.0, 20.0, 4), 161);
    assert_eq!((after.desired, after.panic), (2, false));
    assert_eq!(history, History::default(), "without a downDelay nothing else is remembered");
}

#[test]
fn panic_is_extended_while_demand_is_over() {
    let policy = Policy { window: seconds(60), ..ten() };
    let (history, _) = windows(&policy, &History::default(), &averages(10.0, 100.0, 1), 100);
    let (history, _) = windows(&policy, &history, &averages(10.0, 100.0, 5), 150);
    let (_, decision) = windows(&policy, &history, &averages(10.0, 10.0, 10), 205);
    assert!(decision.panic);
}

/// A policy that keeps the highest need of five minutes, and shrinks by any number at once.
fn five_minutes() -> (Policy, Settings) {
    let policy = Policy { down_delay: seconds(300), panic_threshold: 10_000, ..ten() };
    (policy, Settings { down_rate: 1_000.0, ..Settings::default() })
}

#[test]
fn the_highest_need_of_the_down_delay_holds() {
    let (policy, settings) = five_minutes();
    let mut history = History::default();
    for (now, average, desired) in [
        (2, 40.0, 4),
        (299, 0.0, 4),
        (301, 0.0, 4),
        (302, 0.0, 0),
        (540, 40.0, 4),
        (600, 30.0, 4),
        (660, 0.0, 4),
        (840, 0.0, 3),
        (900, 0.0, 0),
    ] {
        let observation = averages(average, average, 1);
        let (next, decision) = formula(&policy, &settings, history, &observation, seconds(now));
        assert_eq!(decision.desired, desired, "at {now}: {:?}", decision.reasons);
        history = next;
    }
}

#[test]
fn zero_too_waits_for_the_down_delay_unless_nothing_runs_or_traffic_is_gone() {
    let (policy, settings) = five_minutes();
    let one = Observation { replicas: 1, ready: 1, idle: true, ..Observation::default() };
    let history = History::found(1, seconds(100));
    let decide = |stage, observation: &Observation, now| {
        decide(&policy, stage, &settings, history.clone(), observation, seconds(now)).1.desired
    };
    assert_eq!(decide(Stage::Routed, &one, 399), 1);
    assert_eq!(decide(Stage::Routed, &one, 400), 0);
    assert_eq!(decide(Stage::Retiring, &one, 200), 0, "nobody will call it again");
    assert_eq!(
        decide(Stage::Routed, &Observation { replicas: 0, ..one }, 200),
        0,
        "nothing is started by it"
    );
}

#[test]
fn held_requests_count_for_the_down_delay() {
    let (policy, settings) = five_minutes();
    let held = Observation { held: 40, busy: true, ..Observation::default() };
    let (history, first) = decide(&policy, Stage::Routed, &settings, History::default(), &held, seconds(1));
    let served = Observation { busy: true, ..averages(1.0, 1.0, 4) };
    let (_, second) = decide(&policy, Stage::Routed, &settings, history, &served, seconds(200));
    assert_eq!((first.desired, second.desired), (4, 4));
}

#[test]
fn a_new_leader_keeps_what_it_finds_for_the_down_delay() {
    let (policy, settings) = five_minutes();
    let history = History::found(8, seconds(100));
    let (history, kept) = formula(&policy, &settings, history, &averages(10.0, 10.0, 8), seconds(399));
    assert_eq!((kept.desired, kept.panic), (8, false), "{:?}", kept.reasons);
    assert_eq!(formula(&policy, &settings, history, &averages(10.0, 10.0, 8), seconds(400)).1.desired, 1);
}

#[test]
fn a_down_delay_that_is_taken_away_holds_nothing() {
    let (policy, settings) = five_minutes();
    let (history, _) = formula(&policy, &settings, History::default(), &averages(40.0, 40.0, 1), seconds(1));
    let policy = Policy { down_delay: Duration::ZERO, ..policy };
    assert_eq!(formula(&policy, &settings, history, &averages(10.0, 10.0, 1), seconds(2)).1.desired, 1);
}

#[test]
fn a_new_leader_keeps_what_it_finds_for_a_window() {
    let history = History::found(8, seconds(100));
    let (history, kept) = windows(&ten(), &history, &averages(10.0, 10.0, 8), 110);
    assert_eq!((kept.desired, kept.panic), (8, true));
    assert!(!windows(&ten(), &history, &averages(10.0, 10.0, 8), 161).1.panic);
    let one = History::found(1, seconds(100));
    assert_eq!((one.over_at, one.highest), (None, 0));
}

#[rstest]
#[case::twenty_at_once_with_limit_one(20, 1, 1, 20)]
#[case::fifty_at_once_with_limit_ten(50, 10, 1, 5)]
#[case::a_part_of_a_pod(1, 10, 1, 1)]
#[case::at_least_wake(1, 10, 3, 3)]
#[case::no_utilization(10, 10, 1, 1)]
fn held_requests_are_counted_not_averaged(
    #[case] held: u64,
    #[case] limit: u32,
    #[case] wake: u32,
    #[case] replicas: u32,
) {
    let policy = Policy { wake, limit, ..Policy::default() };
    let observation = Observation { held, busy: true, incomplete: true, ..Observation::default() };
    let decision = decided(&policy, Stage::Routed, &observation);
    assert_eq!(decision.desired, replicas);
    assert!(decision.is_wake());
}

#[rstest]
#[case::what_arrived_at_once(0, 0, 1, 1)]
#[case::a_rate_of_three_pods(0, 250, 1, 3)]
#[case::the_limit_counts_too(10, 250, 1, 4)]
#[case::at_least_wake(10, 100, 6, 6)]
fn held_requests_of_a_rate_are_counted_by_arrivals_and_limit(
    #[case] limit: u32,
    #[case] arrivals: u64,
    #[case] wake: u32,
    #[case] replicas: u32,
) {
    let policy = Policy { metric: Metric::RequestRate, target: 100, limit, wake, ..Policy::default() };
    let observation = Observation { held: 40, arrivals, busy: true, ..Observation::default() };
    assert_eq!(decided(&policy, Stage::Routed, &observation).desired, replicas);
}

#[test]
fn arrivals_start_nothing_that_no_request_waits_for() {
    let policy = Policy { metric: Metric::RequestRate, target: 100, ..Policy::default() };
    let observation = Observation { arrivals: 1_000, ..averages(0.0, 0.0, 1) };
    assert_eq!(decided(&policy, Stage::Routed, &observation).desired, 1);
}

#[test]
fn pressure_on_a_rate_is_counted_by_the_limit() {
    let rate = Policy { metric: Metric::RequestRate, target: 1, ..Policy::default() };
    let observation =
        Observation { pressed: 41, busy: true, ready: 2, replicas: 2, ..Observation::default() };
    assert_eq!(decided(&Policy { limit: 10, ..rate.clone() }, Stage::Routed, &observation).desired, 5);
    let decision = decided(&rate, Stage::Routed, &observation);
    assert!(!decision.reasons.iter().any(|reason| matches!(reason, Reason::Pressed { .. })), "{decision:?}");
}

#[test]
fn pressure_counts_everybody_in_the_revision() {
    let policy = Policy { limit: 10, ..Policy::default() };
    let observation =
        Observation { pressed: 41, busy: true, ready: 2, replicas: 2, ..Observation::default() };
    assert_eq!(decided(&policy, Stage::Routed, &observation).desired, 5);
}

#[rstest]
#[case::just_idle(Observation { idle: true, ..averages(0.0, 0.0, 1) }, 0)]
#[case::idle_before_the_window_is_empty(Observation { idle: true, ..averages(1.0, 0.0, 1) }, 0)]
#[case::not_yet(averages(0.0, 0.0, 1), 1)]
#[case::a_long_request(Observation { idle: true, busy: true, ..averages(0.0, 0.0, 1) }, 1)]
#[case::the_window_still_asks_for_more(Observation { idle: true, ..averages(30.0, 0.0, 3) }, 3)]
#[case::a_quiet_window_ends_all_at_once(Observation { idle: true, ..averages(0.0, 0.0, 8) }, 0)]
#[case::incomplete(Observation { idle: true, incomplete: true, ..averages(0.0, 0.0, 2) }, 2)]
fn the_idle_time_decides_between_one_and_zero(#[case] observation: Observation, #[case] desired: u32) {
    assert_eq!(decided(&ten(), Stage::Routed, &observation).desired, desired);
}

#[rstest]
#[case::the_windows_remember(Observation { busy: true, ..averages(50.0, 50.0, 0) }, 0)]
#[case::not_idle_yet(averages(0.0, 0.0, 0), 0)]
#[case::a_request_waits(Observation { held: 1, busy: true, ..averages(0.0, 0.0, 0) }, 1)]
fn at_zero_only_a_held_request_starts_something(#[case] observation: Observation, #[case] desired: u32) {
    assert_eq!(decided(&ten(), Stage::Routed, &observation).desired, desired);
}

#[rstest]
#[case::nothing_in_flight(averages(30.0, 0.0, 3), 0)]
#[case::in_flight(Observation { busy: true, ..averages(30.0, 0.0, 3) }, 3)]
fn a_retiring_revision_waits_for_nothing_but_its_requests(
    #[case] observation: Observation,
    #[case] desired: u32,
) {
    let policy = Policy { min: 2, ..ten() };
    assert_eq!(decided(&policy, Stage::Retiring, &observation).desired, desired);
}

#[rstest]
#[case::floor_of_min(Stage::Routed, 2, 1, 2)]
#[case::floor_of_the_proof(Stage::Proving, 0, 3, 3)]
#[case::min_while_proving(Stage::Proving, 4, 3, 4)]
#[case::no_floor(Stage::Routed, 0, 3, 0)]
fn the_floor_depends_on_the_stage(
    #[case] stage: Stage,
    #[case] min: u32,
    #[case] initial: u32,
    #[case] desired: u32,
) {
    let policy = Policy { min, initial, ..ten() };
    let observation = Observation { idle: true, ..Observation::default() };
    assert_eq!(decided(&policy, stage, &observation).desired, desired);
}

#[test]
fn nothing_is_taken_from_a_revision_that_proves_itself() {
    let observation = Observation { idle: true, ..averages(0.0, 0.0, 5) };
    assert_eq!(decided(&ten(), Stage::Proving, &observation).desired, 5);
}

#[test]
fn the_maximum_wins_and_is_told() {
    let policy = Policy { max: 3, ..ten() };
    let decision = decided(&policy, Stage::Routed, &Observation { held: 1_000, ..Observation::default() });
    assert_eq!((decision.desired, decision.at_max), (3, true));
}

#[test]
fn reasons_are_for_people() {
    let observation = Observation { idle: true, ..averages(1.0, 0.0, 1) };
    let texts: Vec<String> =
        decided(&ten(), Stage::Routed, &observation).reasons.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["1.00 requests at once over the stable window, 10.00 a replica: 1", "idle time has passed: 0",]
    );
}

fn policies() -> impl Strategy<Value = Policy> {
    let counts = (1_u32..200, 0_u32..50, 0_u32..50, 1_u32..50);
    let shift = prop_oneof![
        Just(None),
        (0_u32..=100, 0_u32..300).prop_map(|(percent, awaited)| Some(Shift { percent, awaited })),
    ];
    let metric = prop_oneof![Just(Metric::Concurrency), Just(Metric::RequestRate)];
    (counts, metric, 0_u32..300, 0_u32..100, 1_u32..=100, 0_u64..120, shift).prop_map(
        |((max, min, initial, wake), metric, target, limit, utilization, down_delay, shift)| Policy {
            shift,
            max,
            min: min.min(max),
            initial: initial.min(max),
            wake: wake.min(max),
            metric,
            target,
            limit,
            utilization,
            down_delay: Duration::from_secs(down_delay),
            ..Policy::default()
        },
    )
}

fn observations() -> impl Strategy<Value = Observation> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), outlooks());
    let averages = (0.0..10_000.0_f64, 0.0..10_000.0_f64, 0_u64..20_000);
    (0_u32..200, averages, 0_u32..200, 0_u64..5_000, 0_u64..5_000, flags).prop_map(
        |(replicas, (stable, panic, arrivals), ready, held, pressed, (busy, idle, incomplete, outlook))| {
            Observation {
                arriving: 0,
                replicas,
                stable,
                panic,
                ready,
                arrivals,
                held,
                pressed,
                busy: busy || held > 0 || pressed > 0,
                idle,
                outlook,
                incomplete,
            }
        },
    )
}

fn outlooks() -> impl Strategy<Value = Outlook> {
    let hold = |from| Outlook::Likely(Hold { from, until: from + seconds(10), percent: 90 });
    prop_oneof![
        Just(Outlook::Unknown),
        Just(Outlook::Unlikely(Hold { from: Duration::ZERO, until: seconds(1), percent: 0 })),
        Just(Outlook::Spent),
        Just(hold(Duration::ZERO)),
        Just(hold(seconds(60))),
    ]
}

fn ahead() -> Outlook {
    Outlook::Likely(Hold { from: seconds(290), until: seconds(310), percent: 97 })
}

fn kept() -> Outlook {
    Outlook::Likely(Hold { from: Duration::ZERO, until: seconds(8), percent: 97 })
}

#[rstest]
#[case::a_request_is_expected(ahead(), Stage::Routed, 0, 2)]
#[case::what_only_keeps_a_replica_starts_none(kept(), Stage::Routed, 0, 0)]
#[case::what_was_started_ahead_stays(ahead(), Stage::Routed, 2, 2)]
#[case::kept(kept(), Stage::Routed, 1, 1)]
#[case::nothing_is_expected_of_a_proving_one(ahead(), Stage::Proving, 0, 1)]
#[case::nothing_is_expected_of_a_retiring_one(ahead(), Stage::Retiring, 1, 0)]
fn a_likely_request_has_its_replicas(
    #[case] outlook: Outlook,
    #[case] stage: Stage,
    #[case] replicas: u32,
    #[case] desired: u32,
) {
    let policy = Policy { wake: 2, ..ten() };
    let observation = Observation { outlook, ..averages(0.0, 0.0, replicas) };
    assert_eq!(decided(&policy, stage, &observation).desired, desired);
}

#[test]
fn a_learned_decision_says_what_it_was_learned_from() {
    let reasons = |observation: &Observation| -> Vec<String> {
        decided(&ten(), Stage::Routed, observation).reasons.iter().skip(1).map(ToString::to_string).collect()
    };
    let observation = Observation { outlook: ahead(), ..Observation::default() };
    assert_eq!(
        reasons(&observation),
        ["learned: 97 percent of such idle times end 290 to 310 s after a request"]
    );
    let observation = Observation { outlook: Outlook::Spent, idle: true, ..averages(0.0, 0.0, 1) };
    assert_eq!(reasons(&observation), ["learned: scale.idle.budget is used up: 0"]);
}

proptest! {
    #[test]
    fn every_decision_keeps_the_invariants(
        policy in policies(),
        stage in prop_oneof![Just(Stage::Proving), Just(Stage::Routed), Just(Stage::Retiring)],
        steps in proptest::collection::vec((observations(), 0_u64..5_000), 1..20),
    ) {
        let settings = Settings::default();
        let (mut history, mut now) = (History::default(), Duration::ZERO);
        for (observation, later) in steps {
            now += Duration::from_millis(later);
            let (next, decision) = decide(&policy, stage, &settings, history.clone(), &observation, now);
            prop_assert_eq!(invariants::decision(&policy, stage, &observation, &decision), Ok(()));
            let again = decide(&policy, stage, &settings, history.clone(), &observation, now);
            prop_assert_eq!(again, (next.clone(), decision));
            history = next;
        }
    }

    #[test]
    fn the_down_delay_keeps_the_highest_need_of_its_time(
        needs in proptest::collection::vec((0_u32..20, 0_u64..40), 1..60),
        delay in 1_u64..120,
    ) {
        let (mut recent, mut now, mut past) = (RecentNeeds::default(), 0, Vec::new());
        for (need, later) in needs {
            now += later;
            past.push((now, need));
            let highest = past.iter().filter(|(at, _)| now - at < delay).map(|(_, need)| *need).max();
            prop_assert_eq!(Some(recent.highest(need, seconds(now), seconds(delay))), highest);
        }
    }

    #[test]
    fn more_held_never_needs_less(policy in policies(), observation in observations(), more in 0_u64..100) {
        let decide = |observation: &Observation| decided(&policy, Stage::Routed, observation).desired;
        let fuller = Observation { held: observation.held + more, busy: true, ..observation.clone() };
        prop_assert!(decide(&fuller) >= decide(&observation));
    }
}

#[rstest]
#[case::it_binds(2, Stage::Routed, 5, &["schedule mornings is open: not below 5"])]
#[case::the_owners_own_floor_is_higher(7, Stage::Routed, 7, &["not below the floor: 7"])]
#[case::max_wins(2, Stage::Routed, 3, &["schedule mornings is open: not below 3"])]
#[case::a_retiring_one_has_no_floor(2, Stage::Retiring, 0, &[])]
fn an_open_schedule_is_a_floor_with_a_name(
    #[case] min: u32,
    #[case] stage: Stage,
    #[case] desired: u32,
    #[case] reasons: &[&str],
) {
    let schedule = Some(OpenSchedule { name: "mornings".into(), min: 5 });
    let max = if desired == 3 { 3 } else { 100 };
    let decision = decided(&Policy { min, max, schedule, ..ten() }, stage, &Observation::default());
    assert_eq!(decision.desired, desired);
    let said: Vec<_> = decision.reasons.iter().skip(2).map(ToString::to_string).collect();
    assert_eq!(said, reasons);
}
