//! What HTTP has besides requests and responses: trailers, upgrades, expectations, in every pairing of versions.

use std::convert::Infallible;

use bytes::Bytes;
use catnap_activator_core::Protocol;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bed::{Bed, Setup, until};
use crate::broken::read_request;
use crate::client::{Raw, empty, full, http2, request};
use crate::pod::{Pod, Reply, describe};

fn h2c() -> Setup {
    Setup { protocol: Protocol::H2c, ..Setup::default() }
}

/// Says what it got, then a trailer.
async fn with_trailers(request: Request<Incoming>) -> Reply {
    let described = describe(request).await.into_body().collect().await.unwrap().to_bytes();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("42"));
    let frames = [Frame::data(described), Frame::trailers(trailers)];
    let body = StreamBody::new(tokio_stream::iter(frames.map(Ok::<_, Infallible>)));
    Response::builder().header("trailer", "x-sum").body(BodyExt::boxed(body)).unwrap()
}

#[tokio::test]
async fn trailers_pass_between_versions() {
    let bed = Bed::start();
    let (http1_pod, http2_pod) = (Pod::http1(with_trailers).await, Pod::h2c(with_trailers).await);
    bed.function_with("one", Setup::default(), &[http1_pod.address]);
    bed.function_with("two", h2c(), &[http2_pod.address]);
    for host in ["one.default", "two.default"] {
        let mut client = Raw::connect(bed.address()).await;
        let fields =
            "TE: trailers\r\nConnection: TE\r\nTrailer: x-check\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunks = "5\r\nhello\r\n0\r\nx-check: 7\r\n\r\n";
        client.send(format!("POST / HTTP/1.1\r\nHost: {host}\r\n{fields}{chunks}")).await;
        let answer = client.answer().await;
        assert!(answer.text().ends_with("trailer x-check: 7\nbody: 5\n"), "{host}: {}", answer.text());
        assert_eq!(answer.trailers, "x-sum: 42\r\n", "{host}");

        let mut client = http2(bed.address()).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-check", HeaderValue::from_static("7"));
        let frames = [Frame::data(Bytes::from("hello")), Frame::trailers(trailers)];
        let body = BodyExt::boxed(StreamBody::new(tokio_stream::iter(frames.map(Ok))));
        let mut call = request("POST", &format!("http://{host}/"), body);
        call.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        call.headers_mut().insert("trailer", HeaderValue::from_static("x-check"));
        let answer = client.send_request(call).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(answer.trailers().map(|trailers| &trailers["x-sum"]), Some(&"42".parse().unwrap()));
        let text = answer.to_bytes();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.ends_with("trailer x-check: 7\nbody: 5\n"), "{host}: {text}");
    }
}

#[tokio::test]
async fn trailers_of_a_response_say_nothing_of_its_connection() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        while read_request(&mut stream, 0).await {
            let head = "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n";
            let end = "2\r\nok\r\n0\r\nx-sum: 7\r\nConnection: close\r\nKeep-Alive: timeout=5\r\nUpgrade: x\r\n\r\n";
            stream.write_all(format!("{head}{end}").as_bytes()).await.unwrap();
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = http2(bed.address()).await;
    let response = client.send_request(request("GET", "http://hello.default/", empty())).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("7"))]);
    assert_eq!(body.trailers(), Some(&trailers));
    assert_eq!(body.to_bytes(), "ok");
}

#[tokio::test]
async fn any_protocol_may_be_switched_to() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut head).await.unwrap() > 0);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.contains("\r\nupgrade: shout/2, whisper\r\n"), "{head}");
        let switching =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout/2\r\n\r\n";
        stream.write_all(switching).await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        stream.write_all(&said.to_ascii_uppercase()).await.unwrap();
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client
        .send("OPTIONS * HTTP/1.1\r\nHost: hello.default\r\nConnection: upgrade\r\nUpgrade: shout/2, whisper\r\n\r\n")
        .await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("upgrade")), (101, Some("shout/2")));
    client.send("what is no HTTP\r\n\r\n").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, b"WHAT IS NO HTTP\r\n\r\n");
    until("the tunnel is over", || bed.state("hello").in_flight == 0).await;
}

#[tokio::test]
async fn nobody_switches_to_http2() {
    let bed = Bed::start();
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    for offered in ["h2c", "H2C", "websocket, h2c", "h2c, websocket", "websocket\r\nUpgrade: h2c"] {
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: hello.default\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                 Upgrade: {offered}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
            ))
            .await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 200);
        let text = answer.text();
        assert!(text.starts_with("GET / HTTP/1.1\n"), "{text}");
        for name in ["upgrade", "http2-settings", "connection"] {
            assert!(!text.contains(&format!("\n{name}")), "{offered}: {text}");
        }
    }
    assert_eq!(pod.connections(), 1);
}

#[tokio::test]
async fn an_expectation_is_met_here_and_not_forwarded() {
    let bed = Bed::start();
    let (http1_pod, http2_pod) = (Pod::http1(describe).await, Pod::h2c(describe).await);
    bed.function_with("one", Setup::default(), &[http1_pod.address]);
    bed.function_with("two", h2c(), &[http2_pod.address]);
    for host in ["one.default", "two.default"] {
        let mut client = Raw::connect(bed.address()).await;
        for _ in 0..2 {
            let fields = "Content-Length: 5\r\nExpect: 100-Continue\r\n\r\n";
            client.send(format!("PUT / HTTP/1.1\r\nHost: {host}\r\n{fields}")).await;
            assert_eq!(client.head().await.status, 100);
            client.send("hello").await;
            let answer = client.answer().await;
            assert_eq!(answer.status, 200);
            assert!(answer.text().ends_with("body: 5\n") && !answer.text().contains("expect"));
        }
        let mut client = http2(bed.address()).await;
        let mut call = request("PUT", &format!("http://{host}/"), full("hello"));
        call.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
        let text = client.send_request(call).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.ends_with("body: 5\n") && !text.contains("expect"), "{text}");
    }
}
