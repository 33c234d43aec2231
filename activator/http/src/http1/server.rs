//! HTTP/1.1 as a server of clients (RFC 9112): one request at a time on a connection, driven by the connection's task.
//!
//! Between requests a connection has no buffer, and what serves a request is made for it. The body of a request is read by
//! whoever wants it, which may go on after the response: see [`Downstream`].

mod body;
#[cfg(any(test, fuzzing))]
pub(crate) mod parsers;
mod request;
mod response;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::BytesMut;
use http::{Method, Response};
use http_body::Body;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use super::chunked::Decoded;
use super::coding::Coding;
use super::connection::READ_AGAIN;
use super::head::Length;
use super::outgoing::{Outgoing, OutgoingError};
use crate::client::Client;
use crate::client_body::ClientBody;
use crate::exchange;
use crate::io::{Stream, Transport, poll_read_some};
use crate::pace::{AwaitedUpload, Upload};
use crate::response_body::ResponseBody;
use crate::tunnel::Tunnel;
pub(crate) use body::{Http1RequestBody, Http1RequestBodyError};
use request::{Head, RequestError};
use response::{Asked, Shape};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// With so much to come it is read to where it stays.
const LARGE: u64 = 4 * 1024;
/// Most room for one read.
const READ_MOST: u64 = 64 * 1024;
/// Of a body that nobody wants so much is read, if it is here or known to come, to keep the connection.
const UNWANTED_BYTES: usize = 64 * 1024;
/// How much of a head is expected, more or less.
const HEAD_ROOM: usize = 512;

/// A client's connection, which the body of a request shares with whoever serves it.
#[derive(Debug)]
struct Downstream {
    transport: Transport,
    /// What was read and not used.
    read: BytesMut,
    /// Bytes of it that were looked at for the end of a head.
    seen: usize,
    /// The body of the request under way.
    body: Coding,
    /// What is left to say before the body is read.
    interim: &'static [u8],
    /// It was said, and may not have left yet.
    interim_unflushed: bool,
    /// The client was not told to send the body, and may not.
    uninvited: bool,
    reading: Reading,
    /// Waits for more of the body.
    reader: Option<Waker>,
    /// Waits for the end of the body.
    waiting: Option<Waker>,
}

/// What becomes of the rest of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Somebody reads it, or may.
    Wanted,
    /// Nobody wants it.
    Abandoned,
    /// It cannot be read to its end.
    Broken,
}

/// What becomes of a connection after an exchange.
enum After {
    Next,
    /// It ends in the way of its protocol.
    End,
    /// A response was not sent to its end.
    BrokenOff {
        until_close: bool,
    },
    ClientLeft,
    Switched(Box<Tunnel>),
}

/// What is to become of a connection's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The client may still be reading, or sending.
    Linger,
    /// Nobody is interested any more.
    Close,
    /// A close would be taken for the end of a response.
    Reset,
}

/// Serves the requests of a connection until one side ends it.
pub(crate) async fn serve(client: &Arc<Client>, mut transport: Transport) -> Ending {
    let read = transport.take_unread();
    let mut downstream = Arc::new(Mutex::new(Downstream::new(transport, read)));
    loop {
        let head = match poll_fn(|context| downstream.lock().poll_head(context)).await {
            Ok(Some(head)) => head,
            Ok(None) => return Ending::Linger,
            Err(error) => {
                client.socket.exchange_began(Instant::now());
                client.worker.observer.unparsable(error.reason());
                tracing::debug!(peer = %client.socket.peer, %error, "no request");
                let mut bytes = Vec::with_capacity(HEAD_ROOM);
                response::write_bare(&mut bytes, error.status(), &client.worker.date);
                write_all(&downstream, &bytes).await;
                break;
            }
        };
        // Longer than the exchange itself: a connection whose request is still read, or which is about to end, is not quiet.
        client.socket.exchange_began(Instant::now());
        // In the heap for as long as it lasts: a connection is small while nothing is asked of it.
        match Box::pin(exchange(client, &downstream, head)).await {
            After::Next => client.socket.exchange_ended(Instant::now()),
            After::End => break,
            After::BrokenOff { until_close } => {
                downstream.lock().give_up_body();
                return if until_close { Ending::Reset } else { Ending::Linger };
            }
            After::ClientLeft => return Ending::Close,
            After::Switched(tunnel) => match Arc::try_unwrap(downstream) {
                Ok(downstream) => {
                    let Downstream { transport, read, .. } = downstream.into_inner();
                    Box::pin(tunnel.run(Stream::new(read, transport))).await;
                    // What the pod said last is not to be lost to what the client sends meanwhile.
                    return Ending::Linger;
                }
                Err(shared) => {
                    // A part of the request is still being read, by somebody who must not get bytes of the other protocol.
                    downstream = shared;
                    downstream.lock().give_up_body();
                    break;
                }
            },
        }
    }
    let _ = poll_fn(|context| Pin::new(&mut downstream.lock().transport).poll_shutdown(context)).await;
    // A pod may still be getting the request, which nobody else may read meanwhile.
    poll_fn(|context| downstream.lock().poll_let_go(context)).await;
    downstream.lock().give_up_body();
    Ending::Linger
}

