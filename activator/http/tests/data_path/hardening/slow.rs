//! Clients that take their time: those who only want to keep a connection lose it, those who are merely slow do not.

use std::time::Duration;

use super::Good;
use super::frames::{CONTINUATION, END_HEADERS, END_STREAM, Frames, HEADERS, frame, get};
use crate::bed::{Bed, Setup, until, within};
use crate::client::{Raw, get as get_once};
use crate::pod::{Pod, describe, reply};
use catnap_activator_http::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{Instant, interval};

/// Enough for the kernel's buffers not to hide that nobody reads.
const LARGE: usize = 30_000_000;

/// Late heads and clients that move next to nothing are noticed after a second, by the next sweep.
async fn bed() -> (Bed, Pod) {
    let bed = Bed::configured(|config| {
        config.head_timeout = Duration::from_secs(1);
        config.stall_timeout = Duration::from_secs(1);
    });
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    (bed, pod)
}

/// Sends a byte now and then until the server closes the connection.
async fn drip(client: &mut Raw, bytes: impl Iterator<Item = u8>) {
    let dripping = async {
        let mut drop = interval(Duration::from_millis(20));
        for byte in bytes {
            drop.tick().await;
            if client.stream.write_all(&[byte]).await.is_err() {
                return;
            }
        }
        panic!("all of it was taken");
    };
    within("the end of a dripping client", dripping).await;
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off() {
    let (bed, _pod) = bed().await;
    let good = Good::start(bed.address(), "hello.default");
    let mut first = Raw::connect(bed.address()).await;
    drip(
        &mut first,
        b"GET / HTTP/1.1\r\nHost: hello.default\r\n".iter().copied().chain((0..2_000).map(|_| b'x')),
    )
    .await;
    // The next request of a connection is no better.
    let mut next = Raw::connect(bed.address()).await;
    next.get("hello.default", "/").await;
    assert_eq!(next.answer().await.status, 200);
    drip(&mut next, (0..2_000).map(|_| b'G')).await;
    let mut preface = Raw::connect(bed.address()).await;
    preface.send("PRI * HTTP/2").await;
    assert!(preface.rest().await.is_empty(), "half a preface");
    assert!(Raw::connect(bed.address()).await.rest().await.is_empty(), "not a word");
    good.stop().await;
}

#[tokio::test]
async fn a_head_that_drips_over_http2_is_cut_off() {
    let (bed, _pod) = bed().await;
    let good = Good::start(bed.address(), "hello.default");
    let head = frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("hello.default", "/"));
    let mut half = Frames::connect(bed.address(), &[]).await;
    half.send(&head[..head.len() - 1]).await;
    // What a client answers to settings would complete the head.
    within("the end of half a head", half.stream.read_to_end(&mut Vec::new())).await.unwrap();
    let mut continued = Frames::connect(bed.address(), &[]).await;
    continued.send(&frame(HEADERS, END_STREAM, 1, &get("hello.default", "/"))).await;
    let dripping = async {
        let mut drop = interval(Duration::from_millis(100));
        while continued.send(&frame(CONTINUATION, 0, 1, &[])).await {
            drop.tick().await;
        }
    };
    within("the end of a dripping client", dripping).await;
    // One that has sent its heads whole may wait for as long as it likes.
    let mut whole = Frames::connect(bed.address(), &[]).await;
    whole.send(&head).await;
    assert_eq!(whole.until_answered(1).await.heads.len(), 1);
    good.stop().await;
}

