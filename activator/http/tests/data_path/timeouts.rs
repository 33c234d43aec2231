//! Time limits of an exchange with a pod: before its head, within its response, and without a byte.

use crate::bed::{Bed, Setup, until, within};
use crate::broken::read_request;
use crate::client::{Raw, empty, get, http2, request};
use crate::pod::{Pod, describe};
use catnap_activator_core::{Protocol, Reason, Timeouts};
use catnap_activator_http::Outcome;
use http::Response;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const NONE: Timeouts = Timeouts { first_byte: None, request: None, inactivity: None };
const SHORT: Duration = Duration::from_millis(600);

fn first_byte(limit: Duration) -> Timeouts {
    Timeouts { first_byte: Some(limit), ..NONE }
}

fn whole(limit: Duration) -> Timeouts {
    Timeouts { request: Some(limit), ..NONE }
}

fn inactivity(limit: Duration) -> Timeouts {
    Timeouts { inactivity: Some(limit), ..NONE }
}

fn limited(limit: u32, timeouts: Timeouts) -> Setup {
    Setup { limit, timeouts, ..Setup::default() }
}

/// Reads requests, and answers the first of each connection with these bytes; then it waits for the end.
async fn begins(bytes: &'static [u8]) -> Pod {
    Pod::raw(move |_, mut stream| async move {
        if read_request(&mut stream, 0).await {
            stream.write_all(bytes).await.unwrap();
            to_the_end(&mut stream).await;
        }
    })
    .await
}

async fn to_the_end(stream: &mut TcpStream) {
    while stream.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {}
}

/// Passes as much time as the limit of other exchanges that began before and have the same one.
async fn let_the_limit_pass(bed: &Bed, timeouts: Timeouts) {
    let silent = begins(b"").await;
    bed.function_with("clock", limited(0, timeouts), &[silent.address]);
    let answer = get(bed.address(), "clock.default", "/").await;
    assert_eq!(answer.status, 504);
}

fn reason(answer: &crate::client::Answer) -> (u16, Option<&str>) {
    (answer.status, answer.header("catnap-reason"))
}

async fn slots_are_free(bed: &Bed) {
    until("the slot is free", || bed.state("hello").in_flight == 0).await;
}

