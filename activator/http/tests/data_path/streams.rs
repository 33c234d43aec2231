//! Bodies that last: events that pass one by one, and streams on which nothing happens for long.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catnap_activator_core::Protocol;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::bed::{Bed, Setup, within};
use crate::client::{Raw, empty, http2, request};
use crate::pod::Pod;
use crate::tunnels;

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
        config.head_timeout = Duration::from_secs(1);
        config.idle_timeout = Duration::from_secs(1);
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
