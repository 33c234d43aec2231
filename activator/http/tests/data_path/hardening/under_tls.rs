//! What holds on a plain listener holds under TLS, too.

use std::time::Duration;

use super::Good;
use super::frames::{END_HEADERS, END_STREAM, Frames, HEADERS, PING, frame, get};
use crate::bed::{Bed, Setup, until, within};
use crate::client::Raw;
use crate::pod::{Pod, reply};
use crate::tls::{address, bed, connect, one};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HTTP1: &[&[u8]] = &[b"http/1.1"];
const HTTP2: &[&[u8]] = &[b"h2"];

async fn start() -> (Bed, Pod) {
    let (_, secret) = one();
    let (bed, _) = bed(&[&secret], |config| {
        config.head_timeout = Duration::from_secs(2);
        config.stall_timeout = Duration::from_secs(1);
        config.max_connections = Some(20);
    });
    let pod = Pod::http1(|_| async { reply(vec![1; 10_000_000]) }).await;
    bed.function_with("large", Setup::default(), &[pod.address]);
    (bed, pod)
}

#[tokio::test]
async fn heads_are_limited_and_have_one_meaning() {
    let (bed, pod) = start().await;
    let uri = "u".repeat(17_000);
    let field = "f".repeat(66_000);
    for (head, status) in [
        (format!("GET /{uri} HTTP/1.1\r\nHost: large.default\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nHost: large.default\r\nX: {field}\r\n\r\n"), 431),
        ("GET / HTTP/1.1\r\nHost: large.default\r\nContent-Length: +0\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: large.default\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".to_owned(), 400),
    ] {
        let mut client = Raw::over(connect(address(&bed), "hello.default", HTTP1).await.unwrap());
        client.send(head).await;
        assert_eq!(client.answer().await.status, status);
    }
    assert_eq!(pod.requests(), 0);
}

#[tokio::test]
async fn floods_and_late_heads_end_their_connections() {
    let (bed, _pod) = start().await;
    let hello = Pod::http1(|_| async { reply("ok") }).await;
    bed.function_with("hello", Setup::default(), &[hello.address]);
    let good = Good::start(bed.address(), "hello.default");
    let stream = connect(address(&bed), "hello.default", HTTP2).await.unwrap();
    let (sent, _) = Frames::over(stream, &[]).await.flood(|_| frame(PING, 0, 0, &[0; 8])).await;
    assert!(sent < 2_000_000, "{sent} were taken");
    let mut half = Frames::over(connect(address(&bed), "hello.default", HTTP2).await.unwrap(), &[]).await;
    let head = frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("hello.default", "/"));
    half.send(&head[..head.len() - 1]).await;
    let mut late = connect(address(&bed), "hello.default", HTTP1).await.unwrap();
    late.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    for stream in [&mut half.stream, &mut late] {
        // However the server ends it.
        let _ = within("the end", stream.read_to_end(&mut Vec::new())).await;
    }
    good.stop().await;
}

#[tokio::test]
async fn a_response_that_nobody_reads_is_cut_off() {
    let (bed, _pod) = start().await;
    let mut client = Raw::over(connect(address(&bed), "hello.default", HTTP1).await.unwrap());
    client.get("large.default", "/").await;
    assert_eq!(client.head().await.status, 200);
    bed.until_ended(1).await;
    until("its slot is free", || bed.state("large").in_flight == 0).await;
}

#[tokio::test]
async fn without_room_a_connection_is_closed_without_a_word() {
    let (bed, _pod) = start().await;
    bed.function("cold", Setup::default());
    let mut held = Vec::new();
    for count in 1..=20 {
        let mut client = Raw::connect(bed.address()).await;
        client.get("cold.default", "/").await;
        bed.until_held("cold", count).await;
        held.push(client);
    }
    let refused = within("the end", connect(address(&bed), "hello.default", HTTP1)).await;
    assert!(refused.is_err(), "plain text would be no help");
}
