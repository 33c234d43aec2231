//! Clients that reset a stream without an error in the middle of an upload: it is not whole, and nothing may take it for that.

use crate::bed::{Bed, Setup, until, within};
use crate::broken::OK;
use crate::client::get;
use crate::pod::Pod;
use catnap_activator_core::Protocol;
use h2::client::SendRequest;
use http::Request;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// With a limit an exchange goes on without its client.
const LIMITS: [u32; 2] = [0, 1];

async fn connect(address: SocketAddr) -> SendRequest<bytes::Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

fn post(length: Option<&str>) -> Request<()> {
    let mut head = Request::post("http://hello.default/");
    if let Some(length) = length {
        head = head.header("content-length", length);
    }
    head.body(()).unwrap()
}

/// Reads until `end` came. Gives what came behind it with it.
async fn read_to(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.windows(end.len()).any(|window| window == end) {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "{read:?}");
    }
    read
}

/// What comes until the end of the connection, however that comes.
async fn read_rest(mut stream: TcpStream, told: UnboundedSender<Vec<u8>>) {
    let mut read = Vec::new();
    while stream.read_buf(&mut read).await.is_ok_and(|count| count > 0) {}
    told.send(read).unwrap();
}

#[tokio::test]
async fn an_upload_that_was_cut_short_has_no_end_at_an_http1_pod() {
    for (limit, length) in [(0, None), (1, None), (0, Some("1000")), (1, Some("1000"))] {
        let bed = Bed::start();
        let here = Arc::new(Notify::new());
        let (told, mut rest) = unbounded_channel();
        let arrived = Arc::clone(&here);
        let pod = Pod::raw(move |_, mut stream| {
            let (arrived, told) = (Arc::clone(&arrived), told.clone());
            async move {
                read_to(&mut stream, b"begun").await;
                arrived.notify_one();
                read_rest(stream, told).await;
            }
        })
        .await;
        bed.function_with("hello", Setup { limit, ..Setup::default() }, &[pod.address]);
        let mut client = connect(bed.address()).await;
        let (_answer, mut body) = client.send_request(post(length), false).unwrap();
        body.send_data("begun".into(), false).unwrap();
        within("the beginning", here.notified()).await;
        body.send_reset(h2::Reason::NO_ERROR);
        let rest = within("the end", rest.recv()).await.unwrap();
        assert!(matches!(&rest[..], b"" | b"\r\n"), "{:?}", String::from_utf8_lossy(&rest));
        until("the slot is free", || bed.state("hello").in_flight == 0).await;
    }
}

#[tokio::test]
async fn an_upload_that_was_cut_short_has_no_end_at_an_http2_pod() {
    for limit in LIMITS {
        let bed = Bed::start();
        let here = Arc::new(Notify::new());
        let (told, mut ends) = unbounded_channel();
        let arrived = Arc::clone(&here);
        let pod = Pod::raw(move |_, stream| {
            let (arrived, told) = (Arc::clone(&arrived), told.clone());
            async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, answer))) = connection.accept().await {
                    let (arrived, told) = (Arc::clone(&arrived), told.clone());
                    tokio::spawn(async move {
                        let mut body = request.into_body();
                        assert_eq!(body.data().await.unwrap().unwrap(), "begun");
                        arrived.notify_one();
                        told.send(body.data().await.map(|data| data.is_ok())).unwrap();
                        drop(answer);
                    });
                }
            }
        })
        .await;
        bed.function_with(
            "hello",
            Setup { limit, protocol: Protocol::H2c, ..Setup::default() },
            &[pod.address],
        );
        let mut client = connect(bed.address()).await;
        let (_answer, mut body) = client.send_request(post(None), false).unwrap();
        body.send_data("begun".into(), false).unwrap();
        within("the beginning", here.notified()).await;
        body.send_reset(h2::Reason::NO_ERROR);
        assert_eq!(within("the end", ends.recv()).await.unwrap(), Some(false), "an error, and no end");
        until("the slot is free", || bed.state("hello").in_flight == 0).await;
    }
}

#[tokio::test]
async fn the_next_request_is_no_rest_of_an_upload_that_was_cut_short() {
    for (limit, length) in [(0, None), (1, None), (0, Some("1000")), (1, Some("1000"))] {
        let bed = Bed::start();
        let (told, mut rest) = unbounded_channel();
        let pod = Pod::raw(move |number, mut stream| {
            let told = told.clone();
            async move {
                // The answer comes before the end of the first request, and the pod would take another.
                read_to(&mut stream, if number == 0 { b"begun" } else { b"\r\n\r\n" }).await;
                stream.write_all(OK).await.unwrap();
                read_rest(stream, told).await;
            }
        })
        .await;
        bed.function_with("hello", Setup { limit, ..Setup::default() }, &[pod.address]);
        let mut client = connect(bed.address()).await;
        let (answer, mut body) = client.send_request(post(length), false).unwrap();
        body.send_data("begun".into(), false).unwrap();
        let mut answer = within("the answer", answer).await.unwrap().into_body();
        assert_eq!(within("its body", answer.data()).await.unwrap().unwrap(), "ok");
        body.send_reset(h2::Reason::NO_ERROR);
        let rest = within("the end of the connection", rest.recv()).await.unwrap();
        assert!(matches!(&rest[..], b"" | b"\r\n"), "{:?}", String::from_utf8_lossy(&rest));
        assert_eq!(get(bed.address(), "hello.default", "/").await.text(), "ok");
        assert_eq!(pod.connections(), 2);
    }
}
