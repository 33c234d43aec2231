//! Requests that wait for a pod.

use crate::bed::{Bed, Setup, until, within};
use crate::client::{Raw, empty, get, http2, request};
use crate::pod::{Pod, describe, reply};
use bytes::Bytes;
use catnap_activator_core::Protocol;
use catnap_activator_http::Outcome;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes that tell where they belong.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| index.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect()
}

#[tokio::test]
async fn a_large_upload_waits_outside_and_arrives_intact() {
    let bed = Bed::start();
    bed.function("hello", Setup::default());
    let body = pattern(10_000_000);
    let stream = TcpStream::connect(bed.address()).await.unwrap();
    let (mut from_server, mut to_server) = stream.into_split();
    let sent = body.clone();
    let upload = tokio::spawn(async move {
        let head =
            format!("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: {}\r\n\r\n", sent.len());
        to_server.write_all(head.as_bytes()).await.unwrap();
        to_server.write_all(&sent).await.unwrap();
        to_server
    });
    bed.until_held("hello", 1).await;
    assert!(!upload.is_finished(), "10 MB do not fit into the socket's buffers");
    let pod =
        Pod::http1(|request| async move { reply(request.into_body().collect().await.unwrap().to_bytes()) })
            .await;
    bed.pods("hello", &[pod.address]);
    let to_server = within("the upload", upload).await.unwrap();
    let mut answer = Vec::new();
    let head = loop {
        within("the echo", from_server.read_buf(&mut answer)).await.unwrap();
        if let Some(at) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            break answer.drain(..at + 4).collect::<Vec<u8>>();
        }
    };
    let head = String::from_utf8(head).unwrap();
    while answer.len() < body.len() {
        assert!(within("the echo", from_server.read_buf(&mut answer)).await.unwrap() > 0);
    }
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("server-timing: catnap;desc=cold, queue;dur="), "{head}");
    assert!(answer == body, "the body came back changed");
    drop(to_server);
    let ended = bed.until_ended(1).await;
    assert_eq!((ended[0].request_bytes, ended[0].response_bytes), (10_000_000, 10_000_000));
}

#[tokio::test]
async fn the_client_is_told_to_continue_only_at_dispatch() {
    let bed = Bed::start();
    bed.function("hello", Setup::default());
    let mut client = Raw::connect(bed.address()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    bed.until_held("hello", 1).await;
    // What was said before this answer is here with it.
    assert_eq!(get(bed.address(), "nobody.default", "/").await.status, 404);
    let mut early = [0; 1];
    let nothing = client.stream.try_read(&mut early);
    assert_eq!(nothing.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let pod = Pod::http1(describe).await;
    bed.pods("hello", &[pod.address]);
    assert_eq!(client.head().await.status, 100);
    client.send("hello").await;
    let answer = client.answer().await;
    assert!(answer.text().ends_with("body: 5\n"));
    assert!(!answer.text().contains("expect"));
}

#[tokio::test]
async fn a_client_that_left_is_never_dispatched() {
    let bed = Bed::start();
    bed.function("hello", Setup::default());
    let mut with_body = Raw::connect(bed.address()).await;
    with_body.send("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 5000000\r\n\r\n").await;
    with_body.send(vec![1; 100_000]).await;
    let mut without = Raw::connect(bed.address()).await;
    without.get("hello.default", "/").await;
    let mut stays = Raw::connect(bed.address()).await;
    stays.get("hello.default", "/").await;
    bed.until_held("hello", 3).await;
    drop(with_body);
    drop(without);
    let left = async { bed.until_held("hello", 1).await };
    tokio::time::timeout(Duration::from_secs(1), left).await.expect("gone from the queue within a second");
    let pod = Pod::http1(describe).await;
    bed.pods("hello", &[pod.address]);
    assert_eq!(stays.answer().await.status, 200);
    assert_eq!(pod.requests(), 1);
    let ended = bed.until_ended(3).await;
    assert_eq!(ended.iter().filter(|end| end.outcome == Outcome::ClientLeft && end.attempts == 0).count(), 2);
    assert!(ended.iter().all(|end| end.held.is_some()), "who left waited too: {ended:?}");
    assert_eq!(bed.activator.held(), 0);
}

#[tokio::test]
async fn a_request_that_is_sent_again_keeps_its_cold_start() {
    let bed = Bed::start();
    bed.function("hello", Setup::default());
    let asked = Arc::<AtomicUsize>::default();
    let pod = Pod::raw(move |_, mut stream| {
        let asked = Arc::clone(&asked);
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
                    return;
                }
            }
            // The first one gets no answer.
            if asked.fetch_add(1, SeqCst) > 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        }
    })
    .await;
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/").await;
    bed.until_held("hello", 1).await;
    bed.pods("hello", &[pod.address]);
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("server-timing").is_some_and(|timing| timing.contains("cold")), "{answer:?}");
    let ended = bed.until_ended(1).await;
    assert_eq!(ended[0].attempts, 2);
    assert!(ended[0].phases.is_some_and(|phases| phases.cold), "{ended:?}");
    assert!(ended[0].held.is_some());
}

