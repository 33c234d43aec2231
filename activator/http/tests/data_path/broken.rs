//! Pods that refuse, close and break off.

use crate::bed::{Bed, Setup, until};
use crate::client::{Raw, get};
use crate::pod::{NOBODY, Pod, describe};
use catnap_activator_http::Outcome;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Reads until the head ended and `body` more bytes came.
pub(crate) async fn read_request(stream: &mut TcpStream, body: usize) -> bool {
    let mut read = Vec::new();
    loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n")
            && read.len() >= at + 4 + body
        {
            return true;
        }
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return false;
        }
    }
}

#[tokio::test]
async fn a_refused_connection_is_tried_on_another_pod() {
    let bed = Bed::start();
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[NOBODY, pod.address]);
    for number in 0..20 {
        let mut client = Raw::connect(bed.address()).await;
        client.post("hello.default", b"exactly once").await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 200);
        assert!(answer.text().ends_with("body: 12\n"));
        assert_eq!(pod.requests(), number + 1);
    }
    assert!(bed.until_ended(20).await.iter().any(|end| end.attempts > 1));
}

#[tokio::test]
async fn a_refused_request_is_held_until_a_pod_answers() {
    let bed = Bed::start();
    bed.function_with("hello", Setup::default(), &[NOBODY]);
    let mut client = Raw::connect(bed.address()).await;
    client.post("hello.default", b"patient").await;
    bed.until_held("hello", 1).await;
    let pod = Pod::http1(describe).await;
    bed.pods("hello", &[pod.address]);
    assert!(client.answer().await.text().ends_with("body: 7\n"));
}

#[tokio::test]
async fn a_pooled_connection_that_the_pod_closed_costs_nothing() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        // Answers as if it would stay, and goes.
        if read_request(&mut stream, 0).await {
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    for number in 0..10 {
        if number % 2 == 0 {
            client.get("hello.default", "/").await;
        } else {
            client.post("hello.default", b"").await;
        }
        assert_eq!(client.answer().await.status, 200, "request {number}");
        until("the pod closed", || pod.seen.open_connections.load(SeqCst) == 0).await;
    }
    assert!(bed.until_ended(10).await.iter().all(|end| end.attempts == 1));
}

#[tokio::test]
async fn what_a_pod_may_have_acted_on_is_not_sent_twice() {
    let bed = Bed::start();
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let pod = Pod::raw(move |_, mut stream| {
        let read = Arc::clone(&counted);
        async move {
            if read_request(&mut stream, 5).await {
                read.fetch_add(1, SeqCst);
            }
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.post("hello.default", b"money").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("catnap-reason")), (502, Some("UpstreamReset")));
    assert_eq!(answer.json()["function"], "default/hello");
    assert_eq!(read.load(SeqCst), 1);
    assert_eq!(pod.connections(), 1);
}

#[tokio::test]
async fn what_may_be_repeated_is_sent_once_more() {
    let bed = Bed::start();
    let pod = Pod::raw(|number, mut stream| async move {
        let put = read_request(&mut stream, 5).await;
        if put && number == 1 {
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    let put = "PUT / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 5\r\n\r\nvalue";
    client.send(put).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    client.send(put).await;
    assert_eq!(client.answer().await.header("catnap-reason"), Some("UpstreamReset"), "but not twice");
    assert_eq!(pod.connections(), 4);
    let ended = bed.until_ended(2).await;
    assert_eq!((ended[0].attempts, ended[1].attempts), (2, 2));
    assert_eq!(ended[0].request_bytes, 5);
}

#[tokio::test]
async fn a_large_body_is_not_sent_again() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        read_request(&mut stream, 100_000).await;
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send("PUT / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 100000\r\n\r\n").await;
    client.send(vec![1; 100_000]).await;
    assert_eq!(client.answer().await.header("catnap-reason"), Some("UpstreamReset"));
    assert_eq!(pod.connections(), 1);
}

#[tokio::test]
async fn nothing_is_added_to_a_body_that_broke_off() {
    let bed = Bed::start();
    let pod = Pod::raw(|number, mut stream| async move {
        read_request(&mut stream, 0).await;
        let begun: &[u8] = if number == 0 {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"
        };
        stream.write_all(begun).await.unwrap();
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/").await;
    let all = String::from_utf8(client.rest().await).unwrap();
    assert!(all.starts_with("HTTP/1.1 200"), "{all}");
    assert!(all.ends_with("5\r\nhello\r\n"), "no final chunk, no error page: {all}");
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/").await;
    let all = String::from_utf8(client.rest().await).unwrap();
    assert!(all.ends_with("\r\n\r\nhello"), "{all}");
    let ended = bed.until_ended(2).await;
    assert!(
        ended.iter().all(|end| end.outcome == Outcome::BrokenOff && end.response_bytes == 5),
        "{ended:?}"
    );
    until("slots are free", || bed.state("hello").in_flight == 0).await;
}

#[tokio::test]
async fn without_a_limit_a_client_that_leaves_is_told_to_the_pod() {
    let bed = Bed::start();
    let pod = Pod::raw(|number, mut stream| async move {
        read_request(&mut stream, 0).await;
        if number == 1 {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
                .await
                .unwrap();
        }
        // Waits for the end.
        let _ = stream.read(&mut [0; 16]).await;
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    for began in [false, true] {
        let mut client = Raw::connect(bed.address()).await;
        client.get("hello.default", "/").await;
        if began {
            client.head().await;
        } else {
            until("the pod has it", || pod.seen.open_connections.load(SeqCst) == 1).await;
        }
        drop(client);
        until("the pod is told", || pod.seen.open_connections.load(SeqCst) == 0).await;
        until("the slot is free", || bed.state("hello").in_flight == 0).await;
    }
    assert!(bed.until_ended(2).await.iter().all(|end| end.outcome == Outcome::ClientLeft));
}

#[tokio::test]
async fn an_upload_that_stops_behind_a_busy_pod_ends() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        // Reads the head and no body, so that nothing reads the client either.
        stream.readable().await.unwrap();
        let mut head = [0; 64];
        let _ = stream.read(&mut head).await;
        std::future::pending::<()>().await;
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 500000000\r\n\r\n").await;
    let chunk = vec![1; 1_000_000];
    let filled = async { while client.stream.write_all(&chunk).await.is_ok() {} };
    // Until every buffer on the way is full.
    let _ = tokio::time::timeout(std::time::Duration::from_millis(500), filled).await;
    // A reset is not stopped by full buffers.
    client.stream.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(bed.until_ended(1).await[0].outcome, Outcome::ClientLeft);
    until("the slot is free", || bed.state("hello").in_flight == 0).await;
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_is_delivered() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        read_request(&mut stream, 10).await;
        stream
            .write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nstop")
            .await
            .unwrap();
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 5000000\r\n\r\n").await;
    client.send([1; 1000]).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (413, "stop"));
    until("the slot is free", || bed.state("hello").in_flight == 0).await;
    assert_eq!(get(bed.address(), "nobody.default", "/").await.status, 404);
}
