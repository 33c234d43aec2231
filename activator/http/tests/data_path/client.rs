//! Clients: HTTP/1.1 byte by byte, so that a test says exactly what is sent, and HTTP/2 by hyper.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bed::within;

/// An HTTP/1.1 connection.
pub(crate) struct Raw<S = TcpStream> {
    pub(crate) stream: S,
    unread: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find_map(|(field, value)| field.eq_ignore_ascii_case(name).then(|| value.trim()))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a request without a body.
    pub(crate) async fn get(&mut self, host: &str, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    }

    /// Sends a request with a body.
    pub(crate) async fn post(&mut self, host: &str, body: &[u8]) {
        self.request_with("POST", host, body).await;
    }

    /// Sends a request with a body, for which a pod's connection that was idle for long is used again.
    pub(crate) async fn put(&mut self, host: &str, body: &[u8]) {
        self.request_with("PUT", host, body).await;
    }

    async fn request_with(&mut self, method: &str, host: &str, body: &[u8]) {
        let length = body.len();
        self.send(format!("{method} / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n")).await;
        self.send(body).await;
    }

    /// False at the end of the stream.
    async fn more(&mut self) -> bool {
        let count = within("bytes from the server", self.stream.read_buf(&mut self.unread)).await;
        count.is_ok_and(|count| count > 0)
    }

    /// Reads up to and with these bytes.
    pub(crate) async fn through(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                let rest = self.unread.split_off(at + end.len());
                return std::mem::replace(&mut self.unread, rest);
            }
            assert!(self.more().await, "the server closed after {:?}", String::from_utf8_lossy(&self.unread));
        }
    }

    async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.more().await, "the server closed within a body");
        }
        let rest = self.unread.split_off(count);
        std::mem::replace(&mut self.unread, rest)
    }

    /// The head of a response.
    pub(crate) async fn head(&mut self) -> Answer {
        let head = String::from_utf8(self.through(b"\r\n\r\n").await).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: Vec::new(), trailers: String::new() }
    }

    /// A whole response.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let line = String::from_utf8(self.through(b"\r\n").await).unwrap();
                let size = usize::from_str_radix(line.trim(), 16).unwrap();
                if size == 0 {
                    break;
                }
                let chunk = self.exactly(size).await;
                answer.body.extend(chunk);
                self.exactly(2).await;
            }
            loop {
                let line = String::from_utf8(self.through(b"\r\n").await).unwrap();
                if line == "\r\n" {
                    break;
                }
                answer.trailers.push_str(&line);
            }
        } else if let Some(length) = answer.header("content-length") {
            let length = length.parse().unwrap();
            answer.body = self.exactly(length).await;
        }
        answer
    }

    /// Reads to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.unread)
    }
}

/// One request on a connection of its own.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str) -> Answer {
    let mut client = Raw::connect(address).await;
    client.get(host, path).await;
    client.answer().await
}

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// An HTTP/2 connection.
pub(crate) async fn http2(address: SocketAddr) -> SendRequest<Body> {
    http2_over(TcpStream::connect(address).await.unwrap()).await
}

pub(crate) async fn http2_over<S>(stream: S) -> SendRequest<Body>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A body of which only this much comes.
pub(crate) fn half(bytes: &'static str) -> Body {
    let sent = futures::stream::iter([Ok(Frame::data(Bytes::from(bytes)))]);
    StreamBody::new(futures::StreamExt::chain(sent, futures::stream::pending())).boxed()
}

pub(crate) fn request(method: &str, uri: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri(uri).body(body).unwrap()
}
