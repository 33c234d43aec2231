//! The formula: how many replicas one revision needs. Pure: no clock, no I/O, and it says why.
//!
//! Stable and panic windows over requests at once or requests a second, as Knative's autoscaler has them
//! (`pkg/autoscaler/scaling`), but exact averages instead of samples, and a need that held requests set at once.

mod history;
mod reason;
mod shift;

use std::sync::Arc;
use std::time::Duration;

pub use history::{History, RecentNeeds};
pub use reason::{Reason, Reasons};

use crate::learned::{Hold, Outlook};
use crate::policy::{Metric, Policy, Stage};
use crate::settings::Settings;

/// What was seen of one revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// `spec.replicas` now.
    pub replicas: u32,
    /// Average of requests at once, or of requests a second, over the stable window.
    pub stable: f64,
    /// The same over the panic window.
    pub panic: f64,
    /// Pods that could serve if no gate were closed.
    pub ready: u32,
    /// Requests that arrived in the last second that is known.
    pub arrivals: u64,
    /// Requests that arrived within a second where some are held because no pod is usable; no second of them need be over.
    pub arriving: u64,
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

/// How many replicas a revision needs, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Replicas needed.
    pub desired: u32,
    /// In panic.
    pub panic: bool,
    /// The need was more than `scale.max`.
    pub at_max: bool,
    /// The rules that took part, in the order of the formula.
    pub reasons: Reasons,
    /// Which of them set `desired`: its index.
    pub binding: usize,
}

impl Decision {
    /// The rule that set the number: the others ask for less, or for more than a later one allows.
    pub fn rule(&self) -> Option<&Reason> {
        self.reasons.get(self.binding)
    }

    /// A rule sets the number.
    fn set(&mut self, desired: u32, reason: Reason) {
        self.desired = desired;
        self.binding = self.reasons.len();
        self.reasons.push(reason);
    }

    /// A rule asks for at least so many.
    fn raise(&mut self, need: u32, reason: Reason) {
        if need > self.desired {
            self.set(need, reason);
        } else {
            self.reasons.push(reason);
        }
    }

    /// Requests are held and no pod is usable.
    pub fn is_wake(&self) -> bool {
        self.reasons.iter().any(|reason| matches!(reason, Reason::Held { .. }))
    }

    /// Replicas are wanted ahead of a request that the pattern makes likely.
    pub fn is_ahead(&self) -> bool {
        self.reasons.iter().any(|reason| matches!(reason, Reason::Likely(hold) if hold.is_ahead()))
    }
}

/// Decides for one revision at one moment.
pub fn decide(
    policy: &Policy,
    stage: Stage,
    settings: &Settings,
    mut history: History,
    observation: &Observation,
    now: Duration,
) -> (History, Decision) {
    let mut decision = windows(policy, settings, &mut history, observation, now, Headroom::Last);
    // A whole quiet window leaves nothing to shrink step by step.
    let quiet = observation.stable == 0.0 && !decision.panic;
    raise_for_waiting(policy, settings, observation, &mut decision);
    let resting = rest(policy, stage, observation, quiet, &mut decision);
    if resting || stage == Stage::Retiring {
        history.recent.forget();
    } else {
        delay(policy, &mut history, now, &mut decision);
    }
    shift::remember(policy, stage, &mut history, observation.replicas, now, &mut decision);
    bound(policy, stage, &mut decision);
    keep(stage, observation, &mut decision);
    (history, decision)
}

/// The formulas alone: the windows, `downDelay`, and the bounds `min` and `max`. No held requests, no idle rule; a need of
/// zero is zero.
pub fn formula(
    policy: &Policy,
    settings: &Settings,
    mut history: History,
    observation: &Observation,
    now: Duration,
) -> (History, Decision) {
    let mut decision = windows(policy, settings, &mut history, observation, now, Headroom::AtOnce);
    delay(policy, &mut history, now, &mut decision);
    bound(policy, Stage::Routed, &mut decision);
    (history, decision)
}

/// When to ask for the pods that `scale.utilization` wants beyond those that the requests fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Headroom {
    /// Together with the others, as Knative does.
    AtOnce,
    /// Once pods for the requests that are there are ready, for what starts beside those on the same nodes makes them later;
    /// or when that takes too long, for a pod that never gets ready must not keep it from the others.
    Last,
}

/// What the stable and the panic window ask for, within the rates and at least `wake`.
fn windows(
    policy: &Policy,
    settings: &Settings,
    history: &mut History,
    observation: &Observation,
    now: Duration,
    headroom: Headroom,
) -> Decision {
    let Policy { metric, panic_threshold, window, .. } = *policy;
    let goal = policy.goal();
    let ready = observation.ready.max(1);
    let mut reasons = Reasons::new();
    let stable_need = ceiling(observation.stable / goal);
    let panic_need = ceiling(observation.panic / goal);
    reasons.push(Reason::Stable { metric, average: observation.stable, goal, need: stable_need });
    let over = f64::from(panic_need) / f64::from(ready) >= f64::from(panic_threshold) / 100.0;
    let over_at = if over { Some(now) } else { history.over_at };
    history.over_at = over_at.filter(|at| now.saturating_sub(*at) <= window);
    let panic = history.over_at.is_some();
    let highest = if panic { observation.stable.max(observation.panic) } else { observation.stable };
    let missing = headroom == Headroom::Last && observation.ready < filled(highest, policy);
    history.missing_since = missing.then(|| history.missing_since.unwrap_or(now));
    let waits = history.missing_since.is_some_and(|since| now.saturating_sub(since) < settings.headroom);
    let within_bounds = |asked: u32, average: f64, reasons: &mut Reasons| {
        let full = filled(average, policy);
        let most = if waits && observation.ready < full { full.max(observation.replicas) } else { u32::MAX };
        let allowed = asked.min(most);
        if allowed < asked {
            reasons.push(Reason::Headroom { asked, allowed });
        }
        bounded(allowed, ready, policy, settings, reasons)
    };
    let desired = within_bounds(stable_need, observation.stable, &mut reasons);
    let binding = reasons.len() - 1;
    let mut decision = Decision { desired, panic, at_max: false, reasons, binding };
    if panic {
        decision.reasons.push(Reason::Panic { metric, average: observation.panic, need: panic_need });
        let need = within_bounds(panic_need, observation.panic, &mut decision.reasons);
        if need > decision.desired {
            decision.desired = need;
            decision.binding = decision.reasons.len() - 1;
        }
        history.highest = history.highest.max(decision.desired);
        if history.highest > decision.desired {
            decision.set(history.highest, Reason::HighestInPanic(history.highest));
        }
    } else {
        history.highest = 0;
    }
    decision
}

