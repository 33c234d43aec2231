//! What no test from outside can arrange, or see: a connection whose kernel takes nothing, and where what is read lies.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, stream};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use parking_lot::Mutex;
use rstest::rstest;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::downstream::Downstream;
use super::{Http1RequestBodyError, OutgoingError, send};
use crate::http1::chunked::Decoded;
use crate::http1::coding::Coding;
use crate::http1::head::Length;
use crate::http1::outgoing::{Delimited, Outgoing};
use crate::io::{Io, Transport};
use crate::socket::{Phase, Socket};
use crate::tls;

const SOON: Duration = Duration::from_secs(10);

/// A client, and its connection here.
async fn pair() -> (TcpStream, Arc<Socket>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    (client, Arc::new(Socket::new(stream, peer).unwrap()))
}

/// Both ends once they shook hands.
async fn under_tls(client: TcpStream, socket: &Arc<Socket>) -> (TlsStream<TcpStream>, Transport) {
    let (server, connector, name) = tls::tests::pair();
    let acceptor = TlsAcceptor::from(server);
    let (client, stream) =
        tokio::join!(connector.connect(name, client), acceptor.accept(Io::upstream(Arc::clone(socket))));
    (client.unwrap(), Transport::Tls(Box::new(stream.unwrap())))
}

/// A request whose client waits for 100 (Continue) and reads nothing; a part of its body came all the same.
async fn unread() -> (TcpStream, Arc<Mutex<Downstream>>) {
    let (client, socket) = pair().await;
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
    let ended = tokio::time::timeout(SOON, waiting).await.unwrap().unwrap();
    assert!(matches!(ended, Some(Err(Http1RequestBodyError::Closed))), "{ended:?}");
}

