//! One client's connection: its protocol is detected, then a codec serves its requests until somebody ends it.

use std::collections::HashMap;
use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use catnap_activator_core::{FunctionName, Listener};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::body::ClientBody;
use crate::config::{
    CONNECTION_WINDOW, HEAD_BYTES, PENDING_RESETS, STREAM_SEND_BYTES, STREAM_WINDOW, STREAMS, STREAMS_HELD,
};
use crate::connections::Registration;
use crate::exchange;
use crate::forwarded::Caller;
use crate::frames::Frames;
use crate::http1::server::{self, Ending};
use crate::http2_body::Http2Body;
use crate::io::{Io, Protocol, Transport};
use crate::listen::Endpoint;
use crate::server::Stage;
use crate::socket::Socket;
use crate::trace::Sampling;
use crate::worker::Worker;

/// How long a client may take to read the last response of a connection that we close.
const LINGER: Duration = Duration::from_secs(2);

/// What all requests of a connection share.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) worker: Arc<Worker>,
    pub(crate) socket: Arc<Socket>,
    pub(crate) listener: Listener,
    pub(crate) protocol: Protocol,
    pub(crate) caller: Arc<Caller>,
    /// Requests of an HTTP/2 connection that wait, by function.
    held: Mutex<HashMap<FunctionName, u32>>,
    requested: AtomicBool,
    first_request: Notify,
}

/// A place among the waiting requests of a connection.
#[derive(Debug)]
pub(crate) struct HeldStream<'client> {
    client: &'client Client,
    function: FunctionName,
}

/// Serves a connection to its end.
pub(crate) async fn serve(
    worker: Arc<Worker>,
    endpoint: Endpoint,
    stream: TcpStream,
    mut registration: Registration,
) {
    let connected = stream.peer_addr().and_then(|peer| Socket::new(stream, peer));
    // An error: it was closed before we came to it.
    let Ok(socket) = connected.map(Arc::new) else { return };
    if let Err(error) = socket.give_up_after(worker.config.stall_timeout) {
        tracing::debug!(peer = %socket.peer, %error, "a client may take its time with what the kernel has");
    }
    registration.attach(&socket);
    // Lingering counts as being open, so that a drain waits for it.
    let registration = Arc::new(registration);
    let mut io = Io::downstream(Arc::clone(&socket), Arc::clone(&registration));
    if endpoint.tls {
        // What TLS needs of a task is not to be in those of plain connections.
        Box::pin(serve_tls(worker, endpoint, socket, io)).await;
    } else {
        let detected = tokio::select! {
            biased;
            detected = io.detect() => detected,
            () = poll_fn(|context| socket.poll_leaves(context)) => return,
        };
        if let Ok(Some(protocol)) = detected {
            Client::new(worker, endpoint, socket, protocol).serve(Transport::Plain(io)).await;
        }
    }
    drop(registration);
}

async fn serve_tls(worker: Arc<Worker>, endpoint: Endpoint, socket: Arc<Socket>, io: Io) {
    let Some(acceptor) = &worker.tls else { return };
    let accepted = tokio::select! {
        biased;
        accepted = acceptor.accept(io, &socket) => accepted,
        () = poll_fn(|context| socket.poll_leaves(context)) => return,
    };
    match accepted {
        Ok((stream, protocol)) => {
            let transport = Transport::Tls(Box::new(stream));
            Client::new(Arc::clone(&worker), endpoint, socket, protocol).serve(transport).await;
        }
        Err(error) => tracing::debug!(peer = %socket.peer, %error, "no TLS with a client"),
    }
}

impl Client {
    fn new(worker: Arc<Worker>, endpoint: Endpoint, socket: Arc<Socket>, protocol: Protocol) -> Arc<Self> {
        Arc::new(Self {
            caller: Arc::new(Caller::new(socket.peer.ip(), endpoint.tls, &worker.config.trusted_proxies)),
            worker,
            socket,
            listener: endpoint.listener,
            protocol,
            held: Mutex::default(),
            requested: AtomicBool::new(false),
            first_request: Notify::new(),
        })
    }

