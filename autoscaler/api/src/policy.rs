//! From the `scale` block of a Function to the plain numbers of the core.
//!
//! For one of several revisions it is [`Scale::of_part`] of the Function's.

use catnap_autoscaler_core::{IdlePolicy, Metric, Policy};
use catnap_crds::{IdlePolicy as SpecIdlePolicy, Metric as SpecMetric, Scale};

/// What decides for a revision with this `concurrency.limit`, while no schedule is open: [`Windows`](crate::Windows) knows
/// which one is.
pub fn policy(scale: &Scale, concurrency_limit: i32) -> Policy {
    let Scale {
        min,
        max,
        initial,
        wake,
        metric,
        target,
        utilization,
        window,
        panic,
        down_delay,
        idle,
        schedules: _,
    } = scale;
    Policy {
        min: count(*min),
        max: count(*max),
        initial: count(*initial),
        wake: count(*wake),
        metric: match metric {
            SpecMetric::Concurrency => Metric::Concurrency,
            SpecMetric::RequestRate => Metric::RequestRate,
        },
        target: count(*target),
        limit: count(concurrency_limit),
        utilization: count(*utilization),
        window: window.get(),
        panic_window: panic.window.get(),
        panic_threshold: count(panic.threshold),
        down_delay: down_delay.get(),
        idle_after: idle.after.get(),
        idle_policy: match idle.policy {
            SpecIdlePolicy::Fixed => IdlePolicy::Fixed,
            SpecIdlePolicy::Learned => IdlePolicy::Learned { budget: count(idle.budget) },
        },
        schedule: None,
        shift: None,
    }
}

/// A count of the API, whose schema lets no negative one through.
pub(crate) fn count(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_defaults_of_the_api_are_those_of_the_core() {
        assert_eq!(policy(&Scale::default(), 0), Policy::default());
    }

    #[test]
    fn every_field_has_its_place() {
        let scale = r#"{"min": 2, "max": 9, "initial": 3, "wake": 4, "metric": "RequestRate", "target": 50,
            "utilization": 60, "window": "30s", "panic": {"window": "5s", "threshold": 150}, "downDelay": "7s",
            "idle": {"after": "11s", "policy": "Learned", "budget": 20}}"#;
        let expected = Policy {
            min: 2,
            max: 9,
            initial: 3,
            wake: 4,
            metric: Metric::RequestRate,
            target: 50,
            limit: 8,
            utilization: 60,
            window: Duration::from_secs(30),
            panic_window: Duration::from_secs(5),
            panic_threshold: 150,
            down_delay: Duration::from_secs(7),
            idle_after: Duration::from_secs(11),
            idle_policy: IdlePolicy::Learned { budget: 20 },
            schedule: None,
            shift: None,
        };
        assert_eq!(policy(&serde_json::from_str(scale).unwrap(), 8), expected);
    }
}
