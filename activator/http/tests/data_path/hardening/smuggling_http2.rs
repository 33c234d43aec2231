//! Requests over HTTP/2 that would be another one, or two, when written as HTTP/1.1 (RFC 9113 8.1 to 8.3, 10.3).
//! None of them reaches a pod: the stream is reset or answered with a status of the client's own fault.

use super::frames::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, block, frame, get};
use super::recorder::Recorder;
use crate::bed::{Bed, Setup, until};

const HEAD: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", "hello.default"), (":path", "/good")];

/// The good head with one field replaced or, when it has none of the name, added.
fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut head = HEAD.to_vec();
    match head.iter_mut().find(|(field, _)| *field == name) {
        Some(field) => field.1 = value,
        None => head.push((name, value)),
    }
    head
}

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    HEAD.into_iter().filter(|(field, _)| *field != name).collect()
}

fn bad_heads() -> Vec<Vec<(&'static str, &'static str)>> {
    let smuggled = "a\r\nHost: evil\r\n\r\nGET /evil HTTP/1.1\r\nHost: hello.default";
    let mut heads = vec![
        with(":path", "/good HTTP/1.1\r\nHost: hello.default\r\n\r\nGET /evil"),
        with(":path", "/go\nod"),
        with(":path", "/go od"),
        with(":path", "/go\0od"),
        with(":path", ""),
        with(":path", "good"),
        with(":path", "http://other.default/good"),
        with(":method", "GET /evil HTTP/1.1\r\nX: "),
        with(":method", "PO ST"),
        with(":method", ""),
        with(":method", "CONNECT"),
        with(":scheme", "http://evil/?"),
        with(":authority", "hello.default\r\nX: y"),
        with(":authority", "me@hello.default"),
        with(":authority", "hello.default/evil"),
        with(":authority", ""),
        with("x-field", smuggled),
        with("x-field", "a\rb"),
        with("x-field", "a\nb"),
        with("x-field", "a\0b"),
        with("x-field\r\nhost", "evil"),
        with("x field", "a"),
        with("x-field:", "a"),
        with("x-field: a\r\ny", "a"),
        with("", "a"),
        with("X-Field", "a"),
        with("connection", "x-field"),
        with("transfer-encoding", "chunked"),
        with("keep-alive", "timeout=5"),
        with("proxy-connection", "close"),
        with("upgrade", "websocket"),
        with("te", "gzip"),
        with("host", "other.default"),
        with("content-length", "+5"),
        with("content-length", "5, 5"),
        with("content-length", "five"),
        with("content-length", ""),
        with(":status", "200"),
        with(":unknown", "a"),
        without(":method"),
        without(":scheme"),
        without(":path"),
        without(":authority"),
    ];
    // A pseudo-header field twice, one behind others, and two lengths.
    heads.push([&HEAD[..], &[(":path", "/evil")]].concat());
    heads.push([&HEAD[..3], &[("x-field", "a"), (":path", "/good")]].concat());
    heads.push([&HEAD[..], &[("content-length", "5"), ("content-length", "6")]].concat());
    heads
}

#[tokio::test]
async fn a_head_that_would_be_another_is_refused() {
    let bed = Bed::start();
    let recorder = Recorder::start().await;
    bed.function_with("hello", Setup::default(), &[recorder.pod.address]);
    for head in bad_heads() {
        let mut client = Frames::connect(bed.address(), &[]).await;
        client.send(&frame(HEADERS, END_HEADERS, 1, &block(&head))).await;
        client.send(&frame(DATA, END_STREAM, 1, b"hello")).await;
        let ending = client.until_answered(1).await;
        let reset = ending.resets.contains(&1) || !ending.goaway.is_empty();
        let refused = ending.heads.iter().any(|(_, head)| head[0] != 0x88);
        assert!(reset || refused, "{head:?} got {ending:?}");
        until("nothing is under way", || bed.state("hello").in_flight == 0).await;
        assert_eq!(recorder.requests(), [], "{head:?} reached the pod");
    }
}

