//! Real TLS and HTTP/2 over loopback; only the API server is a fixture.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catnap_autoscaler_core::StreamId;
use catnap_runtime::CancellationToken;
use catnap_runtime::prometheus_client::encoding::text::encode;
use catnap_runtime::prometheus_client::registry::Registry;
use catnap_runtime::tls::{Fingerprint, SelfMade, pinning_client_config};
use catnap_wire::proto::measurements_client::MeasurementsClient;
use catnap_wire::{ActivatorFrame, GateId, LeaderFrame, RevisionId, Term, Verdict, Welcome, proto};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use super::authentication::{AuthenticationError, Authenticator, Expected, Role};
use super::rates::Rates;
use super::{Measurements, server};
use crate::driver::{Input, Outgoing, Refusal};
use crate::fixture::{Call, Reply, client, soon};
use crate::metrics::Metrics;

mod operators;
mod silence;

const PATIENCE: Duration = Duration::from_secs(2);
const USER: &str = "system:serviceaccount:catnap-system:catnap-activator";
const OPERATOR: &str = "system:serviceaccount:catnap-system:catnap-operator";

struct Server {
    address: SocketAddr,
    fingerprint: Fingerprint,
    inputs: mpsc::Receiver<Input>,
    registry: Registry,
    reviews: Arc<AtomicUsize>,
}

/// Looks like a token for the autoscaler; only the API server can tell what it is worth.
fn token(name: &str) -> String {
    token_for(&["catnap"], name)
}

fn token_for(audiences: &[&str], name: &str) -> String {
    let claims = json!({ "aud": audiences, "name": name }).to_string();
    [r#"{"alg":"RS256"}"#, claims.as_str(), "signature"].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
}

fn name_in(token: &str) -> String {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["name"].as_str().unwrap().to_owned()
}

/// The API server knows tokens of an activator, an operator and somebody else, and one of no pod. Whatever it is asked for, it
/// vouches for, but in one case.
fn review(call: &Call) -> Reply {
    let asked = call.body["spec"]["audiences"].clone();
    let user = |name: &str, extra: Value| json!({ "authenticated": true, "audiences": asked, "user": { "username": name, "extra": extra } });
    let pod = |uid: &str| json!({ "authentication.kubernetes.io/pod-uid": [uid] });
    let status = match name_in(call.body["spec"]["token"].as_str().unwrap()).as_str() {
        "activator" => user(USER, pod("activator-1")),
        "operator" => user(OPERATOR, pod("operator-1")),
        "stranger" => user("system:serviceaccount:shop:hello", pod("hello-1")),
        "namesake" => user("system:serviceaccount:shop:catnap-operator", pod("hello-1")),
        "person" => user(USER, json!({})),
        "boss" => user(OPERATOR, json!({})),
        "other-audience" => {
            json!({ "authenticated": true, "audiences": ["elsewhere"], "user": { "username": USER } })
        }
        _ => json!({ "authenticated": false, "error": "unknown" }),
    };
    let mut review = call.body.clone();
    review["status"] = status;
    Reply::Json(201, review)
}

fn expected(role: Role) -> Expected {
    let (audience, username) = match role {
        Role::Activator => ("catnap", USER),
        Role::Operator => ("catnap-rates", OPERATOR),
    };
    Expected { audience: audience.into(), username: username.into(), role }
}

async fn start() -> Server {
    catnap_runtime::tls::install_crypto_provider();
    let reviews = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reviews);
    let api = client(move |call| {
        counted.fetch_add(1, Ordering::SeqCst);
        review(&call)
    });
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let (inputs, received) = mpsc::channel(16);
    let activators = Authenticator::new(api.clone(), expected(Role::Activator));
    let measurements = Measurements::new(activators, inputs.clone(), metrics.clone());
    let operators = Authenticator::new(api, expected(Role::Operator));
    let rates = Rates::new(operators, inputs, metrics);
    let certificate = SelfMade::generate("catnap-autoscaler").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = certificate.server_config(&[b"h2"]).unwrap();
    tokio::spawn(server::serve(listener, tls, measurements, rates, CancellationToken::new()));
    Server { address, fingerprint: certificate.fingerprint(), inputs: received, registry, reviews }
}

