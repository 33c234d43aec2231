//! A histogram of durations that is counted with two additions and no lock: workers share it.

use std::array;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

/// Upper ends of the buckets in seconds, from 5 ms to 120 s: shorter than a warm answer, longer than the default activation
/// timeout.
const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

/// Durations by length.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Durations that ended in each bucket; the last one is for those beyond all.
    buckets: [AtomicU64; SECONDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, length: Duration) {
        let seconds = length.as_secs_f64();
        let bucket = SECONDS.iter().position(|end| seconds <= *end).unwrap_or(SECONDS.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        let nanoseconds = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.load(Relaxed) == 0)
    }

    /// Writes it as it is at this moment. The sum may be a request ahead of the buckets, or behind them.
    pub(super) fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let ends = SECONDS.into_iter().chain([f64::INFINITY]);
        let counts: [u64; SECONDS.len() + 1] = array::from_fn(|bucket| self.buckets[bucket].load(Relaxed));
        let buckets: Vec<(f64, u64)> = ends.zip(counts).collect();
        let sum = Duration::from_nanos(self.nanoseconds.load(Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }
}