/// One request, from its head to the last byte of its response, and of its body.
async fn exchange(client: &Arc<Client>, downstream: &Arc<Mutex<Downstream>>, head: Head) -> After {
    let Head { request, length, keeps_alive, expects_continue, takes_trailers } = head;
    let asked = Asked {
        version: request.version(),
        head: *request.method() == Method::HEAD,
        takes_trailers,
        keeps_alive,
    };
    let (body, here) = Downstream::begin(downstream, length, expects_continue);
    let request = request.map(|()| ClientBody::Http1(body));
    let served = async {
        match exchange::serve(Arc::clone(client), request).await {
            Ok(response) => respond(client, downstream, response, asked).await,
            Err(exchange::ClientLeft) => After::ClientLeft,
        }
    };
    let left = async {
        // Nobody reads what is here already from the socket.
        if here { client.socket.hang_up_unread().await } else { client.socket.hang_up().await }
    };
    tokio::select! {
        biased;
        after = served => after,
        () = left => After::ClientLeft,
    }
}

/// Sends a response, then waits for the end of the request if somebody still reads it.
async fn respond(
    client: &Client,
    downstream: &Mutex<Downstream>,
    response: Response<ResponseBody>,
    mut asked: Asked,
) -> After {
    let (head, mut body) = response.into_parts();
    let interim = downstream.lock().end_interim();
    if let Some(rest) = interim {
        write_all(downstream, rest).await;
    }
    asked.keeps_alive &= poll_fn(|context| Poll::Ready(downstream.lock().may_reach_end(context))).await;
    let tunnel = body.take_tunnel();
    let shape = Shape::new(&head, &body.size_hint(), asked);
    let mut outgoing = Outgoing::default();
    let write_head = |buffer: &mut Vec<u8>, _: &ResponseBody| {
        buffer.reserve(HEAD_ROOM);
        shape.write(buffer, &head, asked, &client.worker.date);
        shape.delimited
    };
    if shape.bodiless {
        // The pod may take its time with an end that nobody waits for.
        body = ResponseBody::nothing();
    }
    client.socket.delimit_by_close(shape.until_close);
    outgoing.begin(write_head, body);
    drop(head);
    let sent = poll_fn(|context| {
        let sent = outgoing.poll(context, |context, pieces| downstream.lock().poll_write(context, pieces));
        // What waits for more of the body must not wait in a buffer of TLS.
        let flushed = Pin::new(&mut downstream.lock().transport).poll_flush(context);
        ready!(sent)?;
        flushed.map_err(OutgoingError::Io)
    });
    match sent.await {
        Ok(()) => {}
        Err(OutgoingError::Io(_)) => return After::ClientLeft,
        Err(OutgoingError::Body(error)) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "a response broke off");
            return After::BrokenOff { until_close: shape.until_close };
        }
        Err(OutgoingError::Length) => {
            tracing::debug!("a response was not as long as it said");
            return After::BrokenOff { until_close: false };
        }
    }
    drop(outgoing);
    if let Some(tunnel) = tunnel {
        return After::Switched(tunnel);
    }
    if !shape.keeps_alive {
        return After::End;
    }
    let mut awaited = AwaitedUpload::new(Some(Arc::clone(&client.socket)), Upload::Sized);
    let ended = poll_fn(|context| {
        let mut downstream = downstream.lock();
        let ended = downstream.poll_body_end(context);
        // Who else reads it notes for itself whether the client is waited for.
        awaited.note(ended.is_pending() && downstream.reading == Reading::Abandoned);
        ended
    });
    if ended.await { After::Next } else { After::End }
}

