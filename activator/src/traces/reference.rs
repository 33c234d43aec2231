//! The reference page of traces: the spans and attributes of a request that has all of them, with what is said of each here. A test
//! checks the page; `cargo xtask generate` has the test write it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use catnap_activator_core::{
    Activator, FunctionName, FunctionRoute, Listener, ManualClock, Phases, RevisionRoute, Settings,
};
use catnap_activator_http::{Details, Ended, Outcome, Step, StepKind, Trace};
use catnap_wire::message::RevisionId;
use http::HeaderValue;
use opentelemetry::Value;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::SpanData;

use super::spans;

/// Set by `cargo xtask generate`: the page is written instead of checked.
const WRITE: &str = "CATNAP_WRITE_TRACES_PAGE";

const INTRODUCTION: &str = "# Traces reference\n\n\
    Made from the code by `cargo xtask generate`. A sampled request is a trace of these spans; [how requests are sampled and where traces\n\
    go](../observability.md#traces) is said elsewhere. Nothing in them is as a client wrote it.\n\n\
    | span | inside | meaning |\n|---|---|---|\n\
    | the method | the caller's, if it said one | The whole request; of kind server, the others of kind internal |\n";
const ATTRIBUTES_BEGIN: &str =
    "\n## Attributes of the request's span\n\n| attribute | type | meaning |\n|---|---|---|\n";

/// By name, as on the page.
const SPANS: [(&str, &str); 7] = [
    ("connect", "A connection to a pod that was looked for, made anew or used again"),
    ("hold", "A wait for capacity"),
    ("queue", "Of a cold start: the rest, until a pod had room"),
    ("ready", "Of a cold start: from the running container until its port answered"),
    ("schedule", "Of a cold start: from the count until the pod had its address"),
    ("start", "Of a cold start: from there until the container was seen running"),
    ("wake", "Of a cold start: until replicas were written or seen"),
];
const ATTRIBUTES: [(&str, &str); 13] = [
    (
        "error.type",
        "Catnap's reason, `ClientLeft`, `BrokenOff`, or the status code when it is 5xx; absent otherwise",
    ),
    ("faas.coldstart", "Whether no pod was usable while it waited; absent when it waited in vain"),
    ("faas.instance", "UID of the pod that had it last"),
    ("faas.name", "The Function; absent when the host is nobody's"),
    ("faas.trigger", "`http`"),
    ("faas.version", "The revision"),
    ("http.request.body.size", "Bytes of the body that were forwarded"),
    ("http.request.method", "One of those of RFC 9110 and PATCH, else `_OTHER`"),
    ("http.response.body.size", "Bytes of the body"),
    ("http.response.status_code", "Absent when the client left before it"),
    ("k8s.namespace.name", "Namespace of the Function"),
    ("network.protocol.version", "`1.0`, `1.1` or `2`, of the client's connection"),
    ("url.scheme", "`http`, or `https` at the edge under TLS"),
];

/// Of a request that was cold, had a pod, and broke off.
fn of_everything() -> Vec<SpanData> {
    let (activator, _commands) = Activator::new(Settings::new(1, "own"), Arc::new(ManualClock::default()));
    let name = FunctionName { namespace: "default".into(), name: "hello".into() };
    let revision = RevisionRoute::new("hello-1".into());
    activator.upsert_function(FunctionRoute::of_one(name, "uid".into(), revision));
    let destination = activator.route(Listener::InCluster, "hello.default").unwrap();
    let revision =
        RevisionId { namespace: "default".into(), name: "hello-1".into(), function_uid: "uid".into() };
    let part = Duration::from_millis(10);
    let phases = Phases { cold: true, wake: part, schedule: part, start: part, ready: part, queue: part };
    let exchange = Ended {
        function: Some(destination.function()),
        revision: Some(&revision),
        status: Some(200),
        grpc_status: None,
        outcome: Outcome::BrokenOff,
        duration: Duration::from_secs(1),
        first_byte: Some(phases.total()),
        held: Some(phases.total()),
        phases: Some(phases),
        attempts: 1,
        request_bytes: 1,
        response_bytes: 1,
        details: None,
    };
    let details = Details {
        method: "GET",
        version: "1.1",
        tls: false,
        request_id: HeaderValue::from_static("id"),
        path_length: 1,
        pod: Some("pod".into()),
        trace: None,
    };
    let step = |kind, after| Step { kind, after, took: Some(part) };
    let steps = vec![step(StepKind::Hold, Duration::ZERO), step(StepKind::Connect, phases.total())];
    let trace = Trace { id: 1, span: 2, parent: Some(3), began: SystemTime::UNIX_EPOCH, steps };
    spans::of(&exchange, &details, &trace)
}

fn meaning(table: &[(&str, &'static str)], name: &str) -> &'static str {
    let row = table.iter().find(|(known, _)| *known == name);
    row.unwrap_or_else(|| panic!("nothing is said of {name}")).1
}

fn page() -> String {
    let spans = of_everything();
    let (request, parts) = spans.split_first().unwrap();
    assert_eq!(request.span_kind, SpanKind::Server);
    let mut rows: Vec<String> = Vec::new();
    for span in parts {
        assert_eq!(span.span_kind, SpanKind::Internal);
        assert!(span.attributes.is_empty(), "{span:?}");
        let around = spans.iter().find(|other| other.span_context.span_id() == span.parent_span_id).unwrap();
        let inside = match around.span_kind {
            SpanKind::Server => "the request's".to_owned(),
            _ => format!("`{}`", around.name),
        };
        rows.push(format!("| `{}` | {inside} | {} |", span.name, meaning(&SPANS, &span.name)));
    }
    let mut attributes: Vec<String> = Vec::new();
    for attribute in &request.attributes {
        let kind = match attribute.value {
            Value::Bool(_) => "bool",
            Value::I64(_) => "int",
            Value::String(_) => "string",
            _ => panic!("another type: {attribute:?}"),
        };
        let name = attribute.key.as_str();
        attributes.push(format!("| `{name}` | {kind} | {} |", meaning(&ATTRIBUTES, name)));
    }
    assert_eq!((rows.len(), attributes.len()), (SPANS.len(), ATTRIBUTES.len()), "more is said than there is");
    rows.sort_unstable();
    attributes.sort_unstable();
    let lines = |rows: &[String]| rows.iter().fold(String::new(), |lines, row| lines + row + "\n");
    [INTRODUCTION, &lines(&rows), ATTRIBUTES_BEGIN, &lines(&attributes)].concat()
}

#[test]
fn the_traces_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/traces.md");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path, page()).unwrap();
        return;
    }
    let present = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(present, page(), "docs/reference/traces.md is stale: run `cargo xtask generate`");
}
