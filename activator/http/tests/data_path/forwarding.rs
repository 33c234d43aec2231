//! Requests and responses that pass as they should.

use crate::bed::{Bed, Setup, until, within};
use crate::client::{Raw, get, http2, request};
use crate::pod::{Pod, describe, reply};
use bytes::Bytes;
use catnap_activator_http::Outcome;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn both_sides_keep_their_connection() {
    let bed = Bed::start();
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    for number in 0..5 {
        client.get("hello.default", &format!("/{number}?q=1")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 200);
        assert!(answer.text().starts_with(&format!("GET /{number}?q=1 HTTP/1.1\n")), "{}", answer.text());
        assert!(answer.header("server-timing").is_none(), "nothing waited");
    }
    assert_eq!(pod.connections(), 1);
    assert_eq!(bed.until_ended(5).await.len(), 5);
    assert_eq!(bed.counts.under_way.load(SeqCst), 0);
    until("slots are free", || bed.state("hello").in_flight == 0).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let bed = Bed::start();
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: hello.default\r\n\r\n");
    client.send(format!("{}{}{}", one("/a"), one("/b"), one("/c"))).await;
    for path in ["/a", "/b", "/c"] {
        assert!(client.answer().await.text().starts_with(&format!("GET {path} ")));
    }
}

#[tokio::test]
async fn header_fields_are_cleaned_and_told() {
    let bed = Bed::start();
    let pod = Pod::http1(|request| async move {
        let mut reply = describe(request).await;
        let headers = reply.headers_mut();
        headers.insert("keep-alive", "timeout=60".parse().unwrap());
        headers.insert("x-internal", "1".parse().unwrap());
        headers.insert("connection", "x-internal".parse().unwrap());
        headers.insert("x-kept", "1".parse().unwrap());
        reply
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: Hello.Default:80\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\n\
             Catnap-Reason: forged\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nProxy-Connection: close\r\n\
             X-Request-Id: mine-1\r\nAccept: text/plain\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n",
        )
        .await;
    let answer = client.answer().await;
    let text = answer.text();
    for line in [
        "host: Hello.Default:80",
        "accept: text/plain",
        "x-request-id: mine-1",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: Hello.Default:80",
        "forwarded: for=127.0.0.1;proto=http;host=\"Hello.Default:80\"",
    ] {
        assert!(text.lines().any(|got| got == line), "{line} not in\n{text}");
    }
    assert!(!text.contains("traceparent"), "the function decides for itself: {text}");
    for name in ["connection", "x-secret", "catnap-", "proxy-connection", "upgrade", "http2-settings"] {
        assert!(!text.contains(&format!("\n{name}")), "{name} in\n{text}");
    }
    for name in ["keep-alive", "x-internal", "connection"] {
        assert_eq!(answer.header(name), None);
    }
    assert_eq!(answer.header("x-kept"), Some("1"));
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let bed = Bed::configured(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: hello.default\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\r\n").await;
    let answer = client.answer().await;
    assert!(
        answer.text().contains("x-forwarded-for: 1.2.3.4\nx-forwarded-for: 127.0.0.1\n"),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("x-forwarded-proto: https\n"));
}

#[tokio::test]
async fn chunks_and_trailers_pass_both_ways() {
    let bed = Bed::start();
    let pod = Pod::http1(|request| async move {
        let described = describe(request).await.into_body().collect().await.unwrap().to_bytes();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", "42".parse().unwrap());
        let frames = [
            Frame::data(described.slice(..10)),
            Frame::data(described.slice(10..)),
            Frame::trailers(trailers),
        ];
        let body = StreamBody::new(tokio_stream::iter(frames.map(Ok::<_, Infallible>)));
        Response::builder().header("trailer", "x-sum").body(BodyExt::boxed(body)).unwrap()
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: hello.default\r\nTE: trailers\r\nConnection: TE\r\nTrailer: x-check\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nx-check: 7\r\n\r\n",
        )
        .await;
    let answer = client.answer().await;
    assert!(answer.text().ends_with("trailer x-check: 7\nbody: 11\n"), "{}", answer.text());
    assert!(answer.text().contains("\nte: trailers\n"));
    assert_eq!(answer.trailers, "x-sum: 42\r\n");
    client.get("hello.default", "/").await;
    assert_eq!(client.answer().await.status, 200, "the connection goes on");
    assert_eq!(bed.until_ended(1).await[0].request_bytes, 11);
}

#[tokio::test]
async fn a_body_of_unknown_length_passes_with_every_method() {
    let bed = Bed::start();
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    for method in ["GET", "DELETE", "POST"] {
        let fields = "Host: hello.default\r\nTransfer-Encoding: chunked";
        client.send(format!("{method} / HTTP/1.1\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n")).await;
        let text = client.answer().await.text().to_owned();
        assert!(text.starts_with(&format!("{method} / ")) && text.ends_with("body: 5\n"), "{text}");
    }
    client.get("hello.default", "/").await;
    let text = client.answer().await.text().to_owned();
    assert!(text.ends_with("body: 0\n") && !text.contains("transfer-encoding"), "{text}");
    let mut client = http2(bed.address()).await;
    for method in ["GET", "DELETE", "POST"] {
        let frames = ["hel", "lo"].map(|part| Ok(Frame::data(Bytes::from(part))));
        let body = BodyExt::boxed(StreamBody::new(tokio_stream::iter(frames)));
        let response = client.send_request(request(method, "http://hello.default/", body)).await.unwrap();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.starts_with(&format!("{method} / ")) && text.ends_with("body: 5\n"), "{text}");
    }
}

#[tokio::test]
async fn head_requests_and_empty_statuses_have_no_body() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            let answer: &[u8] = if buffer[..count].starts_with(b"HEAD") {
                b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"
            } else {
                b"HTTP/1.1 204 No Content\r\n\r\n"
            };
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: hello.default\r\n\r\n").await;
        let head = client.head().await;
        assert_eq!((head.status, head.header("content-length")), (200, Some("1234")));
        client.get("hello.default", "/").await;
        let empty = client.head().await;
        assert_eq!((empty.status, empty.header("content-length")), (204, None));
    }
    assert_eq!(pod.connections(), 1);
}

