//! A recorded series, decided step by step: what `catnap replay` runs, so that a policy can be tried on yesterday's traffic.
//!
//! Either averages are given, and the formulas alone decide; or seconds are, and windows, idle time and what is learned of it
//! are kept here. Time is that of the series. Nothing is checked: whoever reads a series refuses what cannot be.

use std::time::Duration;

use catnap_wire::Bucket;

use crate::decide::{Decision, History, Observation, decide, formula};
use crate::learned::times::Times;
use crate::learned::{Learned, Outlook};
use crate::moment::{Moment, SECOND, moment};
use crate::policy::{OpenSchedule, Policy, Stage};
use crate::series::Series;
use crate::settings::Settings;

/// The activator process of a recorded series.
const BOOT: u64 = 0;

/// One second of a series, of all activators together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Second {
    /// The moment at which it ended, and at which is decided. Rounded to a whole second, it must rise.
    pub at: Duration,
    /// Requests at once on average, held ones included; finite and not negative.
    pub concurrency: f64,
    /// Requests that arrived.
    pub requests: u64,
    /// Pods that could serve.
    pub ready: u32,
}

/// One routed revision in a series.
#[derive(Clone, Debug)]
pub struct Replay {
    policy: Policy,
    settings: Settings,
    history: History,
    series: Series,
    times: Times,
    learned: Learned,
    /// Since when it has been idle: the beginning, the last request, or the end of a schedule.
    idle_since: Option<Duration>,
    desired: u32,
}

impl Replay {
    /// A series that begins with nothing before it.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            settings: Settings::default(),
            history: History::default(),
            series: Series::default(),
            times: Times::default(),
            learned: Learned::default(),
            idle_since: None,
            desired: 0,
        }
    }

    /// From `now` on this schedule is open, or none. The idle time begins anew when a floor goes.
    pub fn open(&mut self, schedule: Option<OpenSchedule>, now: Duration) {
        let floor = self.policy.floor(Stage::Routed);
        self.policy.schedule = schedule;
        if self.policy.floor(Stage::Routed) < floor {
            self.idle_since = self.idle_since.max(Some(now));
            // What it has kept waits for a request.
            self.times.grant(moment(now));
        }
    }

    /// Decides from averages over the two windows, in the unit of the policy's metric.
    pub fn averages(&mut self, now: Duration, stable: f64, panic: f64, ready: u32) -> Decision {
        let observation = Observation { stable, panic, ready, ..Observation::default() };
        let history = std::mem::take(&mut self.history);
        let (history, decision) = formula(&self.policy, &self.settings, history, &observation, now);
        self.history = history;
        decision
    }

    /// Decides at the end of a second. What is in it while no pod is ready counts as held; that a pod is full is not known.
    pub fn second(&mut self, second: Second) -> Decision {
        let Second { at, concurrency, requests, .. } = second;
        let index = (at + Duration::from_millis(500)).as_secs();
        let bucket = Bucket { index, request_microseconds: microseconds(concurrency), arrivals: requests };
        let demand = bucket.request_microseconds > 0 || requests > 0;
        let end = moment(Duration::from_secs(index));
        if demand {
            self.series.record(BOOT, bucket);
            let idle_time = self.times.busy(end.saturating_sub(SECOND), end);
            if let (Some(idle_time), Some(terms)) = (idle_time, self.policy.terms()) {
                idle_time.teach(&mut self.learned, terms, self.policy.floor(Stage::Routed) > 0);
            }
        }
        if demand || self.idle_since.is_none() {
            self.idle_since = Some(at);
        }
        let idleness = self.idleness(at, end);
        let observation = self.observe(&second, index, idleness, demand);
        let history = std::mem::take(&mut self.history);
        let (history, decision) =
            decide(&self.policy, Stage::Routed, &self.settings, history, &observation, at);
        debug_assert_eq!(
            crate::invariants::decision(&self.policy, Stage::Routed, &observation, &decision),
            Ok(())
        );
        self.history = history;
        self.desired = decision.desired;
        decision
    }

    /// Whether the idle time has passed, and what the pattern says of this moment of it.
    fn idleness(&mut self, at: Duration, end: Moment) -> (bool, Outlook) {
        let Policy { idle_after, .. } = self.policy;
        let fixed = at.saturating_sub(self.idle_since.unwrap_or(at)) >= idle_after;
        let terms = self.policy.terms();
        let rest = terms.and_then(|terms| self.times.rest(&mut self.learned, terms, Moment::MIN, end));
        rest.unwrap_or((fixed, Outlook::Unknown))
    }

    fn observe(
        &mut self,
        second: &Second,
        index: u64,
        (idle, outlook): (bool, Outlook),
        demand: bool,
    ) -> Observation {
        let Policy { metric, window, panic_window, .. } = self.policy;
        let end = moment(Duration::from_secs(index)) + SECOND;
        let booted = |_| Some(Moment::default());
        self.series.age_out(end, window, booted);
        let averages = self.series.averages(metric, end, window, panic_window, booted);
        let held = if second.ready == 0 && demand { whole(second.concurrency).max(1) } else { 0 };
        Observation {
            arriving: 0,
            replicas: second.ready.max(self.desired),
            stable: averages.stable,
            panic: averages.panic,
            ready: second.ready,
            arrivals: averages.arrivals,
            held,
            pressed: 0,
            busy: held > 0,
            idle,
            outlook,
            incomplete: false,
        }
    }
}