    /// Serves requests to the end of the connection.
    async fn serve(self: Arc<Self>, transport: Transport) {
        match self.protocol {
            Protocol::Http1 => match server::serve(&self, transport).await {
                Ending::Linger if !self.socket.hung_up() => {
                    self.socket.let_go();
                    self.socket.linger(LINGER).await;
                    self.socket.close();
                }
                // Whatever goes on has no use for it.
                Ending::Linger | Ending::Close => self.socket.close(),
                Ending::Reset => self.socket.reset_when_dropped(),
            },
            // What HTTP/2 needs of a task is not to be in those of HTTP/1.1.
            Protocol::Http2 => Box::pin(self.serve_http2(transport)).await,
        }
    }

    async fn serve_http2(self: &Arc<Self>, transport: Transport) {
        match self.drive_http2(transport).await {
            Ok(()) if !self.socket.is_closed() => {
                tokio::select! {
                    () = self.socket.linger_until_sent(self.worker.config.idle_timeout) => {}
                    () = self.holds_drain_up() => {
                        if !self.socket.all_sent() {
                            self.worker.connections.count_cut_off();
                        }
                    }
                }
            }
            Ok(()) => {}
            Err(error) => {
                // Perhaps a flood: nothing more of it is read.
                tracing::debug!(peer = %self.socket.peer, error = &error as &dyn Error, "client connection ended");
            }
        }
    }

    /// Has the codec serve requests until one side ends the connection.
    async fn drive_http2(self: &Arc<Self>, transport: Transport) -> Result<(), hyper::Error> {
        let service = {
            let client = Arc::clone(self);
            service_fn(move |request: Request<Incoming>| {
                client.note_request();
                let client = Arc::clone(&client);
                // All of it in the task of its stream: what fails there is no other stream's.
                async move {
                    let request = request.map(|body| ClientBody::Http2(Http2Body::new(body)));
                    exchange::serve(client, request, Instant::now()).await
                }
            })
        };
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_SEND_BYTES)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            // No pings: they queue behind a response that its client reads slowly. TCP and the sweep find the dead.
            .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX));
        let io =
            TokioIo::new(Frames::new(transport, Arc::clone(&self.socket), self.worker.config.stall_timeout));
        let mut connection = pin!(builder.serve_connection(io, service));
        tokio::select! {
            biased;
            served = connection.as_mut() => return served,
            () = self.time_to_go() => connection.as_mut().graceful_shutdown(),
            () = self.socket.asked_to_leave() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            biased;
            served = connection.as_mut() => served,
            // Its client does not answer.
            () = self.socket.told_to_go() => Ok(()),
        }
    }

    /// Waits until the server has been ending for as long as a client is waited for that moves next to nothing.
    async fn holds_drain_up(&self) {
        Stage::Closing.reached(&mut self.worker.stage.clone()).await;
        tokio::time::sleep(self.worker.config.stall_timeout).await;
    }

    /// A connection that was opened while draining still gets its first request served.
    async fn time_to_go(&self) {
        let mut stage = self.worker.stage.clone();
        Stage::Draining.reached(&mut stage).await;
        let first_request = async {
            let noted = self.first_request.notified();
            if !self.requested.load(Relaxed) {
                noted.await;
            }
        };
        tokio::select! {
            () = first_request => {}
            () = Stage::Closing.reached(&mut stage) => {}
        }
    }

    fn note_request(&self) {
        if !self.requested.swap(true, Relaxed) {
            self.first_request.notify_waiters();
        }
    }

    /// Which of its requests have a trace.
    pub(crate) fn sampling(&self) -> Option<Sampling> {
        let decides = self.listener == Listener::InCluster || self.caller.trusted();
        self.worker.config.sampling.map(|sampling| Sampling { caller_decides: decides, ..sampling })
    }

    /// Lets one more request of this connection wait, so that one function cannot take all its streams. `None`: too many.
    pub(crate) fn hold(&self, function: &FunctionName) -> Option<HeldStream<'_>> {
        if self.protocol == Protocol::Http2 {
            let mut held = self.held.lock();
            let count = held.entry(function.clone()).or_default();
            if *count >= STREAMS_HELD {
                return None;
            }
            *count += 1;
        }
        Some(HeldStream { client: self, function: function.clone() })
    }
}

impl Drop for HeldStream<'_> {
    fn drop(&mut self) {
        if self.client.protocol == Protocol::Http2 {
            let mut held = self.client.held.lock();
            if let Some(count) = held.get_mut(&self.function) {
                *count -= 1;
                if *count == 0 {
                    held.remove(&self.function);
                }
            }
        }
    }
}