#[tokio::test]
async fn an_upload_that_drips_is_cut_off() {
    let (bed, _pod) = bed().await;
    let good = Good::start(bed.address(), "hello.default");
    let mut client = Raw::connect(bed.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 100000\r\n\r\n").await;
    drip(&mut client, (0..2_000).map(|_| b'x')).await;
    let mut chunked = Raw::connect(bed.address()).await;
    chunked
        .send("POST / HTTP/1.1\r\nHost: hello.default\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
        .await;
    chunked.rest().await;
    good.stop().await;
    until("the slots are free", || bed.state("hello").in_flight == 0).await;
}

#[tokio::test]
async fn an_upload_that_is_merely_slow_arrives() {
    let (bed, _pod) = bed().await;
    // A piece that is larger than what drips, every now and then, for several sweeps.
    let mut client = Raw::connect(bed.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 40000\r\n\r\n").await;
    let mut piece = interval(Duration::from_millis(75));
    for _ in 0..40 {
        piece.tick().await;
        client.send([b'x'; 1_000]).await;
    }
    assert!(client.answer().await.text().ends_with("body: 40000\n"));
    // Events come when they happen.
    client.send("POST / HTTP/1.1\r\nHost: hello.default\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for _ in 0..30 {
        piece.tick().await;
        client.send("1\r\nx\r\n").await;
    }
    client.send("0\r\n\r\n").await;
    assert!(client.answer().await.text().ends_with("body: 30\n"));
}

#[tokio::test]
async fn a_response_that_nobody_reads_is_cut_off() {
    let (bed, _pod) = bed().await;
    let large = Pod::http1(|_| async { reply(vec![1; LARGE]) }).await;
    bed.function_with("large", Setup { limit: 1, ..Setup::default() }, &[large.address]);
    let good = Good::start(bed.address(), "hello.default");
    let mut client = Raw::connect(bed.address()).await;
    client.get("large.default", "/").await;
    assert_eq!(client.head().await.status, 200);
    let ended = || {
        bed.counts
            .ended
            .lock()
            .iter()
            .find(|ended| ended.function.as_deref() == Some("default/large"))
            .cloned()
    };
    until("it is cut off", || ended().is_some()).await;
    assert_eq!(ended().unwrap().outcome, Outcome::ClientLeft);
    until("its slot is free", || bed.state("large").in_flight == 0).await;
    good.stop().await;
}

#[tokio::test]
async fn a_response_that_is_read_in_drops_is_cut_off() {
    let (bed, _pod) = bed().await;
    let large = Pod::http1(|_| async { reply(vec![1; LARGE]) }).await;
    bed.function_with("large", Setup::default(), &[large.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.get("large.default", "/").await;
    let reading = async {
        let mut drop = interval(Duration::from_millis(10));
        let mut read = 0;
        let mut byte = [0];
        while matches!(client.stream.read(&mut byte).await, Ok(1)) {
            read += 1;
            if bed.state("large").in_flight == 0 {
                return;
            }
            drop.tick().await;
        }
        panic!("closed after {read} bytes before its slot was free");
    };
    within("the end of a slow reader", reading).await;
}

#[tokio::test]
async fn requests_whose_answers_nobody_reads_are_cut_off() {
    let (bed, _pod) = bed().await;
    let good = Good::start(bed.address(), "hello.default");
    let mut client = Raw::connect(bed.address()).await;
    let request = format!("GET /{} HTTP/1.1\r\nHost: hello.default\r\n\r\n", "x".repeat(1_000));
    let sending = async { while client.stream.write_all(request.as_bytes()).await.is_ok() {} };
    within("the end of a client that never reads", sending).await;
    good.stop().await;
}

#[tokio::test]
async fn a_response_that_stays_in_the_kernel_is_cut_off() {
    let (bed, _pod) = bed().await;
    let small = Pod::http1(|_| async { reply(vec![1; 60_000]) }).await;
    bed.function_with("small", Setup::default(), &[small.address]);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2_000).unwrap();
    let mut client = Raw::over(socket.connect(bed.address()).await.unwrap());
    client.get("small.default", "/").await;
    bed.until_ended(1).await;
    // For the server all is said and done; the kernel lists its end of the connection for as long as there is one.
    let ports = [bed.address().port(), client.stream.local_addr().unwrap().port()];
    let listed = format!("0100007F:{:04X} 0100007F:{:04X} 01 ", ports[0], ports[1]);
    let is_listed = || std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&listed);
    assert!(is_listed(), "established");
    until("the kernel gives up", || !is_listed()).await;
}

#[tokio::test]
async fn a_response_that_is_read_slowly_arrives() {
    let (bed, _pod) = bed().await;
    let size = 4_000_000;
    let large = Pod::http1(move |_| async move { reply(vec![1; size]) }).await;
    bed.function_with("large", Setup::default(), &[large.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.get("large.default", "/").await;
    client.head().await;
    let started = Instant::now();
    let mut pause = interval(Duration::from_millis(50));
    let mut read = 0;
    let mut piece = vec![0; 64 * 1024];
    while read < size - piece.len() {
        pause.tick().await;
        read += within("a piece", client.stream.read(&mut piece)).await.unwrap();
    }
    assert!(started.elapsed() > Duration::from_secs(2), "the sweep has been here more than once");
}

#[tokio::test]
async fn who_waits_for_a_function_may_wait() {
    let (bed, _pod) = bed().await;
    bed.function("cold", Setup::default());
    let (address, slow) = (bed.address(), bed.address());
    let held = tokio::spawn(async move {
        let mut client = Raw::connect(address).await;
        // Its body is not asked for while it is held.
        client.send("POST / HTTP/1.1\r\nHost: cold.default\r\nContent-Length: 5\r\n\r\n").await;
        client
    });
    let mut held = within("the request", held).await.unwrap();
    bed.until_held("cold", 1).await;
    // A late head is closed by the sweep that could have closed the other one.
    let mut late = Raw::connect(slow).await;
    late.send("GET ").await;
    assert!(late.rest().await.is_empty());
    let pod = Pod::http1(describe).await;
    bed.pods("cold", &[pod.address]);
    held.send("hello").await;
    assert!(held.answer().await.text().ends_with("body: 5\n"));
    assert_eq!(get_once(bed.address(), "cold.default", "/").await.status, 200);
}
