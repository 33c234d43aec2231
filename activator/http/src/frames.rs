//! Watches the frames that an HTTP/2 client sends, between the socket and the codec: how many of them ask for work and carry
//! nothing, and whether a head is half sent.
//!
//! The codec bounds what each such frame costs in memory, but not how many come: floods of pings, settings, resets, empty
//! DATA frames and the like are a connection's only traffic, and nobody else's time should pay for it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::socket::Socket;

/// Frames without content that a client may send in a second; the next ones make the server say goodbye, and as many again
/// close the connection. Keep-alive and bandwidth pings, window updates and cancelled calls of a busy client are far below.
const EMPTY_FRAMES: u32 = 1_000;
const SECOND: Duration = Duration::from_secs(1);
/// A client may send one `WINDOW_UPDATE` for so many bytes that it was sent, besides those that count as empty.
const BYTES_A_WINDOW_UPDATE: u64 = 16;

/// Length of the client's preface (RFC 9113 3.4), which is no frame.
const PREFACE_BYTES: u32 = 24;
/// Length, type, flags and stream (RFC 9113 4.1).
const HEADER_BYTES: usize = 9;

/// Types and flags of frames (RFC 9113 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What a client does that deserves no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many frames without content")]
pub(crate) struct Flood;

/// A client's bytes on their way to the HTTP/2 codec.
#[derive(Debug)]
pub(crate) struct Frames<I> {
    inner: I,
    socket: Arc<Socket>,
    meter: Meter,
    warned: bool,
}

impl<I> Frames<I> {
    /// `inner`: the connection from its preface on.
    pub(crate) fn new(inner: I, socket: Arc<Socket>) -> Self {
        Self { inner, socket, meter: Meter::new(Instant::now()), warned: false }
    }

    fn watch(&mut self, read: &[u8]) -> io::Result<()> {
        let (was_open, flood) =
            (self.meter.head_open, self.meter.read(read, self.socket.sent(), Instant::now));
        if was_open != self.meter.head_open {
            self.socket.head_under_way(self.meter.head_open);
        }
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
}

/// Follows the frames of one direction, however they are cut into reads.
#[derive(Debug)]
struct Meter {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// Of the frame that is arriving.
    payload_left: u32,
    /// The frame that is arriving ends a head.
    ends_head: bool,
    /// A head has begun and not ended.
    head_open: bool,
    /// Frames without content since `since`.
    empty: u32,
    since: Instant,
    /// Bytes sent to the client for which it has not yet sent a `WINDOW_UPDATE`.
    sent_seen: u64,
}

impl Meter {
    fn new(now: Instant) -> Self {
        Self {
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            payload_left: PREFACE_BYTES,
            ends_head: false,
            head_open: false,
            empty: 0,
            since: now,
            sent_seen: 0,
        }
    }

    /// Follows the bytes that arrived. `sent`: bytes that went to the client so far. The time is asked for only now and then.
    fn read(&mut self, mut bytes: &[u8], sent: u64, now: impl Fn() -> Instant) -> Result<(), Flood> {
        let mut flood = Ok(());
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let here = bytes.len().min(usize::try_from(self.payload_left).unwrap_or(usize::MAX));
                bytes = &bytes[here..];
                self.payload_left -= u32::try_from(here).unwrap_or(self.payload_left);
            } else {
                let here = bytes.len().min(HEADER_BYTES - self.header_bytes);
                self.header[self.header_bytes..][..here].copy_from_slice(&bytes[..here]);
                bytes = &bytes[here..];
                self.header_bytes += here;
                if self.header_bytes < HEADER_BYTES {
                    break;
                }
                self.header_bytes = 0;
                if self.begin_frame(sent) {
                    self.empty += 1;
                    if self.empty > EMPTY_FRAMES {
                        flood = flood.and(self.end_of_count(now()));
                    }
                }
            }
            if self.payload_left == 0 && self.ends_head {
                (self.ends_head, self.head_open) = (false, false);
            }
        }
        flood
    }

    /// A frame's header is complete. True when the frame carries nothing.
    fn begin_frame(&mut self, sent: u64) -> bool {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.payload_left = u32::from_be_bytes([0, high, middle, low]);
        match kind {
            DATA => self.payload_left == 0 && flags & END_STREAM == 0,
            HEADERS | CONTINUATION => {
                self.head_open = true;
                self.ends_head = flags & END_HEADERS != 0;
                kind == CONTINUATION
            }
            WINDOW_UPDATE if sent - self.sent_seen >= BYTES_A_WINDOW_UPDATE => {
                self.sent_seen += BYTES_A_WINDOW_UPDATE;
                false
            }
            _ => true,
        }
    }

    fn end_of_count(&mut self, now: Instant) -> Result<(), Flood> {
        let lasted = now.saturating_duration_since(self.since);
        (self.empty, self.since) = (0, now);
        if lasted < SECOND { Err(Flood) } else { Ok(()) }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Frames<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        Poll::Ready(this.watch(&buffer.filled()[before..]))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Frames<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
