use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use futures::FutureExt;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::listen::every_address;

use super::{
    Admin, AdminArgs, CONNECTION_TIMEOUT, DebugEndpoints, DebugQuery, DebugState, ENDS, MAX_CONNECTIONS,
    Readiness, Rendering, bind, serve, serve_connection,
};

/// Longest that an answer may take; shorter than any timeout of the server.
const PROMPT: Duration = Duration::from_secs(3);

struct Server {
    address: std::net::SocketAddr,
    readiness: Readiness,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

fn admin(debug_state: DebugState) -> Admin {
    let mut registry = Registry::with_prefix("catnap");
    let naps: Counter = Counter::default();
    naps.inc_by(3);
    registry.register("naps", "Naps taken", naps);
    Admin { registry, readiness: Readiness::default(), debug_state }
}

fn asleep() -> DebugState {
    rendered(|query| serde_json::json!({ "asleep": true, "of": query.function }))
}

fn rendered(render: impl Fn(DebugQuery) -> serde_json::Value + Clone + Send + Sync + 'static) -> DebugState {
    Arc::new(move |query| {
        let render = render.clone();
        std::future::ready(Box::new(move || render(query)) as Rendering).boxed()
    })
}

fn start_with(debug_state: DebugState) -> Server {
    let admin_address = Some(([127, 0, 0, 1], 0).into());
    let listener = bind(&AdminArgs { admin_address, debug_endpoints: DebugEndpoints::default() }).unwrap();
    let address = listener.socket.local_addr().unwrap();
    let admin = admin(debug_state);
    let readiness = admin.readiness.clone();
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, admin, stop.clone()));
    Server { address, readiness, stop, served }
}

fn start() -> Server {
    start_with(asleep())
}

async fn call(server: &Server, method: &str, path: &str, body: &str) -> (StatusCode, String) {
    call_on(TcpStream::connect(server.address).await.unwrap(), method, path, body).await
}

async fn call_on(stream: TcpStream, method: &str, path: &str, body: &str) -> (StatusCode, String) {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let body = Full::new(Bytes::from(body.to_owned()));
    let request = Request::builder().method(method).uri(path).header("host", "admin").body(body).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn readiness_follows_its_handle_and_health_does_not() {
    let server = start();
    assert_eq!(call(&server, "GET", "/readyz", "").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(call(&server, "GET", "/healthz", "").await.0, StatusCode::OK);
    server.readiness.set(true);
    assert_eq!(call(&server, "GET", "/readyz", "").await.0, StatusCode::OK);
}

#[tokio::test]
async fn metrics_and_state_are_told() {
    let server = start();
    let (_, metrics) = call(&server, "GET", "/metrics", "").await;
    assert!(metrics.contains("catnap_naps_total 3\n"), "{metrics}");
    let (_, state) = call(&server, "GET", "/debug/state", "").await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&state).unwrap()["asleep"], true);
    let (_, state) = call(&server, "GET", "/debug/state?a=b&function=default%2Fhello", "").await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&state).unwrap()["of"], "default/hello");
}

#[tokio::test]
async fn the_state_is_rendered_for_one_at_a_time_also_when_who_asked_has_left() {
    let (go, gone) = mpsc::channel::<()>();
    let (gone, begun) = (Arc::new(Mutex::new(gone)), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&begun);
    let server = start_with(rendered(move |_| {
        let number = counted.fetch_add(1, SeqCst) + 1;
        // Two that wait for a go here at the same time would be seen by the count.
        gone.lock().recv().unwrap();
        number.into()
    }));
    for _ in 0..5 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /debug/state HTTP/1.1\r\nhost: admin\r\n\r\n").await.unwrap();
        while begun.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        drop(stream);
    }
    let last = call(&server, "GET", "/debug/state", "");
    let go_on = async {
        // An answer to somebody else shows that the server has looked at those before.
        call(&server, "GET", "/healthz", "").await;
        assert_eq!(begun.load(SeqCst), 1, "the first one is under way");
        (0..6).for_each(|_| go.send(()).unwrap());
    };
    let ((status, _), ()) = tokio::time::timeout(PROMPT, futures::future::join(last, go_on)).await.unwrap();
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_state_that_cannot_be_rendered_is_an_error_and_the_next_one_asks_anew() {
    let server = start_with(rendered(|query| query.function.expect("a function").into()));
    let (status, text) = call(&server, "GET", "/debug/state", "").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
    let (status, text) = call(&server, "GET", "/debug/state?function=default/hello", "").await;
    assert_eq!((status, &*text), (StatusCode::OK, "\"default/hello\"\n"));
}

#[tokio::test]
async fn a_process_that_has_no_state_any_more_says_so() {
    let server = start_with(rendered(|_| serde_json::Value::Null));
    let (status, text) = call(&server, "GET", "/debug/state", "").await;
    assert_eq!((status, &*text), (StatusCode::SERVICE_UNAVAILABLE, ENDS));
}