#[tokio::test]
async fn a_response_that_does_not_begin() {
    let bed = Bed::start();
    let pod = begins(b"").await;
    bed.function_with("hello", limited(0, first_byte(SHORT)), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    for number in 1..3 {
        let began = Instant::now();
        client.get("hello.default", "/").await;
        let answer = client.answer().await;
        assert_eq!(reason(&answer), (504, Some("FirstByteTimeout")));
        assert_eq!(answer.json()["detail"], "no response began within 600ms");
        assert_eq!(answer.json()["function"], "default/hello");
        assert!(began.elapsed() >= SHORT);
        assert_eq!(pod.connections(), number, "sent once");
        until("the pod is told", || pod.seen.open_connections.load(SeqCst) == 0).await;
        slots_are_free(&bed).await;
    }
    let ended = bed.until_ended(2).await;
    assert_eq!((ended[0].outcome, ended[0].attempts), (Outcome::Refused(Reason::FirstByteTimeout), 1));
}

#[tokio::test]
async fn a_response_that_began_has_all_the_time_of_the_first_byte() {
    let bed = Bed::start();
    let finish = Arc::new(tokio::sync::Notify::new());
    let finishing = Arc::clone(&finish);
    let pod = Pod::raw(move |_, mut stream| {
        let finish = Arc::clone(&finishing);
        async move {
            read_request(&mut stream, 0).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await.unwrap();
            finish.notified().await;
            stream.write_all(b"k").await.unwrap();
        }
    })
    .await;
    bed.function_with("hello", limited(0, first_byte(SHORT)), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/").await;
    assert_eq!(client.head().await.status, 200);
    let_the_limit_pass(&bed, first_byte(SHORT)).await;
    finish.notify_one();
    assert_eq!(client.through(b"k").await, b"ok");
}

#[tokio::test]
async fn with_a_limit_a_pod_that_does_not_begin_keeps_its_slot() {
    let bed = Bed::start();
    let finish = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&finish);
    let pod = Pod::raw(move |_, mut stream| {
        let finish = Arc::clone(&gate);
        async move {
            while read_request(&mut stream, 0).await {
                until("the test lets it finish", || finish.load(SeqCst)).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        }
    })
    .await;
    bed.function_with("hello", limited(1, first_byte(SHORT)), &[pod.address]);
    let answer = get(bed.address(), "hello.default", "/").await;
    assert_eq!(reason(&answer), (504, Some("FirstByteTimeout")));
    let mut second = Raw::connect(bed.address()).await;
    second.get("hello.default", "/").await;
    bed.until_held("hello", 1).await;
    assert_eq!(bed.state("hello").in_flight, 1, "the pod still works for the first");
    finish.store(true, SeqCst);
    assert_eq!(second.answer().await.status, 200);
    assert_eq!(pod.connections(), 1, "the first was read to its end");
}

#[tokio::test]
async fn a_request_that_is_not_answered_in_time() {
    for limit in [0, 1] {
        let bed = Bed::start();
        let pod = begins(b"").await;
        bed.function_with("hello", limited(limit, whole(SHORT)), &[pod.address]);
        let mut client = Raw::connect(bed.address()).await;
        client.get("hello.default", "/").await;
        let answer = client.answer().await;
        assert_eq!(reason(&answer), (504, Some("RequestTimeout")));
        assert_eq!(answer.json()["detail"], "no response ended within 600ms");
        until("the pod is told", || pod.seen.open_connections.load(SeqCst) == 0).await;
        slots_are_free(&bed).await;
        client.get("nobody.default", "/").await;
        assert_eq!(client.answer().await.status, 404, "the client's connection goes on");
    }
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_cut_and_nothing_is_added() {
    const BEGUN: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    for limit in [0, 1] {
        let bed = Bed::start();
        let pod = begins(BEGUN).await;
        bed.function_with("hello", limited(limit, whole(SHORT)), &[pod.address]);
        let mut client = Raw::connect(bed.address()).await;
        client.get("hello.default", "/").await;
        let all = String::from_utf8(client.rest().await).unwrap();
        assert!(all.starts_with("HTTP/1.1 200"), "{all}");
        assert!(all.ends_with("\r\n\r\n5\r\nhello\r\n"), "no final chunk, no error page: {all}");
        until("the pod is told", || pod.seen.open_connections.load(SeqCst) == 0).await;
        slots_are_free(&bed).await;
        let ended = bed.until_ended(1).await;
        assert_eq!(ended[0].outcome, Outcome::TimedOut(Reason::RequestTimeout));
        assert_eq!((ended[0].status, ended[0].response_bytes), (Some(200), 5));
    }
}

#[tokio::test]
async fn an_answer_that_never_ends_is_cut() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        read_request(&mut stream, 0).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"5\r\nhello\r\n").await.is_ok() {}
    })
    .await;
    bed.function_with("hello", limited(1, whole(SHORT)), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/").await;
    let all = client.rest().await;
    assert!(all.len() > 10_000, "{} bytes", all.len());
    assert!(!all.ends_with(b"0\r\n\r\n"));
    slots_are_free(&bed).await;
    assert_eq!(bed.until_ended(1).await[0].outcome, Outcome::TimedOut(Reason::RequestTimeout));
}

#[tokio::test]
async fn a_client_that_does_not_read_keeps_no_slot() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        read_request(&mut stream, 0).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
        while stream.write_all(&[1; 16384]).await.is_ok() {}
    })
    .await;
    bed.function_with("hello", limited(1, whole(SHORT)), &[pod.address]);
    let mut idle = Raw::connect(bed.address()).await;
    idle.get("hello.default", "/").await;
    until("the pod is told", || pod.connections() == 1 && pod.seen.open_connections.load(SeqCst) == 0).await;
    slots_are_free(&bed).await;
    bed.until_ended(1).await;
    // Over HTTP/2 its stream's window is what it does not open.
    let mut client = http2(bed.address()).await;
    let response = client.send_request(request("GET", "http://hello.default/", empty())).await.unwrap();
    assert_eq!(response.status(), 200);
    until("the pod is told", || pod.connections() == 2 && pod.seen.open_connections.load(SeqCst) == 0).await;
    slots_are_free(&bed).await;
    let body = within("the end", response.into_body().collect()).await;
    assert!(body.is_err(), "what it reads then ends too early");
}

#[tokio::test]
async fn what_takes_too_long_does_not_look_whole_to_an_old_client() {
    const CUT: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for (bytes, end) in [(CUT, Err(std::io::ErrorKind::ConnectionReset)), (WHOLE, Ok(0))] {
        let bed = Bed::start();
        let pod = begins(bytes).await;
        bed.function_with("hello", limited(0, whole(SHORT)), &[pod.address]);
        let mut client = Raw::connect(bed.address()).await;
        client.send("GET / HTTP/1.0\r\nHost: hello.default\r\n\r\n").await;
        client.through(b"hello").await;
        let read = within("the end", client.stream.read(&mut [0; 16])).await;
        assert_eq!(read.map_err(|error| error.kind()), end);
        slots_are_free(&bed).await;
    }
}

