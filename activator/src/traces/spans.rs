//! The spans of one request: of the server, and in it those of what it waited for.

use std::time::{Duration, SystemTime};

use catnap_activator_core::Phases;
use catnap_activator_http::{Details, Ended, Outcome, Step, StepKind, Trace};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::SERVICE;

/// All spans of the request, its own first.
pub(super) fn of(exchange: &Ended<'_>, details: &Details, trace: &Trace) -> Vec<SpanData> {
    let mut spans = vec![server(exchange, details, trace)];
    let mut cold = exchange.phases.filter(|phases| phases.cold);
    for step in &trace.steps {
        let name = match step.kind {
            StepKind::Hold => "hold",
            StepKind::Connect => "connect",
        };
        let Step { after, took, .. } = *step;
        let began = trace.began + after;
        let took = took.unwrap_or_else(|| exchange.duration.saturating_sub(after));
        let waited = child(trace, trace.span, name, began, took);
        let id = waited.span_context.span_id();
        spans.push(waited);
        // The phases are those of the whole wait, from the first time that it was held.
        if let Some(phases) = cold.take_if(|_| step.kind == StepKind::Hold) {
            spans.extend(parts(trace, id, began, &phases));
        }
    }
    spans
}

fn server(exchange: &Ended<'_>, details: &Details, trace: &Trace) -> SpanData {
    let Details { method, version, tls, request_id: _, path_length: _, pod, trace: _ } = details;
    let mut attributes = vec![
        KeyValue::new("http.request.method", *method),
        KeyValue::new("network.protocol.version", *version),
        KeyValue::new("url.scheme", if *tls { "https" } else { "http" }),
        KeyValue::new("faas.trigger", "http"),
        KeyValue::new("http.request.body.size", size(exchange.request_bytes)),
        KeyValue::new("http.response.body.size", size(exchange.response_bytes)),
    ];
    // Of what was held and left or was refused nobody knows whether pods were there.
    if exchange.phases.is_some() || exchange.held.is_none() {
        let cold = exchange.phases.is_some_and(|phases| phases.cold);
        attributes.push(KeyValue::new("faas.coldstart", cold));
    }
    if let Some(status) = exchange.status {
        attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
    }
    if let Some(function) = exchange.function {
        attributes.push(KeyValue::new("k8s.namespace.name", function.name().namespace.to_string()));
        attributes.push(KeyValue::new("faas.name", function.name().name.to_string()));
    }
    if let Some(revision) = exchange.revision {
        attributes.push(KeyValue::new("faas.version", revision.name.to_string()));
    }
    if let Some(pod) = pod {
        attributes.push(KeyValue::new("faas.instance", pod.to_string()));
    }
    let reason = exchange.outcome.reason();
    let failed = exchange.status.is_some_and(|status| status >= 500)
        || matches!(exchange.outcome, Outcome::BrokenOff | Outcome::TimedOut(_));
    match (reason, exchange.status) {
        ("", Some(status)) if failed => attributes.push(KeyValue::new("error.type", status.to_string())),
        ("", _) => {}
        (reason, _) => attributes.push(KeyValue::new("error.type", reason)),
    }
    SpanData {
        parent_span_id: trace.parent.map_or(SpanId::INVALID, |id| SpanId::from_bytes(id.to_be_bytes())),
        parent_span_is_remote: trace.parent.is_some(),
        span_kind: SpanKind::Server,
        attributes,
        status: if failed { Status::error(reason) } else { Status::Unset },
        ..span(trace, trace.span, method, trace.began, exchange.duration)
    }
}

/// What a cold start was spent on, one part after the other.
fn parts(trace: &Trace, hold: SpanId, began: SystemTime, phases: &Phases) -> Vec<SpanData> {
    let Phases { cold: _, wake, schedule, start, ready, queue } = *phases;
    let mut from = began;
    let parts =
        [("wake", wake), ("schedule", schedule), ("start", start), ("ready", ready), ("queue", queue)];
    let parts = parts.into_iter().filter(|(_, took)| !took.is_zero()).map(|(name, took)| {
        let part =
            SpanData { parent_span_id: hold, ..span(trace, rand::random::<u64>() | 1, name, from, took) };
        from += took;
        part
    });
    parts.collect()
}

fn child(trace: &Trace, parent: u64, name: &'static str, began: SystemTime, took: Duration) -> SpanData {
    let parent_span_id = SpanId::from_bytes(parent.to_be_bytes());
    SpanData { parent_span_id, ..span(trace, rand::random::<u64>() | 1, name, began, took) }
}

fn span(trace: &Trace, id: u64, name: &'static str, began: SystemTime, took: Duration) -> SpanData {
    let span_context = SpanContext::new(
        TraceId::from_bytes(trace.id.to_be_bytes()),
        SpanId::from_bytes(id.to_be_bytes()),
        TraceFlags::SAMPLED,
        false,
        TraceState::default(),
    );
    SpanData {
        span_context,
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: name.into(),
        start_time: began,
        end_time: began + took,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder(SERVICE).build(),
    }
}

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
