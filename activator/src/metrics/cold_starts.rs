//! The last cold starts of each Function, for whoever asks why one was slow: histograms tell of all, and of none in particular.
//!
//! Only the end of a request that waited for a pod comes here. Bounded: the last [`KEPT`] of each of the [`MOST_FUNCTIONS`]
//! Functions that woke last, in less than 2 MiB.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use catnap_activator_core::Phases;
use catnap_activator_http::Ended;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

/// Cold starts of a Function that are kept.
const KEPT: usize = 5;
/// Functions of which some are kept.
const MOST_FUNCTIONS: usize = 1_000;
/// The waits of requests for the same pod may seem to end this far apart: a request comes a little before it begins to wait.
const APART: Duration = Duration::from_millis(100);

/// The cold starts that are remembered, by the UID of their Function.
#[derive(Debug, Default)]
pub(crate) struct ColdStarts {
    functions: Mutex<HashMap<Arc<str>, Vec<ColdStart>>>,
}

/// One of them: what the first of its requests waited for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColdStart {
    /// When that request came.
    pub(crate) began: Instant,
    pub(crate) revision: Arc<str>,
    pub(crate) phases: Phases,
    /// Status code of its response, when there was one.
    pub(crate) status: Option<u16>,
    /// Why it ended as it did; empty when the function answered.
    pub(crate) reason: &'static str,
    /// Those that waited for the same pods and have ended.
    pub(crate) requests: u64,
}

impl ColdStarts {
    /// A request ended at `now` that waited for a pod, and got one.
    // Out of line: most requests find a pod.
    #[cold]
    pub(super) fn ended(&self, exchange: &Ended<'_>, phases: &Phases, now: Instant) {
        let (Some(function), Some(revision)) = (exchange.function, exchange.revision) else { return };
        let start = ColdStart {
            began: now.checked_sub(exchange.duration).unwrap_or(now),
            revision: Arc::clone(&revision.name),
            phases: *phases,
            status: exchange.status,
            reason: exchange.outcome.reason(),
            requests: 1,
        };
        self.keep(function.uid(), start);
    }

    /// Remembers one of the Function with this UID.
    pub(crate) fn keep(&self, uid: &Arc<str>, start: ColdStart) {
        let mut functions = self.functions();
        if functions.len() >= MOST_FUNCTIONS && !functions.contains_key(uid) {
            let oldest = functions.iter().min_by_key(|(_, starts)| starts.last().map(|start| start.began));
            if let Some(oldest) = oldest.map(|(uid, _)| Arc::clone(uid)) {
                functions.remove(&oldest);
            }
        }
        add(functions.entry(Arc::clone(uid)).or_insert_with(|| Vec::with_capacity(KEPT)), start);
    }

    /// Those of a Function, the latest first.
    pub(crate) fn of(&self, uid: &str) -> Vec<ColdStart> {
        self.functions().get(uid).map(|starts| starts.iter().rev().cloned().collect()).unwrap_or_default()
    }

    fn functions(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<ColdStart>>> {
        self.functions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds one where it belongs: a request may end long after those that came behind it. The oldest goes.
fn add(starts: &mut Vec<ColdStart>, mut start: ColdStart) {
    while let Some(place) = starts.iter().position(|other| other.is_same(&start)) {
        start = starts.remove(place).and(start);
    }
    let place = starts.partition_point(|other| other.began <= start.began);
    if starts.len() < KEPT {
        starts.insert(place, start);
    } else if place > 0 {
        starts.remove(0);
        starts.insert(place - 1, start);
    }
}

impl ColdStart {
    /// When a pod answered.
    fn answered(&self) -> Instant {
        self.began + self.phases.total().saturating_sub(self.phases.queue)
    }

    /// Whether both waited for the same pods: each came before a pod answered the other.
    fn is_same(&self, other: &Self) -> bool {
        self.revision == other.revision
            && self.began <= other.answered() + APART
            && other.began <= self.answered() + APART
    }

    /// What is told of both: the one that came first waited for everything.
    fn and(self, other: Self) -> Self {
        let requests = self.requests.saturating_add(other.requests);
        let first = if other.began < self.began { other } else { self };
        Self { requests, ..first }
    }

    /// As `/debug/state` shows it.
    pub(crate) fn tell(&self) -> Value {
        let Self { began, revision, phases, status, reason, requests } = self;
        let Phases { cold: _, wake, schedule, start, ready, queue } = *phases;
        let at = SystemTime::now().checked_sub(began.elapsed());
        let at = at.and_then(|at| Timestamp::try_from(at).ok()).unwrap_or_default();
        json!({
            "at": format!("{at:.3}"),
            "revision": &**revision,
            "milliseconds": milliseconds(phases.total()),
            "phases": {
                "wake": milliseconds(wake),
                "schedule": milliseconds(schedule),
                "start": milliseconds(start),
                "ready": milliseconds(ready),
                "queue": milliseconds(queue),
            },
            "status": status,
            "reason": Some(*reason).filter(|reason| !reason.is_empty()),
            "requests": requests,
        })
    }
}

/// With one digit behind the point, as in `Server-Timing`.
fn milliseconds(length: Duration) -> f64 {
    (length.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests;
