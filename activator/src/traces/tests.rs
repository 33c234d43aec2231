//! A request through a running server, and its spans as a collector receives them.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use catnap_activator_core::{
    Activator, Command, FunctionName, FunctionRoute, Listener, Pod as FunctionPod, RevisionRoute, Settings,
    SystemClock,
};
use catnap_activator_http::{Config, Handle, Server};
use catnap_wire::message::{ActivatorFrame, LeaderFrame, RevisionId, Term, WakeAnswer, Welcome};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::*;
use crate::metrics::Metrics;
use crate::observers::Observers;

const SOON: Duration = Duration::from_secs(20);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Passes on what it receives, and rejects so many spans of it.
struct Collector {
    received: mpsc::UnboundedSender<ExportTraceServiceRequest>,
    rejects: i64,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.received.send(request.into_inner()).unwrap();
        let error_message = "too old".to_owned();
        let rejected = ExportTracePartialSuccess { rejected_spans: self.rejects, error_message };
        let partial_success = Some(rejected).filter(|rejected| rejected.rejected_spans > 0);
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

/// A collector that is there, and what it receives.
async fn collector() -> (SocketAddr, mpsc::UnboundedReceiver<ExportTraceServiceRequest>) {
    rejecting(0).await
}

/// The same, which rejects so many spans of each request.
async fn rejecting(rejects: i64) -> (SocketAddr, mpsc::UnboundedReceiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, received) = mpsc::unbounded_channel();
    let collector = TraceServiceServer::new(Collector { received: tell, rejects });
    let server = tonic::transport::Server::builder().add_service(collector);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, received)
}

fn own_pod() -> Pod {
    Pod {
        name: "activator-1".into(),
        namespace: "catnap".into(),
        uid: "own".into(),
        ip: Ipv4Addr::LOCALHOST.into(),
    }
}

struct Bed {
    activator: Arc<Activator>,
    handle: Handle,
    losses: Arc<Losses>,
}

impl Bed {
    /// A server with a function `hello` that has no pod, whose traces go to `endpoint`.
    fn start(endpoint: SocketAddr, sample: f64) -> Self {
        let args = TraceArgs {
            otlp_endpoint: Some(format!("http://{endpoint}")),
            trace_sample: sample,
            trace_delay: 10,
        };
        let (activator, commands) = Activator::new(Settings::new(1, "own"), Arc::new(SystemClock::start()));
        let metrics = Metrics::register(&mut Registry::default(), &activator);
        let losses = Arc::clone(&metrics.losses);
        let (traces, export) = start(&args, &own_pod(), &losses).unwrap().unwrap();
        tokio::spawn(export.run());
        let connection = activator.leader_connected();
        let welcome = Welcome { term: Term::default(), closed: vec![], more: false };
        activator.leader_frame(connection, LeaderFrame::Welcome(welcome));
        tokio::spawn(drive(Arc::clone(&activator), commands));
        let name = FunctionName { namespace: "default".into(), name: "hello".into() };
        let revision = RevisionRoute::new("hello-1".into());
        activator.upsert_function(FunctionRoute::of_one(name, "uid".into(), revision));
        let mut config = Config::new(vec![(Listener::InCluster, (Ipv4Addr::LOCALHOST, 0).into())]);
        config.sampling = args.sampling();
        let observers = Observers { metrics, access_log: None, traces: Some(traces) };
        let handle = Server::start(config, Arc::clone(&activator), Arc::new(observers)).unwrap();
        Self { activator, handle, losses }
    }

    async fn send(&self, fields: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.handle.addresses()[0].1).await.unwrap();
        let head = format!("GET /secret?token=1 HTTP/1.1\r\nHost: hello.default\r\n{fields}\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        client
    }

    fn held(&self) -> u64 {
        self.activator.snapshot().revisions[0].held
    }

    fn pod(&self, address: SocketAddr) {
        let revision =
            RevisionId { namespace: "default".into(), name: "hello-1".into(), function_uid: "uid".into() };
        let pod = FunctionPod {
            uid: "pod-1".into(),
            address: Some(address),
            started: true,
            ready: true,
            requires_ready: false,
            terminating: false,
            trouble: None,
        };
        self.activator.set_pods(&revision, vec![pod]);
    }
}

