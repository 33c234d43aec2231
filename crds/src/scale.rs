//! `spec.scale`: how many replicas a Function may have and what decides the number. Never forms a revision.

#![expect(unreachable_pub, reason = "KubeSchema copies each struct into a function body")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, Schedule, defaults, part};

/// How many replicas there may be, and what decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.min <= self.max")
    .message("scale.min must be at most scale.max").field_path(".min"))]
#[x_kube(validation = Rule::new("self.initial <= self.max")
    .message("scale.initial must be at most scale.max").field_path(".initial"))]
#[x_kube(validation = Rule::new("self.wake <= self.max")
    .message("scale.wake must be at most scale.max").field_path(".wake"))]
#[x_kube(validation = Rule::new("duration(self.panic.window) <= duration(self.window)")
    .message("scale.panic.window must be at most scale.window").field_path(".panic.window"))]
pub struct Scale {
    /// Fewest replicas; 0 lets the function rest at none.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000))]
    pub min: i32,
    /// Most replicas.
    #[serde(default = "defaults::scale_max")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max: i32,
    /// Ready replicas that prove a new revision before it takes traffic; 0 lets it take traffic unproven.
    #[serde(default = "defaults::scale_initial")]
    #[schemars(range(min = 0, max = 10_000))]
    pub initial: i32,
    /// Replicas to start when waking from none.
    #[serde(default = "defaults::scale_wake")]
    #[schemars(range(min = 1, max = 10_000))]
    pub wake: i32,
    /// What decides the number of replicas: requests at once, held ones included, or requests that arrive in a second.
    #[serde(default)]
    pub metric: Metric,
    /// Requests that one replica is meant for, at once or a second as metric says; 0 stands for concurrency.limit, or 100
    /// without one, and for 200 a second.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub target: i32,
    /// Percent of the target to aim for.
    #[serde(default = "defaults::scale_utilization")]
    #[schemars(range(min = 1, max = 100))]
    pub utilization: i32,
    /// The stable window: decides between one replica and many.
    #[serde(default = "defaults::scale_window")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('6s') && duration(self) <= duration('1h')")
        .message("scale.window must be between 6s and 1h"))]
    pub window: Duration,
    /// The short window that notices bursts.
    #[serde(default)]
    pub panic: Panic,
    /// The highest number of replicas that was needed in this time is kept; 0s follows each need at once.
    #[serde(default)]
    #[x_kube(validation = Rule::new("duration(self) <= duration('1h')")
        .message("scale.downDelay must be between 0s and 1h"))]
    pub down_delay: Duration,
    /// When the last replica goes.
    #[serde(default)]
    pub idle: Idle,
    /// Times at which there are at least some replicas; of those that are open at once the highest counts, up to scale.max.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub schedules: Vec<Schedule>,
}

/// What decides the number of replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Metric {
    /// Requests at once, held ones included.
    #[default]
    Concurrency,
    /// Requests that arrive in a second.
    RequestRate,
}

/// The short window that notices bursts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Panic {
    /// Length of the window.
    #[serde(default = "defaults::panic_window")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')")
        .message("scale.panic.window must be at least 1s and at most scale.window"))]
    pub window: Duration,
    /// Percent of what the ready replicas are meant for, from which a burst counts as one.
    #[serde(default = "defaults::panic_threshold")]
    #[schemars(range(min = 110, max = 1000))]
    pub threshold: i32,
}

/// When the last replica goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Idle {
    /// How long there must be no request (when scale.min is 0). With the policy Learned the longest that a replica may wait.
    #[serde(default = "defaults::idle_after")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')")
        .message("scale.idle.after must be between 1s and 24h"))]
    pub after: Duration,
    /// Fixed: always scale.idle.after. Learned: as the function's own pattern of requests suggests; a replica is also started
    /// ahead of a request that the pattern predicts.
    #[serde(default)]
    pub policy: IdlePolicy,
    /// With the policy Learned: percent of a replica's time that may be spent waiting for requests that do not come.
    #[serde(default = "defaults::idle_budget")]
    #[schemars(range(min = 1, max = 100))]
    pub budget: i32,
}

/// Who chooses when the last replica goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)] // Said at the field.
pub enum IdlePolicy {
    #[default]
    Fixed,
    Learned,
}

impl Scale {
    /// Replicas that a new revision's Deployment starts with.
    pub fn initial_replicas(&self) -> i32 {
        self.initial.max(self.min)
    }

    /// Ready replicas that prove a new revision: at least [`min`](Self::min), and 0 only where the user wrote 0.
    pub fn proof_replicas(&self) -> i32 {
        if self.initial == 0 { 0 } else { self.initial_replicas() }
    }

    /// What of this is a revision's that takes, or is about to take, `percent` of the requests: its part of the floors, of the
    /// ceiling and of what is woken, rounded up. One replica is always allowed.
    #[must_use]
    pub fn of_part(&self, percent: i32) -> Self {
        self.of_parts(percent, percent)
    }

    /// As [`of_part`](Self::of_part), of a revision that takes `settled` percent and may get more at any moment, `coming` in all:
    /// it has the floors of the one, and room for the other.
    #[must_use]
    pub fn of_parts(&self, settled: i32, coming: i32) -> Self {
        let percent = coming.max(settled);
        let max = part(self.max, percent, 1);
        let schedules = self.schedules.iter().map(|schedule| {
            let min = part(schedule.min, settled, 0);
            Schedule { min, ..schedule.clone() }
        });
        Self {
            min: part(self.min, settled, 0),
            max,
            // As many as the user wants to see ready, whatever they will take; more than max nobody would start.
            initial: self.initial.min(max),
            wake: part(self.wake, percent, 1),
            schedules: schedules.collect(),
            ..self.clone()
        }
    }

    /// Requests at once that one replica is meant for; 0 where nobody said, or said it of a rate.
    pub fn concurrency_target(&self) -> i32 {
        match self.metric {
            Metric::Concurrency => self.target,
            Metric::RequestRate => 0,
        }
    }

    /// Replicas to start when waking: at least [`min`](Self::min).
    pub fn wake_replicas(&self) -> i32 {
        self.wake.max(self.min)
    }
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            min: 0,
            max: defaults::scale_max(),
            initial: defaults::scale_initial(),
            wake: defaults::scale_wake(),
            metric: Metric::default(),
            target: 0,
            utilization: defaults::scale_utilization(),
            window: defaults::scale_window(),
            panic: Panic::default(),
            down_delay: Duration::default(),
            idle: Idle::default(),
            schedules: Vec::new(),
        }
    }
}

impl Default for Panic {
    fn default() -> Self {
        Self { window: defaults::panic_window(), threshold: defaults::panic_threshold() }
    }
}

impl Default for Idle {
    fn default() -> Self {
        Self { after: defaults::idle_after(), policy: IdlePolicy::default(), budget: defaults::idle_budget() }
    }
}
