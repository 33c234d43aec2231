//! What Prometheus sees of the data path. Labels are bounded: namespaces, functions and revisions that exist, code classes,
//! reasons and phases; never a host or a path. A Function that is gone takes its series with it.

mod gauges;
mod handles;
mod labels;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use catnap_activator_core::{Activator, FunctionName, Reason};
use catnap_activator_http::{Ended, Observer, Outcome};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use handles::Handles;
use labels::{FunctionLabels, PhaseLabels, ReasonLabels, RequestLabels};

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
    /// The series of each Function that had requests.
    handles: RwLock<HashMap<FunctionName, Arc<Handles>>>,
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
            handles: RwLock::default(),
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
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        handles.retain(|name, handles| {
            let keep = exists(name);
            if !keep {
                handles.remove_from(self);
            }
            keep
        });
    }

    fn handles(&self, function: &FunctionName) -> Arc<Handles> {
        let known = {
            let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
            handles.get(function).map(Arc::clone)
        };
        known.unwrap_or_else(|| {
            let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Handles::new(function));
            Arc::clone(handles.entry(function.clone()).or_insert_with(new))
        })
    }
}

impl Observer for Metrics {
    fn began(&self) {
        self.active.inc();
    }

    fn ended(&self, exchange: &Ended<'_>) {
        self.active.dec();
        match (exchange.function, exchange.outcome) {
            (Some(function), _) => self.handles(function).count(self, exchange),
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

#[cfg(test)]
mod tests;