/// Does what the core asks for, with a leader that wakes everything: the test itself starts the pod.
async fn drive(activator: Arc<Activator>, mut commands: UnboundedReceiver<Command>) {
    loop {
        let wait = activator.tick();
        match tokio::time::timeout(wait, commands.recv()).await {
            Ok(Some(Command::Probe { revision, probe })) => {
                let answered = catnap_activator_http::probe(&probe).await.is_ok();
                activator.probed(&revision, &probe.uid, answered);
            }
            Ok(Some(Command::Send { connection, frame: ActivatorFrame::Wake { revision, .. } })) => {
                let answer = WakeAnswer::Written { replicas: 1 };
                activator.leader_frame(connection, LeaderFrame::WakeReply { revision, answer });
            }
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => return,
        }
    }
}

/// A pod that answers each connection's first request with the `traceparent` that it got.
async fn pod() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = head(&mut client).await;
                let parent = field(&head, "traceparent").unwrap_or_default();
                let state = field(&head, "tracestate").unwrap_or_default();
                let body = format!("{parent} {state}");
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                client.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    address
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { break };
        head.push(byte);
    }
    String::from_utf8(head).unwrap()
}

fn field(head: &str, name: &str) -> Option<String> {
    let line = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix(&format!("{name}: ")).map(str::to_owned))?;
    Some(line)
}

/// The body of a response, which is what the pod was told of the trace.
async fn told(mut client: TcpStream) -> String {
    let answer = tokio::time::timeout(SOON, head(&mut client)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let length = field(&answer, "content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    client.read_exact(&mut body).await.unwrap();
    String::from_utf8(body).unwrap()
}

/// Spans of the next request that was sampled.
async fn next(
    received: &mut UnboundedReceiver<ExportTraceServiceRequest>,
) -> (HashMap<String, String>, Vec<Span>) {
    let request = tokio::time::timeout(SOON, received.recv()).await.unwrap().unwrap();
    let [resource] = <[_; 1]>::try_from(request.resource_spans).unwrap();
    let attributes = attributes(&resource.resource.unwrap().attributes);
    (attributes, resource.scope_spans.into_iter().flat_map(|scope| scope.spans).collect())
}

fn attributes(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue]) -> HashMap<String, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(bool) => bool.to_string(),
        other => format!("{other:?}"),
    };
    let value = |attribute: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        attribute.value.as_ref().and_then(|value| value.value.as_ref()).map(text).unwrap_or_default()
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), value(attribute))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn length(span: &Span) -> u64 {
    span.end_time_unix_nano - span.start_time_unix_nano
}

async fn until(mut condition: impl FnMut() -> bool) {
    let looking = async {
        let mut look = tokio::time::interval(Duration::from_millis(2));
        while !condition() {
            look.tick().await;
        }
    };
    tokio::time::timeout(SOON, looking).await.unwrap();
}

#[tokio::test]
async fn a_cold_request_is_a_span_whose_parts_add_up() {
    let (endpoint, mut received) = collector().await;
    let bed = Bed::start(endpoint, 0.0);
    let client =
        bed.send(&format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\ntracestate: vendor=1\r\n")).await;
    until(|| bed.held() == 1).await;
    bed.pod(pod().await);
    let told = told(client).await;
    let (resource, spans) = next(&mut received).await;
    assert_eq!(resource["service.name"], "catnap-activator");
    assert_eq!(resource["k8s.pod.uid"], "own");
    let server = &spans[0];
    assert_eq!((server.name.as_str(), server.kind), ("GET", 2), "a server's");
    assert_eq!(
        (hex(&server.trace_id), hex(&server.parent_span_id)),
        (TRACE.to_owned(), "00f067aa0ba902b7".to_owned())
    );
    assert_eq!(
        told,
        format!("00-{TRACE}-{}-01 vendor=1", hex(&server.span_id)),
        "the function is told our span"
    );
    let of_server = attributes(&server.attributes);
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.scheme", "http"),
        ("network.protocol.version", "1.1"),
        ("faas.coldstart", "true"),
        ("faas.name", "hello"),
        ("faas.version", "hello-1"),
        ("faas.instance", "pod-1"),
        ("k8s.namespace.name", "default"),
    ] {
        assert_eq!(of_server.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!format!("{spans:?}").contains("secret"), "nothing of what the client wrote");
    let child = |name: &str| {
        spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:?}"))
    };
    let (hold, connect) = (child("hold"), child("connect"));
    for child in [hold, connect] {
        assert_eq!((&child.parent_span_id, &child.trace_id), (&server.span_id, &server.trace_id));
        assert!(child.start_time_unix_nano >= server.start_time_unix_nano);
        assert!(child.end_time_unix_nano <= server.end_time_unix_nano);
    }
    assert!(hold.end_time_unix_nano <= connect.start_time_unix_nano);
    assert!(length(hold) + length(connect) <= length(server));
    // The parts of the hold are the phases of the cold start: they follow each other, and are of the same request.
    let parts: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id == hold.span_id).collect();
    assert!(!parts.is_empty());
    assert_eq!(parts[0].start_time_unix_nano, hold.start_time_unix_nano);
    for pair in parts.windows(2) {
        assert_eq!(pair[0].end_time_unix_nano, pair[1].start_time_unix_nano);
    }
    let sum: u64 = parts.iter().map(|part| length(part)).sum();
    // Whoever serves the request learns of its slot a moment after it has one.
    assert!((1..=length(server)).contains(&sum), "{sum} ns of phases in a request of {} ns", length(server));
}

