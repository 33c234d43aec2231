//! The formula: how many replicas one revision needs. Pure: no clock, no I/O, and it says why.

use std::time::Duration;

use crate::policy::{Policy, Stage};
use crate::settings::Settings;

/// What was seen of one revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// `spec.replicas` now.
    pub replicas: u32,
    /// Average of requests at once over the stable window; `None` when nothing is known.
    pub stable: Option<f64>,
    /// The same over the panic window.
    pub panic: Option<f64>,
    /// Pods that could serve if no gate were closed.
    pub ready: u32,
    /// Requests held because no pod is usable.
    pub held: u64,
    /// Requests in flight and held while there is no free capacity, after long enough of it; 0: no pressure.
    pub pressed: u64,
    /// Something is in flight or held somewhere, as far as known.
    pub busy: bool,
    /// The idle time has passed.
    pub idle: bool,
    /// Measurements are incomplete: only raising is allowed.
    pub incomplete: bool,
}

/// What a decision remembers for the next one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// In panic: when demand was last over the threshold.
    pub over_at: Option<Duration>,
    /// In panic: the highest need since it began.
    pub highest: u32,
}

/// One rule that took part in a decision, with its numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// Requests are held at zero.
    Held(u64),
}

/// How many replicas a revision needs, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Replicas needed.
    pub desired: u32,
    /// In panic.
    pub panic: bool,
    /// The need was more than `max`.
    pub at_max: bool,
    /// The rules that bound, in the order of the formula.
    pub reasons: Vec<Reason>,
}

/// Decides for one revision at one moment.
pub fn decide(
    policy: &Policy,
    stage: Stage,
    _settings: &Settings,
    history: &History,
    observation: &Observation,
    _now: Duration,
) -> (History, Decision) {
    let desired = observation.replicas.max(policy.floor(stage));
    (history.clone(), Decision { desired, ..Decision::default() })
}
