//! Watches the frames of an HTTP/2 client's connection, between the socket and the codec: how many ask for work and carry
//! nothing, whether a head is half sent, and which streams have an answer that the client does not take.
//!
//! The codec bounds what each empty frame costs in memory, but not how many come: floods of pings, settings, resets, empty
//! DATA frames and the like are a connection's only traffic, and nobody else's time should pay for it. Nor does it say how
//! much of a response waits in it, once it has all of it, for a window that never opens.

#[cfg(any(test, fuzzing))]
pub(crate) mod parsers;
mod walk;

use std::collections::HashSet;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::socket::Socket;
use walk::{Header, Passed, Walk};

/// Frames without content that a client may send in a second; the next ones make the server say goodbye, and as many again
/// close the connection. Keep-alive pings, window updates and cancelled calls of a busy client are far below.
const EMPTY_FRAMES: u32 = 1_000;
const SECOND: Duration = Duration::from_secs(1);
/// A client may send one `WINDOW_UPDATE` for so many bytes that it was sent, besides those that count as empty.
const BYTES_A_WINDOW_UPDATE: u64 = 16;

/// Length of the client's preface (RFC 9113 3.4), which is no frame.
const PREFACE_BYTES: u32 = 24;

/// Types and flags of frames (RFC 9113 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What a client does that deserves no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many frames without content")]
pub(crate) struct Flood;

/// A client's bytes on their way to the HTTP/2 codec, and the codec's on their way back.
#[derive(Debug)]
pub(crate) struct Frames<I> {
    inner: I,
    socket: Arc<Socket>,
    received: Received,
    written: Walk,
    warned: bool,
}

impl<I> Frames<I> {
    /// `inner`: the connection from its preface on.
    pub(crate) fn new(inner: I, socket: Arc<Socket>) -> Self {
        Self { inner, socket, received: Received::new(Instant::now()), written: Walk::new(0), warned: false }
    }

    fn watch_read(&mut self, read: &[u8]) -> io::Result<()> {
        let (had_head, had_streams) = (self.received.head_open, self.received.open.len());
        let flood = self.received.read(read, self.socket.sent(), Instant::now);
        if had_head != self.received.head_open {
            self.socket.head_under_way(self.received.head_open);
        }
        if had_streams != self.received.open.len() {
            self.socket.pace.set_streams(self.received.open.len());
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

    fn watch_written<'bytes>(&mut self, buffers: impl Iterator<Item = &'bytes [u8]>, mut count: usize) {
        let Received { open, pings, .. } = &mut self.received;
        let had_streams = open.len();
        let mut data = 0;
        for buffer in buffers {
            let taken = &buffer[..buffer.len().min(count)];
            count -= taken.len();
            self.written.go(taken, |passed| {
                let Passed::Header(header) = passed else { return };
                if header.kind == DATA {
                    data += u64::from(header.length);
                    *pings += 1;
                }
                if header.ends_stream() {
                    open.remove(&header.stream);
                }
            });
        }
        if data > 0 {
            self.socket.pace.delivered(data);
        }
        if had_streams != open.len() {
            self.socket.pace.set_streams(open.len());
        }
    }
}

impl Header {
    /// Nothing more comes on the stream from this side, or at all.
    fn ends_stream(self) -> bool {
        self.kind == RST_STREAM || (matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0)
    }
}

/// What a client sent.
#[derive(Debug)]
struct Received {
    walk: Walk,
    /// A head has begun and not ended.
    head_open: bool,
    /// The frame that is arriving ends it.
    ends_head: bool,
    /// Frames without content since `since`.
    empty: u32,
    since: Instant,
    /// Bytes sent to the client that are accounted for by a `WINDOW_UPDATE`.
    sent_seen: u64,
    /// Pings that the client may send besides those that count as empty: one for each DATA frame that it was sent, by which
    /// gRPC's clients measure the bandwidth.
    pings: u64,
    /// The highest stream so far.
    latest: u32,
    /// Streams whose answer has not left whole.
    open: HashSet<u32>,
}

impl Received {
    fn new(now: Instant) -> Self {
        Self {
            walk: Walk::new(PREFACE_BYTES),
            head_open: false,
            ends_head: false,
            empty: 0,
            since: now,
            sent_seen: 0,
            pings: 0,
            latest: 0,
            open: HashSet::new(),
        }
    }

    /// Follows the bytes that arrived. `sent`: bytes that went to the client so far. The time is asked for only now and then.
    fn read(&mut self, bytes: &[u8], sent: u64, now: impl Fn() -> Instant) -> Result<(), Flood> {
        let Self { walk, head_open, ends_head, empty, since, sent_seen, pings, latest, open } = self;
        let mut flood = Ok(());
        walk.go(bytes, |passed| {
            let header = match passed {
                Passed::Header(header) => header,
                Passed::End => {
                    *head_open &= !std::mem::take(ends_head);
                    return;
                }
            };
            let carries_nothing = match header.kind {
                DATA => header.length == 0 && header.flags & END_STREAM == 0,
                HEADERS | CONTINUATION => {
                    *head_open = true;
                    *ends_head = header.flags & END_HEADERS != 0;
                    // Trailers open no stream.
                    if header.stream > *latest {
                        *latest = header.stream;
                        open.insert(header.stream);
                    }
                    header.kind == CONTINUATION
                }
                WINDOW_UPDATE if sent - *sent_seen >= BYTES_A_WINDOW_UPDATE => {
                    *sent_seen += BYTES_A_WINDOW_UPDATE;
                    false
                }
                PING if *pings > 0 => {
                    *pings -= 1;
                    false
                }
                RST_STREAM => {
                    open.remove(&header.stream);
                    true
                }
                _ => true,
            };
            *empty += u32::from(carries_nothing);
            if *empty > EMPTY_FRAMES {
                let now = now();
                if now.saturating_duration_since(*since) < SECOND {
                    flood = Err(Flood);
                }
                (*empty, *since) = (0, now);
            }
        });
        flood
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
        Poll::Ready(this.watch_read(&buffer.filled()[before..]))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Frames<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.inner).poll_write(context, bytes))?;
        this.watch_written(std::iter::once(bytes), count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.inner).poll_write_vectored(context, buffers))?;
        this.watch_written(buffers.iter().map(|buffer| &**buffer), count);
        Poll::Ready(Ok(count))
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
