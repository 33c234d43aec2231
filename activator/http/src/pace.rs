//! Whether a client keeps us waiting: with the rest of an upload that a pod wants to have, or by not taking what it asked for.
//!
//! Those who move the bytes note who waits for whom; the sweep looks once a second. What counts is how much moved since the
//! client began to be waited for, so that a drop now and then buys no time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::socket::Socket;

/// The least that a client must move that we wait for, on average: what Apache's `mod_reqtimeout` asks for by default.
pub(crate) const LEAST_BYTES_A_SECOND: u64 = 500;

/// What is known about the length of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Upload {
    /// It has a `Content-Length`: there is no reason to dawdle.
    Sized = 1,
    /// It may be a stream of events, each sent when it happens.
    Unsized = 2,
}

/// What a client is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// To read from its socket.
    Read,
    /// To open the connection's window (HTTP/2). That of a stream is a matter of the stream.
    Window,
    Upload(Upload),
}

/// What the connection did so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SoFar {
    /// Bytes.
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// How far things were when the client began to be waited for, or when it last did enough.
#[derive(Clone, Copy, Debug)]
struct Mark {
    wait: Wait,
    at: Instant,
    moved: u64,
}

/// The pace of one connection.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The kernel takes no more bytes.
    blocked: AtomicBool,
    /// A pod waits for more of an upload: an [`Upload`], or 0.
    awaited: AtomicU8,
    /// The client lets no more of its responses come.
    window_closed: AtomicBool,
    /// HTTP/2 streams whose answer has not left whole.
    streams: AtomicUsize,
    /// Bytes of responses that left over HTTP/2.
    delivered: AtomicU64,
    /// Only the sweep's.
    mark: Mutex<Option<Mark>>,
}

impl Pace {
    /// The kernel took bytes, or takes no more.
    pub(crate) fn sending(&self, blocked: bool) {
        // Read first: a line of cache that all cores may keep.
        if self.blocked.load(Relaxed) != blocked {
            self.blocked.store(blocked, Relaxed);
        }
    }

    /// A pod waits for more of an upload, or no longer.
    pub(crate) fn awaits(&self, upload: Option<Upload>) {
        self.awaited.store(upload.map_or(0, |upload| upload as u8), Relaxed);
    }

    /// The window of an HTTP/2 connection holds its responses up, or no longer.
    pub(crate) fn set_window_closed(&self, closed: bool) {
        if self.window_closed.load(Relaxed) != closed {
            self.window_closed.store(closed, Relaxed);
        }
    }

    /// So many HTTP/2 streams have an answer that has not left whole.
    pub(crate) fn set_streams(&self, streams: usize) {
        if self.streams.load(Relaxed) != streams {
            self.streams.store(streams, Relaxed);
        }
    }

    /// Some of what the codec has is not with the kernel.
    pub(crate) fn unsent(&self) -> bool {
        self.blocked.load(Relaxed) || self.streams.load(Relaxed) > 0
    }

    /// Bytes of responses left over HTTP/2.
    pub(crate) fn delivered(&self, bytes: u64) {
        self.delivered.fetch_add(bytes, Relaxed);
    }

    /// To be asked once a second. True when the client moved too little in the `longest` time that it was waited for.
    pub(crate) fn is_late(&self, so_far: SoFar, longest: Duration, now: Instant) -> bool {
        let SoFar { received, sent } = so_far;
        let mut mark = self.mark.lock();
        let Some(wait) = self.wait() else {
            *mark = None;
            return false;
        };
        let (moved, least) = match wait {
            Wait::Read => (sent, least_bytes(longest)),
            Wait::Upload(Upload::Sized) => (received, least_bytes(longest)),
            Wait::Upload(Upload::Unsized) => (received, 1),
            Wait::Window => (self.delivered.load(Relaxed), least_bytes(longest)),
        };
        match *mark {
            Some(begun) if begun.wait == wait && now.saturating_duration_since(begun.at) < longest => false,
            Some(begun) if begun.wait == wait && moved - begun.moved < least => true,
            _ => {
                *mark = Some(Mark { wait, at: now, moved });
                false
            }
        }
    }

    fn wait(&self) -> Option<Wait> {
        if self.blocked.load(Relaxed) {
            return Some(Wait::Read);
        }
        match self.awaited.load(Relaxed) {
            1 => Some(Wait::Upload(Upload::Sized)),
            2 => Some(Wait::Upload(Upload::Unsized)),
            _ => self.window_closed.load(Relaxed).then_some(Wait::Window),
        }
    }
}

/// One upload: notes whether a pod waits for more of it.
#[derive(Debug)]
pub(crate) struct AwaitedUpload {
    /// Of a client that has no other request under way (HTTP/1.1).
    socket: Option<Arc<Socket>>,
    upload: Upload,
    awaited: bool,
}

impl AwaitedUpload {
    pub(crate) fn new(socket: Option<Arc<Socket>>, upload: Upload) -> Self {
        Self { socket, upload, awaited: false }
    }

    pub(crate) fn note(&mut self, awaited: bool) {
        if self.awaited != awaited {
            self.awaited = awaited;
            if let Some(socket) = &self.socket {
                socket.pace.awaits(awaited.then_some(self.upload));
            }
        }
    }
}

impl Drop for AwaitedUpload {
    fn drop(&mut self) {
        self.note(false);
    }
}

/// The least that a client must move in this time.
pub(crate) fn least_bytes(time: Duration) -> u64 {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    (milliseconds.saturating_mul(LEAST_BYTES_A_SECOND) / 1_000).max(1)
}

#[cfg(test)]
mod tests;
