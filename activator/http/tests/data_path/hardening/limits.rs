//! The fixed limits of every listener, and what of a client's words goes no further.

use std::sync::Arc;

use super::frames::{END_HEADERS, END_STREAM, Frames, HEADERS, SETTINGS, frame, get};
use super::recorder::Recorder;
use crate::bed::{Bed, Setup, until};
use crate::client::{Raw, empty, full, http2, request};
use crate::pod::{Pod, describe, reply};
use catnap_activator_core::{Protocol, Reason};
use catnap_activator_http::Outcome;
use http::HeaderMap;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use parking_lot::Mutex;

const KIBIBYTE: usize = 1024;

/// A request with this head is answered on each listener with this status, over each protocol.
async fn expect(bed: &Bed, path: &str, fields: &[(String, String)], status: u16) {
    for address in [bed.address(), bed.edge()] {
        // The edge has no function: its limits come first all the same.
        let status = if address == bed.edge() && status == 200 { 404 } else { status };
        let mut client = Raw::connect(address).await;
        let lines: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: hello.default\r\n{}\r\n", lines.concat())).await;
        assert_eq!(client.answer().await.status, status, "HTTP/1.1, {} fields, {}", fields.len(), path.len());
        let mut client = http2(address).await;
        let mut call = request("GET", &format!("http://hello.default{path}"), empty());
        for (name, value) in fields {
            call.headers_mut().append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        let answer = client.send_request(call).await.unwrap();
        assert_eq!(answer.status(), status, "HTTP/2, {} fields, {}", fields.len(), path.len());
    }
}

fn many(count: usize, length: usize) -> Vec<(String, String)> {
    (0..count).map(|number| (format!("x-{number}"), "v".repeat(length))).collect()
}

#[tokio::test]
async fn heads_are_limited_in_size_and_number() {
    let bed = Bed::start();
    // A pod without limits of its own.
    let recorder = Recorder::start().await;
    bed.function_with("hello", Setup::default(), &[recorder.pod.address]);
    let path = |length: usize| format!("/{}", "p".repeat(length - 1));
    expect(&bed, &path(15 * KIBIBYTE), &[], 200).await;
    expect(&bed, &path(17 * KIBIBYTE), &[], 414).await;
    // Host is one of them over HTTP/1.1.
    expect(&bed, "/", &many(99, 1), 200).await;
    expect(&bed, "/", &many(101, 1), 431).await;
    expect(&bed, "/", &many(60, KIBIBYTE), 200).await;
    expect(&bed, "/", &many(66, KIBIBYTE), 431).await;
}

#[tokio::test]
async fn a_head_is_refused_at_the_limit_and_not_beyond() {
    let bed = Bed::start();
    let parts = [
        ("GET / HTTP/1.1\r\nHost: hello.default\r\nX: ", Reason::HeadTooLarge),
        ("GET /", Reason::UriTooLong),
        ("GET / HTTP/1.1\r\nHost: hello.default\r\n", Reason::HeadTooLarge),
    ];
    for (start, reason) in parts {
        let mut client = Raw::connect(bed.address()).await;
        client.send(start).await;
        let filler = if start.ends_with("default\r\n") { "x:\r\n" } else { "xxxx" };
        // As much as is allowed, and the answer comes while the client could go on.
        client.send(filler.repeat(16 * KIBIBYTE)).await;
        assert_eq!(client.head().await.status, reason.status(), "{start:?}");
        client.rest().await;
    }
    until("they are counted", || bed.counts.unparsable.lock().len() == parts.len()).await;
    assert_eq!(*bed.counts.unparsable.lock(), parts.map(|(_, reason)| reason));
}

#[tokio::test]
async fn a_connection_has_so_many_streams_and_no_more() {
    let bed = Bed::start();
    bed.function("cold", Setup::default());
    bed.function("colder", Setup::default());
    let mut client = Frames::connect(bed.address(), &[]).await;
    // Half of the streams may wait for one function, so two functions take all of them.
    let streams: Vec<u8> = (0..260)
        .flat_map(|number| {
            let host = if number % 2 == 0 { "cold.default" } else { "colder.default" };
            frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &get(host, "/"))
        })
        .collect();
    client.send(&streams).await;
    let ending = client.until_answered(2 * 259 + 1).await;
    assert_eq!(ending.resets, (250..260).map(|number| 2 * number + 1).collect::<Vec<u32>>());
    bed.until_held("cold", 125).await;
    bed.until_held("colder", 125).await;
}

