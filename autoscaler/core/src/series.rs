//! What all activators measured of one revision: requests and arrivals by boot and second, averaged up to a watermark.
//!
//! A second that is absent below the watermark is a zero. Receiving a bucket again changes nothing; a larger value wins.

use std::collections::VecDeque;
use std::time::Duration;

use catnap_wire::Bucket;

use crate::moment::{Moment, SECOND};
use crate::policy::Metric;

/// Measurements of one revision, by activator process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    boots: Vec<Boot>,
}

/// What one activator process measured, in the order of its seconds.
#[derive(Clone, Debug)]
struct Boot {
    id: u64,
    /// The sums before the first sample.
    base: Sums,
    samples: VecDeque<Sample>,
}

/// The sums up to the end of one second, so that the sum over any window is a difference of two. There are many: 7,200 of a
/// window of an hour that is never quiet.
#[derive(Clone, Copy, Debug)]
struct Sample {
    index: u64,
    through: Sums,
}

/// Sums that may wrap: only differences over at most two windows are looked at, and those are far from doing so.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    request_microseconds: u64,
    arrivals: u64,
}

/// Demand, averaged over the two windows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Averages {
    /// Over the stable window.
    pub(crate) stable: f64,
    /// Over the panic window.
    pub(crate) panic: f64,
    /// Requests that arrived in the last second before the watermark.
    pub(crate) arrivals: u64,
}

impl Series {
    /// Takes in one finished second of the activator process `boot`.
    pub(crate) fn record(&mut self, boot: u64, bucket: Bucket) {
        let known = self.boots.iter().position(|known| known.id == boot);
        let position = known.unwrap_or_else(|| {
            self.boots.push(Boot { id: boot, base: Sums::default(), samples: VecDeque::new() });
            self.boots.len() - 1
        });
        if let Some(boot) = self.boots.get_mut(position) {
            boot.record(bucket);
        }
    }

    /// Averages over the windows that end at `watermark`. `booted` tells when a boot's second 0 began; a boot that it does
    /// not know is left out. After a whole quiet window the average starts with the first sample.
    pub(crate) fn averages(
        &self,
        metric: Metric,
        watermark: Moment,
        window: Duration,
        panic_window: Duration,
        booted: impl Fn(u64) -> Option<Moment>,
    ) -> Averages {
        let window = whole_seconds(window);
        let panic_window = whole_seconds(panic_window).min(window);
        let boots = || {
            let complete = |boot: &Boot| Some(complete_seconds(watermark, booted(boot.id)?));
            self.boots.iter().filter_map(move |boot| Some((boot, complete(boot)?)))
        };
        let Some(first) = boots().filter_map(|(boot, complete)| boot.oldest_age(complete, window)).max()
        else {
            return Averages::default();
        };
        let quiet_before = boots().all(|(boot, complete)| boot.is_quiet(complete, first + window, window));
        let measured = if quiet_before { first } else { window };
        let sums = |seconds: u64| {
            boots().fold(Sums::default(), |sums, (boot, complete)| sums.plus(boot.sums(complete, seconds)))
        };
        let average = |seconds: u64| {
            let Sums { request_microseconds, arrivals } = sums(seconds);
            match metric {
                Metric::Concurrency => request_microseconds as f64 / (seconds as f64 * SECOND as f64),
                Metric::RequestRate => arrivals as f64 / seconds as f64,
            }
        };
        Averages {
            stable: average(measured),
            panic: average(panic_window.min(measured)),
            arrivals: sums(1).arrivals,
        }
    }

    /// Drops what no average will look at again: the window, and the one before it that tells whether it was quiet.
    pub(crate) fn age_out(
        &mut self,
        watermark: Moment,
        window: Duration,
        booted: impl Fn(u64) -> Option<Moment>,
    ) {
        let kept = 2 * whole_seconds(window);
        self.boots.retain_mut(|boot| {
            let Some(booted) = booted(boot.id) else { return false };
            let oldest = complete_seconds(watermark, booted).saturating_sub(kept);
            while let Some(old) = boot.samples.pop_front_if(|sample| sample.index < oldest) {
                boot.base = old.through;
            }
            !boot.samples.is_empty()
        });
    }

    /// Nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.boots.is_empty()
    }
}

impl Boot {
    fn record(&mut self, bucket: Bucket) {
        let position = self.position(bucket.index);
        let before = self.before(position);
        let known = self.samples.get(position).filter(|sample| sample.index == bucket.index);
        let old = known.map_or(Sums::default(), |sample| sample.through.minus(before));
        if known.is_none() {
            self.samples.insert(position, Sample { index: bucket.index, through: before });
        }
        let more = Sums {
            request_microseconds: bucket.request_microseconds.saturating_sub(old.request_microseconds),
            arrivals: bucket.arrivals.saturating_sub(old.arrivals),
        };
        for sample in self.samples.iter_mut().skip(position) {
            sample.through = sample.through.plus(more);
        }
    }

    /// Where the first sample of this second or a later one is, or would be.
    fn position(&self, index: u64) -> usize {
        // Nearly always the next one.
        if self.samples.back().is_none_or(|last| last.index < index) {
            return self.samples.len();
        }
        self.samples.partition_point(|sample| sample.index < index)
    }

    /// Sums of all samples before a position.
    fn before(&self, position: usize) -> Sums {
        let last = position.checked_sub(1).and_then(|last| self.samples.get(last));
        last.map_or(self.base, |last| last.through)
    }

    /// Sums of the last `seconds` before second `complete`.
    fn sums(&self, complete: u64, seconds: u64) -> Sums {
        let first = self.position(complete.saturating_sub(seconds));
        self.before(self.position(complete)).minus(self.before(first))
    }

    /// Age in seconds, at second `complete`, of the oldest sample that is not older than `window`.
    fn oldest_age(&self, complete: u64, window: u64) -> Option<u64> {
        let oldest = self.samples.get(self.position(complete.saturating_sub(window)))?;
        complete.checked_sub(oldest.index).filter(|age| *age > 0)
    }

    /// No sample is older than `younger` seconds and at most `older`.
    fn is_quiet(&self, complete: u64, older: u64, younger: u64) -> bool {
        self.position(complete.saturating_sub(older)) == self.position(complete.saturating_sub(younger))
    }
}

impl Sums {
    fn plus(self, other: Self) -> Self {
        Self {
            request_microseconds: self.request_microseconds.wrapping_add(other.request_microseconds),
            arrivals: self.arrivals.wrapping_add(other.arrivals),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            request_microseconds: self.request_microseconds.wrapping_sub(other.request_microseconds),
            arrivals: self.arrivals.wrapping_sub(other.arrivals),
        }
    }
}

/// Seconds of a boot that are over at a moment.
fn complete_seconds(at: Moment, booted: Moment) -> u64 {
    u64::try_from((at - booted) / SECOND).unwrap_or(0)
}

fn whole_seconds(window: Duration) -> u64 {
    window.as_millis().div_ceil(1_000).max(1).try_into().unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests;
