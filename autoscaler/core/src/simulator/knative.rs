//! Knative Serving with its defaults, at its best: the formulas of a stable and a panic window, looked at every 2 s, and no
//! pod once the stable window is empty. Its further grace time before the last pod goes is left out.

use std::time::Duration;

use super::meter::Meter;
use super::{Scaler, Seen, Step};
use crate::decide::{History, Observation, formula};
use crate::policy::Policy;
use crate::settings::Settings;

/// How often it looks.
const TICK: Duration = Duration::from_secs(2);

/// One revision.
#[derive(Clone, Debug, Default)]
pub struct Knative {
    policy: Policy,
    settings: Settings,
    history: History,
    meter: Meter,
}

impl Scaler for Knative {
    fn requests(&mut self, now: Duration, requests: u32) {
        self.meter.requests(now, requests);
    }

    fn decide(&mut self, now: Duration, seen: Seen) -> Step {
        let Policy { window, panic_window, .. } = self.policy;
        let averages = self.meter.averages(now, window, panic_window);
        let observation = Observation {
            replicas: seen.replicas,
            stable: averages.stable,
            panic: averages.panic,
            ready: seen.ready,
            ..Observation::default()
        };
        let history = std::mem::take(&mut self.history);
        let (history, decision) = formula(&self.policy, &self.settings, history, &observation, now);
        self.history = history;
        // The activator pokes it for the first request.
        let least = u32::from(seen.requests() > 0 || averages.stable > 0.0);
        let replicas = decision.desired.max(least);
        let again =
            (replicas > 0).then(|| TICK * (u32::try_from(now.as_secs() / 2).unwrap_or(u32::MAX - 1) + 1));
        Step { replicas, again }
    }
}
