//! The formula: how many replicas one revision needs. Pure: no clock, no I/O, and it says why.
//!
//! Stable and panic windows over requests at once, as Knative's autoscaler has them (`pkg/autoscaler/scaling`), but exact
//! averages instead of samples, and a need that held requests set at once.

use std::fmt;
use std::time::Duration;

use crate::learned::{Hold, Outlook};
use crate::policy::{Policy, Stage};
use crate::settings::Settings;

/// What was seen of one revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// `spec.replicas` now.
    pub replicas: u32,
    /// Average of requests at once over the stable window.
    pub stable: f64,
    /// The same over the panic window.
    pub panic: f64,
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
    /// What the function's pattern says of this moment of its idle time.
    pub outlook: Outlook,
    /// Measurements are incomplete: only raising is allowed.
    pub incomplete: bool,
}

/// What a decision remembers for the next one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// When demand was last over the threshold; `None`: not in panic.
    pub over_at: Option<Duration>,
    /// The highest need since panic began.
    pub highest: u32,
}

impl History {
    /// What a new leader assumes of a revision that it finds with `replicas`: more than one were needed just now, so that a
    /// change of leaders never makes a dip.
    pub fn found(replicas: u32, now: Duration) -> Self {
        if replicas > 1 { Self { over_at: Some(now), highest: replicas } } else { Self::default() }
    }
}

/// One rule that took part in a decision, with its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// The stable window's average and what it needs.
    Stable {
        /// Requests at once.
        average: f64,
        /// Requests at once that one pod is aimed at.
        goal: f64,
        /// Replicas.
        need: u32,
    },
    /// In panic: the panic window's average and what it needs.
    Panic {
        /// Requests at once.
        average: f64,
        /// Replicas.
        need: u32,
    },
    /// In panic: never less than the highest need since it began.
    HighestInPanic(u32),
    /// Growth or shrinking in one decision was bounded by the ready pods.
    Rate {
        /// What the average asked for.
        asked: u32,
        /// What the rates allow.
        allowed: u32,
    },
    /// Any demand asks for at least `scale.wake`.
    Wake(u32),
    /// Requests are held and no pod is usable.
    Held {
        /// Requests.
        held: u64,
        /// Requests at once in one full pod.
        total: u32,
        /// Replicas.
        need: u32,
    },
    /// Requests are held because every pod is full.
    Pressed {
        /// Requests, held and in flight.
        requests: u64,
        /// Requests at once in one full pod.
        total: u32,
        /// Replicas.
        need: u32,
    },
    /// Something is in flight or held: one replica stays.
    Busy,
    /// The idle time has not passed: one replica stays.
    NotIdle,
    /// The function's pattern makes a request likely now: a replica is kept, or started ahead of it.
    Likely(Hold),
    /// The budget for waiting in vain is used up: only the least idle time was waited.
    Spent,
    /// At zero, and no request waits: nothing starts, whatever the windows remember.
    Resting,
    /// No request for the idle time.
    Idle,
    /// The revision is unrouted and nothing is in flight.
    Retired,
    /// The floor bound.
    Floor(u32),
    /// `scale.max` bound.
    Max(u32),
    /// Nothing is taken away while the revision proves itself.
    Proving(u32),
    /// Nothing is taken away while measurements are incomplete.
    Incomplete(u32),
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stable { average, goal, need } => {
                write!(
                    formatter,
                    "{average:.2} requests at once over the stable window, {goal:.2} a replica: {need}"
                )
            }
            Self::Panic { average, need } => {
                write!(formatter, "panic: {average:.2} requests at once over the panic window: {need}")
            }
            Self::HighestInPanic(highest) => {
                write!(formatter, "panic: not below {highest}, the highest since it began")
            }
            Self::Rate { asked, allowed } => {
                write!(formatter, "{asked} asked for, {allowed} allowed in one step")
            }
            Self::Wake(wake) => write!(formatter, "any demand asks for scale.wake: {wake}"),
            Self::Held { held, total, need } => {
                write!(formatter, "{held} requests held without a usable pod, {total} a replica: {need}")
            }
            Self::Pressed { requests, total, need } => {
                write!(formatter, "{requests} requests and no free capacity, {total} a replica: {need}")
            }
            Self::Busy => formatter.write_str("requests are in flight or held: 1"),
            Self::NotIdle => formatter.write_str("idle time has not passed: 1"),
            Self::Likely(hold) => write!(formatter, "learned: {hold}"),
            Self::Spent => formatter.write_str("learned: scale.idle.budget is used up: 0"),
            Self::Resting => formatter.write_str("at zero and nothing held: 0"),
            Self::Idle => formatter.write_str("idle time has passed: 0"),
            Self::Retired => formatter.write_str("unrouted and nothing in flight: 0"),
            Self::Floor(floor) => write!(formatter, "not below the floor: {floor}"),
            Self::Max(max) => write!(formatter, "not above scale.max: {max}"),
            Self::Proving(replicas) => write!(formatter, "proving itself: keeps {replicas}"),
            Self::Incomplete(replicas) => write!(formatter, "measurements incomplete: keeps {replicas}"),
        }
    }
}