#[tokio::test]
async fn a_warm_request_is_sampled_by_the_ratio_and_what_makes_no_sense_is_replaced() {
    let (endpoint, mut received) = collector().await;
    let bed = Bed::start(endpoint, 1.0);
    bed.pod(pod().await);
    until(|| bed.activator.snapshot().revisions[0].pods.iter().any(|pod| pod.usable)).await;
    let told = told(bed.send("traceparent: 00-xyz\r\ntracestate: vendor=1\r\n").await).await;
    let (_, spans) = next(&mut received).await;
    let server = &spans[0];
    assert_eq!(
        told,
        format!("00-{}-{}-01 ", hex(&server.trace_id), hex(&server.span_id)),
        "and the state is gone"
    );
    assert!(server.parent_span_id.is_empty());
    assert_eq!(attributes(&server.attributes)["faas.coldstart"], "false");
    assert!(spans.iter().all(|span| span.name != "hold"));
}

#[tokio::test]
async fn a_caller_that_does_not_sample_is_heard() {
    let (endpoint, mut received) = collector().await;
    let bed = Bed::start(endpoint, 1.0);
    bed.pod(pod().await);
    let unsampled = format!("00-{TRACE}-00f067aa0ba902b7-00");
    assert_eq!(told(bed.send(&format!("traceparent: {unsampled}\r\n")).await).await, format!("{unsampled} "));
    // Its spans would come first.
    told(bed.send("").await).await;
    let (_, spans) = next(&mut received).await;
    assert_ne!(hex(&spans[0].trace_id), TRACE);
}

#[rstest::rstest]
#[case::one_span(1, 1)]
#[case::all_that_there_are(1_000, 3)]
#[tokio::test]
async fn spans_that_a_collector_rejects_are_counted_up_to_the_requests(
    #[case] rejects: i64,
    #[case] lost: u64,
) {
    let (endpoint, mut received) = rejecting(rejects).await;
    let args =
        TraceArgs { otlp_endpoint: Some(format!("http://{endpoint}")), trace_sample: 1.0, trace_delay: 1 };
    let losses = Arc::<Losses>::default();
    let (traces, export) = start(&args, &own_pod(), &losses).unwrap().unwrap();
    // They are there before it begins, so that they are sent together.
    for _ in 0..3 {
        traces.queue.send(Vec::new()).await.unwrap();
    }
    drop(traces);
    tokio::time::timeout(SOON, export.run()).await.unwrap();
    received.recv().await.unwrap();
    assert_eq!(losses.traces.load(Relaxed), lost);
}

#[tokio::test]
async fn without_a_collector_spans_are_lost_and_counted() {
    // The kernel gives nobody this port who asks for any.
    let nobody = (Ipv4Addr::LOCALHOST, 1).into();
    let bed = Bed::start(nobody, 1.0);
    bed.pod(pod().await);
    told(bed.send("").await).await;
    until(|| bed.losses.traces.load(Relaxed) == 1).await;
}

#[tokio::test]
async fn a_collector_that_never_answers_is_not_waited_for() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let args = TraceArgs {
        otlp_endpoint: Some(format!("http://{}", silent.local_addr().unwrap())),
        trace_sample: 1.0,
        trace_delay: 1,
    };
    let losses = Arc::<Losses>::default();
    let (traces, export) = start(&args, &own_pod(), &losses).unwrap().unwrap();
    let export = Export { timeout: Duration::from_millis(20), ..export };
    let began = Instant::now();
    tokio::spawn(export.run());
    traces.queue.send(Vec::new()).await.unwrap();
    until(|| losses.traces.load(Relaxed) == 1).await;
    assert!(began.elapsed() < Duration::from_secs(8), "before the exporter's own timeout");
}