async fn write_all(downstream: &Mutex<Downstream>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written =
            poll_fn(|context| Pin::new(&mut downstream.lock().transport).poll_write(context, bytes)).await;
        match written {
            Ok(count @ 1..) => bytes = &bytes[count..],
            // Whoever reads finds out.
            Ok(0) | Err(_) => return,
        }
    }
}

impl Downstream {
    fn new(transport: Transport, read: BytesMut) -> Self {
        Self {
            transport,
            read,
            seen: 0,
            body: Coding::new(Length::Known(0)),
            interim: &[],
            interim_unflushed: false,
            uninvited: false,
            reading: Reading::Wanted,
            reader: None,
            waiting: None,
        }
    }

    /// The next request's head. `None`: the client left, or was late.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Head>, RequestError>> {
        self.transport.expect_head(true);
        loop {
            if let Some(head) = request::take(&mut self.read, &mut self.seen)? {
                return Poll::Ready(Ok(Some(head)));
            }
            if self.read.is_empty() {
                self.release();
            } else {
                // Some of it came with the request before.
                self.transport.note_head();
            }
            match ready!(poll_read_some(&mut self.transport, context, &mut self.read)) {
                Ok(0) | Err(_) => return Poll::Ready(Ok(None)),
                Ok(_) => {}
            }
        }
    }

    /// Begins a request. Gives its body, and whether all of that was read from the socket.
    fn begin(this: &Arc<Mutex<Self>>, length: Length, expects_continue: bool) -> (Http1RequestBody, bool) {
        let mut downstream = this.lock();
        downstream.transport.expect_head(false);
        downstream.release();
        if length == Length::Known(0) {
            return (Http1RequestBody::empty(), true);
        }
        let body = Coding::new(length);
        let here = matches!(length, Length::Known(length) if length <= downstream.read.len() as u64);
        let size = body.size_hint();
        downstream.body = body;
        downstream.reading = Reading::Wanted;
        downstream.uninvited = false;
        downstream.interim = if expects_continue { CONTINUE } else { &[] };
        drop(downstream);
        (Http1RequestBody::new(Arc::clone(this), size), here)
    }

    /// An empty buffer is none.
    fn release(&mut self) {
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
    }

    /// The next piece of the body.
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Decoded, Http1RequestBodyError>> {
        let polled = self.poll_decoded(context);
        let ended = match &polled {
            Poll::Pending => {
                if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
                    self.reader = Some(context.waker().clone());
                }
                return Poll::Pending;
            }
            Poll::Ready(Ok(_)) => self.body.ended(),
            Poll::Ready(Err(_)) => {
                self.reading = Reading::Broken;
                true
            }
        };
        if ended {
            self.reader = None;
            self.release();
            self.wake();
        }
        polled
    }

    fn poll_decoded(&mut self, context: &mut Context<'_>) -> Poll<Result<Decoded, Http1RequestBodyError>> {
        if self.reading == Reading::Broken {
            return Poll::Ready(Err(Http1RequestBodyError::Closed));
        }
        while !self.interim.is_empty() {
            let interim = self.interim;
            let written = ready!(Pin::new(&mut self.transport).poll_write(context, interim));
            self.interim = &interim[written.map_err(Http1RequestBodyError::Io)?..];
            self.interim_unflushed = true;
        }
        if self.interim_unflushed {
            ready!(Pin::new(&mut self.transport).poll_flush(context)).map_err(Http1RequestBodyError::Io)?;
            self.interim_unflushed = false;
        }
        loop {
            let decoded = self.body.decode(&mut self.read).map_err(Http1RequestBodyError::Malformed)?;
            if !matches!(decoded, Decoded::Missing) {
                return Poll::Ready(Ok(decoded));
            }
            if ready!(self.poll_fill(context)).map_err(Http1RequestBodyError::Io)? == 0 {
                return Poll::Ready(Err(Http1RequestBodyError::Closed));
            }
        }
    }

    /// Reads once. Gives the number of bytes; 0 is the end.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let expected = self.body.expected();
        if expected < LARGE {
            return poll_read_some(&mut self.transport, context, &mut self.read);
        }
        ready!(self.transport.poll_readable(context))?;
        // One more than what is to come: a read that fills the buffer leaves open whether there is more.
        let room = usize::try_from(expected.saturating_add(1).min(READ_MOST)).unwrap_or_default();
        // A piece of what was read may be kept: making room after each would take a buffer for each.
        if self.read.capacity() - self.read.len() < READ_AGAIN {
            self.read.reserve(room);
        }
        poll_read_buf(Pin::new(&mut self.transport), context, &mut self.read)
    }

    /// True when the body will give nothing more.
    fn body_is_over(&self) -> bool {
        self.reading == Reading::Broken || self.body.ended()
    }

    fn abandon_body(&mut self) {
        if self.reading == Reading::Wanted {
            self.reading = Reading::Abandoned;
        }
        self.wake();
    }

    /// Nobody may read the body from now on: what comes is not for whoever wanted it.
    fn give_up_body(&mut self) {
        if !self.body.ended() {
            self.reading = Reading::Broken;
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// The response begins: nothing may be said before it any more, but the rest of what was begun.
    fn end_interim(&mut self) -> Option<&'static [u8]> {
        let rest = std::mem::take(&mut self.interim);
        self.uninvited = rest.len() == CONTINUE.len();
        if let Some(reader) = self.reader.take().filter(|_| !rest.is_empty()) {
            // It waited for the client to take the interim response.
            reader.wake();
        }
        Some(rest).filter(|rest| (1..CONTINUE.len()).contains(&rest.len()))
    }

    /// False when it is known before the response that the connection will not come to the next request.
    fn may_reach_end(&mut self, context: &mut Context<'_>) -> bool {
        let ends = match self.reading {
            Reading::Wanted => true,
            Reading::Abandoned => self.poll_body_end(context) != Poll::Ready(false),
            Reading::Broken => false,
        };
        ends && !self.uninvited
    }

    /// Waits until the body was read to its end. False: it was not, and nobody wants the rest.
    fn poll_body_end(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let mut read = 0;
        loop {
            if self.body_is_over() {
                return Poll::Ready(self.reading != Reading::Broken);
            }
            if self.reading == Reading::Wanted {
                self.waiting = Some(context.waker().clone());
                return Poll::Pending;
            }
            match self.poll_body(context) {
                Poll::Ready(Ok(Decoded::Data(data))) => read += data.len(),
                Poll::Ready(Ok(_)) => {}
                // It is on its way, and short: a client may send its head and its body apart.
                Poll::Pending if self.body.left().is_some_and(|left| left <= UNWANTED_BYTES as u64) => {
                    return Poll::Pending;
                }
                // Whoever would send more would have to send it before the next request.
                Poll::Ready(Err(_)) | Poll::Pending => return Poll::Ready(false),
            }
            if read > UNWANTED_BYTES {
                return Poll::Ready(false);
            }
        }
    }

    /// Waits until nobody reads the body any more, who might.
    fn poll_let_go(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.body_is_over() || self.reading == Reading::Abandoned || self.uninvited {
            return Poll::Ready(());
        }
        self.waiting = Some(context.waker().clone());
        Poll::Pending
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let transport = Pin::new(&mut self.transport);
        match pieces {
            [one] => transport.poll_write(context, one),
            several => transport.poll_write_vectored(context, several),
        }
    }
}

#[cfg(test)]
mod tests;
