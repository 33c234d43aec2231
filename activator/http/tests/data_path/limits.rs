//! `concurrency.limit`: what a pod has open never exceeds it.

use crate::bed::{Bed, Setup, until, within};
use crate::client::{Raw, get, http2, request};
use crate::pod::{Pod, reply};
use bytes::Bytes;
use catnap_activator_core::Protocol;
use http::header::CONTENT_LENGTH;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

fn limited(limit: u32) -> Setup {
    Setup { limit, ..Setup::default() }
}

#[tokio::test]
async fn many_clients_never_exceed_the_limit() {
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let bed = Bed::configured(|config| config.workers = 3);
        let handler = |_| async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            reply("ok")
        };
        let pods = match protocol {
            Protocol::Http1 => [Pod::http1(handler).await, Pod::http1(handler).await],
            Protocol::H2c => [Pod::h2c(handler).await, Pod::h2c(handler).await],
        };
        bed.function_with("hello", Setup { protocol, ..limited(3) }, &[pods[0].address, pods[1].address]);
        let address = bed.address();
        let mut clients = Vec::new();
        for number in 0..30 {
            clients.push(tokio::spawn(async move {
                for turn in 0..20 {
                    let mut client = Raw::connect(address).await;
                    if (number + turn) % 2 == 0 {
                        client.get("hello.default", "/").await;
                    } else {
                        client.post("hello.default", b"body").await;
                    }
                    if (number + turn) % 5 == 0 {
                        // Leaves somewhere on the way.
                        tokio::task::yield_now().await;
                        continue;
                    }
                    assert_eq!(client.answer().await.status, 200);
                }
            }));
        }
        for client in clients {
            within("a client", client).await.unwrap();
        }
        for pod in &pods {
            let seen = &pod.seen;
            assert!(
                seen.most_requests.load(SeqCst) <= 3,
                "{} requests at once",
                seen.most_requests.load(SeqCst)
            );
            assert!(
                seen.most_connections.load(SeqCst) <= 3,
                "{} connections at once",
                seen.most_connections.load(SeqCst)
            );
            assert!(pod.requests() > 50, "both are used");
        }
        until("slots are free", || bed.state("hello").in_flight == 0 && bed.state("hello").held == 0).await;
    }
}

#[tokio::test]
async fn a_slot_is_held_until_the_pod_ended() {
    let bed = Bed::start();
    let finish = Arc::new(AtomicBool::new(false));
    let (gate, done) = (Arc::clone(&finish), Arc::new(AtomicUsize::new(0)));
    let finished = Arc::clone(&done);
    let pod = Pod::http1(move |_| {
        let (finish, done) = (Arc::clone(&gate), Arc::clone(&finished));
        async move {
            until("the test lets it finish", || finish.load(SeqCst)).await;
            done.fetch_add(1, SeqCst);
            reply("ok")
        }
    })
    .await;
    bed.function_with("hello", limited(1), &[pod.address]);
    let mut first = Raw::connect(bed.address()).await;
    first.get("hello.default", "/").await;
    until("the pod has it", || pod.requests() == 1).await;
    let address = bed.address();
    let second = tokio::spawn(async move { get(address, "hello.default", "/").await });
    bed.until_held("hello", 1).await;
    drop(first);
    bed.until_ended(1).await;
    assert_eq!(bed.state("hello").in_flight, 1, "the pod still works for the one who left");
    assert_eq!(bed.state("hello").held, 1);
    finish.store(true, SeqCst);
    assert_eq!(within("the second", second).await.unwrap().status, 200);
    assert_eq!(done.load(SeqCst), 2, "the first ran to its end");
    assert_eq!(pod.seen.most_connections.load(SeqCst), 1);
    assert_eq!(pod.connections(), 1, "and its connection is used again");
}

#[tokio::test]
async fn the_rest_of_a_response_is_read_for_a_client_that_left() {
    let bed = Bed::start();
    let pod = Pod::http1(|_| async { reply(vec![1; 30_000_000]) }).await;
    bed.function_with("hello", limited(1), &[pod.address]);
    let mut first = Raw::connect(bed.address()).await;
    first.get("hello.default", "/").await;
    assert_eq!(first.head().await.status, 200);
    drop(first);
    assert_eq!(get(bed.address(), "hello.default", "/").await.body.len(), 30_000_000);
    assert_eq!(pod.connections(), 1, "the connection was read to its end");
}

#[tokio::test]
async fn a_half_sent_upload_frees_its_slot_when_the_pod_closes() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        // Works on what it got, until the end of it.
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    bed.function_with("hello", limited(1), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 1000\r\n\r\nhalf").await;
    until("the pod has it", || pod.connections() == 1).await;
    drop(client);
    until("the pod ended it", || pod.seen.open_connections.load(SeqCst) == 0).await;
    until("the slot is free", || bed.state("hello").in_flight == 0).await;
}

