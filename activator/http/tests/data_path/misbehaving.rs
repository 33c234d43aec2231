//! Pods that break the rules: what the caller gets, how often the pod was asked, and that its slot is free again.

mod http2;

use crate::bed::{Bed, Setup, until};
use crate::broken::{OK, read_request};
use crate::client::{Answer, Raw, get};
use crate::pod::{Pod, describe};
use catnap_activator_core::{Reason, Timeouts};
use catnap_activator_http::Outcome;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Every test is run without a limit and with one.
const LIMITS: [u32; 2] = [0, 1];

fn impatient(limit: u32) -> Setup {
    let timeouts = Timeouts { first_byte: None, request: Some(Duration::from_secs(1)), inactivity: None };
    Setup { limit, timeouts, activation: Duration::from_secs(1), ..Setup::default() }
}

fn reason(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.header("catnap-reason"))
}

/// Closes at once, in a way that the other side sees as a reset.
fn reset(stream: &TcpStream) {
    stream.set_zero_linger().unwrap();
}

/// What a pod does with a connection after it read a request.
type Script = fn(TcpStream) -> futures::future::BoxFuture<'static, ()>;

/// A pod that never gives a response, and the requests that it read.
async fn without_response(script: Script) -> (Pod, Arc<AtomicUsize>) {
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let pod = Pod::raw(move |_, mut stream| {
        let read = Arc::clone(&counted);
        async move {
            if read_request(&mut stream, 0).await {
                read.fetch_add(1, SeqCst);
                script(stream).await;
            }
        }
    })
    .await;
    (pod, read)
}

/// Sends these bytes and keeps the connection open for as long as the other side does.
async fn say(mut stream: TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
    while stream.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {}
}