/// Sends a request with trailers, and gives those that the pod had.
async fn trailers_at_pod(protocol: Protocol) -> HeaderMap {
    let seen = Arc::<Mutex<Option<HeaderMap>>>::default();
    let bed = Bed::start();
    let noted = Arc::clone(&seen);
    let handler = move |request: http::Request<hyper::body::Incoming>| {
        let noted = Arc::clone(&noted);
        async move {
            let body = request.into_body().collect().await.unwrap();
            *noted.lock() = Some(body.trailers().cloned().unwrap_or_default());
            reply("ok")
        }
    };
    let pod = match protocol {
        Protocol::Http1 => Pod::http1(handler).await,
        Protocol::H2c => Pod::h2c(handler).await,
    };
    bed.function_with("hello", Setup { protocol, ..Setup::default() }, &[pod.address]);
    let mut client = http2(bed.address()).await;
    let mut trailers = HeaderMap::new();
    for name in [
        "x-sum",
        "catnap-reason",
        "catnap_reason",
        "x-forwarded-for",
        "x_forwarded_for",
        "x_request_id",
        "content_length",
        "forwarded",
        "host",
        "content-length",
        "authorization",
        "traceparent",
    ] {
        trailers.insert(name, "1".parse().unwrap());
    }
    // Of a length that nobody knows: over HTTP/1.1 trailers need chunks.
    let frames = [Ok(Frame::data("hello".into())), Ok(Frame::trailers(trailers))];
    let body = BodyExt::boxed(StreamBody::new(tokio_stream::iter(frames)));
    let mut call = request("POST", "http://hello.default/", body);
    call.headers_mut().insert("trailer", "x-sum, catnap-reason, x-forwarded-for".parse().unwrap());
    let response = client.send_request(call).await.unwrap();
    assert_eq!(response.status(), 200);
    seen.lock().take().unwrap()
}

#[tokio::test]
async fn trailers_say_nothing_that_only_a_head_may() {
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let trailers = trailers_at_pod(protocol).await;
        let names: Vec<&str> = trailers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["x-sum"], "{protocol:?}");
    }
}