/// Pods that so many requests fill, on average.
fn filled(average: f64, policy: &Policy) -> u32 {
    ceiling(average / f64::from(policy.total()))
}

/// One window's need within the rates, and at least `wake` when there is any demand.
fn bounded(asked: u32, ready: u32, policy: &Policy, settings: &Settings, reasons: &mut Reasons) -> u32 {
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
    decision: &mut Decision,
) {
    let Observation { held, pressed, arrivals, ready, .. } = *observation;
    let capacity = policy.capacity();
    if held > 0 {
        let need = pods_for(held, capacity).max(policy.first());
        decision.raise(need, Reason::Held { held, capacity, need });
        let total = policy.total();
        let arrivals = arrivals.max(observation.arriving);
        let for_arrivals = pods_for(arrivals, total);
        if policy.metric == Metric::RequestRate && for_arrivals > need {
            decision.raise(for_arrivals, Reason::Arrivals { arrivals, total, need: for_arrivals });
        }
    }
    if pressed > 0 && capacity > 0 {
        let up = ceiling(f64::from(ready.max(1)) * settings.up_rate);
        let need = pods_for(pressed, capacity).min(up);
        decision.raise(need, Reason::Pressed { requests: pressed, capacity, need });
    }
}

/// Between one and zero the idle time decides, not the windows; a retiring revision waits for nothing but its requests.
/// True when nothing runs and nothing is to start.
///
/// What keeps the last replica (not idle yet, an activator that says nothing) never starts a first one; only a request that
/// is expected does.
fn rest(
    policy: &Policy,
    stage: Stage,
    observation: &Observation,
    quiet: bool,
    decision: &mut Decision,
) -> bool {
    let need = decision.desired;
    let likely = match observation.outlook {
        Outlook::Likely(hold) if stage == Stage::Routed => Some(hold),
        _ => None,
    };
    let ahead = likely.filter(Hold::is_ahead);
    let resting = observation.replicas == 0 && observation.held == 0 && observation.pressed == 0;
    if resting {
        decision.set(ahead.map_or(0, |_| policy.first()), ahead.map_or(Reason::Resting, Reason::Likely));
    } else if observation.busy {
        if need == 0 {
            decision.set(1, Reason::Busy);
        }
    } else if stage == Stage::Retiring {
        decision.set(0, Reason::Retired);
    } else if let Some(hold) = ahead.filter(|_| need < policy.first()) {
        decision.set(policy.first(), Reason::Likely(hold));
    } else if !observation.idle {
        // The windows may still ask for the last one: it would go all the same if this did not keep it.
        if need <= 1 {
            decision.set(1, likely.map_or(Reason::NotIdle, Reason::Likely));
        }
    } else if quiet || need <= 1 {
        decision.set(
            0,
            match observation.outlook {
                Outlook::Spent => Reason::Spent,
                Outlook::Unlikely(hold) => Reason::Unlikely(hold),
                Outlook::Unknown | Outlook::Likely(_) => Reason::Idle,
            },
        );
    }
    resting
}

/// Never below the highest need of the last `downDelay`.
fn delay(policy: &Policy, history: &mut History, now: Duration, decision: &mut Decision) {
    let need = decision.desired.min(policy.max);
    let highest = history.recent.highest(need, now, policy.down_delay);
    if highest > decision.desired {
        decision.set(highest, Reason::DownDelay(highest));
    }
}

/// Within the floor and `max`.
fn bound(policy: &Policy, stage: Stage, decision: &mut Decision) {
    let floor = policy.floor(stage);
    if decision.desired < floor {
        let reason = match policy.binding_schedule(stage) {
            Some(schedule) => Reason::Schedule(Arc::clone(&schedule.name), floor),
            None if policy.is_awaited(stage) => Reason::Awaited(floor),
            None => Reason::Floor(floor),
        };
        decision.set(floor, reason);
    }
    if decision.desired > policy.max {
        decision.at_max = true;
        decision.set(policy.max, Reason::Max(policy.max));
    }
}

/// Nothing is taken away from a revision that proves itself, or on measurements that are not complete.
fn keep(stage: Stage, observation: &Observation, decision: &mut Decision) {
    let replicas = observation.replicas;
    if decision.desired >= replicas {
        return;
    }
    if stage == Stage::Proving {
        decision.set(replicas, Reason::Proving(replicas));
    } else if observation.incomplete {
        decision.set(replicas, Reason::Incomplete(replicas));
    }
}

/// Replicas that hold so many requests when full; none where nobody knows when that is.
fn pods_for(requests: u64, capacity: u32) -> u32 {
    if capacity == 0 {
        return 0;
    }
    u32::try_from(requests.div_ceil(u64::from(capacity))).unwrap_or(u32::MAX)
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
