//! A closed loop over HTTP/2 by prior knowledge: a fixed number of streams under way on each of a few connections, in one thread.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::PATIENCE;

/// Bytes that a stream may receive before they are read; more than any response here has.
const WINDOW: u32 = 1024 * 1024;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// A request without a body.
    Get,
    /// A unary call of gRPC with a message of this many bytes.
    Unary(usize),
}

/// Open connections to one address.
#[derive(Debug)]
pub(crate) struct Http2ClosedLoop {
    runtime: Runtime,
    connections: Vec<SendRequest<Bytes>>,
    streams: usize,
    host: &'static str,
    call: Call,
}

impl Http2ClosedLoop {
    /// `streams` on each of `connections`.
    pub(crate) fn connect(
        address: SocketAddr,
        connections: usize,
        streams: usize,
        host: &'static str,
        call: Call,
    ) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("no runtime")?;
        let opened = runtime.block_on(async {
            let mut opened = Vec::with_capacity(connections);
            for _ in 0..connections {
                opened.push(open(address).await?);
            }
            anyhow::Ok(opened)
        })?;
        Ok(Self { runtime, connections: opened, streams, host, call })
    }

    /// Keeps the streams busy for this long, then lets them end. Gives the number of answers and the time.
    pub(crate) fn run(&mut self, length: Duration) -> anyhow::Result<(usize, Duration)> {
        let started = Instant::now();
        let end = started + length;
        let (host, call) = (self.host, self.call);
        let answered = self.runtime.block_on(async {
            let mut callers = JoinSet::new();
            for connection in &self.connections {
                for _ in 0..self.streams {
                    callers.spawn(calls(connection.clone(), host, call, end));
                }
            }
            let mut answered = 0;
            while let Some(count) = callers.join_next().await {
                answered += count??;
            }
            anyhow::Ok(answered)
        })?;
        Ok((answered, started.elapsed()))
    }
}

/// A connection, driven by a task of its own.
pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<SendRequest<Bytes>> {
    let stream = TcpStream::connect(address).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    let handshake = h2::client::Builder::new().initial_window_size(WINDOW).handshake(stream);
    let (sender, connection) = handshake.await.context("no HTTP/2")?;
    tokio::spawn(async move {
        // Whoever has a stream on it hears of its end.
        let _ = connection.await;
    });
    Ok(sender)
}

async fn calls(
    mut connection: SendRequest<Bytes>,
    host: &str,
    call: Call,
    end: Instant,
) -> anyhow::Result<usize> {
    let mut answered = 0;
    while answered == 0 || Instant::now() < end {
        connection = connection.ready().await.context("the connection ended")?;
        timeout(PATIENCE, exchange(&mut connection, host, call)).await.context("no answer in time")??;
        answered += 1;
    }
    Ok(answered)
}

async fn exchange(connection: &mut SendRequest<Bytes>, host: &str, call: Call) -> anyhow::Result<()> {
    let request = Request::builder().uri(format!("http://{host}/bench.Bench/Call"));
    let response = match call {
        Call::Get => connection.send_request(request.body(())?, true)?.0,
        Call::Unary(bytes) => {
            let request = request.method("POST").header("content-type", "application/grpc");
            let request = request.header("te", "trailers").body(())?;
            let (response, mut body) = connection.send_request(request, false)?;
            body.send_data(message(bytes), true)?;
            response
        }
    };
    let response = response.await.context("no response")?;
    if response.status() != 200 {
        bail!("the response is {}", response.status());
    }
    let mut body = response.into_body();
    let received = read(&mut body).await?;
    if let Call::Unary(bytes) = call {
        let trailers = body.trailers().await.context("no trailers")?;
        check_unary(received, bytes, trailers.as_ref())?;
    }
    Ok(())
}

/// Reads a body to its end and gives its length.
pub(crate) async fn read(body: &mut RecvStream) -> anyhow::Result<usize> {
    let mut received = 0;
    while let Some(data) = body.data().await {
        let count = data.context("the response broke off")?.len();
        body.flow_control().release_capacity(count)?;
        received += count;
    }
    Ok(received)
}

/// Both messages have the same length, and the status says that all is well.
pub(super) fn check_unary(received: usize, bytes: usize, trailers: Option<&HeaderMap>) -> anyhow::Result<()> {
    let status = trailers.and_then(|trailers| trailers.get("grpc-status"));
    if status.is_none_or(|status| status != "0") {
        bail!("gRPC's status is {status:?}");
    }
    if received != message(bytes).len() {
        bail!("a message of {received} bytes");
    }
    Ok(())
}

/// A message of gRPC, with its prefix of five bytes.
pub(crate) fn message(bytes: usize) -> Bytes {
    let mut message = BytesMut::with_capacity(5 + bytes);
    message.put_u8(0);
    message.put_u32(u32::try_from(bytes).unwrap_or(u32::MAX));
    message.put_bytes(b'x', bytes);
    message.freeze()
}