async fn channel(address: SocketAddr, pinned: Fingerprint) -> Result<Channel, tonic::transport::Error> {
    let tls = TlsConnector::from(pinning_client_config(pinned, &[b"h2"]).unwrap());
    let connector = tower::service_fn(move |_| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let name = "catnap-autoscaler".try_into().map_err(std::io::Error::other)?;
            tls.connect(name, stream).await.map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://catnap-autoscaler").connect_with_connector(connector).await
}

type Connected = (mpsc::Sender<proto::ActivatorFrame>, Result<Streaming<proto::LeaderFrame>, Status>);

async fn connect(server: &Server, token: &str) -> Connected {
    let channel = channel(server.address, server.fingerprint).await.unwrap();
    let (frames, outgoing) = mpsc::channel(16);
    let mut request = Request::new(ReceiverStream::new(outgoing));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let response = MeasurementsClient::new(channel).max_decoding_message_size(1 << 20).connect(request).await;
    (frames, response.map(tonic::Response::into_inner))
}

/// Connects while the test plays the driver.
async fn connect_as_driver(server: &mut Server, answer: Result<StreamId, Refusal>) -> (Connected, Outgoing) {
    let address = (server.address, server.fingerprint);
    let connecting = async {
        let channel = channel(address.0, address.1).await.unwrap();
        let (frames, outgoing) = mpsc::channel(16);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {}", token("activator")).parse().unwrap());
        let response = MeasurementsClient::new(channel).connect(request).await;
        (frames, response.map(tonic::Response::into_inner))
    };
    let driving = async {
        let Some(Input::Open(opening)) = server.inputs.recv().await else {
            panic!("a stream is opened first")
        };
        assert_eq!(&*opening.pod, "activator-1");
        opening.answer.send(answer).unwrap();
        opening.outgoing
    };
    soon(async { tokio::join!(connecting, driving) }).await
}

fn metric(server: &Server, line: &str) -> bool {
    let mut text = String::new();
    encode(&mut text, &server.registry).unwrap();
    text.lines().any(|found| found == line)
}

#[tokio::test]
async fn frames_go_both_ways_in_order() {
    let mut server = start().await;
    let ((frames, stream), outgoing) = connect_as_driver(&mut server, Ok(StreamId(7))).await;
    let mut stream = stream.unwrap();
    for index in [1, 2] {
        frames.send((&ActivatorFrame::Through { index }).into()).await.unwrap();
        let input = soon(server.inputs.recv()).await;
        assert!(
            matches!(input, Some(Input::Frame(StreamId(7), ActivatorFrame::Through { index: got }, _)) if got == index)
        );
    }
    let welcome = LeaderFrame::Welcome(Welcome { term: Term::default(), closed: vec![], more: false });
    outgoing.frames.try_send(Ok(welcome.clone())).unwrap();
    let got = soon(stream.message()).await.unwrap().unwrap();
    assert_eq!(LeaderFrame::try_from(got), Ok(welcome));
    drop((frames, stream));
    assert!(matches!(soon(server.inputs.recv()).await, Some(Input::Closed(StreamId(7)))));
}

#[tokio::test]
async fn frames_for_ten_thousand_functions_may_wait() {
    let mut server = start().await;
    let ((_frames, stream), outgoing) = connect_as_driver(&mut server, Ok(StreamId(1))).await;
    let id = |number| RevisionId {
        namespace: "shop".into(),
        name: format!("hello-{number}").into(),
        function_uid: "uid".into(),
    };
    // In one turn of the driver: nothing is taken meanwhile.
    for number in 0..10_000 {
        let verdict = Verdict { revision: id(number), gate: GateId::default(), condemned: Vec::new() };
        let close = LeaderFrame::Close { revision: id(number), gate: GateId::default(), pods: Vec::new() };
        outgoing.frames.try_send(Ok(close)).unwrap();
        outgoing.frames.try_send(Ok(LeaderFrame::Zero(verdict))).unwrap();
    }
    assert!(soon(stream.unwrap().message()).await.unwrap().is_some());
}

#[tokio::test]
async fn the_driver_ends_a_stream_with_its_reason() {
    let mut server = start().await;
    let ((_frames, stream), outgoing) = connect_as_driver(&mut server, Ok(StreamId(1))).await;
    outgoing.frames.try_send(Err(Status::unavailable("another process may lead"))).unwrap();
    drop(outgoing);
    let ended = soon(stream.unwrap().message()).await.unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "another process may lead"));
}

#[tokio::test]
async fn only_the_leader_takes_streams_and_only_of_pods_it_knows() {
    for (refusal, label) in [(Refusal::NotLeading, "NotLeading"), (Refusal::UnknownPod, "UnknownPod")] {
        let mut server = start().await;
        let ((_frames, stream), _outgoing) = connect_as_driver(&mut server, Err(refusal)).await;
        assert_eq!(stream.unwrap_err().code(), Code::Unavailable);
        assert!(metric(
            &server,
            &format!("catnap_autoscaler_authentications_total{{outcome=\"{label}\"}} 1")
        ));
    }
}

