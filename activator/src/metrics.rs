//! What Prometheus sees of the data path. Labels are bounded: namespaces, functions and revisions that exist, code classes,
//! reasons and phases; never a host or a path. A Function or revision that is gone takes its series with it.

mod cold_starts;
mod histogram;
mod labels;
mod outcomes;
mod scrape;
mod series;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use catnap_activator_core::{Activator, Function, FunctionName, Reason};
use catnap_activator_http::{Ended, Observer, Outcome};
use catnap_runtime::process;
use catnap_runtime::telemetry::Dropped;
use prometheus_client::registry::Registry;

pub(crate) use cold_starts::{ColdStart, ColdStarts};
pub(crate) use outcomes::Tally;
use scrape::Scrape;
use series::FunctionSeries;

type Reasons = [AtomicU64; Reason::ALL.len()];

/// What the workers count and a scrape reads, without a lock on the way of a request.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    unrouted: Reasons,
    unparsable: Reasons,
    turned_away: AtomicU64,
    active: AtomicI64,
    pub(crate) losses: Arc<Losses>,
    pub(crate) cold_starts: Arc<ColdStarts>,
    /// By number, how busy a worker is, and whether it refuses requests.
    workers: Mutex<BTreeMap<usize, (f64, bool)>>,
    /// The series of each Function that had requests; the Function owns them.
    functions: Mutex<Vec<Weak<FunctionSeries>>>,
}

/// What was to be told of requests, and was not because nobody took it in time.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// Lines of the access log.
    pub(crate) lines: AtomicU64,
    /// Requests whose spans are gone, or some of them.
    pub(crate) traces: AtomicU64,
    /// Lines of the process' log.
    pub(crate) log: OnceLock<Dropped>,
}

impl Metrics {
    /// Registers everything; what can be read off the core's state is read there at each scrape.
    pub(crate) fn register(registry: &mut Registry, activator: &Arc<Activator>) -> Arc<Self> {
        let metrics = Arc::<Self>::default();
        let scrape = Scrape { metrics: Arc::clone(&metrics), activator: Arc::clone(activator) };
        process::register(registry);
        registry.sub_registry_with_prefix("catnap_activator").register_collector(Box::new(scrape));
        metrics
    }

    /// The series of all Functions that are routed now, in the order of their names. One that was deleted, and perhaps made
    /// again, may have requests yet.
    fn functions(&self, routed: &HashSet<(&FunctionName, &str)>) -> Vec<Arc<FunctionSeries>> {
        let mut known = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|function| function.strong_count() > 0);
        let mut functions: Vec<_> = known.iter().filter_map(Weak::upgrade).collect();
        functions.retain(|function| routed.contains(&(&function.name, &*function.uid)));
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        functions
    }

    fn count(&self, function: &Function, exchange: &Ended<'_>) {
        let new = || {
            let cold_starts = Arc::clone(&self.cold_starts);
            let (name, uid) = (function.name().clone(), Arc::clone(function.uid()));
            let series = Arc::new(FunctionSeries::new(name, uid, cold_starts));
            let mut known = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
            // Where nobody scrapes, too, there are no more of those that are gone than of the others.
            if known.len() == known.capacity() {
                known.retain(|function| function.strong_count() > 0);
            }
            known.push(Arc::downgrade(&series));
            series
        };
        if let Some(series) = function.companion(new) {
            series.count(exchange);
        }
    }
}

impl Observer for Metrics {
    fn began(&self) {
        self.active.fetch_add(1, Relaxed);
    }

    fn ended(&self, exchange: &Ended<'_>) {
        self.active.fetch_sub(1, Relaxed);
        match (exchange.function, exchange.outcome) {
            (Some(function), _) => self.count(function, exchange),
            (None, Outcome::Refused(reason)) => count_reason(&self.unrouted, reason),
            (None, _) => {}
        }
    }

    fn unparsable(&self, exchange: &Ended<'_>) {
        if let Outcome::Refused(reason) = exchange.outcome {
            count_reason(&self.unparsable, reason);
        }
    }

    fn turned_away(&self) {
        self.turned_away.fetch_add(1, Relaxed);
    }

    fn looked_at(&self, worker: usize, busy: f64, refuses: bool) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.insert(worker, (busy, refuses));
    }
}

fn count_reason(counts: &Reasons, reason: Reason) {
    let of = Reason::ALL.iter().position(|each| *each == reason).and_then(|position| counts.get(position));
    if let Some(count) = of {
        count.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
