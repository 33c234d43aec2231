use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{Admin, AdminArgs, Readiness, bind, serve};

struct Server {
    address: std::net::SocketAddr,
    readiness: Readiness,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

async fn start() -> Server {
    let listener = bind(&AdminArgs { admin_address: ([127, 0, 0, 1], 0).into() }).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut registry = Registry::with_prefix("catnap");
    let naps: Counter = Counter::default();
    naps.inc_by(3);
    registry.register("naps", "Naps taken", naps);
    let readiness = Readiness::default();
    let debug_state = Arc::new(|| async { serde_json::json!({ "asleep": true }) }.boxed());
    let admin = Admin { registry, readiness: readiness.clone(), debug_state };
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, admin, stop.clone()));
    Server { address, readiness, stop, served }
}

async fn call(server: &Server, method: &str, path: &str, body: &str) -> (StatusCode, String) {
    let stream = TcpStream::connect(server.address).await.unwrap();
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
    let server = start().await;
    assert_eq!(call(&server, "GET", "/readyz", "").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(call(&server, "GET", "/healthz", "").await.0, StatusCode::OK);
    server.readiness.set(true);
    assert_eq!(call(&server, "GET", "/readyz", "").await.0, StatusCode::OK);
}

#[tokio::test]
async fn metrics_and_state_are_told() {
    let server = start().await;
    let (_, metrics) = call(&server, "GET", "/metrics", "").await;
    assert!(metrics.contains("catnap_naps_total 3\n"), "{metrics}");
    let (_, state) = call(&server, "GET", "/debug/state", "").await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&state).unwrap()["asleep"], true);
}

#[tokio::test]
async fn what_is_not_offered_is_refused() {
    let server = start().await;
    assert_eq!(call(&server, "GET", "/", "").await.0, StatusCode::NOT_FOUND);
    assert_eq!(call(&server, "POST", "/metrics", "").await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn it_serves_until_it_is_stopped() {
    let server = start().await;
    call(&server, "GET", "/healthz", "").await;
    server.stop.cancel();
    server.served.await.unwrap();
    TcpStream::connect(server.address).await.unwrap_err();
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_fail_point_is_paused_and_continued() {
    let server = start().await;
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
    let server = start().await;
    let path = "/debug/failpoints/admin-test";
    assert_eq!(call(&server, "GET", path, "").await.0, StatusCode::NOT_FOUND);
    assert_eq!(call(&server, "PUT", path, "pause").await.0, StatusCode::METHOD_NOT_ALLOWED);
}
