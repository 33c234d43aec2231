//! What all activators measured of one revision: busy seconds by boot and index, averaged up to a watermark.
//!
//! A second that is absent below the watermark is a zero. Receiving a bucket again changes nothing; a larger value wins.

use std::collections::BTreeMap;
use std::time::Duration;

use catnap_wire::Bucket;

use crate::moment::{Moment, SECOND};

/// Measurements of one revision.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    boots: BTreeMap<u64, BTreeMap<u64, Sample>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    request_microseconds: u64,
    arrivals: u64,
}

/// Requests at once, averaged over the two windows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Averages {
    /// Over the stable window.
    pub(crate) stable: f64,
    /// Over the panic window.
    pub(crate) panic: f64,
}

impl Series {
    /// Takes in one finished second of the activator process `boot`.
    pub(crate) fn record(&mut self, boot: u64, bucket: Bucket) {
        let sample = self.boots.entry(boot).or_default().entry(bucket.index).or_default();
        sample.request_microseconds = sample.request_microseconds.max(bucket.request_microseconds);
        sample.arrivals = sample.arrivals.max(bucket.arrivals);
    }

    /// Averages over the windows that end at `watermark`. `booted` tells when a boot's second 0 began; a boot that it does
    /// not know is left out. After a whole quiet window the average starts with the first sample.
    pub(crate) fn averages(
        &self,
        watermark: Moment,
        window: Duration,
        panic_window: Duration,
        booted: impl Fn(u64) -> Option<Moment>,
    ) -> Averages {
        let window = whole_seconds(window);
        let panic_window = whole_seconds(panic_window).min(window);
        let aged: Vec<(u64, Sample)> = self
            .boots
            .iter()
            .filter_map(|(boot, samples)| Some((complete_seconds(watermark, booted(*boot)?), samples)))
            .flat_map(|(complete, samples)| {
                samples.range(..complete).map(move |(index, sample)| (complete - index, *sample))
            })
            .collect();
        let Some(first) = aged.iter().map(|(age, _)| *age).filter(|age| *age <= window).max() else {
            return Averages::default();
        };
        let quiet_before = !aged.iter().any(|(age, _)| *age > first && *age <= first + window);
        let measured = if quiet_before { first } else { window };
        let average = |seconds: u64| {
            let sum: u64 = aged
                .iter()
                .filter(|(age, _)| *age <= seconds)
                .map(|(_, sample)| sample.request_microseconds)
                .fold(0, u64::saturating_add);
            sum as f64 / (seconds as f64 * SECOND as f64)
        };
        Averages { stable: average(measured), panic: average(panic_window.min(measured)) }
    }

    /// Drops what no average will look at again: the window, and the one before it that tells whether it was quiet.
    pub(crate) fn age_out(
        &mut self,
        watermark: Moment,
        window: Duration,
        booted: impl Fn(u64) -> Option<Moment>,
    ) {
        let kept = 2 * whole_seconds(window);
        self.boots.retain(|boot, samples| {
            let Some(booted) = booted(*boot) else { return false };
            let oldest = complete_seconds(watermark, booted).saturating_sub(kept);
            *samples = samples.split_off(&oldest);
            !samples.is_empty()
        });
    }

    /// Nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.boots.is_empty()
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