/// What came of a request whose client left, and whether that is less than its body.
#[rstest]
#[case(Length::Known(10), "", "0123456789", false)]
#[case(Length::Known(10), "01234", "56789", false)]
#[case(Length::Known(10), "01234", "5678", true)]
#[case(Length::Known(10), "01234", "56789GET / HTTP/1.1\r\n\r\n", false)]
#[case(Length::Known(10), "0123456789GET", "", false)]
#[case(Length::Known(10), "", "", true)]
// The end of one in chunks is known when it is read, and what of a chunk is missing.
#[case(Length::Chunked, "5\r\nhe", "", true)]
#[case(Length::Chunked, "5\r\nhe", "llo", false)]
#[case(Length::Chunked, "5\r\nhello\r\n", "", false)]
#[tokio::test]
async fn what_a_body_lacks_is_known(
    #[case] length: Length,
    #[case] read: &str,
    #[case] unread: &str,
    #[case] lacks: bool,
) {
    for tls in [false, true] {
        let (client, socket) = pair().await;
        let (mut client, transport) = if tls {
            let (client, transport) = under_tls(client, &socket).await;
            (Either::Left(client), transport)
        } else {
            (Either::Right(client), Transport::Plain(Io::upstream(Arc::clone(&socket))))
        };
        let mut downstream = Downstream::new(transport, BytesMut::from(read));
        downstream.body = Coding::new(length);
        if length == Length::Chunked {
            let _ = downstream.poll_body(&mut Context::from_waker(Waker::noop()));
        }
        client.write_all(unread.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        tokio::time::timeout(SOON, socket.hang_up()).await.unwrap();
        // Of TLS it is known roughly.
        assert_eq!(downstream.lacks_body(), lacks && !tls, "under TLS: {tls}");
        downstream.body = Coding::new(Length::Known(1_000_000));
        assert!(downstream.lacks_body());
    }
}

/// The kernel does not know of what TLS has taken from it and nobody has read.
#[tokio::test]
async fn what_tls_holds_of_a_body_is_not_lacking() {
    let (client, socket) = pair().await;
    let (mut client, transport) = under_tls(client, &socket).await;
    let mut downstream = Downstream::new(transport, BytesMut::new());
    downstream.body = Coding::new(Length::Chunked);
    client.write_all(format!("2710\r\n{:10000}\r\n0\r\n\r\n", "").as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    tokio::time::timeout(SOON, socket.hang_up()).await.unwrap();
    let piece = poll_fn(|context| downstream.poll_body(context)).await.unwrap();
    let Decoded::Data(piece) = piece else { panic!("{piece:?}") };
    assert!(piece.len() < 10_000, "some of it is still in the codec");
    assert!(!downstream.lacks_body());
}

#[tokio::test]
async fn small_pieces_of_a_large_body_share_a_buffer() {
    let (mut client, socket) = pair().await;
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

#[tokio::test]
async fn what_follows_a_large_body_does_not_keep_its_buffer() {
    let (mut client, socket) = pair().await;
    let downstream = Downstream::new(Transport::Plain(Io::upstream(socket)), BytesMut::new());
    let downstream = Arc::new(Mutex::new(downstream));
    let mut bytes = vec![b'x'; 60_000];
    bytes.extend(b"GET / HTTP/1.1\r\n".repeat(2_000));
    let sending = tokio::spawn(async move { client.write_all(&bytes).await.map(|()| client) });
    let (body, _) = Downstream::begin(&downstream, Length::Known(60_000), false);
    assert_eq!(body.collect().await.unwrap().to_bytes().len(), 60_000);
    {
        let mut downstream = downstream.lock();
        assert!(downstream.read.is_empty() || downstream.read.starts_with(b"G"));
        assert!(downstream.read.len() <= 8 * 1024, "{} bytes were read with it", downstream.read.len());
        assert!(!downstream.read.try_reclaim(16 * 1024), "it lies in the body's buffer");
    }
    let _client = sending.await;
}

#[tokio::test]
async fn a_body_under_tls_does_not_wait_for_what_was_said_before_its_response() {
    let (client, socket) = pair().await;
    let (mut client, transport) = under_tls(client, &socket).await;
    // The client reads nothing.
    socket.stream.writable().await.unwrap();
    while socket.stream.try_write(&[0; 4_096]).is_ok() {}
    let downstream = Arc::new(Mutex::new(Downstream::new(transport, BytesMut::new())));
    let (mut body, _) = Downstream::begin(&downstream, Length::Known(5), true);
    let reading = tokio::spawn(async move { body.frame().await });
    while downstream.lock().reader.is_none() {
        tokio::task::yield_now().await;
    }
    assert!(downstream.lock().interim.is_empty(), "TLS took it, the kernel did not");
    // The response begins, written by another task, which waits for the kernel from now on.
    assert_eq!(downstream.lock().end_interim(), None);
    let response = [std::io::IoSlice::new(b"HTTP/1.1 200 OK\r\n\r\n")];
    let writing = Arc::clone(&downstream);
    let writing = tokio::spawn(poll_fn(move |context: &mut Context<'_>| {
        let mut downstream = writing.lock();
        let _ = downstream.poll_write(context, &response);
        tokio::io::AsyncWrite::poll_flush(std::pin::Pin::new(&mut downstream.transport), context)
    }));
    tokio::task::yield_now().await;
    client.write_all(b"hello").await.unwrap();
    let frame = tokio::time::timeout(SOON, reading).await.expect("nobody woke it").unwrap();
    assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "hello");
    writing.abort();
}

#[tokio::test]
async fn empty_lines_between_requests_begin_none() {
    let (mut client, socket) = pair().await;
    let mut downstream =
        Downstream::new(Transport::Plain(Io::upstream(Arc::clone(&socket))), BytesMut::new());
    socket.exchange_began(Instant::now());
    socket.exchange_ended(Instant::now());
    for (bytes, phase) in
        [("\r\n", Phase::Idle), ("\r", Phase::Idle), ("\n", Phase::Idle), ("G", Phase::Head)]
    {
        let before = socket.received();
        client.write_all(bytes.as_bytes()).await.unwrap();
        let arrived = poll_fn(|context| {
            assert!(downstream.poll_head(context).is_pending());
            if socket.received() > before { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        });
        tokio::time::timeout(SOON, arrived).await.unwrap();
        assert_eq!(socket.phase(), phase, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_response_that_is_sent_is_not_taken_back() {
    let (mut client, socket) = pair().await;
    let transport = Transport::Plain(Io::upstream(Arc::clone(&socket)));
    let downstream = Mutex::new(Downstream::new(transport, BytesMut::new()));
    let mut outgoing = Outgoing::default();
    outgoing.begin(|_, _| Delimited::Close, Full::new(Bytes::from("hello")));
    send(&socket, &downstream, &mut outgoing, true).await.unwrap();
    // The sweep, or the end of a drain, finds the connection before it was ended.
    socket.close();
    drop((downstream, socket));
    let mut response = String::new();
    tokio::time::timeout(SOON, client.read_to_string(&mut response)).await.unwrap().unwrap();
    assert_eq!(response, "hello");
}

#[tokio::test]
async fn what_came_before_a_body_broke_off_leaves_tls() {
    /// More than the kernel takes, less than TLS does.
    const CAME: usize = 60_000;
    let (client, socket) = pair().await;
    SockRef::from(&client).set_recv_buffer_size(4_096).unwrap();
    SockRef::from(&socket.stream).set_send_buffer_size(4_096).unwrap();
    let (mut client, transport) = under_tls(client, &socket).await;
    let downstream = Mutex::new(Downstream::new(transport, BytesMut::new()));
    let mut outgoing = Outgoing::default();
    let pieces = [Ok(Frame::data(Bytes::from(vec![b'x'; CAME]))), Err("broken off")];
    outgoing.begin(|_, _| Delimited::Length(2 * CAME as u64), StreamBody::new(stream::iter(pieces)));
    let sending = async {
        let sent = send(&socket, &downstream, &mut outgoing, false).await;
        socket.finish().unwrap();
        sent
    };
    let mut received = Vec::new();
    let (sent, _) =
        tokio::time::timeout(SOON, async { tokio::join!(sending, client.read_to_end(&mut received)) })
            .await
            .unwrap();
    assert!(matches!(sent, Err(OutgoingError::Body("broken off"))), "{sent:?}");
    assert_eq!(received.len(), CAME);
}
