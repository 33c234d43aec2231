//! Connections that switch to another protocol.

use crate::bed::{Bed, Setup, until, within};
use crate::client::Raw;
use crate::pod::{Pod, describe};
use catnap_activator_core::{Protocol, Reason, Timeouts};
use catnap_activator_http::{Drained, Outcome};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: hello.default\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

pub(crate) async fn echo() -> Pod {
    Pod::raw(|_, mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut head).await.unwrap() > 0);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
        assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
        assert!(head.contains("\r\nsec-websocket-key: "), "{head}");
        let switching = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nready";
        stream.write_all(switching).await.unwrap();
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await.unwrap();
    })
    .await
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_is_one_slot() {
    let bed = Bed::start();
    let pod = echo().await;
    bed.function_with("hello", Setup { limit: 1, ..Setup::default() }, &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send(UPGRADE).await;
    let head = client.head().await;
    assert_eq!(head.status, 101);
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("connection"), Some("upgrade"));
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    client.send("\x01frame that is no HTTP\r\n\r\n").await;
    assert_eq!(bed.state("hello").in_flight, 1);
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, b"ready\x01frame that is no HTTP\r\n\r\n");
    until("the slot is free", || bed.state("hello").in_flight == 0).await;
    let ended = bed.until_ended(1).await;
    assert_eq!((ended[0].status, ended[0].outcome), (Some(101), Outcome::Answered));
    assert_eq!((ended[0].request_bytes, ended[0].response_bytes), (26, 31));
}

#[tokio::test]
async fn a_held_upgrade_becomes_a_tunnel() {
    let bed = Bed::start();
    bed.function("hello", Setup::default());
    let mut client = Raw::connect(bed.address()).await;
    client.send(UPGRADE).await;
    bed.until_held("hello", 1).await;
    let pod = echo().await;
    bed.pods("hello", &[pod.address]);
    assert_eq!(client.head().await.status, 101);
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, b"ready");
}

#[tokio::test]
async fn a_tunnel_ends_with_its_client() {
    let bed = Bed::start();
    let pod = echo().await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send(UPGRADE).await;
    assert_eq!(client.head().await.status, 101);
    drop(client);
    until("the slot is free", || bed.state("hello").in_flight == 0).await;
    bed.until_ended(1).await;
}

#[tokio::test]
async fn what_a_tunnel_moved_counts_also_when_it_is_cut_off() {
    let bed = Bed::start();
    let pod = echo().await;
    // So long that a busy machine moves the bytes before.
    let timeouts = Timeouts { inactivity: Some(Duration::from_secs(3)), ..Timeouts::default() };
    bed.function_with("hello", Setup { timeouts, ..Setup::default() }, &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send(UPGRADE).await;
    assert_eq!(client.head().await.status, 101);
    client.send("hello").await;
    assert_eq!(client.through(b"hello").await, b"readyhello");
    let ended = bed.until_ended(1).await;
    assert_eq!(ended[0].outcome, Outcome::TimedOut(Reason::RequestTimeout));
    assert_eq!((ended[0].request_bytes, ended[0].response_bytes), (5, 10));
}

#[tokio::test]
async fn what_a_tunnel_moved_counts_also_when_a_drain_cuts_it_off() {
    let bed = Bed::start();
    let pod = echo().await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send(UPGRADE).await;
    assert_eq!(client.head().await.status, 101);
    client.send("hello").await;
    assert_eq!(client.through(b"hello").await, b"readyhello");
    let counts = Arc::clone(&bed.counts);
    let drained = within("the drain", bed.handle.drain(Duration::ZERO, Duration::ZERO)).await;
    assert_eq!(drained, Drained { cut_off: 1 });
    until("it is cut off", || !counts.ended.lock().is_empty()).await;
    let ended = counts.ended.lock().clone();
    assert_eq!((ended[0].request_bytes, ended[0].response_bytes), (5, 10));
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn an_upgrade_that_the_pod_ignores_is_a_plain_request() {
    let bed = Bed::start();
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let http2_pod = Pod::h2c(describe).await;
    bed.function_with("other", Setup { protocol: Protocol::H2c, ..Setup::default() }, &[http2_pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send(UPGRADE).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("\nupgrade: websocket\n"));
    assert_eq!(
        answer.header("connection"),
        Some("close"),
        "it may have sent bytes of the other protocol already"
    );
    let mut client = Raw::connect(bed.address()).await;
    client.send(UPGRADE.replace("hello", "other")).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("\nupgrade"), "HTTP/2 has no such field");
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_refused() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\n\r\n").await.unwrap();
        let _ = stream.read(&mut [0; 16]).await;
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 0\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("catnap-reason")), (502, Some("UpstreamReset")));
}
