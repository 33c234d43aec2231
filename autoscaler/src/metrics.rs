//! Metrics of the autoscaler. Every label has a fixed set of values: no functions, no pods.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use catnap_autoscaler_core::Refusal;
use catnap_runtime::process;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

/// All metrics; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    leading: Gauge<i64, AtomicI64>,
    streams: Gauge<i64, AtomicI64>,
    activators_silent: Gauge<i64, AtomicI64>,
    frames: Counter,
    frames_refused: Counter,
    statements_refused: Family<Kind, Counter>,
    authentications: Family<Outcome, Counter>,
    scale_writes: Family<Outcome, Counter>,
    scale_write_seconds: Histogram,
    deletion_cost_writes: Family<Outcome, Counter>,
    wake_seconds: Histogram,
    watch_failures: Family<Kind, Counter>,
    events: Family<Outcome, Counter>,
}

impl Metrics {
    /// Makes and registers them.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let latency = || Histogram::new(exponential_buckets(0.001, 2.0, 13));
        let metrics = Self {
            leading: Gauge::default(),
            streams: Gauge::default(),
            activators_silent: Gauge::default(),
            frames: Counter::default(),
            frames_refused: Counter::default(),
            statements_refused: Family::default(),
            authentications: Family::default(),
            scale_writes: Family::default(),
            scale_write_seconds: latency(),
            deletion_cost_writes: Family::default(),
            wake_seconds: latency(),
            watch_failures: Family::default(),
            events: Family::default(),
        };
        process::register(registry);
        let registry = registry.sub_registry_with_prefix("catnap_autoscaler");
        let Self {
            leading,
            streams,
            activators_silent,
            frames,
            frames_refused,
            statements_refused,
            authentications,
            scale_writes,
            scale_write_seconds,
            deletion_cost_writes,
            wake_seconds,
            watch_failures,
            events,
        } = metrics.clone();
        registry.register("leading", "1 while this process leads", leading);
        registry.register("streams", "Activators connected", streams);
        registry.register(
            "activators_silent",
            "Activators whose pods exist but that the leader has not heard for 30 s: nothing goes to zero",
            activators_silent,
        );
        registry.register("frames", "Frames of activators taken in", frames);
        registry.register(
            "frames_refused",
            "Frames of activators refused as malformed or oversized",
            frames_refused,
        );
        registry.register(
            "statements_refused",
            "What activators said in well-formed frames that the leader did not take in, by reason",
            statements_refused,
        );
        registry.register("authentications", "Streams that asked to be opened", authentications);
        registry.register("scale_writes", "Writes of /scale", scale_writes);
        registry.register_with_unit(
            "scale_write",
            "Time of a write of /scale, without waiting for its turn",
            Unit::Seconds,
            scale_write_seconds,
        );
        registry.register(
            "deletion_cost_writes",
            "Writes of the deletion cost of a pod",
            deletion_cost_writes,
        );
        registry.register_with_unit(
            "wake",
            "Time from the arrival of a Wake frame to the accepted write that follows from it",
            Unit::Seconds,
            wake_seconds,
        );
        registry.register(
            "watch_failures",
            "Watches that failed and objects that could not be read",
            watch_failures,
        );
        registry.register("events", "Events about Functions", events);
        metrics
    }

    pub(crate) fn leading(&self, leading: bool) {
        self.leading.set(i64::from(leading));
    }

    pub(crate) fn streams(&self, streams: usize) {
        self.streams.set(i64::try_from(streams).unwrap_or(i64::MAX));
    }

    pub(crate) fn activators_silent(&self, activators: usize) {
        self.activators_silent.set(i64::try_from(activators).unwrap_or(i64::MAX));
    }

    pub(crate) fn frame_taken(&self) {
        self.frames.inc();
    }

    pub(crate) fn frame_refused(&self) {
        self.frames_refused.inc();
    }

    /// Totals of this term.
    pub(crate) fn statements_refused(&self, totals: &BTreeMap<Refusal, u64>) {
        for (reason, total) in totals {
            let counter = self.statements_refused.get_or_create(&Kind { kind: reason.to_string() });
            counter.inner().store(*total, Ordering::Relaxed);
        }
    }

    pub(crate) fn authentication(&self, outcome: &'static str) {
        self.authentications.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn scale_written(&self, outcome: &'static str, took: Duration) {
        self.scale_writes.get_or_create(&Outcome { outcome }).inc();
        self.scale_write_seconds.observe(took.as_secs_f64());
    }

    /// It took no time that says anything.
    pub(crate) fn scale_not_sent(&self) {
        self.scale_writes.get_or_create(&Outcome { outcome: "NotSent" }).inc();
    }

    pub(crate) fn deletion_cost_written(&self, outcome: &'static str) {
        self.deletion_cost_writes.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn woken(&self, took: Duration) {
        self.wake_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn watch_failed(&self, kind: &str) {
        self.watch_failures.get_or_create(&Kind { kind: kind.to_owned() }).inc();
    }

    pub(crate) fn event(&self, outcome: &'static str) {
        self.events.get_or_create(&Outcome { outcome }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_page_is_fresh() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        // Families without a member are not shown: whoever adds one counts in it here.
        let Metrics {
            leading: _,
            streams: _,
            activators_silent: _,
            frames: _,
            frames_refused: _,
            statements_refused: _,
            authentications: _,
            scale_writes: _,
            scale_write_seconds: _,
            deletion_cost_writes: _,
            wake_seconds: _,
            watch_failures: _,
            events: _,
        } = &metrics;
        metrics.statements_refused(&BTreeMap::from([(Refusal::Future, 1)]));
        metrics.authentication("accepted");
        metrics.scale_written("ok", Duration::from_millis(1));
        metrics.deletion_cost_written("Written");
        metrics.watch_failed("pods");
        metrics.event("written");
        let mut scrape = String::new();
        prometheus_client::encoding::text::encode(&mut scrape, &registry).unwrap();
        catnap_testkit::metrics_page::check("catnap-autoscaler", &scrape).unwrap();
    }
}
