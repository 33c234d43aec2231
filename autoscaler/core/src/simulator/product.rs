//! Catnap: `decide()` and the learned keep-alive of the product itself, once a second and whenever a request is held.

use std::time::Duration;

use super::meter::Meter;
use super::{Scaler, Seen, Step};
use crate::decide::{History, Observation, decide};
use crate::invariants;
use crate::learned::times::{Times, length};
use crate::learned::{Learned, Outlook};
use crate::moment::{Moment, moment};
use crate::policy::{Policy, Stage};
use crate::settings::Settings;

/// One routed revision.
#[derive(Clone, Debug)]
pub struct Product {
    policy: Policy,
    settings: Settings,
    history: History,
    meter: Meter,
    times: Times,
    learned: Learned,
    requests: u32,
    busy_since: Duration,
}

impl Product {
    /// Scales by this policy.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            settings: Settings::default(),
            history: History::default(),
            meter: Meter::default(),
            times: Times::default(),
            learned: Learned::default(),
            requests: 0,
            busy_since: Duration::ZERO,
        }
    }

    /// How long no request has been there; `None`: one is, or none ever was.
    fn idle(&self, now: Duration) -> Option<Duration> {
        self.times.last().filter(|_| self.requests == 0).map(|last| length(moment(now) - last))
    }

    /// Whether the idle time has passed, and what is known of it.
    fn rest(&mut self, now: Duration) -> (bool, Outlook) {
        let Some(idle) = self.idle(now) else { return (false, Outlook::Unknown) };
        let terms = self.policy.terms();
        let rest =
            terms.and_then(|terms| self.times.rest(&mut self.learned, terms, Moment::MIN, moment(now)));
        rest.unwrap_or((idle >= self.policy.idle_after, Outlook::Unknown))
    }

    /// When something is decided next without a request.
    fn again(&mut self, now: Duration, replicas: u32) -> Option<Duration> {
        let next = if replicas > 0 {
            now
        } else {
            let (terms, idle) = (self.policy.terms()?, self.idle(now)?);
            now.saturating_sub(idle) + self.learned.next_ahead(terms, idle)?
        };
        Some(Duration::from_secs(next.as_secs() + 1))
    }
}

impl Scaler for Product {
    fn requests(&mut self, now: Duration, requests: u32) {
        self.meter.requests(now, requests);
        if self.requests == 0 {
            self.busy_since = now;
        }
        let idle_time = self.times.busy(moment(self.busy_since), moment(now));
        if let (Some(idle_time), Some(terms)) = (idle_time, self.policy.terms()) {
            idle_time.teach(&mut self.learned, terms, self.policy.floor(Stage::Routed) > 0);
        }
        self.requests = requests;
    }

    fn decide(&mut self, now: Duration, seen: Seen) -> Step {
        let averages = self.meter.averages(now, self.policy.window, self.policy.panic_window);
        let (idle, outlook) = self.rest(now);
        let observation = Observation {
            arriving: 0,
            replicas: seen.replicas,
            stable: averages.stable,
            panic: averages.panic,
            ready: seen.ready,
            arrivals: 0,
            held: if seen.ready == 0 { u64::from(seen.held) } else { 0 },
            pressed: if seen.ready > 0 && seen.held > 0 { u64::from(seen.requests()) } else { 0 },
            busy: seen.requests() > 0,
            idle,
            outlook,
            incomplete: false,
        };
        let stage = Stage::Routed;
        let history = std::mem::take(&mut self.history);
        let (history, decision) = decide(&self.policy, stage, &self.settings, history, &observation, now);
        debug_assert_eq!(invariants::decision(&self.policy, stage, &observation, &decision), Ok(()));
        self.history = history;
        // As the leader does when the count leaves zero.
        if seen.replicas == 0 && decision.desired > 0 && !decision.is_ahead() {
            self.times.grant(moment(now));
        }
        Step { replicas: decision.desired, again: self.again(now, decision.desired) }
    }
}
