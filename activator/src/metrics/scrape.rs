//! What a scrape shows: the counts of all Functions, and what is true of the core's state at that moment.
//!
//! A revision that the core does not know any more is shown for some minutes, with its last counts, and then no more.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use catnap_activator_core::{Activator, Reason, RevisionState, Snapshot};
use catnap_runtime::telemetry::Dropped;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::Metrics;
use super::histogram::Histogram;
use super::labels::{FunctionLabels, PhaseLabels, ReasonLabels, RequestLabels, RevisionLabels, WorkerLabels};
use super::series::{FunctionSeries, PHASES, RevisionSeries};

/// Reads everything at each scrape.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) metrics: Arc<Metrics>,
    pub(super) activator: Arc<Activator>,
}

type Row = (RevisionLabels, Arc<RevisionSeries>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let state = self.activator.snapshot();
        let routed = state.functions.iter().map(|function| (&function.name, &*function.uid)).collect();
        let functions = self.metrics.functions(&routed);
        let rows: Vec<Row> = functions.iter().flat_map(rows).collect();
        requests(&mut encoder, &rows)?;
        histograms(&mut encoder, &rows)?;
        counters(&mut encoder, &rows)?;
        self.of_nobody(&mut encoder)?;
        gauges(&mut encoder, &state)?;
        let known: HashSet<[&str; 3]> = state
            .revisions
            .iter()
            .map(|RevisionState { revision, .. }| {
                [&*revision.namespace, &*revision.name, &*revision.function_uid]
            })
            .collect();
        for function in &functions {
            let exists = |name: &str| known.contains(&[&*function.name.namespace, name, &*function.uid]);
            function.retain(Instant::now(), exists);
        }
        Ok(())
    }
}

impl Scrape {
    /// What belongs to no Function.
    fn of_nobody(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Metrics {
            unrouted,
            unparsable,
            turned_away,
            active,
            losses,
            workers,
            functions: _,
            cold_starts: _,
        } = &*self.metrics;
        reasons(encoder, "unrouted_requests", "Requests that belong to no function", unrouted)?;
        reasons(encoder, "unparsable_requests", "What the HTTP parser refused", unparsable)?;
        let help = "Connections that were told that there is no room for them, and closed";
        counter(encoder, "turned_away_connections", help, turned_away)?;
        let help = "Lines of the access log that were left out because its writer was behind";
        counter(encoder, "access_log_dropped", help, &losses.lines)?;
        let help = "Sampled requests whose spans were not delivered, or rejected";
        counter(encoder, "traces_dropped", help, &losses.traces)?;
        let help = "Lines of the process' log that were left out because nobody took them in time";
        let lines = losses.log.get().map_or(0, Dropped::lines);
        counter(encoder, "log_dropped", help, &AtomicU64::new(lines))?;
        let workers = workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let help = "Part of the last second in which a worker was busy";
        let unit = Unit::Other("ratio".to_owned());
        let mut family = encoder.encode_descriptor("worker_busy", help, Some(&unit), MetricType::Gauge)?;
        for (number, (busy, _)) in &workers {
            let labels = WorkerLabels { worker: number.to_string() };
            ConstGauge::new(*busy).encode(family.encode_family(&labels)?)?;
        }
        let help = "1 while a worker has too much to do and refuses requests";
        let mut family = encoder.encode_descriptor("worker_refuses", help, None, MetricType::Gauge)?;
        for (number, (_, refuses)) in &workers {
            let labels = WorkerLabels { worker: number.to_string() };
            ConstGauge::new(i64::from(*refuses)).encode(family.encode_family(&labels)?)?;
        }
        let help = "Requests between their head and their end";
        gauge(encoder, "active_requests", help, active.load(Relaxed))
    }
}

fn rows(function: &Arc<FunctionSeries>) -> Vec<Row> {
    let rows = function.revisions.all();
    let labels = |revision: &RevisionSeries| RevisionLabels {
        namespace: Arc::clone(&function.name.namespace),
        function: Arc::clone(&function.name.name),
        revision: Arc::clone(&revision.name),
    };
    rows.iter().map(|revision| (labels(revision), Arc::clone(revision))).collect()
}

