//! What Prometheus sees of the data path. Labels are bounded: namespaces, functions and revisions that exist, code classes,
//! reasons and phases; never a host or a path. A Function that is gone takes its series with it.

mod gauges;
mod labels;

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catnap_activator_core::{Activator, FunctionName, Phases, Reason};
use catnap_activator_http::{Ended, Observer, Outcome};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use labels::{FunctionLabels, PhaseLabels, ReasonLabels, RequestLabels, code_class};

/// From 5 ms to 120 s: shorter than a warm answer, longer than the default activation timeout.
const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Counters and histograms of the data path; the workers write, a scrape reads.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    duration: Histograms<FunctionLabels>,
    first_byte: Histograms<FunctionLabels>,
    queue: Histograms<FunctionLabels>,
    cold_start: Histograms<PhaseLabels>,
    retries: Family<FunctionLabels, Counter>,
    request_bytes: Family<FunctionLabels, Counter>,
    response_bytes: Family<FunctionLabels, Counter>,
    unknown: Family<ReasonLabels, Counter>,
    unparsable: Family<ReasonLabels, Counter>,
    turned_away: Counter,
    active: Gauge,
    /// Series of each Function that are to go with it.
    series: Mutex<HashMap<FunctionName, Series>>,
}

/// Label sets that vary within a Function.
#[derive(Debug, Default)]
struct Series {
    requests: HashSet<RequestLabels>,
    phases: HashSet<PhaseLabels>,
}

impl Metrics {
    /// Registers everything; what can be read off the core's state is read there at each scrape.
    pub(crate) fn register(registry: &mut Registry, activator: &Arc<Activator>) -> Arc<Self> {
        let metrics = Self {
            requests: Family::default(),
            duration: histograms(),
            first_byte: histograms(),
            queue: histograms(),
            cold_start: histograms(),
            retries: Family::default(),
            request_bytes: Family::default(),
            response_bytes: Family::default(),
            unknown: Family::default(),
            unparsable: Family::default(),
            turned_away: Counter::default(),
            active: Gauge::default(),
            series: Mutex::default(),
        };
        let registry = registry.sub_registry_with_prefix("catnap_activator");
        registry.register(
            "requests",
            "Requests that ended, by the class of their status code and why Catnap answered itself",
            metrics.requests.clone(),
        );
        let mut seconds = |name: &str, help: &str, family: &Histograms<FunctionLabels>| {
            registry.register_with_unit(name, help, Unit::Seconds, family.clone());
        };
        seconds("request_duration", "From the request's head to the end of the response", &metrics.duration);
        seconds("first_byte", "From the request's head to the response's", &metrics.first_byte);
        seconds("queue", "Time that requests were held, of those that were", &metrics.queue);
        registry.register_with_unit(
            "cold_start",
            "Phases of the waits of requests that found no pod",
            Unit::Seconds,
            metrics.cold_start.clone(),
        );
        registry.register(
            "retries",
            "Times that a request was given to another pod",
            metrics.retries.clone(),
        );
        let mut bytes = |name: &str, help: &str, family: &Family<FunctionLabels, Counter>| {
            registry.register_with_unit(name, help, Unit::Bytes, family.clone());
        };
        bytes("request_body", "Bytes of request bodies that were forwarded", &metrics.request_bytes);
        bytes("response_body", "Bytes of response bodies", &metrics.response_bytes);
        registry.register(
            "unrouted_requests",
            "Requests that belong to no function",
            metrics.unknown.clone(),
        );
        registry.register("unparsable_requests", "What the HTTP parser refused", metrics.unparsable.clone());
        registry.register(
            "turned_away_connections",
            "Connections that were closed at once because there was no room for them",
            metrics.turned_away.clone(),
        );
        registry.register(
            "active_requests",
            "Requests between their head and their end",
            metrics.active.clone(),
        );
        registry.register_collector(Box::new(gauges::StateGauges(Arc::clone(activator))));
        Arc::new(metrics)
    }

