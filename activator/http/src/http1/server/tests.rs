//! What no test from outside can arrange, or see: a connection whose kernel takes nothing, and where what is read lies.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::BytesMut;
use futures::FutureExt;
use http_body::Body;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::Http1RequestBodyError;
use super::downstream::Downstream;
use crate::http1::chunked::Decoded;
use crate::http1::coding::Coding;
use crate::http1::head::Length;
use crate::io::{Io, Transport};
use crate::socket::Socket;

/// A request whose client waits for 100 (Continue) and reads nothing; a part of its body came all the same.
async fn unread() -> (TcpStream, Arc<Mutex<Downstream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let socket = Arc::new(Socket::new(stream, peer).unwrap());
    socket.stream.writable().await.unwrap();
    while socket.stream.try_write(&[0; 4_096]).is_ok() {}
    let transport = Transport::Plain(Io::upstream(socket));
    (client, Arc::new(Mutex::new(Downstream::new(transport, BytesMut::from(&b"0123456789"[..])))))
}

#[tokio::test]
async fn only_its_own_end_ends_a_body() {
    let (_client, downstream) = unread().await;
    let (mut body, _) = Downstream::begin(&downstream, Length::Known(1_000), true);
    assert!(body.frame().now_or_never().is_none(), "the client was not told to send it");
    // The pod answers without waiting for it.
    assert_eq!(downstream.lock().end_interim(), None);
    let frame = body.frame().now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "0123456789");
    assert!(!body.is_end_stream(), "990 bytes are missing");
    downstream.lock().give_up_body();
    let error = body.frame().now_or_never().unwrap().unwrap().unwrap_err();
    assert!(matches!(error, Http1RequestBodyError::Closed), "{error}");
}

#[tokio::test]
async fn whoever_waits_for_a_body_hears_that_it_will_not_come() {
    let (_client, downstream) = unread().await;
    let (mut body, _) = Downstream::begin(&downstream, Length::Known(1_000), true);
    let waiting = tokio::spawn(async move { body.frame().await });
    // It waits for the kernel to take the interim response.
    while downstream.lock().reader.is_none() {
        tokio::task::yield_now().await;
    }
    downstream.lock().give_up_body();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await.unwrap().unwrap();
    assert!(matches!(ended, Some(Err(Http1RequestBodyError::Closed))), "{ended:?}");
}

#[tokio::test]
async fn small_pieces_of_a_large_body_share_a_buffer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let socket = Arc::new(Socket::new(stream, peer).unwrap());
    let mut downstream = Downstream::new(Transport::Plain(Io::upstream(socket)), BytesMut::new());
    downstream.body = Coding::new(Length::Known(1_000_000));
    let mut pieces = Vec::new();
    for byte in 0..100 {
        client.write_all(&[byte]).await.unwrap();
        match poll_fn(|context| downstream.poll_body(context)).await {
            Ok(Decoded::Data(piece)) => pieces.push(piece),
            other => panic!("{other:?}"),
        }
    }
    let beginning = pieces[0].as_ptr().addr();
    let places = pieces.iter().map(|piece| piece.as_ptr().addr().wrapping_sub(beginning));
    assert!(places.eq(0..100), "each lies behind the one before");
}