#[tokio::test]
async fn an_old_client_gets_its_answer_and_the_end() {
    let bed = Bed::start();
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send("GET /old HTTP/1.0\r\nHost: hello.default\r\n\r\n").await;
    let all = String::from_utf8(client.rest().await).unwrap();
    assert!(all.starts_with("HTTP/1.0 200 OK\r\n"), "{all}");
    assert!(all.contains("GET /old HTTP/1.1\n"), "{all}");
}

#[tokio::test]
async fn a_slow_reader_slows_the_function_down() {
    let bed = Bed::start();
    let written = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&written);
    let pod = Pod::raw(move |_, mut stream| {
        let written = Arc::clone(&counted);
        async move {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n").await;
            let chunk = vec![1; 100_000];
            while stream.write_all(&chunk).await.is_ok() {
                written.fetch_add(100_000, SeqCst);
            }
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/").await;
    assert_eq!(client.head().await.status, 200);
    // Buffers fill, then nothing moves.
    let settled = async {
        let mut last = usize::MAX;
        let mut look = tokio::time::interval(Duration::from_millis(100));
        look.tick().await;
        while last != written.load(SeqCst) {
            last = written.load(SeqCst);
            look.tick().await;
        }
    };
    within("the function is stopped", settled).await;
    assert!(written.load(SeqCst) < 60_000_000, "{} bytes went into memory", written.load(SeqCst));
    drop(client);
    until("the pod is told", || pod.seen.open_connections.load(SeqCst) == 0).await;
    assert_eq!(bed.until_ended(1).await[0].outcome, Outcome::ClientLeft);
}

#[tokio::test]
async fn a_pods_keep_alive_timeout_is_respected() {
    let bed = Bed::start();
    let pod = Pod::http1(|_| async {
        let mut reply = reply("ok");
        reply.headers_mut().insert("keep-alive", "timeout=1".parse().unwrap());
        reply
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    for _ in 0..3 {
        assert_eq!(get(bed.address(), "hello.default", "/").await.status, 200);
    }
    assert_eq!(pod.connections(), 3, "one second less one second is no time");
}

#[tokio::test]
async fn new_connections_are_spread_over_the_workers() {
    let bed = Bed::configured(|config| config.workers = 4);
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut clients = Vec::new();
    for _ in 0..80 {
        let mut client = Raw::connect(bed.address()).await;
        client.get("hello.default", "/").await;
        assert_eq!(client.answer().await.status, 200);
        clients.push(client);
    }
    // The kernel alone would not spread them so evenly, but for one time in many.
    let requests: Vec<usize> = bed.counts.threads.lock().values().copied().collect();
    let (least, most) = (requests.iter().min().unwrap(), requests.iter().max().unwrap());
    assert!(requests.len() == 4 && most - least <= 2, "{requests:?}");
}

#[tokio::test]
async fn what_is_framed_twice_is_framed_once_behind_us() {
    let bed = Bed::start();
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: hello.default\r\n\r\n";
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
            smuggled.len() + 5
        ))
        .await;
    let answer = client.answer().await;
    if answer.status == 200 {
        // Chunks win (RFC 9112 6.3).
        assert!(
            answer.text().starts_with("POST / ") && answer.text().ends_with("body: 0\n"),
            "{}",
            answer.text()
        );
        assert!(!answer.text().contains("content-length: 5"), "{}", answer.text());
    } else {
        assert_eq!(answer.status, 400);
    }
}