#[tokio::test]
async fn a_stream_that_takes_too_long_is_reset_and_its_connection_goes_on() {
    let bed = Bed::start();
    let pod = begins(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello").await;
    bed.function_with("hello", limited(0, whole(SHORT)), &[pod.address]);
    let mut client = http2(bed.address()).await;
    let response = client.send_request(request("GET", "http://hello.default/", empty())).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(within("the end", response.into_body().collect()).await.is_err());
    slots_are_free(&bed).await;
    let alive = client.send_request(request("GET", "http://nobody.default/", empty())).await.unwrap();
    assert_eq!(alive.status(), 404);
}

#[tokio::test]
async fn an_http2_pod_is_told_with_a_reset_of_the_stream() {
    let bed = Bed::start();
    let resets = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&resets);
    let pod = Pod::raw(move |_, stream| {
        let resets = Arc::clone(&counted);
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let resets = Arc::clone(&resets);
                tokio::spawn(async move {
                    if request.uri().path() == "/begun" {
                        let mut body = respond.send_response(Response::new(()), false).unwrap();
                        std::future::poll_fn(|context| body.poll_reset(context)).await.unwrap();
                    } else {
                        std::future::poll_fn(|context| respond.poll_reset(context)).await.unwrap();
                    }
                    resets.fetch_add(1, SeqCst);
                });
            }
        }
    })
    .await;
    let setup = Setup { protocol: Protocol::H2c, ..limited(1, whole(SHORT)) };
    bed.function_with("hello", setup, &[pod.address]);
    assert_eq!(reason(&get(bed.address(), "hello.default", "/").await), (504, Some("RequestTimeout")));
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/begun").await;
    assert!(client.rest().await.starts_with(b"HTTP/1.1 200"));
    until("both streams were reset", || resets.load(SeqCst) == 2).await;
    slots_are_free(&bed).await;
    assert_eq!(pod.seen.open_connections.load(SeqCst), 1, "the connection goes on");
}

#[tokio::test]
async fn events_and_grpc_may_take_longer() {
    let bed = Bed::start();
    let next = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&next);
    let events = Pod::raw(move |_, mut stream| {
        let next = Arc::clone(&told);
        async move {
            read_request(&mut stream, 0).await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\n";
            stream.write_all(head).await.unwrap();
            next.notified().await;
            stream.write_all(b"data: late\n\n").await.unwrap();
        }
    })
    .await;
    bed.function_with("hello", limited(0, whole(SHORT)), &[events.address]);
    let answering = Arc::clone(&next);
    let calls = Pod::h2c(move |_| {
        let next = Arc::clone(&answering);
        async move {
            next.notified().await;
            crate::pod::reply("message")
        }
    })
    .await;
    let setup = Setup { protocol: Protocol::H2c, ..limited(0, whole(SHORT)) };
    bed.function_with("calls", setup, &[calls.address]);

    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/").await;
    assert_eq!(client.head().await.status, 200);
    let mut caller = http2(bed.address()).await;
    let mut call = request("POST", "http://calls.default/", empty());
    call.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
    let call = tokio::spawn(caller.send_request(call));
    until("the pod has the call", || calls.requests() == 1).await;
    let_the_limit_pass(&bed, whole(SHORT)).await;
    next.notify_waiters();
    client.through(b"data: late\n\n").await;
    assert_eq!(within("the call", call).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn what_goes_on_without_its_client_ends_in_time_streams_too() {
    const EVENTS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n";
    for begun in [b"".as_slice(), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", EVENTS] {
        let bed = Bed::start();
        let pod = begins(begun).await;
        bed.function_with("hello", limited(1, whole(SHORT)), &[pod.address]);
        let mut client = Raw::connect(bed.address()).await;
        client.get("hello.default", "/").await;
        if begun.is_empty() {
            until("the pod has it", || pod.connections() == 1).await;
        } else {
            client.head().await;
        }
        drop(client);
        bed.until_ended(1).await;
        until("the pod is told", || pod.seen.open_connections.load(SeqCst) == 0).await;
        slots_are_free(&bed).await;
    }
}

#[tokio::test]
async fn silence_ends_an_exchange_and_bytes_keep_it() {
    const BYTES: usize = 16;
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        read_request(&mut stream, 0).await;
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let mut pace = tokio::time::interval(Duration::from_millis(100));
        for _ in 0..BYTES {
            pace.tick().await;
            stream.write_all(b"x").await.unwrap();
        }
        to_the_end(&mut stream).await;
    })
    .await;
    bed.function_with("hello", limited(0, inactivity(Duration::from_millis(800))), &[pod.address]);
    let mut raw = Raw::connect(bed.address()).await;
    raw.get("hello.default", "/").await;
    let mut multiplexed = http2(bed.address()).await;
    let response = multiplexed.send_request(request("GET", "http://hello.default/", empty())).await.unwrap();
    let all = raw.rest().await;
    assert!(all.ends_with(&[b'x'; BYTES]), "{}", String::from_utf8_lossy(&all));
    assert!(within("the end", response.into_body().collect()).await.is_err());
    until("the pod is told", || pod.seen.open_connections.load(SeqCst) == 0).await;
    slots_are_free(&bed).await;
    for end in bed.until_ended(2).await {
        assert_eq!((end.outcome, end.response_bytes), (Outcome::TimedOut(Reason::RequestTimeout), 16));
    }
}

