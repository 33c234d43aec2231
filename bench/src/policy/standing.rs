//! What one way to scale did with all functions, and how ways compare.

use std::time::Duration;

use catnap_autoscaler_core::simulator::{Outcome, Workload, clairvoyant};

use crate::statistics::quantile;

/// Megabyte seconds in a gigabyte hour.
const GIGABYTE_HOUR: f64 = 3_600.0 * 1_000.0;

/// One way to scale.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// What it is called.
    pub(super) name: String,
    requests: u64,
    colds: u64,
    /// Waits of all requests, those that did not wait left out.
    waits: Vec<f64>,
    /// Memory times time of pods beyond that in which requests were worked on, in GB h.
    pub(super) waste: f64,
    changes: u64,
}

impl Standing {
    /// Adds up what it did with each workload, whose pods have so many megabytes.
    pub(super) fn of(
        name: impl Into<String>,
        workloads: &[(f64, Workload)],
        run: impl Fn(&Workload) -> Outcome,
    ) -> Self {
        let name = name.into();
        let mut sum = Self { name, requests: 0, colds: 0, waits: Vec::new(), waste: 0.0, changes: 0 };
        for (megabytes, workload) in workloads {
            let outcome = run(workload);
            let (_, least) = clairvoyant(workload);
            sum.requests += outcome.requests;
            sum.colds += outcome.waits.len() as u64;
            sum.waits.extend(outcome.waits.iter().map(Duration::as_secs_f64));
            let waste = outcome.pod_time.as_secs_f64() - least.as_secs_f64();
            sum.waste += waste * megabytes / GIGABYTE_HOUR;
            sum.changes += outcome.changes;
        }
        sum
    }

    /// Share of the requests that waited for a pod.
    pub(super) fn cold_rate(&self) -> f64 {
        self.colds as f64 / (self.requests as f64).max(1.0)
    }

    /// It is better in one respect and not worse in the other.
    pub(super) fn beats(&self, other: &Self) -> bool {
        let (colds, waste) = (self.cold_rate(), self.waste);
        colds <= other.cold_rate()
            && waste <= other.waste
            && (colds < other.cold_rate() || waste < other.waste)
    }

    /// Wait in seconds that a share of all requests stays below.
    fn wait(&self, share: f64) -> f64 {
        let all = self.requests as f64;
        let waited = self.waits.len() as f64;
        let among = 1.0 - (1.0 - share) * all / waited.max(1.0);
        if among <= 0.0 { 0.0 } else { quantile(&self.waits, among).unwrap_or_default() }
    }
}

/// Name of a fixed time.
pub(super) fn fixed(seconds: u64) -> String {
    format!("{seconds} s")
}

/// Name of one of ours.
pub(super) fn ours(policy: &str, seconds: u64) -> String {
    format!("{policy} {seconds} s")
}

/// Waste of the best fixed time at this rate of cold starts, on straight lines between the ones that were tried, the shortest
/// first. Below the rate of the longest it is the longest's, which is less than a still longer one would waste; `None` above
/// the rate of the shortest: nothing was tried that can be compared.
pub(super) fn at_equal_colds(kept: &[&Standing], rate: f64) -> Option<f64> {
    if let Some(longest) = kept.last().filter(|longest| rate < longest.cold_rate()) {
        return Some(longest.waste);
    }
    kept.windows(2).find_map(|pair| match pair {
        [shorter, longer] if (longer.cold_rate()..=shorter.cold_rate()).contains(&rate) => {
            let width = shorter.cold_rate() - longer.cold_rate();
            let share = if width > 0.0 { (shorter.cold_rate() - rate) / width } else { 0.0 };
            Some(shorter.waste + (longer.waste - shorter.waste) * share)
        }
        _ => None,
    })
}

/// The table for people.
pub(super) fn table(field: &[Standing]) -> String {
    let mut lines = vec![format!(
        "{:<20} {:>7} {:>9} {:>9} {:>9} {:>11} {:>8}",
        "", "cold %", "p50 wait", "p99 wait", "p50 cold", "waste GB h", "changes"
    )];
    for standing in field {
        lines.push(format!(
            "{:<20} {:>7.3} {:>7.2} s {:>7.2} s {:>7.2} s {:>11.2} {:>8}",
            standing.name,
            100.0 * standing.cold_rate(),
            standing.wait(0.5),
            standing.wait(0.99),
            quantile(&standing.waits, 0.5).unwrap_or_default(),
            standing.waste,
            standing.changes,
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(colds: u64, waste: f64) -> Standing {
        let waits = vec![2.0; usize::try_from(colds).unwrap()];
        Standing { name: String::new(), requests: 1_000, colds, waits, waste, changes: 0 }
    }

    #[test]
    fn fixed_times_are_joined_by_straight_lines() {
        let (shorter, longer) = (standing(100, 10.0), standing(50, 20.0));
        let kept = [&shorter, &longer];
        assert_eq!(at_equal_colds(&kept, 0.075), Some(15.0));
        assert_eq!(at_equal_colds(&kept, 0.05), Some(20.0));
        assert_eq!(at_equal_colds(&kept, 0.04), Some(20.0), "a longer time would waste more");
        assert_eq!(at_equal_colds(&kept, 0.11), None);
    }

    #[test]
    fn beating_needs_one_respect_and_no_loss_in_the_other() {
        assert!(standing(10, 1.0).beats(&standing(10, 2.0)));
        assert!(standing(9, 2.0).beats(&standing(10, 2.0)));
        assert!(!standing(9, 3.0).beats(&standing(10, 2.0)));
        assert!(!standing(10, 2.0).beats(&standing(10, 2.0)));
    }

    #[test]
    fn most_requests_do_not_wait() {
        let standing = standing(20, 1.0);
        assert_eq!((standing.wait(0.5), standing.wait(0.99)), (0.0, 2.0));
    }
}
