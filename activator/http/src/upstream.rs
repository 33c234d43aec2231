//! A connection to a pod: made, used for one exchange at a time (HTTP/1.1, driven by that exchange) or for many (HTTP/2, driven
//! by a task of its own on the worker that made it).

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use catnap_activator_core::Protocol;
use futures::FutureExt;
use futures::future::ready;
use http::Response;
use hyper::client::conn::{TrySendError, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustix::io::Errno;
use tokio::net::TcpSocket;

use crate::body::{PodBody, PodError};
use crate::config::{HEAD_BYTES, STREAM_SEND_BYTES, STREAM_WINDOW, STREAMS};
use crate::descriptors::is_reserved;
use crate::head::Head;
use crate::http1::{Connection, Home, Http1Error, Sending};
use crate::http2_body::{Http2Body, Http2Error};
use crate::io::Io;
use crate::request_body::RequestBody;
use crate::socket::Socket;

/// An HTTP/2 pod that does not answer a ping for this long while a stream is open is dead.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams to open before the pod's own settings arrived: the least that RFC 9113 6.5.2 recommends to allow.
const FIRST_STREAMS: usize = 100;

/// Why there is no connection to a pod.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Refused, unreachable, or no local resource for it.
    #[error("cannot connect to {address}")]
    Connect {
        address: SocketAddr,
        #[source]
        source: Arc<io::Error>,
    },
    /// No answer in time.
    #[error("no connection to {address} within {after:?}")]
    TimedOut { address: SocketAddr, after: Duration },
    /// The pod closed the connection before HTTP/2 was agreed.
    #[error("no HTTP/2 with {address}")]
    Handshake {
        address: SocketAddr,
        #[source]
        source: Arc<hyper::Error>,
    },
    /// The pod closed the connection before a first stream was opened.
    #[error("{address} closed the connection at once")]
    Closed { address: SocketAddr },
    /// The task that connected was ended.
    #[error("connecting was given up")]
    GivenUp,
}

impl ConnectError {
    /// True when this process is out of something that every connection needs: descriptors, ports, memory.
    pub(crate) fn is_local(&self) -> bool {
        let Self::Connect { source, .. } = self else { return false };
        out_of_descriptors(source)
            || [Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM]
                .map(Some)
                .contains(&Errno::from_io_error(source))
    }
}

/// True when no more files can be opened, by this process or by anybody.
pub(crate) fn out_of_descriptors(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].map(Some).contains(&Errno::from_io_error(error))
}

/// What sends requests on a connection.
#[derive(Debug)]
enum Sender {
    Http1(Arc<Home>),
    Http2(http2::SendRequest<RequestBody>),
}

/// The right to use a connection to a pod.
#[derive(Debug)]
pub(crate) struct Link {
    sender: Sender,
    connected: Arc<Connected>,
    /// It carried a request before, so the pod may have closed it since.
    pub(crate) reused: bool,
}

/// A connection, with or without the right to use it.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) socket: Arc<Socket>,
    /// Uses that are open: over HTTP/2 streams, and the pool's own.
    open: AtomicUsize,
    /// As many streams may be open.
    allowed: AtomicUsize,
}

/// Why a request got no response head.
#[derive(Debug)]
pub(crate) struct SendError {
    /// Not a byte of it reached the pod, or the pod says that it did nothing with it.
    pub(crate) never_sent: bool,
    pub(crate) source: PodError,
}

impl Link {
    /// Opens a connection. The calling task must run on the worker that is to drive it.
    pub(crate) async fn connect(
        address: SocketAddr,
        protocol: Protocol,
        timeout: Duration,
    ) -> Result<Self, ConnectError> {
        let connecting = async {
            let failed = |source| ConnectError::Connect { address, source: Arc::new(source) };
            let stream = unconnected(address).map_err(failed)?.connect(address).await.map_err(failed)?;
            let socket = Arc::new(Socket::new(stream, address).map_err(failed)?);
            Self::over(socket, protocol)
                .await
                .map_err(|source| ConnectError::Handshake { address, source: Arc::new(source) })
        };
        match tokio::time::timeout(timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(ConnectError::TimedOut { address, after: timeout }),
        }
    }