/// Sends these bytes and does not care what the other side does.
async fn insist(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_pod_without_a_response_is_asked_again_only_where_that_is_safe() {
    let scripts: [(&str, Script); 9] = [
        ("closes", |stream| Box::pin(async move { drop(stream) })),
        ("resets", |stream| Box::pin(async move { reset(&stream) })),
        ("half a head", |mut stream| {
            Box::pin(async move {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").await;
            })
        }),
        ("another protocol", |stream| Box::pin(say(stream, b"SSH-2.0-OpenSSH_9.6\r\n"))),
        ("no version", |stream| Box::pin(say(stream, b"HTTP/9.9 200 OK\r\n\r\n"))),
        ("no status", |stream| Box::pin(say(stream, b"HTTP/1.1 OK\r\n\r\n"))),
        ("two lengths", |stream| {
            Box::pin(say(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"))
        }),
        ("a huge head", |stream| {
            Box::pin(async move {
                let head = format!("HTTP/1.1 200 OK\r\nX-Much: {}\r\n\r\n", "x".repeat(200_000));
                say(stream, head.as_bytes()).await;
            })
        }),
        ("too many fields", |stream| {
            Box::pin(async move {
                let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(1_000));
                say(stream, head.as_bytes()).await;
            })
        }),
    ];
    for (name, script) in scripts {
        for limit in LIMITS {
            let bed = Bed::start();
            let (pod, read) = without_response(script).await;
            bed.function_with("hello", impatient(limit), &[pod.address]);
            let mut client = Raw::connect(bed.address()).await;
            client.post("hello.default", b"").await;
            assert_eq!(reason(&client.answer().await), (502, Some("UpstreamReset")), "{name}, limit {limit}");
            assert_eq!(read.load(SeqCst), 1, "{name}: a POST is sent once");
            client.get("hello.default", "/").await;
            assert_eq!(reason(&client.answer().await), (502, Some("UpstreamReset")), "{name}, limit {limit}");
            assert_eq!(read.load(SeqCst), 3, "{name}: a GET twice");
            until("the slot is free", || bed.state("hello").in_flight == 0).await;
            until("the pod is told", || pod.seen.open_connections.load(SeqCst) == 0).await;
            let ended = bed.until_ended(2).await;
            let upstream_reset = Outcome::Refused(Reason::UpstreamReset);
            assert_eq!((ended[0].outcome, ended[0].attempts), (upstream_reset, 1), "{name}");
            assert_eq!((ended[1].outcome, ended[1].attempts), (upstream_reset, 2), "{name}");
        }
    }
}

#[tokio::test]
async fn a_pod_that_accepts_and_closes_never_leaves_its_caller_without_an_answer() {
    for limit in LIMITS {
        let bed = Bed::start();
        let pod = Pod::raw(|_, stream| async move { drop(stream) }).await;
        bed.function_with("hello", impatient(limit), &[pod.address]);
        let mut client = Raw::connect(bed.address()).await;
        for _ in 0..3 {
            client.post("hello.default", b"").await;
            let answer = client.answer().await;
            // Whether the first byte left before the end was seen is for the kernel to say.
            let known = ["UpstreamReset", "ConnectFailed", "PodUnreachable", "ActivationTimeout"];
            assert!(
                answer.header("catnap-reason").is_some_and(|reason| known.contains(&reason)),
                "{answer:?}"
            );
        }
        until("the slot is free", || bed.state("hello").in_flight == 0).await;
        let well = Pod::http1(describe).await;
        bed.pods("hello", &[well.address]);
        client.post("hello.default", b"").await;
        assert_eq!(client.answer().await.status, 200);
    }
}

#[tokio::test]
async fn with_a_limit_a_pod_that_breaks_the_protocol_has_a_second_to_end() {
    let scripts: [Script; 2] = [
        |mut stream| Box::pin(async move { insist(&mut stream, b"SSH-2.0-OpenSSH_9.6\r\n").await }),
        |mut stream| {
            let begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n";
            Box::pin(async move { insist(&mut stream, begun).await })
        },
    ];
    for script in scripts {
        let bed = Bed::start();
        let (pod, _) = without_response(script).await;
        bed.function_with("hello", Setup { limit: 1, ..Setup::default() }, &[pod.address]);
        let mut client = Raw::connect(bed.address()).await;
        client.post("hello.default", b"").await;
        assert!(client.head().await.status >= 200);
        assert_eq!(bed.state("hello").in_flight, 1, "the pod may be at it still");
        let free = until("the slot is free", || bed.state("hello").in_flight == 0);
        tokio::time::timeout(Duration::from_secs(3), free).await.unwrap();
    }
}

#[tokio::test]
async fn a_flood_of_interim_responses_is_no_response() {
    for limit in LIMITS {
        let bed = Bed::start();
        let (pod, read) = without_response(|mut stream| {
            Box::pin(async move {
                let flood = b"HTTP/1.1 102 Processing\r\nX-Some: thing\r\n\r\n".repeat(1_000);
                while stream.write_all(&flood).await.is_ok() {}
            })
        })
        .await;
        bed.function_with("hello", Setup { limit, ..Setup::default() }, &[pod.address]);
        let well = Pod::http1(describe).await;
        bed.function_with("well", Setup::default(), &[well.address]);
        let mut client = Raw::connect(bed.address()).await;
        client.get("hello.default", "/").await;
        until("the pod floods", || read.load(SeqCst) > 0).await;
        for _ in 0..20 {
            let other = get(bed.address(), "well.default", "/").await;
            assert_eq!(other.status, 200, "others are served meanwhile, by the same worker");
        }
        assert_eq!(reason(&client.answer().await), (502, Some("UpstreamReset")));
        until("the pod is told", || pod.seen.open_connections.load(SeqCst) == 0).await;
        until("the slot is free", || bed.state("hello").in_flight == 0).await;
        assert_eq!(read.load(SeqCst), 2, "once more, because a GET may be repeated");
    }
}

#[tokio::test]
async fn some_interim_responses_are_dropped() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        while read_request(&mut stream, 0).await {
            let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
            stream.write_all(interim).await.unwrap();
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    for _ in 0..3 {
        client.get("hello.default", "/").await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.text()), (200, "ok"));
    }
    assert_eq!(pod.connections(), 1);
}

