//! What a Function's owner asked for: the `scale` block and the limit, as plain numbers.
//!
//! Defaults and their checks belong to the CRD; here every value is already filled in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::learned::Terms;

/// The user's part of every decision about one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Fewest replicas while routed.
    pub min: u32,
    /// Most replicas ever.
    pub max: u32,
    /// Ready replicas that prove a new revision.
    pub initial: u32,
    /// Replicas to start when waking.
    pub wake: u32,
    /// What is averaged and aimed at.
    pub metric: Metric,
    /// Requests at once, or a second, that one pod is meant to have; 0: the limit, or 100 without one; 200 a second.
    pub target: u32,
    /// Hard cap of requests at once in one pod; 0: none.
    pub limit: u32,
    /// Percent of the target to aim for, 1 to 100.
    pub utilization: u32,
    /// Stable window.
    pub window: Duration,
    /// Panic window, not longer than the stable one.
    pub panic_window: Duration,
    /// Percent of the ready capacity above which panic begins, at least 110.
    pub panic_threshold: u32,
    /// The highest need of this long holds; zero: each need by itself.
    pub down_delay: Duration,
    /// No request for this long: zero. With [`IdlePolicy::Learned`] the longest that may be chosen.
    pub idle_after: Duration,
    /// Who chooses the idle time.
    pub idle_policy: IdlePolicy,
    /// The open schedule with the highest floor; `None`: none is open.
    pub schedule: Option<OpenSchedule>,
    /// Set while requests move from one revision of the Function to another.
    pub shift: Option<Shift>,
}

/// What requests that move between the revisions of a Function mean for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// Percent of the Function's requests that it takes.
    pub percent: u32,
    /// Replicas that are waited for before it gets more of them; 0: it gets no more for now.
    pub awaited: u32,
}

/// A schedule whose window is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSchedule {
    /// What its owner calls it.
    pub name: Arc<str>,
    /// Fewest replicas while it is open.
    pub min: u32,
}

/// Who chooses how long the last replica waits for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdlePolicy {
    /// The owner: [`Policy::idle_after`].
    #[default]
    Fixed,
    /// The function's own pattern.
    Learned {
        /// Percent of a replica's time that may be waited in vain.
        budget: u32,
    },
}

impl Default for Policy {
    /// The defaults of the Function API.
    fn default() -> Self {
        Self {
            min: 0,
            max: 100,
            initial: 1,
            wake: 1,
            metric: Metric::Concurrency,
            target: 0,
            limit: 0,
            utilization: 70,
            window: Duration::from_secs(60),
            panic_window: Duration::from_secs(6),
            panic_threshold: 200,
            down_delay: Duration::ZERO,
            idle_after: Duration::from_secs(30),
            idle_policy: IdlePolicy::Fixed,
            schedule: None,
            shift: None,
        }
    }
}

/// What a revision's demand is measured in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// Requests at once, held ones included.
    #[default]
    Concurrency,
    /// Requests that arrive in a second.
    RequestRate,
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Concurrency => "requests at once",
            Self::RequestRate => "requests a second",
        })
    }
}

/// Where a revision is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// New; has not yet shown that it can serve.
    #[default]
    Proving,
    /// Takes traffic.
    Routed,
    /// Takes no new traffic; goes to zero as soon as nothing is in flight.
    Retiring,
}

/// Requests at once in one pod when neither a target nor a limit is set.
const DEFAULT_CONCURRENCY: u32 = 100;
/// Requests a second for one pod when no target is set.
const DEFAULT_REQUEST_RATE: u32 = 200;

impl Policy {
    /// Requests at once, or a second, that one pod takes when it is full.
    pub fn total(&self) -> u32 {
        match (self.metric, self.target, self.limit) {
            (Metric::Concurrency, 0, 0) => DEFAULT_CONCURRENCY,
            (Metric::Concurrency, 0, limit) => limit,
            (Metric::Concurrency, target, 0) => target,
            (Metric::Concurrency, target, limit) => target.min(limit),
            (Metric::RequestRate, 0, _) => DEFAULT_REQUEST_RATE,
            (Metric::RequestRate, target, _) => target,
        }
    }

    /// Requests at once that fill one pod, whatever the metric; 0: nobody knows, because the target is a rate and there is no
    /// limit.
    pub fn capacity(&self) -> u32 {
        match self.metric {
            Metric::Concurrency => self.total(),
            Metric::RequestRate => self.limit,
        }
    }

    /// Requests at once, or a second, that one pod is aimed at.
    pub fn goal(&self) -> f64 {
        (f64::from(self.total()) * f64::from(self.utilization) / 100.0).max(0.01)
    }

    /// Fewest replicas at this stage of the revision's life.
    pub fn floor(&self, stage: Stage) -> u32 {
        match stage {
            Stage::Proving => self.initial.max(self.min).max(self.scheduled()).min(self.max),
            Stage::Routed => self.min.max(self.scheduled()).max(self.awaited()).min(self.max),
            Stage::Retiring => 0,
        }
    }

    fn scheduled(&self) -> u32 {
        self.schedule.as_ref().map_or(0, |schedule| schedule.min)
    }

    fn awaited(&self) -> u32 {
        self.shift.map_or(0, |shift| shift.awaited)
    }

    /// The replicas that requests wait for are the floor, and nothing else is.
    pub(crate) fn is_awaited(&self, stage: Stage) -> bool {
        let alone = Self { shift: None, ..self.clone() };
        self.shift.is_some() && self.floor(stage) > alone.floor(stage)
    }

    /// The open schedule, when the floor is its and nothing else's.
    pub(crate) fn binding_schedule(&self, stage: Stage) -> Option<&OpenSchedule> {
        let alone = Self { schedule: None, ..self.clone() };
        self.schedule.as_ref().filter(|_| self.floor(stage) > alone.floor(stage))
    }

    /// What bounds the choice of an idle time; `None`: it is fixed.
    pub fn terms(&self) -> Option<Terms> {
        match self.idle_policy {
            IdlePolicy::Fixed => None,
            IdlePolicy::Learned { budget } => Some(Terms { after: self.idle_after, budget }),
        }
    }

    /// Replicas to start when waking, never fewer than one.
    pub fn first(&self) -> u32 {
        self.wake.max(self.min).min(self.max).max(1)
    }
}
