//! Catnap: `decide()` and the learned keep-alive of the product itself, once a second and whenever a request is held.

use std::time::Duration;

use super::meter::Meter;
use super::{Scaler, Seen, Step};
use crate::decide::{History, Observation, decide};
use crate::invariants;
use crate::learned::{Learned, Outlook};
use crate::policy::{Policy, Stage};
use crate::settings::Settings;

/// One routed revision.
#[derive(Clone, Debug)]
pub struct Product {
    policy: Policy,
    settings: Settings,
    history: History,
    meter: Meter,
    learned: Learned,
    requests: u32,
    busy_since: Duration,
    quiet_since: Option<Duration>,
}

impl Product {
    /// Scales by this policy.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            settings: Settings::default(),
            history: History::default(),
            meter: Meter::default(),
            learned: Learned::default(),
            requests: 0,
            busy_since: Duration::ZERO,
            quiet_since: None,
        }
    }

    /// Whether the idle time has passed, and what is known of it.
    fn rest(&mut self, now: Duration) -> (bool, Outlook) {
        let Some(quiet_since) = self.quiet_since else { return (false, Outlook::Unknown) };
        let idle = now.saturating_sub(quiet_since);
        self.policy.terms().map_or((idle >= self.policy.idle_after, Outlook::Unknown), |terms| {
            (self.learned.is_over(terms, idle), self.learned.outlook(terms, idle))
        })
    }

    /// When something is decided next without a request.
    fn again(&mut self, now: Duration, replicas: u32) -> Option<Duration> {
        let next = if replicas > 0 {
            now
        } else {
            let (terms, quiet_since) = (self.policy.terms()?, self.quiet_since?);
            quiet_since + self.learned.next_ahead(terms, now.saturating_sub(quiet_since))?
        };
        Some(Duration::from_secs(next.as_secs() + 1))
    }
}

impl Scaler for Product {
    fn requests(&mut self, now: Duration, requests: u32) {
        self.meter.requests(now, requests);
        if self.requests == 0 && requests > 0 {
            if let (Some(terms), Some(quiet_since)) = (self.policy.terms(), self.quiet_since) {
                let busy = quiet_since.saturating_sub(self.busy_since);
                self.learned.ended(terms, busy, now.saturating_sub(quiet_since));
            }
            self.busy_since = now;
            self.quiet_since = None;
        } else if self.requests > 0 && requests == 0 {
            self.quiet_since = Some(now);
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
        Step { replicas: decision.desired, again: self.again(now, decision.desired) }
    }
}