    /// Speaks HTTP over a connected socket.
    async fn over(socket: Arc<Socket>, protocol: Protocol) -> Result<Self, hyper::Error> {
        let connected = Arc::new(Connected {
            socket: Arc::clone(&socket),
            open: AtomicUsize::new(1),
            allowed: AtomicUsize::new(FIRST_STREAMS),
        });
        let sender = match protocol {
            Protocol::Http1 => Sender::Http1(Home::of(Connection::new(socket))),
            Protocol::H2c => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(STREAM_WINDOW)
                    .initial_connection_window_size(STREAMS * STREAM_WINDOW)
                    // A pod may let more come than it takes.
                    .max_send_buf_size(STREAM_SEND_BYTES)
                    .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
                    .keep_alive_interval(PING_INTERVAL)
                    .keep_alive_timeout(PING_TIMEOUT);
                let io = TokioIo::new(Io::upstream(socket));
                let (sender, connection) = builder.handshake(io).await?;
                let streams = Arc::clone(&connected);
                tokio::spawn(async move {
                    let mut connection = pin!(connection);
                    let ended = std::future::poll_fn(|context| {
                        let polled = connection.as_mut().poll(context);
                        if polled.is_pending() {
                            streams.allowed.store(connection.current_max_send_streams(), Relaxed);
                        }
                        polled
                    });
                    if let Err(error) = ended.await {
                        tracing::debug!(error = &error as &dyn Error, "connection to a pod ended");
                    }
                });
                Sender::Http2(sender)
            }
        };
        Ok(Self { sender, connected, reused: false })
    }

    /// One more exchange on an HTTP/2 connection, when the pod allows one.
    pub(crate) fn share(&self) -> Option<Self> {
        let Sender::Http2(sender) = &self.sender else { return None };
        let Connected { open, allowed, .. } = &*self.connected;
        if sender.is_closed() || open.load(Relaxed) >= allowed.load(Relaxed) {
            return None;
        }
        open.fetch_add(1, Relaxed);
        Some(Self {
            sender: Sender::Http2(sender.clone()),
            connected: Arc::clone(&self.connected),
            reused: true,
        })
    }

    /// True for HTTP/2, where exchanges share the connection.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// The connection, which this is one use of.
    pub(crate) fn connected(&self) -> &Arc<Connected> {
        &self.connected
    }

    pub(crate) fn socket(&self) -> &Arc<Socket> {
        &self.connected.socket
    }

    /// True when the connection takes a request now.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.sender {
            Sender::Http1(home) => home.is_ready(),
            Sender::Http2(sender) => !sender.is_closed(),
        }
    }

    /// True while the rest of a request is on its way, after which it may take another.
    pub(crate) fn is_uploading(&self) -> bool {
        matches!(&self.sender, Sender::Http1(home) if home.is_uploading())
    }

    /// Waits until the connection takes a request. False: it was closed.
    pub(crate) async fn ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(home) => home.ready().await,
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Gives the request to the connection at once. Dropping the future cancels it: over HTTP/1.1 by closing the
    /// connection, over HTTP/2 by resetting the stream.
    pub(crate) fn send(
        &mut self,
        head: &Head,
        body: RequestBody,
    ) -> impl Future<Output = Result<Response<PodBody>, SendError>> + Send + 'static {
        match &mut self.sender {
            Sender::Http1(home) => send_http1(home, &self.connected.socket, head, body).left_future(),
            Sender::Http2(sender) => {
                let sending = sender.try_send_request(head.http2_request(body));
                let answered = async move {
                    let response = sending.await.map_err(|mut error: TrySendError<_>| {
                        let returned = error.take_message().is_some();
                        let source = error.into_error();
                        let never_sent = returned || refused_unseen(&source);
                        SendError { never_sent, source: PodError::Http2(Http2Error::Codec(source)) }
                    })?;
                    Ok(response.map(|body| PodBody::Http2(Http2Body::new(body))))
                };
                answered.right_future()
            }
        }
    }
}

impl Connected {
    /// Uses of the connection that are open.
    pub(crate) fn uses(&self) -> usize {
        self.open.load(Relaxed)
    }
}

/// A socket that leaves enough descriptors to the rest of the process.
fn unconnected(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if is_reserved(&socket) { Err(Errno::MFILE.into()) } else { Ok(socket) }
}

fn send_http1(
    home: &Arc<Home>,
    socket: &Arc<Socket>,
    head: &Head,
    body: RequestBody,
) -> impl Future<Output = Result<Response<PodBody>, SendError>> + Send + 'static {
    let Some(mut connection) = home.take() else {
        let source = PodError::Http1(Http1Error::InUse);
        return ready(Err(SendError { never_sent: true, source })).left_future();
    };
    let sent_before = socket.sent();
    connection.begin(|buffer, body| head.write(buffer, body), body);
    let sending = Sending::new(Arc::clone(home), connection, head.is_head());
    let socket = Arc::clone(socket);
    let answered = async move {
        let response = sending.await.map_err(|source| SendError {
            // A request whose body is none failed through no fault of the pod's.
            never_sent: !matches!(source, Http1Error::Request(_) | Http1Error::RequestLength)
                && socket.sent() == sent_before,
            source: PodError::Http1(source),
        })?;
        Ok(response.map(PodBody::Http1))
    };
    answered.right_future()
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connected.open.fetch_sub(1, Relaxed);
    }
}

/// The pod did not act on the stream: it said so, or it was going away (RFC 9113 8.7).
fn refused_unseen(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<h2::Error>() {
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            let going =
                error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
            return refused || going;
        }
        source = cause.source();
    }
    false
}
