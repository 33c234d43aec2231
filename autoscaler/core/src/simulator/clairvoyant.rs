//! The bound that no scaler can beat: it knows every request before it comes.

use std::time::Duration;

use super::{Outcome, Workload};

/// No request waits, and a pod lives only while it works, starts, or would not be back in time. Also returns the time in
/// which requests were worked on, which is the least that pods can live.
pub fn clairvoyant(workload: &Workload) -> (Outcome, Duration) {
    let mut outcome = Outcome::default();
    let mut working = Duration::ZERO;
    let mut free: Option<Duration> = None;
    for (turn, request) in workload.requests.iter().enumerate() {
        let end = (request.at + request.takes).min(workload.until);
        let from = free.map_or(request.at, |free| request.at.max(free)).min(end);
        let idle = request.at.saturating_sub(free.unwrap_or(Duration::ZERO));
        free = Some(free.map_or(end, |free| free.max(end)));
        if request.at < workload.counted_from {
            continue;
        }
        let start = workload.start(turn);
        let ahead = if idle.is_zero() { Duration::ZERO } else { start.min(idle) };
        outcome.requests += 1;
        outcome.changes += if idle > start { 2 } else { 0 };
        let works = end.saturating_sub(from);
        working += works;
        outcome.pod_time += works + ahead;
    }
    (outcome, working)
}
