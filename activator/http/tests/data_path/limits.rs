//! `concurrency.limit`: what a pod has open never exceeds it.

use crate::bed::{Bed, Setup, until, within};
use crate::client::{Raw, get};
use crate::pod::{Pod, reply};
use catnap_activator_core::Protocol;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

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
