//! Metrics of the operator. Every label has a fixed set of values: no functions.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    kind: &'static str,
    verb: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// All metrics; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    reconciliations: Family<Outcome, Counter>,
    reconciliation_seconds: Histogram,
    writes: Family<Write, Counter>,
    watch_failures: Family<Kind, Counter>,
    events: Family<Outcome, Counter>,
}

impl Metrics {
    /// Makes and registers them.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconciliations: Family::default(),
            reconciliation_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 13)),
            writes: Family::default(),
            watch_failures: Family::default(),
            events: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix("catnap_operator");
        let Self { reconciliations, reconciliation_seconds, writes, watch_failures, events } =
            metrics.clone();
        registry.register("reconciliations", "Functions looked at, by outcome", reconciliations);
        registry.register_with_unit(
            "reconciliation",
            "Time that looking at a Function took",
            Unit::Seconds,
            reconciliation_seconds,
        );
        registry.register("writes", "Writes to the API server, by kind, verb and outcome", writes);
        registry.register(
            "watch_failures",
            "Watches that broke and objects that cannot be read, by kind",
            watch_failures,
        );
        registry.register("events", "Events about Functions", events);
        metrics
    }

    pub(crate) fn reconciled(&self, outcome: &'static str, took: Duration) {
        self.reconciliations.get_or_create(&Outcome { outcome }).inc();
        self.reconciliation_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn written(&self, kind: &'static str, verb: &'static str, outcome: &'static str) {
        self.writes.get_or_create(&Write { kind, verb, outcome }).inc();
    }

    pub(crate) fn watch_failed(&self, kind: &'static str) {
        self.watch_failures.get_or_create(&Kind { kind }).inc();
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
            reconciliations: _,
            reconciliation_seconds: _,
            writes: _,
            watch_failures: _,
            events: _,
        } = &metrics;
        metrics.reconciled("ok", Duration::from_millis(1));
        metrics.written("Deployment", "apply", "ok");
        metrics.watch_failed("Function");
        metrics.event("Told");
        let mut scrape = String::new();
        prometheus_client::encoding::text::encode(&mut scrape, &registry).unwrap();
        catnap_testkit::metrics_page::check("catnap-operator", &scrape).unwrap();
    }
}
