//! A request on its way to the socket: its head, then its body as it comes, in chunks when its length is not known.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};

use super::Http1Error;
use crate::request_body::{RequestBody, RequestBodyError};
use crate::socket::Socket;

/// What is to be written, and where more comes from.
#[derive(Default)]
pub(super) struct Upload {
    /// The head, or what is around a chunk; kept between requests.
    framing: Vec<u8>,
    framing_written: usize,
    data: Bytes,
    body: Option<RequestBody>,
    chunked: bool,
    failed: bool,
}

impl Upload {
    /// Begins a request. `write_head` fills the buffer and says whether the body goes in chunks.
    pub(super) fn begin(
        &mut self,
        write_head: impl FnOnce(&mut Vec<u8>, &RequestBody) -> bool,
        body: RequestBody,
    ) {
        self.framing.clear();
        self.framing_written = 0;
        self.chunked = write_head(&mut self.framing, &body);
        self.body = Some(body).filter(|body| self.chunked || !body.is_end_stream());
    }

    /// One that broke off.
    pub(super) fn unfinished() -> Self {
        Self { failed: true, ..Self::default() }
    }

    /// All of the request is with the kernel.
    pub(super) fn ended(&self) -> bool {
        self.body.is_none() && self.nothing_waits()
    }

    /// The socket took no more.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    fn fail(&mut self) {
        self.failed = true;
        self.body = None;
        self.framing_written = self.framing.len();
        self.data = Bytes::new();
    }

    /// Writes what there is. Ready when all of the request is with the kernel.
    pub(super) fn poll(
        &mut self,
        socket: &Socket,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Http1Error>> {
        loop {
            ready!(self.poll_next(context)).map_err(Http1Error::Request)?;
            let Some(slices) = self.unwritten() else { return Poll::Ready(Ok(())) };
            match ready!(poll_write(socket, context, &slices)) {
                Ok(count) => self.written(count),
                Err(error) => {
                    self.fail();
                    return Poll::Ready(Err(Http1Error::Io(error)));
                }
            }
        }
    }

    /// Ready when something is to be written, or nothing will be any more. What is there of the body goes with the head.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<(), RequestBodyError>> {
        while self.data.is_empty() {
            let Some(body) = &mut self.body else { break };
            let polled =
                if body.is_end_stream() { Poll::Ready(None) } else { Pin::new(body).poll_frame(context) };
            if self.nothing_waits() {
                self.framing.clear();
                self.framing_written = 0;
            }
            match polled {
                Poll::Ready(Some(Ok(frame))) => self.frame(frame),
                Poll::Ready(Some(Err(error))) => {
                    self.fail();
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(None) => self.end(None),
                Poll::Pending if self.nothing_waits() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// What to write next; `None` at the end.
    fn unwritten(&self) -> Option<Slices<'_>> {
        let framing = &self.framing[self.framing_written..];
        let (before, after) = if self.chunked && !self.data.is_empty() {
            // The line break behind the data is kept at the end of the framing.
            framing.split_at(framing.len() - 2)
        } else {
            (framing, &[][..])
        };
        let slices = Slices::new([before, &self.data, after]);
        (!slices.is_empty()).then_some(slices)
    }

    /// The kernel took this many bytes.
    fn written(&mut self, count: usize) {
        let tail = if self.chunked && !self.data.is_empty() { 2 } else { 0 };
        let before = self.framing.len() - self.framing_written - tail;
        let of_before = count.min(before);
        self.framing_written += of_before;
        let of_data = (count - of_before).min(self.data.len());
        self.data.advance(of_data);
        self.framing_written += count - of_before - of_data;
    }

    fn nothing_waits(&self) -> bool {
        self.framing_written == self.framing.len() && self.data.is_empty()
    }

    fn frame(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            // An empty chunk would be the last one.
            Ok(data) if data.is_empty() => {}
            Ok(data) => {
                if self.chunked {
                    // Writing to memory cannot fail.
                    let _ = write!(self.framing, "{:x}\r\n\r\n", data.len());
                }
                self.data = data;
            }
            Err(frame) => self.end(frame.into_trailers().ok().as_ref()),
        }
    }

    fn end(&mut self, trailers: Option<&http::HeaderMap>) {
        self.body = None;
        if self.chunked {
            self.framing.extend_from_slice(b"0\r\n");
            for (name, value) in trailers.into_iter().flatten() {
                write_field(&mut self.framing, name.as_str(), value.as_bytes());
            }
            self.framing.extend_from_slice(b"\r\n");
        }
    }
}

fn poll_write(socket: &Socket, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
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

impl std::fmt::Debug for Upload {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Upload").field("ended", &self.ended()).finish_non_exhaustive()
    }
}
