//! Why a decision is what it is: each rule that bound, with its numbers, and the sentence that people read.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::learned::Hold;
use crate::policy::Metric;

/// The rules that took part, in the order of the formula. So many fit without an allocation; most decisions have two or three,
/// and there is one decision for each of thousands of revisions to pass over.
pub type Reasons = SmallVec<[Reason; 8]>;

/// One rule that took part in a decision, with its numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// The stable window's average and what it needs.
    Stable {
        /// What is averaged.
        metric: Metric,
        /// Requests at once, or requests a second.
        average: f64,
        /// The same that one pod is aimed at.
        goal: f64,
        /// Replicas.
        need: u32,
    },
    /// In panic: the panic window's average and what it needs.
    Panic {
        /// What is averaged.
        metric: Metric,
        /// Requests at once, or requests a second.
        average: f64,
        /// Replicas.
        need: u32,
    },
    /// In panic: never less than the highest need since it began.
    HighestInPanic(u32),
    /// Pods for headroom wait until those that the requests fill are ready.
    Headroom {
        /// What the average asked for.
        asked: u32,
        /// What the requests fill, or what there is.
        allowed: u32,
    },
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
        /// Requests at once in one full pod; 0: as many as come.
        capacity: u32,
        /// Replicas, `scale.wake` included.
        need: u32,
    },
    /// Requests are held, and what arrived in a second asks for more than they do.
    Arrivals {
        /// Requests.
        arrivals: u64,
        /// Requests a second in one full pod.
        total: u32,
        /// Replicas.
        need: u32,
    },
    /// Requests are held because every pod is full.
    Pressed {
        /// Requests, held and in flight.
        requests: u64,
        /// Requests at once in one full pod.
        capacity: u32,
        /// Replicas.
        need: u32,
    },
    /// Something is in flight or held: one replica stays.
    Busy,
    /// The idle time has not passed: one replica stays.
    NotIdle,
    /// The function's pattern makes a request likely now: a replica is kept, or started ahead of it.
    Likely(Hold),
    /// The function's pattern makes no request likely after this part of the idle time, which has passed.
    Unlikely(Hold),
    /// The budget for waiting in vain is used up: only the least idle time was waited.
    Spent,
    /// At zero, and no request waits: nothing starts, whatever the windows remember.
    Resting,
    /// No request for the idle time.
    Idle,
    /// The revision is unrouted and nothing is in flight.
    Retired,
    /// The highest need of the last `scale.downDelay` bound.
    DownDelay(u32),
    /// The floor bound.
    Floor(u32),
    /// The revision is to get more of the Function's requests when it has these replicas.
    Awaited(u32),
    /// The revision got more of the Function's requests since less than a stable window, which remembers the time before.
    Shifted(u32),
    /// The floor of an open schedule bound.
    Schedule(Arc<str>, u32),
    /// `scale.max` bound.
    Max(u32),
    /// Nothing is taken away while the revision proves itself.
    Proving(u32),
    /// Nothing is taken away while measurements are incomplete.
    Incomplete(u32),
}

impl Reason {
    /// The rule's name: the same for all numbers, for whoever counts or filters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stable { .. } => "Stable",
            Self::Panic { .. } => "Panic",
            Self::HighestInPanic(_) => "HighestInPanic",
            Self::Headroom { .. } => "Headroom",
            Self::Rate { .. } => "Rate",
            Self::Wake(_) => "Wake",
            Self::Held { .. } => "Held",
            Self::Arrivals { .. } => "Arrivals",
            Self::Pressed { .. } => "Pressed",
            Self::Busy => "Busy",
            Self::NotIdle => "NotIdle",
            Self::Likely(_) => "Likely",
            Self::Unlikely(_) => "Unlikely",
            Self::Spent => "Spent",
            Self::Resting => "Resting",
            Self::Idle => "Idle",
            Self::Retired => "Retired",
            Self::DownDelay(_) => "DownDelay",
            Self::Floor(_) => "Floor",
            Self::Awaited(_) => "Awaited",
            Self::Shifted(_) => "Shifted",
            Self::Schedule(..) => "Schedule",
            Self::Max(_) => "Max",
            Self::Proving(_) => "Proving",
            Self::Incomplete(_) => "Incomplete",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stable { metric, average, goal, need } => {
                write!(formatter, "{average:.2} {metric} over the stable window, {goal:.2} a replica: {need}")
            }
            Self::Panic { metric, average, need } => {
                write!(formatter, "panic: {average:.2} {metric} over the panic window: {need}")
            }
            Self::HighestInPanic(highest) => {
                write!(formatter, "panic: not below {highest}, the highest since it began")
            }
            Self::Headroom { asked, allowed } => {
                write!(formatter, "{asked} asked for, {allowed} until these are ready")
            }
            Self::Rate { asked, allowed } => {
                write!(formatter, "{asked} asked for, {allowed} allowed in one step")
            }
            Self::Wake(wake) => write!(formatter, "any demand asks for scale.wake: {wake}"),
            Self::Held { held, capacity: 0, need } => {
                write!(formatter, "{held} requests held without a usable pod: {need}")
            }
            Self::Held { held, capacity, need } => {
                write!(formatter, "{held} requests held without a usable pod, {capacity} a replica: {need}")
            }
            Self::Arrivals { arrivals, total, need } => {
                write!(formatter, "{arrivals} requests in the last second, {total} a replica: {need}")
            }
            Self::Pressed { requests, capacity, need } => {
                write!(formatter, "{requests} requests and no free capacity, {capacity} a replica: {need}")
            }
            Self::Busy => formatter.write_str("requests are in flight or held: 1"),
            Self::NotIdle => formatter.write_str("idle time has not passed: 1"),
            Self::Likely(hold) => write!(formatter, "learned: {hold}"),
            Self::Unlikely(hold) => write!(formatter, "learned: {hold}, and that has passed: 0"),
            Self::Spent => formatter.write_str("learned: scale.idle.budget is used up: 0"),
            Self::Resting => formatter.write_str("at zero and nothing held: 0"),
            Self::Idle => formatter.write_str("idle time has passed: 0"),
            Self::Retired => formatter.write_str("unrouted and nothing in flight: 0"),
            Self::DownDelay(highest) => {
                write!(formatter, "not below {highest}, the highest of the last scale.downDelay")
            }
            Self::Floor(floor) => write!(formatter, "not below the floor: {floor}"),
            Self::Awaited(awaited) => {
                write!(formatter, "gets more of the function's requests with these replicas: {awaited}")
            }
            Self::Shifted(replicas) => {
                write!(formatter, "got more of the function's requests within a window: not below {replicas}")
            }
            Self::Schedule(name, floor) => write!(formatter, "schedule {name} is open: not below {floor}"),
            Self::Max(max) => write!(formatter, "not above scale.max: {max}"),
            Self::Proving(replicas) => write!(formatter, "proving itself: keeps {replicas}"),
            Self::Incomplete(replicas) => write!(formatter, "measurements incomplete: keeps {replicas}"),
        }
    }
}