#[tokio::test]
async fn a_reset_stream_leaves_the_queue() {
    let bed = Bed::start();
    bed.function("hello", Setup::default());
    let mut client = http2(bed.address()).await;
    let leaves = client.send_request(request("GET", "http://hello.default/leaves", empty()));
    let leaves = tokio::spawn(leaves);
    bed.until_held("hello", 1).await;
    let stays = tokio::spawn(client.send_request(request("GET", "http://hello.default/stays", empty())));
    bed.until_held("hello", 2).await;
    leaves.abort();
    bed.until_held("hello", 1).await;
    let pod = Pod::http1(describe).await;
    bed.pods("hello", &[pod.address]);
    let response = within("the one that stays", stays).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(pod.requests(), 1);
}

#[tokio::test]
async fn a_held_upload_stops_no_other_stream_of_its_connection() {
    let bed = Bed::start();
    bed.function("cold", Setup::default());
    let warm = Pod::http1(describe).await;
    bed.function_with("warm", Setup::default(), &[warm.address]);
    let mut client = http2(bed.address()).await;
    let mut held = Vec::new();
    for _ in 0..10 {
        let body = crate::client::full(Bytes::from(vec![1; 1_000_000]));
        held.push(tokio::spawn(client.send_request(request("POST", "http://cold.default/", body))));
    }
    bed.until_held("cold", 10).await;
    let body = crate::client::full(Bytes::from(vec![1; 500_000]));
    let answer = client.send_request(request("POST", "http://warm.default/", body));
    let answer = within("the other function answers", answer).await.unwrap();
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(text.ends_with(b"body: 500000\n"));
    let pod = Pod::http1(describe).await;
    bed.pods("cold", &[pod.address]);
    for held in held {
        let answer = within("a held one answers", held).await.unwrap().unwrap();
        assert!(answer.into_body().collect().await.unwrap().to_bytes().ends_with(b"body: 1000000\n"));
    }
}

#[tokio::test]
async fn one_connection_holds_at_most_half_its_streams_for_a_function() {
    let bed = Bed::start();
    bed.function("hello", Setup::default());
    let mut client = http2(bed.address()).await;
    let mut held = Vec::new();
    for _ in 0..125 {
        held.push(tokio::spawn(client.send_request(request("GET", "http://hello.default/", empty()))));
    }
    bed.until_held("hello", 125).await;
    let refused = client.send_request(request("GET", "http://hello.default/", empty())).await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["catnap-reason"], "QueueFull");
    let pod = Pod::http1(describe).await;
    bed.pods("hello", &[pod.address]);
    for held in held {
        assert_eq!(within("held", held).await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn many_held_requests_share_one_http2_connection_to_their_pod() {
    let bed = Bed::start();
    bed.function("hello", Setup { protocol: Protocol::H2c, ..Setup::default() });
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = Raw::connect(bed.address()).await;
        client.get("hello.default", "/").await;
        clients.push(client);
    }
    bed.until_held("hello", 50).await;
    let pod = Pod::h2c(describe).await;
    bed.pods("hello", &[pod.address]);
    for mut client in clients {
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(pod.connections(), 1);
    until("slots are free", || bed.state("hello").in_flight == 0).await;
}