#[tokio::test]
async fn silence_before_the_head_is_answered() {
    let bed = Bed::start();
    let pod = begins(b"").await;
    bed.function_with("hello", limited(0, inactivity(SHORT)), &[pod.address]);
    let answer = get(bed.address(), "hello.default", "/").await;
    assert_eq!(reason(&answer), (504, Some("RequestTimeout")));
    assert_eq!(answer.json()["detail"], "no byte moved for 600ms");
    slots_are_free(&bed).await;
}

#[tokio::test]
async fn a_tunnel_ends_by_silence_alone() {
    const UPGRADE: &str =
        "GET / HTTP/1.1\r\nHost: hello.default\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        read_request(&mut stream, 0).await;
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    })
    .await;
    let timeouts =
        Timeouts { request: Some(SHORT), inactivity: Some(Duration::from_secs(2)), first_byte: None };
    bed.function_with("hello", limited(1, timeouts), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send(UPGRADE).await;
    assert_eq!(client.head().await.status, 101);
    let_the_limit_pass(&bed, whole(SHORT)).await;
    client.send("ping").await;
    client.through(b"ping").await;
    assert_eq!(client.rest().await, b"", "and then the end");
    until("the pod is told", || pod.seen.open_connections.load(SeqCst) == 0).await;
    slots_are_free(&bed).await;
    assert_eq!(bed.until_ended(2).await[1].outcome, Outcome::TimedOut(Reason::RequestTimeout));
}

#[tokio::test]
async fn the_time_that_a_request_was_held_does_not_count() {
    let bed = Bed::start();
    bed.function("hello", limited(0, whole(SHORT)));
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/").await;
    bed.until_held("hello", 1).await;
    let_the_limit_pass(&bed, whole(SHORT)).await;
    let pod = Pod::http1(describe).await;
    bed.pods("hello", &[pod.address]);
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_second_attempt_has_what_the_first_one_left() {
    let bed = Bed::start();
    let pod = Pod::raw(|number, mut stream| async move {
        read_request(&mut stream, 0).await;
        if number == 0 {
            let mut pause = tokio::time::interval(Duration::from_millis(1_500));
            pause.tick().await;
            pause.tick().await;
        } else {
            to_the_end(&mut stream).await;
        }
    })
    .await;
    bed.function_with("hello", limited(0, whole(Duration::from_secs(3))), &[pod.address]);
    let began = Instant::now();
    let answer = get(bed.address(), "hello.default", "/").await;
    assert_eq!(reason(&answer), (504, Some("RequestTimeout")));
    assert!(began.elapsed() < Duration::from_millis(4_400), "{:?}", began.elapsed());
    assert_eq!(bed.until_ended(1).await[0].attempts, 2);
}

#[tokio::test]
async fn a_change_counts_for_the_next_request() {
    let bed = Bed::start();
    let pod = begins(b"").await;
    bed.function_with("hello", limited(0, NONE), &[pod.address]);
    let mut before = Raw::connect(bed.address()).await;
    before.get("hello.default", "/").await;
    until("the pod has it", || pod.connections() == 1).await;
    bed.function("hello", limited(0, whole(SHORT)));
    let answer = get(bed.address(), "hello.default", "/").await;
    assert_eq!(reason(&answer), (504, Some("RequestTimeout")));
    assert_eq!(bed.state("hello").in_flight, 1, "the one from before goes on");
}
