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

/// What was measured until a watermark. Ages are in seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Demand {
    /// Of the two windows.
    stable: Sums,
    panic: Sums,
    /// Of the last second.
    arrivals: u64,
    /// Age of the oldest sample in the window.
    first: Option<u64>,
    /// Age of the newest sample before it.
    before: Option<u64>,
}

impl Demand {
    /// With what another process measured.
    fn add(&mut self, other: &Self) {
        self.stable = self.stable.plus(other.stable);
        self.panic = self.panic.plus(other.panic);
        self.arrivals = self.arrivals.wrapping_add(other.arrivals);
        self.first = self.first.max(other.first);
        self.before = self.before.into_iter().chain(other.before).min();
    }
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
        let mut all = Demand::default();
        for boot in &self.boots {
            if let Some(booted) = booted(boot.id) {
                all.add(&boot.demand(complete_seconds(watermark, booted), window, panic_window));
            }
        }
        let Some(first) = all.first else { return Averages::default() };
        let quiet_before = all.before.is_none_or(|before| before > first.saturating_add(window));
        // Nothing is older than the first sample, so the sums are those of the shorter time, too.
        let measured = if quiet_before { first } else { window };
        let average = |sums: Sums, seconds: u64| match metric {
            Metric::Concurrency => sums.request_microseconds as f64 / (seconds as f64 * SECOND as f64),
            Metric::RequestRate => sums.arrivals as f64 / seconds as f64,
        };
        Averages {
            stable: average(all.stable, measured),
            panic: average(all.panic, panic_window.min(measured)),
            arrivals: all.arrivals,
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
        let Some(last) = self.samples.back() else { return 0 };
        let Some(seconds) = last.index.checked_sub(index) else { return self.samples.len() };
        // No second is there twice. Where none is left out, as when there are always requests, this is the place.
        let seconds = usize::try_from(seconds).unwrap_or(usize::MAX);
        let earliest = self.samples.len().saturating_sub(seconds.saturating_add(1));
        if self.samples.get(earliest).is_some_and(|sample| sample.index >= index) {
            return earliest;
        }
        self.samples.partition_point(|sample| sample.index < index)
    }

    /// Sums of all samples before a position.
    fn before(&self, position: usize) -> Sums {
        let last = position.checked_sub(1).and_then(|last| self.samples.get(last));
        last.map_or(self.base, |last| last.through)
    }

    /// What it measured until second `complete`.
    fn demand(&self, complete: u64, window: u64, panic_window: u64) -> Demand {
        let age = |sample: &Sample| complete.saturating_sub(sample.index);
        let since = |seconds: u64| self.position(complete.saturating_sub(seconds));
        let (first, end) = (since(window), since(0));
        let until_end = self.before(end);
        Demand {
            stable: until_end.minus(self.before(first)),
            panic: until_end.minus(self.before(since(panic_window))),
            arrivals: until_end.minus(self.before(since(1))).arrivals,
            first: self.samples.range(first..end).next().map(age),
            before: first.checked_sub(1).and_then(|before| self.samples.get(before)).map(age),
        }
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