#[tokio::test]
async fn a_body_is_as_long_as_it_says() {
    let bed = Bed::start();
    let recorder = Recorder::start().await;
    bed.function_with("hello", Setup::default(), &[recorder.pod.address]);
    for (length, bodies) in
        [("3", &["hello"][..]), ("10", &["hello"]), ("0", &["hello"]), ("5", &["hello", "hello"])]
    {
        let mut client = Frames::connect(bed.address(), &[]).await;
        let head = [&HEAD[..], &[("content-length", length)]].concat();
        // In one piece: what arrives whole may have been passed on before the rest is there.
        let mut bytes = frame(HEADERS, END_HEADERS, 1, &block(&head));
        for (number, body) in bodies.iter().enumerate() {
            let flags = if number + 1 == bodies.len() { END_STREAM } else { 0 };
            bytes.extend(frame(DATA, flags, 1, body.as_bytes()));
        }
        client.send(&bytes).await;
        let ending = client.until_answered(1).await;
        let reset = ending.resets.contains(&1) || !ending.goaway.is_empty();
        assert!(reset || ending.heads.iter().any(|(_, head)| head[0] != 0x88), "{length} got {ending:?}");
        until("nothing is under way", || bed.state("hello").in_flight == 0).await;
        assert_eq!(recorder.requests(), [], "{length} reached the pod");
    }
}

#[tokio::test]
async fn fields_that_mean_something_only_in_http1_are_written_safely() {
    let bed = Bed::start();
    let recorder = Recorder::start().await;
    bed.function_with("hello", Setup::default(), &[recorder.pod.address]);
    let mut client = Frames::connect(bed.address(), &[]).await;
    let head = [
        &HEAD[..],
        &[
            ("expect", "100-continue"),
            ("catnap-anything", "1"),
            ("trailer", "x"),
            ("content-length", "5"),
            ("host", "HELLO.default"),
        ],
    ]
    .concat();
    client.send(&frame(HEADERS, END_HEADERS, 1, &block(&head))).await;
    client.send(&frame(DATA, 0, 1, b"hello")).await;
    let trailers = block(&[("catnap-reason", "Mine"), ("content-length", "99"), ("x", "1")]);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers)).await;
    let ending = client.until_answered(1).await;
    assert!(matches!(&ending.heads[..], [(1, head)] if head[0] == 0x88), "{ending:?}");
    until("nothing is under way", || bed.state("hello").in_flight == 0).await;
    assert_eq!(recorder.requests().len(), 1);
    for request in recorder.requests() {
        assert_eq!(request.body, b"hello");
        assert!(
            !request.fields.iter().any(|(name, _)| name.starts_with("catnap-") || name == "expect"),
            "{request:?}"
        );
    }
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &get("hello.default", "/next"))).await;
    assert!(
        client.until_answered(3).await.heads.iter().any(|(stream, head)| *stream == 3 && head[0] == 0x88)
    );
}

#[tokio::test]
async fn a_tunnel_with_a_length_ends_its_own_connection_alone() {
    let bed = Bed::start();
    let recorder = Recorder::start().await;
    bed.function_with("hello", Setup::default(), &[recorder.pod.address]);
    let mut other = Frames::connect(bed.address(), &[]).await;
    other.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("hello.default", "/before"))).await;
    assert_eq!(other.until_answered(1).await.heads[0].1[0], 0x88);
    let connect = [(":method", "CONNECT"), (":authority", "hello.default")];
    let mut client = Frames::connect(bed.address(), &[]).await;
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&connect))).await;
    let refused = client.until_answered(1).await;
    assert!(refused.heads[0].1[0] != 0x88 && refused.goaway.is_empty(), "{refused:?}");
    let sized = [&connect[..], &[("content-length", "5")]].concat();
    let mut bytes = frame(HEADERS, END_HEADERS, 3, &block(&sized));
    bytes.extend(frame(DATA, END_STREAM, 3, b"hello"));
    client.send(&bytes).await;
    let ending = client.ending().await;
    assert!(ending.heads.is_empty(), "{ending:?}");
    other.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &get("hello.default", "/after"))).await;
    assert_eq!(other.until_answered(3).await.heads[0].1[0], 0x88);
    let lines: Vec<_> = recorder.requests().iter().map(|request| request.line.clone()).collect();
    assert_eq!(lines, ["GET /before HTTP/1.1", "GET /after HTTP/1.1"]);
}
