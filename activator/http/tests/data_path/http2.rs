//! HTTP/2 with prior knowledge on either side.

use crate::bed::{Bed, Setup, until, within};
use crate::client::{Raw, empty, full, http2, request};
use crate::pod::{Pod, Reply, describe, reply};
use bytes::Bytes;
use catnap_activator_core::Protocol;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use std::sync::atomic::Ordering::SeqCst;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn h2c() -> Setup {
    Setup { protocol: Protocol::H2c, ..Setup::default() }
}

/// Echoes a gRPC message, with its status in trailers.
async fn grpc_echo(request: Request<Incoming>) -> Reply {
    assert_eq!(request.headers()["te"], "trailers");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let message = request.into_body().collect().await.unwrap().to_bytes();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("grpc-message", "fine".parse().unwrap());
    let body = Full::new(message).with_trailers(async { Some(Ok(trailers)) });
    Response::builder().header("content-type", "application/grpc").body(body.boxed()).unwrap()
}

fn grpc_call() -> Request<crate::client::Body> {
    let mut call = request("POST", "http://hello.default/pkg.Service/Echo", full("\0\0\0\0\x02hi"));
    call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    call.headers_mut().insert("te", "trailers".parse().unwrap());
    call
}

#[tokio::test]
async fn a_grpc_call_passes_with_its_trailers() {
    let bed = Bed::start();
    let pod = Pod::h2c(grpc_echo).await;
    bed.function_with("hello", h2c(), &[pod.address]);
    let mut client = http2(bed.address()).await;
    for _ in 0..3 {
        let response = client.send_request(grpc_call()).await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(body.to_bytes(), "\0\0\0\0\x02hi");
    }
    assert_eq!(pod.connections(), 1);
    until("slots are free", || bed.state("hello").in_flight == 0).await;
}