fn requests(encoder: &mut DescriptorEncoder<'_>, rows: &[Row]) -> fmt::Result {
    let help = "Requests that ended, by the class of their status code and why Catnap ended them itself";
    let mut family = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
    for (labels, revision) in rows {
        for requests in revision.requests.all().iter() {
            let RevisionLabels { namespace, function, revision } = labels.clone();
            let (code, reason) = (requests.code, requests.reason);
            let labels = RequestLabels { namespace, function, revision, code, reason };
            ConstCounter::new(requests.count.load(Relaxed)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn histograms(encoder: &mut DescriptorEncoder<'_>, rows: &[Row]) -> fmt::Result {
    let mut seconds = |name: &str, help: &str, of: fn(&RevisionSeries) -> &Histogram| {
        let unit = Some(&Unit::Seconds);
        let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for (labels, revision) in rows.iter().filter(|(_, revision)| !of(revision).is_empty()) {
            of(revision).encode(family.encode_family(labels)?)?;
        }
        Ok::<(), fmt::Error>(())
    };
    let help = "From the request's head to the end of the response";
    seconds("request_duration", help, |revision| &revision.duration)?;
    let help = "From the request's head to the response's";
    seconds("first_byte", help, |revision| &revision.first_byte)?;
    let help = "Time that requests were held, of those that were";
    seconds("queue", help, |revision| &revision.queue)?;
    let help = "Phases of the waits of requests that found no pod";
    let unit = Some(&Unit::Seconds);
    let mut family = encoder.encode_descriptor("cold_start", help, unit, MetricType::Histogram)?;
    for (labels, revision) in rows {
        for (phase, histogram) in
            PHASES.iter().zip(revision.cold_start.get().into_iter().flat_map(|all| &**all))
        {
            let RevisionLabels { namespace, function, revision } = labels.clone();
            histogram.encode(family.encode_family(&PhaseLabels {
                namespace,
                function,
                revision,
                phase,
            })?)?;
        }
    }
    Ok(())
}

fn counters(encoder: &mut DescriptorEncoder<'_>, rows: &[Row]) -> fmt::Result {
    let mut counter = |name: &str, help: &str, unit: Option<Unit>, of: fn(&RevisionSeries) -> &AtomicU64| {
        let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (labels, revision) in rows {
            ConstCounter::new(of(revision).load(Relaxed)).encode(family.encode_family(labels)?)?;
        }
        Ok::<(), fmt::Error>(())
    };
    counter("retries", "Times that a request was given to another pod", None, |revision| &revision.retries)?;
    let help = "Bytes of request bodies that were forwarded";
    counter("request_body", help, Some(Unit::Bytes), |revision| &revision.request_bytes)?;
    let help = "Bytes of response bodies";
    counter("response_body", help, Some(Unit::Bytes), |revision| &revision.response_bytes)
}

fn reasons(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counts: &[AtomicU64; Reason::ALL.len()],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (reason, count) in Reason::ALL.into_iter().zip(counts) {
        let count = count.load(Relaxed);
        if count > 0 {
            let labels = ReasonLabels { reason: reason.name() };
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn gauges(encoder: &mut DescriptorEncoder<'_>, state: &Snapshot) -> fmt::Result {
    let help = "1 while a stream to the leading autoscaler is open and greeted";
    gauge(encoder, "leader_connected", help, i64::from(state.leader))?;
    gauge(encoder, "functions", "Functions known", number(state.functions.len() as u64))?;
    // A revision of no Function, any more or yet, has no owner.
    let owners: BTreeMap<_, _> = state
        .functions
        .iter()
        .flat_map(|function| function.revisions.iter().map(|revision| (revision, &function.name.name)))
        .collect();
    let labels = |state: &RevisionState| RevisionLabels {
        namespace: Arc::clone(&state.revision.namespace),
        function: owners.get(&state.revision).map_or_else(Arc::default, |name| Arc::clone(name)),
        revision: Arc::clone(&state.revision.name),
    };
    let mut of_revisions =
        |name: &str, help: &str, both: fn(u64, u64) -> u64, value: fn(&RevisionState) -> Option<u64>| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            // Of one name there may be several without an owner, of Functions that are gone.
            let mut rows = BTreeMap::<RevisionLabels, u64>::new();
            for (state, value) in state.revisions.iter().filter_map(|state| Some((state, value(state)?))) {
                rows.entry(labels(state)).and_modify(|other| *other = both(*other, value)).or_insert(value);
            }
            for (labels, value) in rows {
                ConstGauge::new(number(value)).encode(family.encode_family(&labels)?)?;
            }
            Ok::<(), fmt::Error>(())
        };
    of_revisions("held", "Requests held now", u64::saturating_add, |state| Some(state.held))?;
    of_revisions("in_flight", "Requests dispatched and not ended", u64::saturating_add, |state| {
        Some(state.in_flight)
    })?;
    let help = "Requests that one pod takes at once; absent without a limit";
    of_revisions("pod_capacity", help, u64::max, |state| (state.limit > 0).then_some(state.limit.into()))?;
    let help = "Pods that take requests now";
    of_revisions("usable_pods", help, u64::saturating_add, |state| {
        Some(state.pods.iter().filter(|pod| pod.usable).count() as u64)
    })?;
    let help = "Requests held now because no revision of the function was ever ready";
    let mut family = encoder.encode_descriptor("held_unproven", help, None, MetricType::Gauge)?;
    for function in state.functions.iter().filter(|function| function.pending > 0) {
        let labels = FunctionLabels::from(&function.name);
        ConstGauge::new(number(function.pending as u64)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: &AtomicU64) -> fmt::Result {
    let encoder = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    ConstCounter::new(value.load(Relaxed)).encode(encoder)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
