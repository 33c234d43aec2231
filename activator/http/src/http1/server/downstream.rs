//! A client's connection: what was read of it and not used, the body of the request under way, and what is left to say before that
//! is read. Whoever serves a request shares it with whoever reads its body.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut, BytesMut};
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use super::body::{Http1RequestBody, Http1RequestBodyError};
use super::request::{self, Head, Unparsable};
use crate::http1::chunked::Decoded;
use crate::http1::coding::Coding;
use crate::http1::connection::READ_AGAIN;
use crate::http1::head::Length;
use crate::io::{Transport, poll_read_some};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// With so much to come it is read to where it stays.
const LARGE: u64 = 4 * 1024;
/// Most room for one read.
const READ_MOST: u64 = 64 * 1024;
/// Of a body that nobody wants so much is read, if it is here or known to come, to keep the connection.
const UNWANTED_BYTES: usize = 64 * 1024;

/// A client's connection, which the body of a request shares with whoever serves it.
#[derive(Debug)]
pub(super) struct Downstream {
    pub(super) transport: Transport,
    /// What was read and not used.
    pub(super) read: BytesMut,
    /// Bytes of it that were looked at for the end of a head.
    seen: usize,
    /// The body of the request under way.
    pub(super) body: Coding,
    /// What is left to say before the body is read.
    pub(super) interim: &'static [u8],
    /// It was said, and may not have left yet.
    interim_unflushed: bool,
    /// The client was not told to send the body, and may not.
    uninvited: bool,
    pub(super) reading: Reading,
    /// Waits for more of the body.
    pub(super) reader: Option<Waker>,
    /// Waits for the end of the body.
    waiting: Option<Waker>,
}

/// What becomes of the rest of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Somebody reads it, or may.
    Wanted,
    /// Nobody wants it.
    Abandoned,
    /// It cannot be read to its end.
    Broken,
}

impl Downstream {
    pub(super) fn new(transport: Transport, read: BytesMut) -> Self {
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
    pub(super) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Head>, Unparsable>> {
        loop {
            if let Some(head) = request::take(&mut self.read, &mut self.seen)? {
                return Poll::Ready(Ok(Some(head)));
            }
            match &self.read[..] {
                [] => self.release(),
                // Perhaps half of an empty line, which begins no request.
                b"\r" => {}
                _ => self.transport.note_head(),
            }
            match ready!(poll_read_some(&mut self.transport, context, &mut self.read)) {
                Ok(0) | Err(_) => return Poll::Ready(Ok(None)),
                Ok(_) => {}
            }
        }
    }

    /// Begins a request. Gives its body, and whether all of that was read from the socket.
    pub(super) fn begin(
        this: &Arc<Mutex<Self>>,
        length: Length,
        expects_continue: bool,
    ) -> (Http1RequestBody, bool) {
        let mut downstream = this.lock();
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

    /// What came behind a body is no reason to keep the buffer of that for as long as the next request is held.
    fn leave_buffer(&mut self) {
        self.read = BytesMut::from(&self.read[..]);
    }

    /// The next piece of the body.
    pub(super) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Decoded, Http1RequestBodyError>> {
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
            self.leave_buffer();
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
        // The buffer may have more room, which is not for what follows the body.
        poll_read_buf(Pin::new(&mut self.transport), context, &mut (&mut self.read).limit(room))
    }

    /// True when the rest of the body is certainly not here. Of a body in chunks only the chunk that is under way is known.
    pub(super) fn lacks_body(&self) -> bool {
        self.body.expected() > self.transport.unread().saturating_add(self.read.len() as u64)
    }

    /// True when the body will give nothing more.
    fn body_is_over(&self) -> bool {
        self.reading == Reading::Broken || self.body.ended()
    }

    pub(super) fn abandon_body(&mut self) {
        if self.reading == Reading::Wanted {
            self.reading = Reading::Abandoned;
        }
        self.wake();
    }

    /// Nobody may read the body from now on: what comes is not for whoever wanted it.
    pub(super) fn give_up_body(&mut self) {
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
    pub(super) fn end_interim(&mut self) -> Option<&'static [u8]> {
        let rest = std::mem::take(&mut self.interim);
        self.uninvited = rest.len() == CONTINUE.len();
        // It leaves with the response. Of two that wait to write only one would be woken.
        self.interim_unflushed = false;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Some(rest).filter(|rest| (1..CONTINUE.len()).contains(&rest.len()))
    }

    /// False when it is known before the response that the connection will not come to the next request.
    pub(super) fn may_reach_end(&mut self, context: &mut Context<'_>) -> bool {
        let ends = match self.reading {
            Reading::Wanted => true,
            Reading::Abandoned => self.poll_body_end(context) != Poll::Ready(false),
            Reading::Broken => false,
        };
        ends && !self.uninvited
    }

    /// Waits until the body was read to its end. False: it was not, and nobody wants the rest.
    pub(super) fn poll_body_end(&mut self, context: &mut Context<'_>) -> Poll<bool> {
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
    pub(super) fn poll_let_go(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.body_is_over() || self.reading == Reading::Abandoned || self.uninvited {
            return Poll::Ready(());
        }
        self.waiting = Some(context.waker().clone());
        Poll::Pending
    }

    pub(super) fn poll_write(
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