#[tokio::test]
async fn a_pod_that_breaks_off_after_the_head_is_not_asked_again_and_nothing_is_added() {
    let scripts: [(&str, Script); 4] = [
        ("closes within chunks", |mut stream| {
            Box::pin(async move {
                let begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
                stream.write_all(begun).await.unwrap();
            })
        }),
        ("closes before the promised length", |mut stream| {
            Box::pin(async move {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello").await.unwrap();
            })
        }),
        ("sends what is no chunk", |stream| {
            Box::pin(say(
                stream,
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nno chunk\r\n",
            ))
        }),
        ("stops before the promised length", |stream| {
            Box::pin(say(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"))
        }),
    ];
    for (name, script) in scripts {
        for limit in LIMITS {
            let bed = Bed::start();
            let (pod, read) = without_response(script).await;
            bed.function_with("hello", impatient(limit), &[pod.address]);
            let mut client = Raw::connect(bed.address()).await;
            client.get("hello.default", "/").await;
            let all = String::from_utf8(client.rest().await).unwrap();
            assert!(all.starts_with("HTTP/1.1 200"), "{name}: {all}");
            let body = all.split_once("\r\n\r\n").unwrap().1;
            assert!(["hello", "5\r\nhello\r\n"].contains(&body), "{name}, limit {limit}: {all}");
            until("the slot is free", || bed.state("hello").in_flight == 0).await;
            assert_eq!((read.load(SeqCst), pod.connections()), (1, 1), "{name}");
            let ended = bed.until_ended(1).await;
            let broken_off = [Outcome::BrokenOff, Outcome::TimedOut(Reason::RequestTimeout)];
            assert!(broken_off.contains(&ended[0].outcome), "{name}: {ended:?}");
            assert_eq!((ended[0].attempts, ended[0].response_bytes), (1, 5), "{name}");
        }
    }
}

#[tokio::test]
async fn a_reset_after_the_head_is_passed_on() {
    let bed = Bed::start();
    let seen = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&seen);
    let pod = Pod::raw(move |_, mut stream| {
        let seen = Arc::clone(&told);
        async move {
            read_request(&mut stream, 0).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello").await.unwrap();
            // A reset overtakes what was not read yet.
            seen.notified().await;
            reset(&stream);
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/").await;
    client.through(b"hello").await;
    seen.notify_one();
    assert_eq!(client.rest().await, b"");
    until("the slot is free", || bed.state("hello").in_flight == 0).await;
    assert_eq!(bed.until_ended(1).await[0].outcome, Outcome::BrokenOff);
    assert_eq!(pod.connections(), 1);
}

#[tokio::test]
async fn what_follows_a_response_is_no_response_to_the_next_request() {
    for limit in LIMITS {
        let bed = Bed::start();
        let pod = Pod::raw(|_, mut stream| async move {
            while read_request(&mut stream, 0).await {
                let mut more = OK.to_vec();
                more.extend(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
                if stream.write_all(&more).await.is_err() {
                    return;
                }
            }
        })
        .await;
        bed.function_with("hello", impatient(limit), &[pod.address]);
        let mut client = Raw::connect(bed.address()).await;
        for number in 0..50 {
            client.get("hello.default", "/").await;
            let answer = client.answer().await;
            assert_eq!((answer.status, answer.text()), (200, "ok"), "request {number}, limit {limit}");
        }
        assert_eq!(pod.connections(), 50, "none is used again");
        until("the slot is free", || bed.state("hello").in_flight == 0).await;
    }
}

#[tokio::test]
async fn more_bytes_than_promised_are_not_delivered() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        while read_request(&mut stream, 0).await {
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more").await.is_err() {
                return;
            }
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    for _ in 0..10 {
        client.get("hello.default", "/").await;
        assert_eq!(client.answer().await.text(), "ok");
    }
    client.send("GET / HTTP/1.1\r\nHost: hello.default\r\nConnection: close\r\n\r\n").await;
    assert!(client.rest().await.ends_with(b"\r\n\r\nok"));
}
