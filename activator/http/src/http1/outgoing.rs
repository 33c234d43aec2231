//! A message on its way to a socket: its head, then its body as it comes, in chunks when its length is not known.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};

use crate::socket::Socket;

/// The line break behind a chunk, and the last chunk of a body without trailers behind it.
const CHUNK_END: &[u8] = b"\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// A piece of at most so many bytes is copied behind what waits: one buffer is written for less than two.
const SMALL_BYTES: usize = 1024;
/// With so much to write behind the head no more of the body is asked for.
const ENOUGH_BYTES: usize = 4 * 1024;

/// What is to be written, and where more comes from.
pub(super) struct Outgoing<B: Body> {
    /// The head, what is around chunks, and small pieces; kept between messages.
    framing: Vec<u8>,
    framing_written: usize,
    /// Bytes at the beginning of the framing that are the head.
    head: usize,
    /// Bytes at the end of the framing that come behind the data.
    behind: usize,
    data: Bytes,
    body: Option<B>,
    delimited: Delimited,
    /// Bytes that the head promises and the body has not brought.
    promised: u64,
    /// Why there is no more of the body.
    broken: Option<Box<OutgoingError<B::Error>>>,
    on_break: OnBreak,
    failed: bool,
}

/// How the reader knows where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delimited {
    /// By its length, in bytes.
    Length(u64),
    /// By the end of the connection.
    Close,
    /// By the last chunk; trailers are dropped.
    Chunks,
    /// By the last chunk, which may have trailers.
    ChunksAndTrailers,
}

/// What becomes of what came before a body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnBreak {
    /// It is written: a client may have a use for it.
    Write,
    /// It is written as far as the socket takes it at once: a pod has no use for it, and may not be reading.
    WriteAtOnce,
}

/// Why a message was not written to its end.
#[derive(Debug)]
pub(super) enum OutgoingError<E> {
    /// Its body broke off.
    Body(E),
    /// Its body is not as long as its head says. What follows it would be read as a part of it, or the other way round.
    Length,
    /// The socket took no more.
    Io(io::Error),
}