/// `as` saturates, and nothing that is negative comes here.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn microseconds(concurrency: f64) -> u64 {
    (concurrency * SECOND as f64).round() as u64
}

/// As [`microseconds`], upwards.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(concurrency: f64) -> u64 {
    concurrency.ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(at: u64, concurrency: f64, ready: u32) -> Second {
        Second { at: Duration::from_secs(at), concurrency, requests: 0, ready }
    }

    #[test]
    fn averages_are_decided_by_the_formulas_alone() {
        let mut replay = Replay::new(Policy { target: 10, utilization: 100, ..Policy::default() });
        let burst = replay.averages(Duration::from_secs(12), 50.0, 100.0, 1);
        assert_eq!((burst.desired, burst.panic), (10, true));
        let quiet = replay.averages(Duration::from_secs(80), 0.0, 0.0, 1);
        assert_eq!((quiet.desired, quiet.panic), (0, false), "no idle time: zero is zero");
    }

    #[test]
    fn seconds_are_averaged_and_rest_after_the_idle_time() {
        let mut replay = Replay::new(Policy { limit: 10, utilization: 100, ..Policy::default() });
        assert_eq!(replay.second(second(0, 0.0, 0)).desired, 0, "nothing starts by itself");
        assert_eq!(replay.second(second(1, 20.0, 0)).desired, 2, "held");
        for at in 2..=60 {
            assert_eq!(replay.second(second(at, 20.0, 2)).desired, 2, "at {at}");
        }
        let rest: Vec<u32> = (61..=150).map(|at| replay.second(second(at, 0.0, 2)).desired).collect();
        assert!(rest.is_sorted_by(|earlier, later| earlier >= later), "{rest:?}");
        assert_eq!((rest[0], rest.last()), (2, Some(&0)), "{rest:?}");
    }

    #[test]
    fn a_second_that_is_left_out_is_one_without_requests() {
        let policy = Policy { limit: 1, utilization: 100, ..Policy::default() };
        let (mut whole, mut sparse) = (Replay::new(policy.clone()), Replay::new(policy));
        let load = |at| if at % 3 == 0 { 4.0 } else { 0.0 };
        for at in 0..90 {
            let decided = whole.second(second(at, load(at), 4));
            if load(at) > 0.0 {
                assert_eq!(sparse.second(second(at, load(at), 4)), decided, "at {at}");
            }
        }
    }

    /// What is decided at each second of a series in which a request comes at these.
    fn decided(replay: &mut Replay, seconds: std::ops::Range<u64>, requests: &[u64]) -> Vec<Decision> {
        let mut ready = 0;
        let decide = |at| {
            let concurrency = if requests.contains(&at) { 0.1 } else { 0.0 };
            let decision = replay.second(second(at, concurrency, ready));
            ready = decision.desired;
            decision
        };
        seconds.map(decide).collect()
    }

    #[test]
    fn what_is_learned_starts_a_replica_ahead_of_a_timer() {
        let idle_policy = crate::policy::IdlePolicy::Learned { budget: 50 };
        let policy = Policy { idle_after: Duration::from_secs(30), idle_policy, ..Policy::default() };
        let timer: Vec<u64> = (0..10).map(|turn| turn * 300).collect();
        let ahead = |policy: Policy| {
            let decisions = decided(&mut Replay::new(policy), 0..3_000, &timer);
            let first = decisions.iter().position(Decision::is_ahead);
            // Whether each request found a replica.
            (
                first,
                timer[1..]
                    .iter()
                    .map(|at| decisions[usize::try_from(*at).unwrap() - 1].desired)
                    .collect::<Vec<_>>(),
            )
        };
        let (first, found) = ahead(policy.clone());
        assert!((1_200..1_500).contains(&first.unwrap()), "after four idle times: {first:?}");
        assert_eq!(found, [0, 0, 0, 0, 1, 1, 1, 1, 1]);
        let fixed = Policy { idle_policy: crate::policy::IdlePolicy::Fixed, ..policy };
        assert_eq!(ahead(fixed), (None, vec![0; 9]));
    }

    #[test]
    fn an_open_schedule_is_a_floor_and_its_end_begins_the_idle_time_anew() {
        let mut replay = Replay::new(Policy { idle_after: Duration::from_secs(10), ..Policy::default() });
        let desired =
            |decisions: Vec<Decision>| decisions.iter().map(|decision| decision.desired).collect::<Vec<_>>();
        assert_eq!(desired(decided(&mut replay, 0..5, &[])), [0; 5]);
        let open = OpenSchedule { name: "mornings".into(), min: 2 };
        replay.open(Some(open), Duration::from_secs(5));
        assert_eq!(desired(decided(&mut replay, 5..40, &[])), [2; 35]);
        replay.open(None, Duration::from_secs(40));
        let after = desired(decided(&mut replay, 40..60, &[]));
        assert_eq!(after, [[1; 10], [0; 10]].concat());
    }

    #[test]
    fn a_floor_costs_the_budget_nothing_and_one_that_is_used_up_grants_nothing() {
        let idle_policy = crate::policy::IdlePolicy::Learned { budget: 1 };
        let policy = Policy { idle_after: Duration::from_secs(30), idle_policy, ..Policy::default() };
        let terms = policy.terms().unwrap();
        let mut replay = Replay::new(policy);
        let open = || Some(OpenSchedule { name: "mornings".into(), min: 1 });
        replay.open(open(), Duration::ZERO);
        let full = replay.learned.credit(terms);
        let every = |seconds: std::ops::Range<u64>| seconds.step_by(60).collect::<Vec<_>>();
        decided(&mut replay, 0..600, &every(0..600));
        assert!(replay.learned.credit(terms) >= full, "{}", replay.learned.credit(terms));
        replay.open(None, Duration::from_secs(600));
        let granted = decided(&mut replay, 600..640, &[]);
        assert_eq!(granted.iter().filter(|decision| decision.desired > 0).count(), 30);
        // Idle times without a pattern that are waited for in vain until nothing is left.
        replay.learned = Learned::default();
        replay.learned.wasted(terms, 10 * terms.after);
        replay.open(open(), Duration::from_secs(640));
        decided(&mut replay, 640..650, &[]);
        replay.open(None, Duration::from_secs(650));
        let granted = decided(&mut replay, 650..690, &[]);
        assert_eq!(granted.iter().filter(|decision| decision.desired > 0).count(), 0);
    }

    #[test]
    fn a_rate_is_averaged_over_arrivals() {
        let metric = crate::policy::Metric::RequestRate;
        let mut replay = Replay::new(Policy { metric, target: 10, utilization: 100, ..Policy::default() });
        let desired: Vec<u32> = (0..10)
            .map(|at| Second { requests: 30, ..second(at, 0.1, 1) })
            .map(|second| replay.second(second).desired)
            .collect();
        assert_eq!(desired, [3; 10]);
    }
}