    /// Drops the series of Functions that `exists` denies.
    pub(crate) fn retain(&self, exists: impl Fn(&FunctionName) -> bool) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.retain(|name, series| {
            let keep = exists(name);
            if !keep {
                self.forget(name, series);
            }
            keep
        });
    }

    fn forget(&self, name: &FunctionName, series: &Series) {
        let function = FunctionLabels::from(name);
        for labels in &series.requests {
            self.requests.remove(labels);
        }
        for labels in &series.phases {
            self.cold_start.remove(labels);
        }
        for family in [&self.duration, &self.first_byte, &self.queue] {
            family.remove(&function);
        }
        for family in [&self.retries, &self.request_bytes, &self.response_bytes] {
            family.remove(&function);
        }
    }

    fn count_function(&self, function: &FunctionName, exchange: &Ended<'_>) {
        let reason = match exchange.outcome {
            Outcome::Refused(reason) | Outcome::TimedOut(reason) => reason.name(),
            Outcome::ClientLeft => "ClientLeft",
            Outcome::BrokenOff => "BrokenOff",
            Outcome::Answered => "",
        };
        let labels = FunctionLabels::from(function);
        let revision = exchange.revision.map(|revision| Arc::clone(&revision.name)).unwrap_or_default();
        let request = RequestLabels {
            namespace: Arc::clone(&labels.namespace),
            function: Arc::clone(&labels.function),
            revision,
            code: code_class(exchange.status),
            reason,
        };
        let is_new = self.requests.get(&request).is_none();
        self.requests.get_or_create(&request).inc();
        if is_new {
            self.remember(function, |series| &mut series.requests, request);
        }
        observe(&self.duration, &labels, exchange.duration);
        if let Some(first_byte) = exchange.first_byte {
            observe(&self.first_byte, &labels, first_byte);
        }
        if let Some(phases) = exchange.phases {
            observe(&self.queue, &labels, phases.total());
            if phases.cold {
                self.count_cold_start(function, &phases);
            }
        }
        add(&self.retries, &labels, u64::from(exchange.attempts.saturating_sub(1)));
        add(&self.request_bytes, &labels, exchange.request_bytes);
        add(&self.response_bytes, &labels, exchange.response_bytes);
    }

    fn count_cold_start(&self, function: &FunctionName, phases: &Phases) {
        let lengths = [
            ("wake", phases.wake),
            ("schedule", phases.schedule),
            ("start", phases.start),
            ("ready", phases.ready),
            ("queue", phases.queue),
        ];
        for (phase, length) in lengths {
            let labels = PhaseLabels {
                namespace: Arc::clone(&function.namespace),
                function: Arc::clone(&function.name),
                phase,
            };
            let is_new = self.cold_start.get(&labels).is_none();
            observe(&self.cold_start, &labels, length);
            if is_new {
                self.remember(function, |series| &mut series.phases, labels);
            }
        }
    }

    fn remember<L: Eq + Hash>(
        &self,
        function: &FunctionName,
        kind: impl Fn(&mut Series) -> &mut HashSet<L>,
        labels: L,
    ) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        kind(series.entry(function.clone()).or_default()).insert(labels);
    }
}

impl Observer for Metrics {
    fn began(&self) {
        self.active.inc();
    }

    fn ended(&self, exchange: &Ended<'_>) {
        self.active.dec();
        match (exchange.function, exchange.outcome) {
            (Some(function), _) => self.count_function(function, exchange),
            (None, Outcome::Refused(reason)) => drop(self.unknown.get_or_create(&reason.into()).inc()),
            (None, _) => {}
        }
    }

    fn unparsable(&self, reason: Reason) {
        self.unparsable.get_or_create(&reason.into()).inc();
    }

    fn turned_away(&self) {
        self.turned_away.inc();
    }
}

fn histograms<L: Clone + Eq + Hash>() -> Histograms<L> {
    Family::new_with_constructor(|| Histogram::new(SECONDS))
}

fn observe<L: Clone + Eq + Hash>(family: &Histograms<L>, labels: &L, length: Duration) {
    family.get_or_create(labels).observe(length.as_secs_f64());
}

fn add(family: &Family<FunctionLabels, Counter>, labels: &FunctionLabels, count: u64) {
    if count > 0 {
        family.get_or_create(labels).inc_by(count);
    }
}

#[cfg(test)]
mod tests;
