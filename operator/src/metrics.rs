//! Metrics of the operator. Every label has a fixed set of values: no functions.

use std::{
    fmt::{self, Debug, Formatter},
    sync::atomic::AtomicI64,
    time::Duration,
};

use catnap_runtime::process;
use kube::runtime::reflector::Store;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::watch::GuardedFunction;

const PREFIX: &str = "catnap_operator";
const STATES: [&str; 4] = ["Ready", "Waiting", "Stalled", "Unreadable"];

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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

/// All metrics; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    leading: Gauge<i64, AtomicI64>,
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
            leading: Gauge::default(),
            reconciliations: Family::default(),
            reconciliation_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 13)),
            writes: Family::default(),
            watch_failures: Family::default(),
            events: Family::default(),
        };
        process::register(registry);
        let registry = registry.sub_registry_with_prefix(PREFIX);
        let Self { leading, reconciliations, reconciliation_seconds, writes, watch_failures, events } =
            metrics.clone();
        registry.register("leading", "1 while this process leads", leading);
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

    pub(crate) fn leading(&self, leading: bool) {
        self.leading.set(i64::from(leading));
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

/// Has each scrape count the Functions there are, by what their status says. The leader and those that stand by say the same.
pub(crate) fn count_functions(registry: &mut Registry, functions: Store<GuardedFunction>) {
    registry.sub_registry_with_prefix(PREFIX).register_collector(Box::new(Functions(functions)));
}

struct Functions(Store<GuardedFunction>);

impl Debug for Functions {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Functions").field(&self.0.len()).finish()
    }
}

impl Collector for Functions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.state();
        let help = "Functions, by what became of them; the stalled ones need somebody to act";
        let mut family = encoder.encode_descriptor("functions", help, None, MetricType::Gauge)?;
        for state in STATES {
            let number = all.iter().filter(|function| self::state(function) == state).count() as u64;
            ConstGauge::new(number).encode(family.encode_family(&State { state })?)?;
        }
        Ok(())
    }
}

fn state(function: &GuardedFunction) -> &'static str {
    let Ok(function) = &function.0 else { return "Unreadable" };
    let conditions = function.status.iter().flat_map(|status| &status.conditions);
    let true_ones: Vec<&str> =
        conditions.filter(|it| it.status == "True").map(|it| it.type_.as_str()).collect();
    if true_ones.contains(&"Stalled") {
        "Stalled"
    } else if true_ones.contains(&"Ready") {
        "Ready"
    } else {
        "Waiting"
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::{Value, json};

    use super::*;

    /// What a scrape shows of Functions with these.
    fn counted(functions: impl IntoIterator<Item = Value>) -> String {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        for function in functions {
            let function: GuardedFunction = serde_json::from_value(function).unwrap();
            writer.apply_watcher_event(&Event::InitApply(function));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let mut registry = Registry::default();
        count_functions(&mut registry, store);
        let mut scrape = String::new();
        prometheus_client::encoding::text::encode(&mut scrape, &registry).unwrap();
        scrape
    }

    #[test]
    fn functions_are_counted_by_what_became_of_them() {
        let function = |name: &str, spec: Value, conditions: &[(&str, &str)]| {
            let conditions = conditions.iter().map(|(type_, status)| {
                json!({
                    "type": type_, "status": status, "reason": "Any", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                })
            });
            json!({
                "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
                "metadata": {"name": name, "namespace": "default"}, "spec": spec,
                "status": {"conditions": conditions.collect::<Vec<_>>()},
            })
        };
        let image = || json!({"image": "example/hello:1"});
        let scrape = counted([
            function("ready", image(), &[("Ready", "True"), ("Stalled", "False")]),
            function("ready-too", image(), &[("Ready", "True")]),
            function("stalled", image(), &[("Ready", "False"), ("Stalled", "True")]),
            // An earlier revision serves.
            function("stalled-too", image(), &[("Ready", "True"), ("Stalled", "True")]),
            function("starting", image(), &[("Ready", "Unknown"), ("Reconciling", "True")]),
            function("new", image(), &[]),
            function("unreadable", json!({"image": {}}), &[("Ready", "True")]),
        ]);
        for (state, number) in [("Ready", 2), ("Waiting", 2), ("Stalled", 2), ("Unreadable", 1)] {
            let line = format!("catnap_operator_functions{{state=\"{state}\"}} {number}\n");
            assert!(scrape.contains(&line), "{line}{scrape}");
        }
    }

    #[test]
    fn the_metrics_page_is_fresh() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        // Families without a member are not shown: whoever adds one counts in it here.
        let Metrics {
            leading: _,
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
        let (functions, _writer) = reflector::store();
        count_functions(&mut registry, functions);
        let mut scrape = String::new();
        prometheus_client::encoding::text::encode(&mut scrape, &registry).unwrap();
        catnap_testkit::metrics_page::check("catnap-operator", &scrape).unwrap();
    }
}