#[tokio::test]
async fn a_client_cannot_speak_for_catnap_or_a_proxy() {
    let bed = Bed::start();
    let recorder = Recorder::start().await;
    bed.function_with("hello", Setup::default(), &[recorder.pod.address]);
    let mut client = http2(bed.address()).await;
    let mut call = request("GET", "http://hello.default/", empty());
    for (name, value) in [
        ("catnap-reason", "Mine"),
        ("catnap-", "Mine"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-host", "bank.example"),
        ("forwarded", "for=6.6.6.6"),
        ("x-request-id", "<script>"),
        ("catnap_reason", "Mine"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-forwarded_host", "bank.example"),
        ("x_request_id", "<script>"),
        ("x_other_field", "kept"),
        ("traceparent", "nonsense"),
    ] {
        call.headers_mut().insert(name, value.parse().unwrap());
    }
    assert_eq!(client.send_request(call).await.unwrap().status(), 200);
    let request = recorder.requests().remove(0);
    assert!(request.fields.contains(&("x_other_field".into(), "kept".into())), "{request:?}");
    for (name, value) in &request.fields {
        assert!(!name.starts_with("catnap-"), "{request:?}");
        for raw in ["Mine", "6.6.6.6", "bank.example", "<script>", "nonsense"] {
            assert!(!value.contains(raw), "{request:?}");
        }
    }
}

#[tokio::test]
async fn many_streams_are_offered_and_no_tunnels_in_them() {
    let bed = Bed::start();
    let mut client = Frames::connect(bed.address(), &[]).await;
    let settings = client.next().await.unwrap();
    assert_eq!(settings.kind, SETTINGS);
    let mut offered = settings.payload.chunks(6);
    // SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 6.5.2).
    assert!(offered.any(|setting| setting == [0, 3, 0, 0, 0, 250]), "{settings:?}");
    // SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 3).
    assert!(!settings.payload.chunks(6).any(|setting| setting.starts_with(&[0, 8])), "{settings:?}");
}

#[tokio::test]
async fn what_is_counted_is_no_clients_word() {
    let bed = Bed::start();
    let mut client = Raw::connect(bed.address()).await;
    for (method, host) in [("GET", "evil\"} 1"), ("X-EVIL", "evil.example"), ("TRACE", "evil.default")] {
        let mut one = Raw::connect(bed.address()).await;
        one.send(format!("{method} /evil HTTP/1.1\r\nHost: {host}\r\nX-Evil: evil\r\n\r\n")).await;
        one.answer().await;
    }
    client.get("evil.default", "/evil").await;
    assert_eq!(client.answer().await.status, 404);
    for ended in bed.until_ended(4).await {
        assert_eq!(ended.function, None, "what has no function has no name");
        assert!(matches!(ended.outcome, Outcome::Refused(_)));
    }
}

/// A head of so many bytes, more or less.
fn large_head(host: &str, bytes: usize) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-Large: {}\r\n\r\n", "x".repeat(bytes))
}

#[tokio::test]
async fn held_requests_share_a_budget_of_bytes() {
    let bed = Bed::with_settings(|settings| settings.max_held_bytes = 500 * KIBIBYTE, |_| {});
    bed.function("cold", Setup::default());
    let mut waiting = Vec::new();
    // A function alone may have a third of it.
    for count in 1..=3 {
        let mut client = Raw::connect(bed.address()).await;
        client.send(large_head("cold.default", 50 * KIBIBYTE)).await;
        bed.until_held("cold", count).await;
        waiting.push(client);
    }
    let mut refused = Raw::connect(bed.address()).await;
    refused.send(large_head("cold.default", 50 * KIBIBYTE)).await;
    let answer = refused.answer().await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("catnap-reason"), Some("ProcessOverloaded"));
    assert_eq!(answer.json()["function"], "default/cold");
    // What is small still fits, and what leaves gives its bytes back.
    let mut small = Raw::connect(bed.address()).await;
    small.get("cold.default", "/").await;
    bed.until_held("cold", 4).await;
    waiting.pop();
    bed.until_held("cold", 3).await;
    let mut large = Raw::connect(bed.address()).await;
    large.send(large_head("cold.default", 50 * KIBIBYTE)).await;
    bed.until_held("cold", 4).await;
    let pod = Pod::http1(describe).await;
    bed.pods("cold", &[pod.address]);
    waiting.extend([small, large]);
    for client in &mut waiting {
        assert_eq!(client.answer().await.status, 200);
    }
}

#[tokio::test]
async fn a_held_upload_over_http2_counts_with_its_window() {
    let bed = Bed::with_settings(|settings| settings.max_held_bytes = 450 * KIBIBYTE, |_| {});
    bed.function("cold", Setup::default());
    let mut client = http2(bed.address()).await;
    let mut calls = Vec::new();
    for _ in 0..5 {
        let body = full(vec![1; 200 * KIBIBYTE]);
        let call = client.send_request(request("POST", "http://cold.default/", body));
        calls.push(tokio::spawn(call));
    }
    until("some are refused", || bed.counts.ended.lock().len() == 3).await;
    assert_eq!(bed.state("cold").held, 2, "two windows of 64 KiB are less than a third");
    let pod = Pod::http1(describe).await;
    bed.pods("cold", &[pod.address]);
    let mut served = 0;
    for call in calls {
        // Those that are refused may be told to stop sending, too.
        served += usize::from(call.await.unwrap().is_ok_and(|response| response.status() == 200));
    }
    assert_eq!(served, 2);
}
