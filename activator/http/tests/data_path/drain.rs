//! Ending without losing anything that arrived.

use crate::bed::{Bed, Setup, set_pods, until, within};
use crate::broken::read_request;
use crate::client::{Raw, empty, http2, request};
use crate::pod::{Pod, describe, reply};
use catnap_activator_http::{Drained, Server};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn nothing_that_arrived_is_lost() {
    let bed = Bed::configured(|config| config.workers = 2);
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let address = bed.address();
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for number in 0..20 {
        let answered = Arc::clone(&answered);
        // Each goes on until it is refused a connection. The first request of one must be answered; a later one may cross the
        // end of the connection, and is then sent again on a new one.
        clients.push(tokio::spawn(async move {
            while let Ok(mut stream) = TcpStream::connect(address).await {
                let (mut first, mut last) = (true, false);
                while !last {
                    let sent = stream.write_all(b"GET / HTTP/1.1\r\nHost: hello.default\r\n\r\n").await;
                    let mut response = Vec::new();
                    while !response.ends_with(b"body: 0\n") {
                        let count = stream.read_buf(&mut response).await.unwrap_or(0);
                        if count == 0 {
                            assert!(
                                !first && response.is_empty(),
                                "client {number}: {sent:?}, a request was lost"
                            );
                            break;
                        }
                    }
                    if response.is_empty() {
                        break;
                    }
                    first = false;
                    answered.fetch_add(1, SeqCst);
                    last = String::from_utf8_lossy(&response).contains("\r\nconnection: close\r\n");
                }
            }
        }));
    }
    until("requests flow", || answered.load(SeqCst) > 200).await;
    let before = answered.load(SeqCst);
    let drained = within("the drain", bed.handle.drain(Duration::from_secs(1), LONG)).await;
    assert_eq!(drained, Drained { cut_off: 0 });
    for client in clients {
        within("a client", client).await.unwrap();
    }
    assert!(answered.load(SeqCst) > before, "new connections were served while draining");
}

#[tokio::test]
async fn what_is_in_flight_and_held_ends_first() {
    let bed = Bed::start();
    let finish = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&finish);
    let pod = Pod::http1(move |_| {
        let finish = Arc::clone(&gate);
        async move {
            until("the test lets it finish", || finish.load(SeqCst)).await;
            reply("ok")
        }
    })
    .await;
    bed.function_with("hello", Setup { limit: 1, ..Setup::default() }, &[pod.address]);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Raw::connect(bed.address()).await;
        client.get("hello.default", "/").await;
        clients.push(client);
    }
    bed.until_held("hello", 2).await;
    let mut idle = Raw::connect(bed.address()).await;
    idle.get("nobody.default", "/").await;
    assert_eq!(idle.answer().await.status, 404);
    let drain = tokio::spawn(bed.handle.drain(Duration::ZERO, LONG));
    assert!(idle.rest().await.is_empty(), "nothing was on it");
    finish.store(true, SeqCst);
    for mut client in clients {
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    assert_eq!(within("the drain", drain).await.unwrap(), Drained { cut_off: 0 });
}

#[tokio::test]
async fn what_is_still_held_at_the_end_is_told() {
    let bed = Bed::start();
    bed.function("hello", Setup::default());
    let mut held = Raw::connect(bed.address()).await;
    held.get("hello.default", "/").await;
    bed.until_held("hello", 1).await;
    let drain = tokio::spawn(bed.handle.drain(Duration::ZERO, Duration::from_millis(50)));
    let answer = held.answer().await;
    assert_eq!((answer.status, answer.header("catnap-reason")), (503, Some("Draining")));
    drop(held);
    assert_eq!(within("the drain", drain).await.unwrap(), Drained { cut_off: 0 });
}