#[tokio::test]
async fn a_grpc_call_wakes_its_function() {
    let bed = Bed::start();
    bed.function("hello", h2c());
    let mut client = http2(bed.address()).await;
    let call = tokio::spawn(client.send_request(grpc_call()));
    bed.until_held("hello", 1).await;
    let pod = Pod::h2c(grpc_echo).await;
    bed.pods("hello", &[pod.address]);
    let response = within("the call", call).await.unwrap().unwrap();
    assert!(response.headers()["server-timing"].to_str().unwrap().starts_with("catnap;desc=cold"));
    assert_eq!(response.into_body().collect().await.unwrap().trailers().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_call_that_was_held_is_told_how_much_time_is_left() {
    let bed = Bed::start();
    bed.function("hello", h2c());
    let mut client = http2(bed.address()).await;
    let echo = |request: Request<Incoming>| async move {
        reply(Bytes::copy_from_slice(request.headers()["grpc-timeout"].as_bytes()))
    };
    let pod = Pod::h2c(echo).await;
    let call = || {
        let mut call = grpc_call();
        call.headers_mut().insert("grpc-timeout", "2M".parse().unwrap());
        call
    };
    let held = tokio::spawn(client.send_request(call()));
    bed.until_held("hello", 1).await;
    bed.pods("hello", &[pod.address]);
    let told =
        within("the call", held).await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes();
    let left: u64 = std::str::from_utf8(&told).unwrap().strip_suffix('m').unwrap().parse().unwrap();
    assert!((60_000..120_000).contains(&left), "{left} ms");
    let told = client.send_request(call()).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(told, "2M", "it did not wait");
}

#[tokio::test]
async fn http1_clients_reach_http2_pods() {
    let bed = Bed::start();
    let pod = Pod::h2c(|request| async move {
        if request.headers().contains_key("content-type") {
            grpc_echo(request).await
        } else {
            describe(request).await
        }
    })
    .await;
    bed.function_with("hello", h2c(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send("GET /path?q HTTP/1.1\r\nHost: hello.default:8080\r\nConnection: keep-alive\r\n\r\n").await;
    let answer = client.answer().await;
    assert!(
        answer.text().starts_with("GET http://hello.default:8080/path?q HTTP/2.0\n"),
        "{}",
        answer.text()
    );
    assert!(!answer.text().contains("\nhost:"));
    client
        .send(
            "POST /pkg.Service/Echo HTTP/1.1\r\nHost: hello.default\r\nTE: trailers\r\nConnection: TE\r\n\
             Content-Type: application/grpc\r\nContent-Length: 3\r\n\r\nabc",
        )
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.text(), "abc");
    assert!(answer.trailers.contains("grpc-status: 0\r\n"), "{answer:?}");
}

#[tokio::test]
async fn http2_clients_reach_http1_pods() {
    let bed = Bed::start();
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = http2(bed.address()).await;
    let mut call = request("POST", "http://hello.default/path", full("12345"));
    call.headers_mut().append("cookie", "a=1".parse().unwrap());
    call.headers_mut().append("cookie", "b=2".parse().unwrap());
    let response = client.send_request(call).await.unwrap();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();
    assert!(text.starts_with("POST /path HTTP/1.1\n"), "{text}");
    assert!(text.contains("\nhost: hello.default\n"), "{text}");
    assert!(text.contains("\ncookie: a=1; b=2\n"), "{text}");
    assert!(text.ends_with("body: 5\n"));
}

#[tokio::test]
async fn an_authority_and_another_host_are_refused() {
    let bed = Bed::start();
    let mut client = http2(bed.address()).await;
    let mut call = request("GET", "http://hello.default/", empty());
    call.headers_mut().insert("host", "other.default".parse().unwrap());
    let response = client.send_request(call).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["catnap-reason"], "BadRequest");
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_reset() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello").await.unwrap();
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = http2(bed.address()).await;
    let response = client.send_request(request("GET", "http://hello.default/", empty())).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect().await.is_err());
    let alive = client.send_request(request("GET", "http://nobody.default/", empty())).await.unwrap();
    assert_eq!(alive.status(), 404, "other streams go on");
}

#[tokio::test]
async fn a_cancelled_stream_is_told_to_an_http2_pod() {
    let bed = Bed::start();
    let pod = Pod::h2c(|_| async {
        std::future::pending::<()>().await;
        reply("never")
    })
    .await;
    bed.function_with("hello", h2c(), &[pod.address]);
    let mut client = http2(bed.address()).await;
    let call = tokio::spawn(client.send_request(request("GET", "http://hello.default/", empty())));
    until("the pod has it", || pod.seen.open_requests.load(SeqCst) == 1).await;
    call.abort();
    until("the pod is told", || pod.seen.open_requests.load(SeqCst) == 0).await;
    assert_eq!(pod.seen.open_connections.load(SeqCst), 1, "the connection goes on");
}

#[tokio::test]
async fn large_bodies_pass_both_ways_at_once() {
    let bed = Bed::start();
    let pod = Pod::h2c(|request| async move {
        let body = request.into_body().map_err(|_| unreachable!("the client stays")).boxed();
        Response::new(body)
    })
    .await;
    bed.function_with("hello", h2c(), &[pod.address]);
    let mut client = http2(bed.address()).await;
    let mut calls = Vec::new();
    for number in 0..8_u8 {
        let body = full(Bytes::from(vec![number; 3_000_000]));
        let call = client.send_request(request("POST", "http://hello.default/", body));
        calls.push(tokio::spawn(async move {
            call.await.unwrap().into_body().collect().await.unwrap().to_bytes()
        }));
    }
    for (number, call) in calls.into_iter().enumerate() {
        let body = within("the body", call).await.unwrap();
        assert_eq!(body.len(), 3_000_000);
        assert!(body.iter().all(|byte| usize::from(*byte) == number));
    }
}

#[tokio::test]
async fn a_stream_that_the_pod_refused_unseen_is_sent_again() {
    let bed = Bed::start();
    let pod = Pod::raw(|number, stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut answered = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            // The first connection serves one request and takes no other.
            if number == 0 && answered > 0 {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
                continue;
            }
            respond.send_response(Response::new(()), true).unwrap();
            answered += 1;
        }
    })
    .await;
    bed.function_with("hello", h2c(), &[pod.address]);
    for _ in 0..3 {
        let mut client = Raw::connect(bed.address()).await;
        client.post("hello.default", b"any method").await;
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(pod.connections(), 2);
    assert!(bed.until_ended(3).await.iter().all(|end| end.attempts == 1));
}

#[tokio::test]
async fn a_pod_that_goes_away_politely_loses_nothing() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut answered = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_response(Response::new(()), true).unwrap();
            answered += 1;
            if answered == 5 {
                connection.graceful_shutdown();
            }
        }
    })
    .await;
    bed.function_with("hello", h2c(), &[pod.address]);
    let address = bed.address();
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(tokio::spawn(async move {
            let mut client = Raw::connect(address).await;
            for _ in 0..20 {
                client.post("hello.default", b"").await;
                assert_eq!(client.answer().await.status, 200);
            }
        }));
    }
    for client in clients {
        within("a client", client).await.unwrap();
    }
    assert!(pod.connections() > 5, "{} connections", pod.connections());
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go() {
    let bed = Bed::configured(|config| config.idle_timeout = std::time::Duration::from_secs(1));
    let mut client = http2(bed.address()).await;
    let response = client.send_request(request("GET", "http://nobody.default/", empty())).await.unwrap();
    assert_eq!(response.status(), 404);
    until("the server says goodbye", || client.is_closed()).await;
}

#[tokio::test]
async fn a_connection_without_requests_is_no_late_head() {
    let bed = Bed::configured(|config| config.head_timeout = std::time::Duration::from_secs(1));
    let mut client = http2(bed.address()).await;
    let mut slow = Raw::connect(bed.address()).await;
    slow.send("GET / HTT").await;
    assert!(slow.rest().await.is_empty(), "the sweep has been here");
    let response = client.send_request(request("GET", "http://nobody.default/", empty())).await.unwrap();
    assert_eq!(response.status(), 404);
}