/// How many replicas a revision needs, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Replicas needed.
    pub desired: u32,
    /// In panic.
    pub panic: bool,
    /// The need was more than `scale.max`.
    pub at_max: bool,
    /// The rules that bound, in the order of the formula.
    pub reasons: Vec<Reason>,
}

impl Decision {
    /// Requests are held and no pod is usable.
    pub fn is_wake(&self) -> bool {
        self.reasons.iter().any(|reason| matches!(reason, Reason::Held { .. }))
    }
}

/// Decides for one revision at one moment.
pub fn decide(
    policy: &Policy,
    stage: Stage,
    settings: &Settings,
    history: &History,
    observation: &Observation,
    now: Duration,
) -> (History, Decision) {
    let (history, mut decision) = formula(policy, settings, history, observation, now);
    let Decision { desired: need, reasons, at_max, panic } = &mut decision;
    // A whole quiet window leaves nothing to shrink step by step.
    let quiet = observation.stable == 0.0 && !*panic;
    raise_for_waiting(policy, settings, observation, need, reasons);
    rest(policy, stage, observation, quiet, need, reasons);

    let floor = policy.floor(stage);
    if *need < floor {
        *need = floor;
        reasons.push(Reason::Floor(floor));
    }
    if *need > policy.max {
        *need = policy.max;
        *at_max = true;
        reasons.push(Reason::Max(policy.max));
    }
    let replicas = observation.replicas;
    if *need < replicas && stage == Stage::Proving {
        *need = replicas;
        reasons.push(Reason::Proving(replicas));
    } else if *need < replicas && observation.incomplete {
        *need = replicas;
        reasons.push(Reason::Incomplete(replicas));
    }
    (history, decision)
}

/// The windows alone: no held requests, no idle rule, no bounds of the policy but `wake`.
pub fn formula(
    policy: &Policy,
    settings: &Settings,
    history: &History,
    observation: &Observation,
    now: Duration,
) -> (History, Decision) {
    let goal = policy.goal();
    let ready = observation.ready.max(1);
    let mut reasons = Vec::new();
    let stable_need = ceiling(observation.stable / goal);
    let panic_need = ceiling(observation.panic / goal);
    reasons.push(Reason::Stable { average: observation.stable, goal, need: stable_need });

    let over = f64::from(panic_need) / f64::from(ready) >= f64::from(policy.panic_threshold) / 100.0;
    let over_at = if over { Some(now) } else { history.over_at };
    let over_at = over_at.filter(|at| now.saturating_sub(*at) <= policy.window);
    let mut need = bounded(stable_need, ready, policy, settings, &mut reasons);
    let mut highest = 0;
    if over_at.is_some() {
        reasons.push(Reason::Panic { average: observation.panic, need: panic_need });
        need = need.max(bounded(panic_need, ready, policy, settings, &mut reasons));
        highest = history.highest.max(need);
        if highest > need {
            need = highest;
            reasons.push(Reason::HighestInPanic(highest));
        }
    }
    let panic = over_at.is_some();
    (History { over_at, highest }, Decision { desired: need, panic, at_max: false, reasons })
}

