//! The series of one Function, found once: a request then costs no lookup by labels.

use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use catnap_activator_core::{FunctionName, Phases};
use catnap_activator_http::{Ended, Outcome};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::labels::{FunctionLabels, PhaseLabels, RequestLabels, code_class};
use super::{Histograms, Metrics};

/// Series appear with their first value.
#[derive(Debug)]
pub(super) struct Handles {
    labels: FunctionLabels,
    duration: OnceLock<Histogram>,
    first_byte: OnceLock<Histogram>,
    queue: OnceLock<Histogram>,
    retries: OnceLock<Counter>,
    request_bytes: OnceLock<Counter>,
    response_bytes: OnceLock<Counter>,
    /// A handful: by revision, class of code and reason.
    requests: RwLock<Vec<(RequestLabels, Counter)>>,
    cold_start: OnceLock<[(PhaseLabels, Histogram); 5]>,
}

impl Handles {
    pub(super) fn new(function: &FunctionName) -> Self {
        Self {
            labels: FunctionLabels::from(function),
            duration: OnceLock::new(),
            first_byte: OnceLock::new(),
            queue: OnceLock::new(),
            retries: OnceLock::new(),
            request_bytes: OnceLock::new(),
            response_bytes: OnceLock::new(),
            requests: RwLock::default(),
            cold_start: OnceLock::new(),
        }
    }

    pub(super) fn count(&self, metrics: &Metrics, exchange: &Ended<'_>) {
        self.count_request(metrics, exchange);
        self.observe(&self.duration, &metrics.duration, exchange.duration);
        if let Some(first_byte) = exchange.first_byte {
            self.observe(&self.first_byte, &metrics.first_byte, first_byte);
        }
        if let Some(phases) = exchange.phases {
            self.observe(&self.queue, &metrics.queue, phases.total());
            if phases.cold {
                self.count_cold_start(metrics, &phases);
            }
        }
        self.add(&self.retries, &metrics.retries, u64::from(exchange.attempts.saturating_sub(1)));
        self.add(&self.request_bytes, &metrics.request_bytes, exchange.request_bytes);
        self.add(&self.response_bytes, &metrics.response_bytes, exchange.response_bytes);
    }

    /// Takes all series out of their families.
    pub(super) fn remove_from(&self, metrics: &Metrics) {
        for (labels, _) in &*self.requests.read().unwrap_or_else(PoisonError::into_inner) {
            metrics.requests.remove(labels);
        }
        for (labels, _) in self.cold_start.get().into_iter().flatten() {
            metrics.cold_start.remove(labels);
        }
        for family in [&metrics.duration, &metrics.first_byte, &metrics.queue] {
            family.remove(&self.labels);
        }
        for family in [&metrics.retries, &metrics.request_bytes, &metrics.response_bytes] {
            family.remove(&self.labels);
        }
    }

    fn count_request(&self, metrics: &Metrics, exchange: &Ended<'_>) {
        let reason = match exchange.outcome {
            Outcome::Refused(reason) | Outcome::TimedOut(reason) => reason.name(),
            Outcome::ClientLeft => "ClientLeft",
            Outcome::BrokenOff => "BrokenOff",
            Outcome::Answered => "",
        };
        let code = code_class(exchange.status);
        let revision = exchange.revision.map(|revision| &revision.name);
        let is_it = |labels: &RequestLabels| {
            labels.code == code
                && labels.reason == reason
                && *labels.revision == *revision.map_or("", |revision| &**revision)
        };
        {
            let requests = self.requests.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, counter)) = requests.iter().find(|(labels, _)| is_it(labels)) {
                counter.inc();
                return;
            }
        }
        let labels = RequestLabels {
            namespace: self.labels.namespace.clone(),
            function: self.labels.function.clone(),
            revision: revision.cloned().unwrap_or_default(),
            code,
            reason,
        };
        let mut requests = self.requests.write().unwrap_or_else(PoisonError::into_inner);
        let counter = metrics.requests.get_or_create(&labels).clone();
        counter.inc();
        // Another thread may have been faster.
        if !requests.iter().any(|(labels, _)| is_it(labels)) {
            // The latest revision's are looked for most.
            requests.insert(0, (labels, counter));
        }
    }

    fn count_cold_start(&self, metrics: &Metrics, phases: &Phases) {
        let lengths = [phases.wake, phases.schedule, phases.start, phases.ready, phases.queue];
        let histograms = self.cold_start.get_or_init(|| {
            ["wake", "schedule", "start", "ready", "queue"].map(|phase| {
                let FunctionLabels { namespace, function } = self.labels.clone();
                let labels = PhaseLabels { namespace, function, phase };
                let histogram = metrics.cold_start.get_or_create(&labels).clone();
                (labels, histogram)
            })
        });
        for ((_, histogram), length) in histograms.iter().zip(lengths) {
            histogram.observe(length.as_secs_f64());
        }
    }

    fn observe(&self, handle: &OnceLock<Histogram>, family: &Histograms<FunctionLabels>, length: Duration) {
        let histogram = handle.get_or_init(|| family.get_or_create(&self.labels).clone());
        histogram.observe(length.as_secs_f64());
    }

    fn add(&self, handle: &OnceLock<Counter>, family: &Family<FunctionLabels, Counter>, count: u64) {
        if count > 0 {
            handle.get_or_init(|| family.get_or_create(&self.labels).clone()).inc_by(count);
        }
    }
}