impl<B: Body> Default for Outgoing<B> {
    fn default() -> Self {
        Self {
            framing: Vec::new(),
            framing_written: 0,
            head: 0,
            behind: 0,
            data: Bytes::new(),
            body: None,
            delimited: Delimited::Length(0),
            promised: 0,
            broken: None,
            on_break: OnBreak::Write,
            failed: false,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Outgoing<B> {
    pub(super) fn new(on_break: OnBreak) -> Self {
        Self { on_break, ..Self::default() }
    }

    /// Begins a message. `write_head` fills the buffer and says how the body ends.
    pub(super) fn begin(&mut self, write_head: impl FnOnce(&mut Vec<u8>, &B) -> Delimited, body: B) {
        self.framing.clear();
        self.framing_written = 0;
        self.delimited = write_head(&mut self.framing, &body);
        self.head = self.framing.len();
        self.promised = if let Delimited::Length(length) = self.delimited { length } else { 0 };
        let more = self.chunked() || self.promised > 0 || !body.is_end_stream();
        self.body = more.then_some(body);
    }

    /// Gives the buffer back, which is not in use.
    pub(super) fn shrink(&mut self) {
        if self.nothing_waits() {
            self.framing = Vec::new();
            self.framing_written = 0;
            self.head = 0;
        }
    }

    /// Bytes that the buffer takes.
    pub(super) fn capacity(&self) -> usize {
        self.framing.capacity()
    }

    /// One that broke off.
    pub(super) fn unfinished() -> Self {
        Self { failed: true, ..Self::default() }
    }

    /// All of the message is with the kernel.
    pub(super) fn ended(&self) -> bool {
        self.body.is_none() && self.broken.is_none() && self.nothing_waits()
    }

    /// It was not written to its end, and will not be.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    fn chunked(&self) -> bool {
        matches!(self.delimited, Delimited::Chunks | Delimited::ChunksAndTrailers)
    }

    fn fail(&mut self) {
        self.failed = true;
        self.body = None;
        self.broken = None;
        self.framing_written = self.framing.len();
        self.data = Bytes::new();
    }

    /// Writes what there is, with `send`, which takes pieces and says how many bytes of them the kernel took. Ready when all of
    /// the message is with it.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut send: impl FnMut(&mut Context<'_>, &[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> Poll<Result<(), OutgoingError<B::Error>>> {
        loop {
            if let Err(error) = ready!(self.poll_next(context)) {
                self.body = None;
                self.broken = Some(Box::new(error));
            }
            // Without a whole head nobody has a use for what follows it.
            let unknown = self.broken.is_some() && self.framing_written < self.head;
            let slices = self.unwritten().filter(|_| !unknown);
            let Some(slices) = slices else {
                let Some(error) = self.broken.take() else { return Poll::Ready(Ok(())) };
                self.fail();
                return Poll::Ready(Err(*error));
            };
            match send(context, &slices) {
                Poll::Ready(Ok(count)) => self.written(count),
                Poll::Pending => match self.broken.take_if(|_| self.on_break == OnBreak::WriteAtOnce) {
                    None => return Poll::Pending,
                    Some(error) => {
                        self.fail();
                        return Poll::Ready(Err(*error));
                    }
                },
                Poll::Ready(Err(error)) => {
                    self.fail();
                    return Poll::Ready(Err(OutgoingError::Io(error)));
                }
            }
        }
    }

    /// Ready when something is to be written, or nothing will be any more. What is there of the body goes with the head.
    /// An error is told when there is one, and what came before may be written yet.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<(), OutgoingError<B::Error>>> {
        while self.data.is_empty() && self.waits_behind_head() < ENOUGH_BYTES {
            let Some(body) = &mut self.body else { break };
            let polled =
                if body.is_end_stream() { Poll::Ready(None) } else { Pin::new(body).poll_frame(context) };
            match polled {
                Poll::Ready(Some(Ok(frame))) => self.frame(frame)?,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(OutgoingError::Body(error))),
                Poll::Ready(None) => self.end(None)?,
                Poll::Pending if self.nothing_waits() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// What to write next; `None` at the end.
    fn unwritten(&self) -> Option<Slices<'_>> {
        let framing = &self.framing[self.framing_written..];
        let behind = if self.data.is_empty() { 0 } else { self.behind };
        let (before, behind) = framing.split_at(framing.len() - behind);
        let slices = Slices::new([before, &self.data, behind]);
        (!slices.is_empty()).then_some(slices)
    }

    /// The kernel took this many bytes.
    fn written(&mut self, count: usize) {
        let behind = if self.data.is_empty() { 0 } else { self.behind };
        let before = self.framing.len() - self.framing_written - behind;
        let of_before = count.min(before);
        self.framing_written += of_before;
        let of_data = (count - of_before).min(self.data.len());
        self.data.advance(of_data);
        self.framing_written += count - of_before - of_data;
        if self.data.is_empty() {
            // An empty piece would keep the buffer that it was read to.
            self.data = Bytes::new();
            self.forget_written();
        }
    }

    /// Makes room, where that moves little.
    fn forget_written(&mut self) {
        if self.framing_written == self.framing.len() || self.framing_written >= ENOUGH_BYTES {
            self.framing.drain(..self.framing_written);
            self.head = self.head.saturating_sub(self.framing_written);
            self.framing_written = 0;
        }
    }

    fn waits_behind_head(&self) -> usize {
        self.framing.len().saturating_sub(self.framing_written.max(self.head))
    }

    fn nothing_waits(&self) -> bool {
        self.framing_written == self.framing.len() && self.data.is_empty()
    }

    fn frame(&mut self, frame: Frame<Bytes>) -> Result<(), OutgoingError<B::Error>> {
        match frame.into_data() {
            // An empty chunk would be the last one.
            Ok(data) if data.is_empty() => {}
            Ok(data) => {
                // The end goes with the last piece.
                if self.body.as_ref().is_some_and(Body::is_end_stream) {
                    self.body = None;
                }
                self.keep_promise(data.len())?;
                if self.chunked() {
                    // Writing to memory cannot fail.
                    let _ = write!(self.framing, "{:x}\r\n", data.len());
                }
                if data.len() <= SMALL_BYTES {
                    self.framing.extend_from_slice(&data);
                } else {
                    self.data = data;
                }
                let before = self.framing.len();
                if self.chunked() {
                    self.framing.extend_from_slice(CHUNK_END);
                    if self.body.is_none() {
                        self.framing.extend_from_slice(LAST_CHUNK);
                    }
                }
                // Counts only where there is data.
                self.behind = self.framing.len() - before;
            }
            Err(frame) => return self.end(frame.into_trailers().ok().as_ref()),
        }
        Ok(())
    }

    /// So many bytes of the body are here, and more only while there is a body.
    fn keep_promise(&mut self, bytes: usize) -> Result<(), OutgoingError<B::Error>> {
        if let Delimited::Length(_) = self.delimited {
            let left = self.promised.checked_sub(bytes as u64).ok_or(OutgoingError::Length)?;
            self.promised = left;
            if left > 0 && self.body.is_none() {
                return Err(OutgoingError::Length);
            }
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<&http::HeaderMap>) -> Result<(), OutgoingError<B::Error>> {
        self.body = None;
        self.keep_promise(0)?;
        if self.chunked() {
            self.framing.extend_from_slice(b"0\r\n");
            let passed = trailers.filter(|_| self.delimited == Delimited::ChunksAndTrailers);
            for (name, value) in passed.into_iter().flatten() {
                write_field(&mut self.framing, name.as_str(), value.as_bytes());
            }
            self.framing.extend_from_slice(b"\r\n");
        }
        Ok(())
    }
}

/// Writes to a socket, in one system call.
pub(super) fn poll_write(
    socket: &Socket,
    context: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.stream.poll_write_ready(context))?;
        let written = match slices {
            [one] => socket.stream.try_write(one),
            several => socket.stream.try_write_vectored(several),
        };
        match written {
            Ok(count) => {
                socket.count_sent(count);
                return Poll::Ready(Ok(count));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// A header field as a line.
pub(crate) fn write_field(buffer: &mut Vec<u8>, name: &str, value: &[u8]) {
    buffer.extend_from_slice(name.as_bytes());
    buffer.extend_from_slice(b": ");
    buffer.extend_from_slice(value);
    buffer.extend_from_slice(b"\r\n");
}

/// Up to three pieces for one write.
struct Slices<'a> {
    pieces: [IoSlice<'a>; 3],
    count: usize,
}

impl<'a> Slices<'a> {
    fn new(pieces: [&'a [u8]; 3]) -> Self {
        let mut slices = Self { pieces: [IoSlice::new(&[]); 3], count: 0 };
        for piece in pieces {
            if !piece.is_empty() {
                slices.pieces[slices.count] = IoSlice::new(piece);
                slices.count += 1;
            }
        }
        slices
    }
}

impl<'a> std::ops::Deref for Slices<'a> {
    type Target = [IoSlice<'a>];

    fn deref(&self) -> &Self::Target {
        &self.pieces[..self.count]
    }
}

impl<B: Body> std::fmt::Debug for Outgoing<B> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Outgoing").field("failed", &self.failed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