/// One window's need within the rates, and at least `wake` when there is any demand.
fn bounded(asked: u32, ready: u32, policy: &Policy, settings: &Settings, reasons: &mut Vec<Reason>) -> u32 {
    let down = floored(f64::from(ready) / settings.down_rate);
    let up = ceiling(f64::from(ready) * settings.up_rate).max(down);
    let allowed = asked.clamp(down, up);
    if allowed != asked {
        reasons.push(Reason::Rate { asked, allowed });
    }
    if asked > 0 && allowed < policy.wake {
        reasons.push(Reason::Wake(policy.wake));
        return policy.wake;
    }
    allowed
}

/// Held requests set the need now, not when the windows have noticed.
fn raise_for_waiting(
    policy: &Policy,
    settings: &Settings,
    observation: &Observation,
    need: &mut u32,
    reasons: &mut Vec<Reason>,
) {
    let total = policy.total();
    if observation.held > 0 {
        let wanted = pods_for(observation.held, total).max(policy.first());
        *need = (*need).max(wanted);
        reasons.push(Reason::Held { held: observation.held, total, need: wanted });
    }
    if observation.pressed > 0 {
        let up = ceiling(f64::from(observation.ready.max(1)) * settings.up_rate);
        let wanted = pods_for(observation.pressed, total).min(up);
        *need = (*need).max(wanted);
        reasons.push(Reason::Pressed { requests: observation.pressed, total, need: wanted });
    }
}

/// Between one and zero the idle time decides, not the windows; a retiring revision waits for nothing but its requests.
///
/// What keeps the last replica (not idle yet, an activator that says nothing) never starts a first one; only a request that
/// is expected does.
fn rest(
    policy: &Policy,
    stage: Stage,
    observation: &Observation,
    quiet: bool,
    need: &mut u32,
    reasons: &mut Vec<Reason>,
) {
    let likely = match observation.outlook {
        Outlook::Likely(hold) if stage == Stage::Routed => Some(hold),
        _ => None,
    };
    let ahead = likely.filter(Hold::is_ahead);
    if observation.replicas == 0 && observation.held == 0 && observation.pressed == 0 {
        *need = ahead.map_or(0, |_| policy.first());
        reasons.push(ahead.map_or(Reason::Resting, Reason::Likely));
    } else if observation.busy {
        if *need == 0 {
            *need = 1;
            reasons.push(Reason::Busy);
        }
    } else if stage == Stage::Retiring {
        *need = 0;
        reasons.push(Reason::Retired);
    } else if let Some(hold) = ahead.filter(|_| *need < policy.first()) {
        *need = policy.first();
        reasons.push(Reason::Likely(hold));
    } else if !observation.idle {
        if *need == 0 {
            *need = 1;
            reasons.push(likely.map_or(Reason::NotIdle, Reason::Likely));
        }
    } else if quiet || *need <= 1 {
        *need = 0;
        reasons.push(if observation.outlook == Outlook::Spent { Reason::Spent } else { Reason::Idle });
    }
}

/// Replicas that hold so many requests when full.
fn pods_for(requests: u64, total: u32) -> u32 {
    u32::try_from(requests.div_ceil(u64::from(total.max(1)))).unwrap_or(u32::MAX)
}

/// A count from a float that is never negative; `as` saturates, which is what an absurd demand should do.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn ceiling(value: f64) -> u32 {
    value.ceil() as u32
}

/// As [`ceiling`], downwards.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn floored(value: f64) -> u32 {
    value.floor() as u32
}

#[cfg(test)]
mod tests;
