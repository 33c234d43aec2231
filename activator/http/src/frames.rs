//! Watches the frames of an HTTP/2 client's connection, between the socket and the codec: how many ask for work and carry
//! nothing, whether a head is half sent, and which streams have an answer that the client does not take. Those are reset.
//!
//! The codec bounds what each empty frame costs in memory, but not how many come: floods of pings, settings, resets, empty
//! DATA frames and the like are a connection's only traffic, and nobody else's time should pay for it. Nor does it say how
//! much of a response waits in it, once it has all of it, for a window that never opens.

#[cfg(any(test, fuzzing))]
pub(crate) mod parsers;
mod received;
mod resets;
mod walk;
mod windows;

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::socket::Socket;
use received::{Flood, Received, SECOND};
use resets::Resets;
use walk::{Header, Passed, Walk};

/// Types and flags of frames (RFC 9113 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A client's bytes on their way to the HTTP/2 codec, and the codec's on their way back.
#[derive(Debug)]
pub(crate) struct Frames<I> {
    inner: I,
    socket: Arc<Socket>,
    received: Received,
    written: Walk,
    /// The head of a response has begun and not ended.
    writing_head: bool,
    resets: Resets,
    /// The next look at what is late, while a stream stands still.
    look: Option<Pin<Box<Sleep>>>,
    /// How long a stream may stand still.
    longest: Duration,
    warned: bool,
}

impl<I> Frames<I> {
    /// `inner`: the connection from its preface on. `longest`: how long a client may be waited for that takes next to nothing
    /// of a response.
    pub(crate) fn new(inner: I, socket: Arc<Socket>, longest: Duration) -> Self {
        Self {
            inner,
            socket,
            received: Received::new(Instant::now()),
            written: Walk::new(0),
            writing_head: false,
            resets: Resets::default(),
            look: None,
            longest,
            warned: false,
        }
    }

    fn watch_read(&mut self, read: &[u8]) -> io::Result<()> {
        let had_head = self.received.head_open;
        let flood = self.received.read(read, self.socket.sent(), Instant::now);
        if had_head != self.received.head_open {
            self.socket.head_under_way(self.received.head_open);
        }
        self.note_windows();
        match flood {
            Ok(()) => Ok(()),
            Err(Flood) if !self.warned => {
                self.warned = true;
                self.socket.ask_to_leave();
                Ok(())
            }
            Err(Flood) => Err(io::Error::new(io::ErrorKind::InvalidData, Flood)),
        }
    }

    fn watch_written<'bytes>(&mut self, buffers: impl Iterator<Item = &'bytes [u8]>, mut count: usize) {
        let Self { received: Received { windows, pings, .. }, written, writing_head, .. } = self;
        let mut data = 0;
        for buffer in buffers {
            let taken = &buffer[..buffer.len().min(count)];
            count -= taken.len();
            written.go(taken, |passed| {
                let Passed::Header(header) = passed else { return };
                match header.kind {
                    DATA => {
                        data += u64::from(header.length);
                        *pings += 1;
                        windows.send(header.stream, header.length);
                    }
                    HEADERS | CONTINUATION => {
                        *writing_head = header.flags & END_HEADERS == 0;
                        windows.answer(header.stream);
                    }
                    _ => {}
                }
                if header.ends_stream() {
                    windows.end(header.stream);
                }
            });
        }
        if data > 0 {
            self.socket.pace.delivered(data);
        }
        self.note_windows();
    }

    fn note_windows(&self) {
        let windows = &self.received.windows;
        self.socket.pace.set_streams(windows.streams());
        self.socket.pace.set_window_closed(windows.connection_closed());
    }

    /// Looks once a second for streams that stand still, while there are any.
    fn look(&mut self, context: &mut Context<'_>) {
        if !self.received.windows.want_a_look() {
            return;
        }
        while self.look.get_or_insert_with(|| Box::pin(sleep(SECOND))).as_mut().poll(context).is_ready() {
            self.look = None;
            let now = tokio::time::Instant::now();
            for stream in self.received.windows.late(self.longest, now) {
                self.resets.want(stream, now);
            }
            if self.resets.wanted_for(self.longest, now) {
                // It sends half a frame, so that nothing can come in between.
                self.socket.close();
            }
            if self.resets.wants() {
                context.waker().wake_by_ref();
            }
            if !self.received.windows.want_a_look() {
                return;
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> Frames<I> {
    /// Writes the resets that the codec knows of.
    fn poll_resets(&mut self, context: &mut Context<'_>, between_frames: bool) -> Poll<io::Result<()>> {
        loop {
            let unwritten = self.resets.unwritten(between_frames);
            if unwritten.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let count = ready!(Pin::new(&mut self.inner).poll_write(context, unwritten))?;
            self.resets.written(count);
        }
    }
}

impl Header {
    /// Nothing more comes on the stream from this side, or at all.
    fn ends_stream(self) -> bool {
        self.kind == RST_STREAM || (matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Frames<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.look(context);
        this.resets.seen();
        if this.received.between_frames() && this.resets.tell(&mut this.received.windows, buffer) {
            this.note_windows();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        Poll::Ready(this.watch_read(&buffer.filled()[before..]))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Frames<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_resets(context, false))?;
        let count = ready!(Pin::new(&mut this.inner).poll_write(context, bytes))?;
        this.watch_written(std::iter::once(bytes), count);
        this.look(context);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_resets(context, false))?;
        let count = ready!(Pin::new(&mut this.inner).poll_write_vectored(context, buffers))?;
        this.watch_written(buffers.iter().map(|buffer| &**buffer), count);
        this.look(context);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // All that the codec had of the streams is written.
        let between_frames = this.written.between_frames() && !this.writing_head;
        ready!(this.poll_resets(context, between_frames))?;
        Pin::new(&mut this.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