#[tokio::test]
async fn what_does_not_end_is_cut_off() {
    let bed = Bed::start();
    let pod = Pod::http1(|_| async {
        std::future::pending::<()>().await;
        reply("never")
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/").await;
    until("the pod has it", || pod.requests() == 1).await;
    let drained = within("the drain", bed.handle.drain(Duration::ZERO, Duration::from_millis(50))).await;
    assert_eq!(drained, Drained { cut_off: 1 });
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn a_worker_that_is_stuck_does_not_keep_the_process_from_ending() {
    let bed = Bed::start();
    std::mem::forget(bed.counts.gate.lock());
    let mut client = Raw::connect(bed.address()).await;
    client.get("nobody.default", "/").await;
    until("the worker is stuck", || bed.counts.under_way.load(SeqCst) == 1).await;
    within("the drain", bed.handle.drain(Duration::ZERO, Duration::ZERO)).await;
}

/// What a client hears who sends one request and reads to the end.
async fn ask(address: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: hello.default\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_worker_that_is_gone_takes_no_client_with_it() {
    let bed = Bed::configured(|config| config.workers = 2);
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    bed.counts.ends.store(2, SeqCst);
    until("it is gone", || bed.counts.ended_as_wanted.load(SeqCst)).await;
    // The kernel goes on leading clients to its listener until that is closed, too.
    let answered = async {
        let (mut in_a_row, mut idle) = (0, Vec::new());
        while in_a_row < 20 {
            // So many that the other one would give some away.
            if idle.len() < 8 {
                idle.extend(TcpStream::connect(bed.address()).await.ok());
            }
            let answer = ask(bed.address()).await.unwrap_or_default();
            in_a_row = if answer.starts_with(b"HTTP/1.1 200") { in_a_row + 1 } else { 0 };
        }
    };
    within("answers by the other one", answered).await;
    let drained = within("the drain", bed.handle.drain(Duration::ZERO, LONG)).await;
    assert_eq!(drained, Drained { cut_off: 0 });
}

/// What clients hear who connect one after the other from when a drain begins until nobody listens. One request is held for as
/// long.
async fn connect_during_a_drain() -> Vec<std::io::ErrorKind> {
    let bed = Bed::start();
    bed.function("hello", Setup::default());
    let mut held = Raw::connect(bed.address()).await;
    held.get("hello.default", "/").await;
    bed.until_held("hello", 1).await;
    let address = bed.address();
    let drain = tokio::spawn(bed.handle.drain(Duration::ZERO, LONG));
    let attempts = tokio::task::spawn_blocking(move || {
        let mut heard = Vec::new();
        while heard.last() != Some(&std::io::ErrorKind::ConnectionRefused) {
            let connected = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50));
            heard.extend(connected.err().map(|error| error.kind()));
        }
        heard
    });
    let mut heard = within("nobody listens", attempts).await.unwrap();
    heard.dedup();
    let pod = Pod::http1(describe).await;
    set_pods(&bed.activator, "hello", &[pod.address]);
    assert_eq!(held.answer().await.status, 200);
    drop(held);
    assert_eq!(within("the drain", drain).await.unwrap(), Drained { cut_off: 0 });
    heard
}

#[tokio::test]
async fn no_connection_begins_that_would_not_be_accepted() {
    use std::io::ErrorKind::{ConnectionRefused, TimedOut};
    let mut heard = Vec::new();
    // On a busy machine nobody may have come between the last connection and the end of the listener.
    for _ in 0..5 {
        heard.push(connect_during_a_drain().await);
        if heard.last().is_some_and(|heard| *heard == [TimedOut, ConnectionRefused]) {
            return;
        }
    }
    panic!("{heard:?}");
}

#[tokio::test]
async fn what_is_cut_off_does_not_look_whole_to_an_old_client() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        let begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        if read_request(&mut stream, 0).await {
            stream.write_all(begun).await.unwrap();
            let _ = stream.read(&mut [0; 16]).await;
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send("GET / HTTP/1.0\r\nHost: hello.default\r\n\r\n").await;
    client.through(b"hello").await;
    let drained = within("the drain", bed.handle.drain(Duration::ZERO, Duration::from_millis(50))).await;
    assert_eq!(drained, Drained { cut_off: 1 });
    let end = within("the end", client.stream.read(&mut [0; 16])).await;
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn http2_connections_are_told_to_go_and_end_their_streams() {
    let bed = Bed::start();
    let finish = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&finish);
    let pod = Pod::http1(move |_| {
        let finish = Arc::clone(&gate);
        async move {
            until("the test lets it finish", || finish.load(SeqCst)).await;
            reply("ok")
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = http2(bed.address()).await;
    let call = tokio::spawn(client.send_request(request("GET", "http://hello.default/", empty())));
    until("the pod has it", || pod.requests() == 1).await;
    let address = bed.address();
    let drain = tokio::spawn(bed.handle.drain(Duration::from_secs(1), LONG));
    // A connection made while draining serves one request, and says goodbye.
    let mut late = http2(address).await;
    let answer = late.send_request(request("GET", "http://nobody.default/", empty())).await.unwrap();
    assert_eq!(answer.status(), 404);
    until("the late one is told to go", || late.is_closed()).await;
    finish.store(true, SeqCst);
    assert_eq!(within("the call", call).await.unwrap().unwrap().status(), 200);
    assert_eq!(within("the drain", drain).await.unwrap(), Drained { cut_off: 0 });
}

#[tokio::test]
async fn an_address_in_use_is_an_error() {
    let bed = Bed::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = catnap_activator_http::Config::new(vec![(
        catnap_activator_core::Listener::InCluster,
        taken.local_addr().unwrap(),
    )]);
    let error = Server::start(config, Arc::clone(&bed.activator), Arc::new(())).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {}", taken.local_addr().unwrap()));
}
