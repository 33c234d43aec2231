//! Bodies that last or that are large: events one by one, quiet streams, a gibibyte in flat memory.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use catnap_activator_core::Protocol;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::bed::{Bed, Setup, within};
use crate::client::{Body, Raw, empty, http2, http2_over, request};
use crate::pod::Pod;
use crate::tunnels;

const GIBIBYTE: u64 = 1 << 30;
const CHUNK: usize = 64 * 1024;
/// Other tests of this process need some, too. A body that is kept would need four times as much.
const GROWTH: u64 = 256 << 20;

/// A pod whose responses are what is sent into the channels, the oldest one's first.
async fn events(protocol: Protocol, count: usize) -> (Pod, Vec<UnboundedSender<&'static str>>) {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| unbounded_channel()).unzip();
    let receivers = Arc::new(Mutex::new(std::collections::VecDeque::from(receivers)));
    let handler = move |_| {
        let receivers = Arc::clone(&receivers);
        async move {
            let events = UnboundedReceiverStream::new(receivers.lock().pop_front().unwrap());
            let frames = events.map(|event| Ok::<_, Infallible>(Frame::data(Bytes::from(event))));
            let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
            response.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
            response
        }
    };
    let pod = match protocol {
        Protocol::Http1 => Pod::http1(handler).await,
        Protocol::H2c => Pod::h2c(handler).await,
    };
    (pod, senders)
}

#[tokio::test]
async fn events_pass_one_by_one() {
    let bed = Bed::start();
    for (name, protocol) in [("one", Protocol::Http1), ("two", Protocol::H2c)] {
        let (pod, senders) = events(protocol, 2).await;
        bed.function_with(name, Setup { protocol, ..Setup::default() }, &[pod.address]);
        let host = format!("{name}.default");
        let mut client = Raw::connect(bed.address()).await;
        client.get(&host, "/events").await;
        let head = client.head().await;
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        let mut other = http2(bed.address()).await;
        let response = other.send_request(request("GET", &format!("http://{host}/"), empty())).await.unwrap();
        let mut body = response.into_body();
        for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            // The next one is not written before this one arrived.
            senders[0].send(event).unwrap();
            client.through(event.as_bytes()).await;
            senders[1].send(event).unwrap();
            let frame = within("an event", body.frame()).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), event);
        }
        drop(senders);
        client.through(b"0\r\n\r\n").await;
        assert_eq!(within("the end", body.collect()).await.unwrap().to_bytes(), "");
    }
}

#[tokio::test]
async fn a_quiet_stream_outlives_the_timeouts_of_its_connection() {
    let bed = Bed::configured(|config| {
        config.head_timeout = Duration::from_millis(100);
        config.idle_timeout = Duration::from_millis(100);
    });
    let (pod, senders) = events(Protocol::Http1, 3).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let echo = tunnels::echo().await;
    bed.function_with("echo", Setup::default(), &[echo.address]);
    let mut stream = Raw::connect(bed.address()).await;
    stream.get("hello.default", "/").await;
    stream.head().await;
    let mut multiplexed = http2(bed.address()).await;
    let call = request("GET", "http://hello.default/", empty());
    let mut body = multiplexed.send_request(call).await.unwrap().into_body();
    let mut tunnel = Raw::connect(bed.address()).await;
    tunnel.send(tunnels::UPGRADE.replace("hello", "echo")).await;
    assert_eq!(tunnel.head().await.status, 101);
    for _ in 0..2 {
        // Opened later, and closed for being idle.
        let mut idle = Raw::connect(bed.address()).await;
        idle.send("GET / HTTP/1.1\r\nHost: nobody.default\r\n\r\n").await;
        assert_eq!(idle.answer().await.status, 404);
        assert_eq!(idle.rest().await, b"");
    }
    senders[0].send("late").unwrap();
    stream.through(b"late").await;
    senders[1].send("late").unwrap();
    let frame = within("the event", body.frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "late");
    tunnel.send("late").await;
    tunnel.through(b"late").await;
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Sends a gibibyte to a pod that sends it back, and looks at how much of it is anywhere in between.
async fn there_and_back(protocol: Protocol) {
    let echo = |request: http::Request<hyper::body::Incoming>| async move {
        let body = request.into_body().map_err(|error| -> Infallible { panic!("{error}") });
        Response::new(BodyExt::boxed(body))
    };
    let bed = Bed::start();
    let pod = if protocol == Protocol::H2c { Pod::h2c(echo).await } else { Pod::http1(echo).await };
    bed.function_with("hello", Setup { protocol, ..Setup::default() }, &[pod.address]);
    let chunk = Bytes::from(vec![7; CHUNK]);
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let frames = tokio_stream::iter(0..GIBIBYTE / CHUNK as u64).map(move |_| {
        counted.fetch_add(CHUNK as u64, SeqCst);
        Ok(Frame::data(chunk.clone()))
    });
    let body: Body = BodyExt::boxed(StreamBody::new(frames));
    let stream = TcpStream::connect(bed.address()).await.unwrap();
    let response = if protocol == Protocol::H2c {
        let mut client = http2_over(stream).await;
        client.send_request(request("POST", "http://hello.default/", body)).await
    } else {
        let (mut client, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut call = request("POST", "/", body);
        call.headers_mut().insert("host", HeaderValue::from_static("hello.default"));
        client.send_request(call).await
    };
    let mut body = response.unwrap().into_body();
    let (before, mut most) = (resident(), 0);
    let (mut received, mut ahead) = (0, 0);
    while let Some(frame) = within("more of the body", body.frame()).await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.iter().step_by(997).all(|byte| *byte == 7));
        if (received + data.len() as u64) >> 24 > received >> 24 {
            most = most.max(resident());
        }
        received += data.len() as u64;
        ahead = ahead.max(sent.load(SeqCst) - received);
    }
    assert_eq!(received, GIBIBYTE);
    assert!(ahead < GROWTH, "{ahead} bytes were under way at once");
    let growth = most.saturating_sub(before);
    assert!(growth < GROWTH, "memory grew by {growth} bytes");
}

#[tokio::test]
async fn a_gibibyte_passes_over_http1_in_flat_memory() {
    there_and_back(Protocol::Http1).await;
}

#[tokio::test]
async fn a_gibibyte_passes_over_http2_in_flat_memory() {
    there_and_back(Protocol::H2c).await;
}