/// A pod that reads a request's head, then nothing until it is told to.
async fn late_reader(reads: &Arc<Notify>) -> (Pod, Arc<AtomicUsize>) {
    let (reads, read) = (Arc::clone(reads), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&read);
    let pod = Pod::raw(move |_, mut stream| {
        let (reads, counted) = (Arc::clone(&reads), Arc::clone(&counted));
        async move {
            let mut buffer = vec![0; 64 * 1024];
            while !buffer[..counted.load(SeqCst)].windows(4).any(|end| end == b"\r\n\r\n") {
                let read = counted.load(SeqCst);
                counted.fetch_add(stream.read(&mut buffer[read..=read]).await.unwrap(), SeqCst);
            }
            counted.store(0, SeqCst);
            reads.notified().await;
            loop {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => counted.fetch_add(count, SeqCst),
                };
            }
        }
    })
    .await;
    (pod, read)
}

/// Sends so much of an upload as all buffers on the way take, then leaves. Gives its length.
async fn upload_to_nobody(bed: &Bed, promised: usize, most: usize) -> usize {
    let mut client = Raw::connect(bed.address()).await;
    client
        .send(format!("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: {promised}\r\n\r\n"))
        .await;
    let chunk = vec![1; 64 * 1024];
    let mut sent = 0;
    while sent < most {
        let part = &chunk[..chunk.len().min(most - sent)];
        let Ok(written) = tokio::time::timeout(Duration::from_secs(2), client.stream.write(part)).await
        else {
            // Full buffers do not stop a reset.
            client.stream.set_zero_linger().unwrap();
            break;
        };
        sent += written.unwrap();
    }
    sent
}

#[tokio::test]
async fn a_half_sent_upload_frees_the_slot_of_a_pod_that_reads_nothing() {
    let bed = Bed::start();
    let (pod, _) = late_reader(&Arc::default()).await;
    bed.function_with("hello", limited(1), &[pod.address]);
    upload_to_nobody(&bed, 500_000_000, 500_000_000).await;
    bed.until_ended(1).await;
    let free = until("the slot is free", || bed.state("hello").in_flight == 0);
    tokio::time::timeout(Duration::from_secs(3), free).await.unwrap();
}

#[tokio::test]
async fn a_half_sent_upload_over_http2_frees_it_too() {
    let bed = Bed::start();
    let (pod, _) = late_reader(&Arc::default()).await;
    bed.function_with("hello", limited(1), &[pod.address]);
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let piece = Bytes::from(vec![1; 64 * 1024]);
    let pieces = futures::stream::repeat_with(move || {
        counted.fetch_add(1, SeqCst);
        Ok(Frame::data(piece.clone()))
    });
    let mut call = request("POST", "http://hello.default/", StreamBody::new(pieces).boxed());
    call.headers_mut().insert(CONTENT_LENGTH, 500_000_000.into());
    let mut client = http2(bed.address()).await;
    let leaves = tokio::spawn(client.send_request(call));
    // Until no window on the way is open.
    let mut look = tokio::time::interval(Duration::from_millis(500));
    let mut before = 0;
    let stands_still = async {
        while before == 0 || before < taken.load(SeqCst) {
            before = taken.load(SeqCst);
            look.tick().await;
        }
    };
    within("nothing more is taken", stands_still).await;
    leaves.abort();
    bed.until_ended(1).await;
    let free = until("the slot is free", || bed.state("hello").in_flight == 0);
    tokio::time::timeout(Duration::from_secs(3), free).await.unwrap();
}

#[tokio::test]
async fn an_upload_that_is_here_goes_on_without_its_client() {
    /// More than any reads at once, less than all on the way take.
    const UPLOAD: usize = 3_000_000;
    let bed = Bed::start();
    let reads = Arc::new(Notify::new());
    let (pod, read) = late_reader(&reads).await;
    bed.function_with("hello", limited(1), &[pod.address]);
    assert_eq!(upload_to_nobody(&bed, UPLOAD, UPLOAD).await, UPLOAD);
    bed.until_ended(1).await;
    // Longer than a slot is kept whose upload broke off.
    let kept = until("the slot is free", || bed.state("hello").in_flight == 0);
    tokio::time::timeout(Duration::from_millis(1_500), kept).await.unwrap_err();
    reads.notify_one();
    until("all of it is with the pod", || read.load(SeqCst) == UPLOAD).await;
}

#[tokio::test]
async fn a_half_sent_upload_frees_its_slot_after_a_second_at_most() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        std::future::pending::<()>().await;
    })
    .await;
    bed.function_with("hello", limited(1), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 1000\r\n\r\nhalf").await;
    until("the pod has it", || pod.connections() == 1).await;
    drop(client);
    bed.until_ended(1).await;
    let free = until("the slot is free", || bed.state("hello").in_flight == 0);
    tokio::time::timeout(Duration::from_secs(3), free).await.unwrap();
}
