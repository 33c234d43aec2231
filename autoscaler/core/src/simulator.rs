//! Requests of one function against a way to scale it: what waits, how long pods live, and how much of that was needed.
//!
//! Deterministic: pods take the start times they are given, in turn. It knows no gates and no API server, so that hours of
//! many functions take seconds; what those two do to a decision is the business of the fault simulation.

mod clairvoyant;
mod fixed;
mod knative;
mod meter;
mod product;
mod run;

use std::time::Duration;

pub use clairvoyant::clairvoyant;
pub use fixed::{KeepAlive, Polling};
pub use knative::Knative;
pub use product::Product;
pub use run::simulate;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it comes, since the beginning of the run.
    pub at: Duration,
    /// How long a pod works on it.
    pub takes: Duration,
}

/// What happens to one function.
#[derive(Clone, Debug)]
pub struct Workload {
    /// In the order of their coming.
    pub requests: Vec<Request>,
    /// Requests at once in one pod, at least 1.
    pub capacity: u32,
    /// Time that pods take to start, used in turn; none: they start at once.
    pub starts: Vec<Duration>,
    /// Requests and pod time before this are not counted.
    pub counted_from: Duration,
    /// End of the run.
    pub until: Duration,
}

impl Workload {
    fn start(&self, pod: usize) -> Duration {
        pod.checked_rem(self.starts.len()).and_then(|turn| self.starts.get(turn)).copied().unwrap_or_default()
    }
}

/// What a way to scale sees of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Pods, started or starting.
    pub replicas: u32,
    /// Pods that can serve.
    pub ready: u32,
    /// Requests in pods.
    pub in_flight: u32,
    /// Requests without a place in a pod.
    pub held: u32,
}

impl Seen {
    /// Requests in all.
    pub fn requests(&self) -> u32 {
        self.in_flight + self.held
    }
}

/// What a way to scale wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Pods; those with requests stay all the same.
    pub replicas: u32,
    /// When it wants to be asked again if nothing happens.
    pub again: Option<Duration>,
}

/// A way to scale one function.
pub trait Scaler {
    /// From now on there are so many requests.
    fn requests(&mut self, now: Duration, requests: u32);

    /// Asked when a request has to wait, when the first one comes after a quiet time and the last one ends, and when it
    /// wanted to be.
    fn decide(&mut self, now: Duration, seen: Seen) -> Step;
}

/// What came of it, within the time that counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Requests.
    pub requests: u64,
    /// How long each request that had to wait did so.
    pub waits: Vec<Duration>,
    /// Time from each pod's creation to its removal.
    pub pod_time: Duration,
    /// What of it no request ended: from a pod's last request, or its creation, to its removal.
    pub vain: Duration,
    /// Changes of the number of pods.
    pub changes: u64,
}

#[cfg(test)]
mod tests;