#[tokio::test]
async fn whoever_is_no_activator_is_refused() {
    let mut server = start().await;
    for (name, code, label) in [
        ("stranger", Code::PermissionDenied, "NotAnActivator"),
        ("person", Code::PermissionDenied, "NotAnActivator"),
        ("other-audience", Code::Unauthenticated, "BadToken"),
        ("forged", Code::Unauthenticated, "BadToken"),
    ] {
        let (_frames, stream) = soon(connect(&server, &token(name))).await;
        assert_eq!(stream.unwrap_err().code(), code, "{name}");
        let prefix = format!("catnap_autoscaler_authentications_total{{outcome=\"{label}\"}}");
        let mut text = String::new();
        encode(&mut text, &server.registry).unwrap();
        assert!(text.contains(&prefix), "{text}");
    }
    assert!(server.inputs.try_recv().is_err(), "the driver never hears of them");
}

#[tokio::test]
async fn a_token_is_reviewed_once_for_many_connections() {
    let mut server = start().await;
    for _ in 0..3 {
        let ((_, stream), _) = connect_as_driver(&mut server, Err(Refusal::NotLeading)).await;
        assert_eq!(stream.unwrap_err().message(), "not the leader");
    }
    assert_eq!(server.reviews.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_no_token_costs_no_review() {
    let server = start().await;
    for token in ["", "secret", "c2VjcmV0.c2VjcmV0.c2VjcmV0"] {
        let (_frames, stream) = soon(connect(&server, token)).await;
        assert_eq!(stream.unwrap_err().code(), Code::Unauthenticated, "{token}");
    }
    assert_eq!(server.reviews.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn many_tokens_at_once_wait_for_their_turn() {
    let api = client(|call| review(&call));
    let authenticator = Authenticator::new(api, expected(Role::Activator));
    let forged: Vec<String> = (0..100).map(|number| token(&number.to_string())).collect();
    let forged = futures::future::join_all(forged.iter().map(|token| authenticator.authenticate(token)));
    let good = token("activator");
    let (forged, good) = soon(async { tokio::join!(forged, authenticator.authenticate(&good)) }).await;
    assert!(forged.iter().all(|answer| matches!(answer, Err(AuthenticationError::BadToken))));
    assert_eq!(&*good.unwrap(), "activator-1");
}

#[tokio::test]
async fn connections_without_a_stream_do_not_keep_an_activator_out() {
    let mut server = start().await;
    let ((frames, _stream), _outgoing) = connect_as_driver(&mut server, Ok(StreamId(1))).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    let second = connect_as_driver(&mut server, Ok(StreamId(2)));
    let _second = tokio::time::timeout(PATIENCE, second).await.expect("there is a place for it");
    let closed = tokio::time::timeout(PATIENCE, idle[0].read(&mut [0])).await;
    assert!(matches!(closed.expect("the first had to go"), Ok(0) | Err(_)));
    frames.send((&ActivatorFrame::Through { index: 1 }).into()).await.unwrap();
    let frame = soon(server.inputs.recv()).await;
    assert!(matches!(frame, Some(Input::Frame(StreamId(1), ..))), "who was let in stays: {frame:?}");
}

#[tokio::test]
async fn a_client_that_pins_another_certificate_does_not_connect() {
    let server = start().await;
    let other = SelfMade::generate("catnap-autoscaler").unwrap().fingerprint();
    soon(channel(server.address, other)).await.unwrap_err();
}

#[tokio::test]
async fn a_malformed_frame_ends_the_stream_and_is_counted() {
    let mut server = start().await;
    let ((frames, stream), _outgoing) = connect_as_driver(&mut server, Ok(StreamId(1))).await;
    frames.send(proto::ActivatorFrame { frame: None }).await.unwrap();
    let ended = soon(stream.unwrap().message()).await.unwrap_err();
    assert_eq!(ended.code(), Code::InvalidArgument);
    assert!(ended.message().contains("frame is missing"), "{}", ended.message());
    assert!(metric(&server, "catnap_autoscaler_frames_refused_total 1"));
    assert!(matches!(soon(server.inputs.recv()).await, Some(Input::Closed(StreamId(1)))));
}

#[tokio::test]
async fn an_oversized_frame_is_refused_and_counted() {
    let mut server = start().await;
    let ((frames, _stream), _outgoing) = connect_as_driver(&mut server, Ok(StreamId(1))).await;
    let name = "x".repeat(catnap_wire::limits::MAX_FRAME_BYTES + 1);
    let revision = proto::Revision { namespace: name, name: "a".into(), function_uid: "b".into() };
    let wake = proto::Wake { revision: Some(revision), held: 1, arrivals: 1 };
    frames
        .send(proto::ActivatorFrame { frame: Some(proto::activator_frame::Frame::Wake(wake)) })
        .await
        .unwrap();
    assert!(matches!(soon(server.inputs.recv()).await, Some(Input::Closed(StreamId(1)))));
    assert!(metric(&server, "catnap_autoscaler_frames_refused_total 1"));
}