#[tokio::test]
async fn what_is_not_offered_is_refused() {
    let server = start();
    assert_eq!(call(&server, "GET", "/", "").await.0, StatusCode::NOT_FOUND);
    assert_eq!(call(&server, "POST", "/metrics", "").await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn it_serves_until_it_is_stopped() {
    let server = start();
    call(&server, "GET", "/healthz", "").await;
    server.stop.cancel();
    server.served.await.unwrap();
    TcpStream::connect(server.address).await.unwrap_err();
}

#[tokio::test]
async fn a_probe_does_not_wait_for_those_who_hold_connections() {
    let server = start();
    let mut idle = Vec::new();
    for _ in 0..2 * MAX_CONNECTIONS {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    let probe = tokio::time::timeout(PROMPT, call(&server, "GET", "/healthz", ""));
    assert_eq!(probe.await.expect("an answer while they wait").0, StatusCode::OK);
    let first = tokio::time::timeout(PROMPT, idle[0].read(&mut [0])).await.expect("the oldest is closed");
    assert!(matches!(first, Ok(0) | Err(_)), "{first:?}");
}

#[tokio::test]
async fn a_connection_is_for_one_request() {
    let server = start();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: admin\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let closed = tokio::time::timeout(PROMPT, stream.read_to_string(&mut answer));
    closed.await.expect("the server closes it").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_too_long_is_closed() {
    let server = start_with(Arc::new(|_| std::future::pending().boxed()));
    let began = Instant::now();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /debug/state HTTP/1.1\r\nhost: admin\r\n\r\n").await.unwrap();
    let closed = tokio::time::timeout(2 * CONNECTION_TIMEOUT, stream.read(&mut [0])).await;
    assert!(matches!(closed.expect("the server closes it"), Ok(0) | Err(_)));
    assert!(began.elapsed() >= CONNECTION_TIMEOUT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_tells_of_functions_is_for_this_pod_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (path, status) in [
        ("/debug/state", StatusCode::FORBIDDEN),
        ("/debug/failpoints/admin-test", StatusCode::FORBIDDEN),
        ("/metrics", StatusCode::OK),
    ] {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let may_debug = DebugEndpoints::default().are_for([10, 0, 0, 7].into());
        tokio::spawn(serve_connection(accepted, Arc::new(admin(asleep()).into()), may_debug));
        let (found, text) = call_on(stream, "GET", path, "").await;
        assert_eq!(found, status, "{path}: {text}");
        assert_eq!(text.contains("--debug-endpoints=all"), status == StatusCode::FORBIDDEN, "{text}");
    }
}

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    admin: AdminArgs,
}

#[test]
fn by_default_it_is_there_for_both_families_and_shows_functions_to_nobody_else() {
    let admin = |flags: &[&str]| Flags::parse_from(["catnap"].iter().chain(flags)).admin;
    assert_eq!(admin(&[]).address(), every_address(9090));
    assert_eq!(admin(&[]).debug_endpoints, DebugEndpoints::Loopback);
    assert_eq!(admin(&["--debug-endpoints", "all"]).debug_endpoints, DebugEndpoints::All);
    assert_eq!(admin(&["--admin-address", "10.0.0.1:1"]).address(), ([10, 0, 0, 1], 1).into());
}

#[test]
fn a_port_forward_may_debug_and_another_pod_only_if_all_may() {
    let v4: std::net::Ipv4Addr = [127, 0, 0, 1].into();
    for local in [v4.into(), v4.to_ipv6_mapped().into(), std::net::Ipv6Addr::LOCALHOST.into()] {
        assert!(DebugEndpoints::Loopback.are_for(local), "{local}");
    }
    let other = [10, 0, 0, 7].into();
    assert!(!DebugEndpoints::Loopback.are_for(other));
    assert!(DebugEndpoints::All.are_for(other));
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_fail_point_is_paused_and_continued() {
    let server = start();
    let path = "/debug/failpoints/admin-test";
    let status = |body: String| serde_json::from_str::<serde_json::Value>(&body).unwrap();
    assert_eq!(status(call(&server, "PUT", path, "pause").await.1)["paused"], true);
    let waiting = tokio::spawn(crate::failpoint::reach("admin-test"));
    while status(call(&server, "GET", path, "").await.1)["waiting"] == 0 {}
    assert_eq!(status(call(&server, "PUT", path, "continue").await.1)["paused"], false);
    waiting.await.unwrap();
    assert_eq!(call(&server, "PUT", path, "explode").await.0, StatusCode::BAD_REQUEST);
}

#[cfg(not(feature = "failpoints"))]
#[tokio::test]
async fn a_build_without_fail_points_offers_none() {
    let server = start();
    let path = "/debug/failpoints/admin-test";
    assert_eq!(call(&server, "GET", path, "").await.0, StatusCode::NOT_FOUND);
    assert_eq!(call(&server, "PUT", path, "pause").await.0, StatusCode::METHOD_NOT_ALLOWED);
}
