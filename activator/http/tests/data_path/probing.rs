//! Asking a pod whether it answers.

use crate::pod::{NOBODY, Pod, reply};
use catnap_activator_core::{Probe, Protocol};
use catnap_activator_http::{ProbeError, probe};
use std::net::SocketAddr;
use std::time::Duration;

fn of(address: SocketAddr, protocol: Protocol, path: &str) -> Probe {
    Probe { uid: "pod-1".into(), address, protocol, path: path.into(), timeout: Duration::from_secs(5) }
}

#[tokio::test]
async fn a_port_that_answers_is_enough_without_a_path() {
    let pod = Pod::raw(|_, _| async {}).await;
    probe(&of(pod.address, Protocol::Http1, "")).await.unwrap();
    let refused = probe(&of(NOBODY, Protocol::Http1, "")).await;
    assert!(matches!(refused, Err(ProbeError::Connect(_))), "{refused:?}");
}

#[tokio::test]
async fn a_readiness_path_must_say_yes() {
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let handler = |request: http::Request<hyper::body::Incoming>| async move {
            let mut reply = reply("");
            *reply.status_mut() = match request.uri().path_and_query().unwrap().as_str() {
                "/ready?deep" => http::StatusCode::NO_CONTENT,
                "/moved" => http::StatusCode::FOUND,
                _ => http::StatusCode::SERVICE_UNAVAILABLE,
            };
            reply
        };
        let pod = match protocol {
            Protocol::Http1 => Pod::http1(handler).await,
            Protocol::H2c => Pod::h2c(handler).await,
        };
        probe(&of(pod.address, protocol, "/ready?deep")).await.unwrap();
        probe(&of(pod.address, protocol, "/moved")).await.unwrap();
        let not_yet = probe(&of(pod.address, protocol, "/starting")).await;
        assert!(matches!(not_yet, Err(ProbeError::NotReady(status)) if status == 503), "{not_yet:?}");
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let pod = Pod::raw(|_, stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let silent = Probe { timeout: Duration::from_millis(20), ..of(pod.address, Protocol::Http1, "/ready") };
    assert!(matches!(probe(&silent).await, Err(ProbeError::TimedOut(_))));
}
