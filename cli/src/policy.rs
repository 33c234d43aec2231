//! From the `scale` block of a Function to the autoscaler's plain numbers.

use catnap_autoscaler_core::{IdlePolicy, Metric, Policy};
use catnap_crds::{IdlePolicy as SpecIdlePolicy, Metric as SpecMetric, Scale};

/// What decides for a revision with this `concurrency.limit`, which was checked as `scale` was.
pub(crate) fn policy(scale: &Scale, limit: u32) -> Policy {
    Policy {
        min: count(scale.min),
        max: count(scale.max),
        initial: count(scale.initial),
        wake: count(scale.wake),
        metric: match scale.metric {
            SpecMetric::Concurrency => Metric::Concurrency,
            SpecMetric::RequestRate => Metric::RequestRate,
        },
        target: count(scale.target),
        limit,
        utilization: count(scale.utilization),
        window: scale.window.get(),
        panic_window: scale.panic.window.get(),
        panic_threshold: count(scale.panic.threshold),
        down_delay: scale.down_delay.get(),
        idle_after: scale.idle.after.get(),
        idle_policy: match scale.idle.policy {
            SpecIdlePolicy::Fixed => IdlePolicy::Fixed,
            SpecIdlePolicy::Learned => IdlePolicy::Learned { budget: count(scale.idle.budget) },
        },
        // A function that is tried by hand has no mornings.
        schedule: None,
    }
}

/// The manifest was checked: no number is negative.
pub(crate) fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}
