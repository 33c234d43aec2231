//! What an HTTP/2 client sent: how many frames ask for work and carry nothing, whether a head is half sent, and how much of the
//! responses it takes.

use std::time::{Duration, Instant};

use super::walk::{Header, Passed, Walk};
use super::windows::Windows;
use super::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};

/// Frames without content that a client may send in a second; the next ones make the server say goodbye, and as many again
/// close the connection. Keep-alive pings, window updates and cancelled calls of a busy client are far below.
pub(super) const EMPTY_FRAMES: u32 = 1_000;
pub(super) const SECOND: Duration = Duration::from_secs(1);
/// A client may send one `WINDOW_UPDATE` for so many bytes that it was sent, besides those that count as empty.
pub(super) const BYTES_A_WINDOW_UPDATE: u64 = 16;
/// Length of the client's preface (RFC 9113 3.4), which is no frame.
const PREFACE_BYTES: u32 = 24;
/// `SETTINGS_INITIAL_WINDOW_SIZE` (RFC 9113 6.5.2).
const FIRST_WINDOW: u16 = 4;
const ACK: u8 = 1;

/// What a client does that deserves no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many frames without content")]
pub(crate) struct Flood;

/// What a client sent.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) walk: Walk,
    /// A head has begun and not ended.
    pub(super) head_open: bool,
    /// The frame that is arriving ends it.
    ends_head: bool,
    /// Frames without content since `since`.
    pub(super) empty: u32,
    since: Instant,
    /// Bytes sent to the client that are accounted for by a `WINDOW_UPDATE`.
    sent_seen: u64,
    /// Pings that the client may send besides those that count as empty: one for each DATA frame that it was sent, by which
    /// gRPC's clients measure the bandwidth.
    pub(super) pings: u64,
    pub(super) windows: Windows,
    number: Number,
}

/// What is read of a frame that says something about windows.
#[derive(Debug)]
struct Number {
    of: Option<Header>,
    bytes: [u8; 6],
    read: usize,
    /// The window that streams are to begin with. The last one of a frame counts: each costs a walk through all streams.
    first: Option<u32>,
}

impl Received {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            walk: Walk::new(PREFACE_BYTES),
            head_open: false,
            ends_head: false,
            empty: 0,
            since: now,
            sent_seen: 0,
            pings: 0,
            windows: Windows::new(),
            number: Number { of: None, bytes: [0; 6], read: 0, first: None },
        }
    }

    /// True when a frame could come in between here.
    pub(super) fn between_frames(&self) -> bool {
        self.walk.between_frames() && !self.head_open
    }

    /// Follows the bytes that arrived. `sent`: bytes that went to the client so far. The time is asked for only now and then.
    pub(super) fn read(&mut self, bytes: &[u8], sent: u64, now: impl Fn() -> Instant) -> Result<(), Flood> {
        let Self { walk, head_open, ends_head, empty, since, sent_seen, pings, windows, number } = self;
        let mut flood = Ok(());
        walk.go(bytes, |passed| {
            let header = match passed {
                Passed::Header(header) => header,
                Passed::Payload(payload) => return number.read(payload, windows),
                Passed::End => {
                    *head_open &= !std::mem::take(ends_head);
                    return number.end(windows);
                }
            };
            number.begin(header);
            let carries_nothing = match header.kind {
                DATA => header.length == 0 && header.flags & END_STREAM == 0,
                HEADERS | CONTINUATION => {
                    *head_open = true;
                    *ends_head = header.flags & END_HEADERS != 0;
                    windows.begin(header.stream);
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
                    windows.end(header.stream);
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

impl Number {
    fn begin(&mut self, header: Header) {
        let about_windows = match header.kind {
            WINDOW_UPDATE => true,
            SETTINGS => header.flags & ACK == 0,
            _ => false,
        };
        self.of = about_windows.then_some(header);
        self.read = 0;
    }

    fn read(&mut self, payload: &[u8], windows: &mut Windows) {
        let Some(header) = self.of else { return };
        for byte in payload {
            self.bytes[self.read] = *byte;
            self.read += 1;
            if header.kind == WINDOW_UPDATE && self.read == 4 {
                let [increment @ .., _, _] = self.bytes;
                // The first bit means nothing.
                windows.open(header.stream, u32::from_be_bytes(increment) & (u32::MAX >> 1));
                self.read = 0;
            } else if self.read == 6 {
                let [high, low, value @ ..] = self.bytes;
                if u16::from_be_bytes([high, low]) == FIRST_WINDOW {
                    self.first = Some(u32::from_be_bytes(value));
                }
                self.read = 0;
            }
        }
    }

    fn end(&mut self, windows: &mut Windows) {
        if let Some(first) = self.first.take() {
            windows.set_first(first);
        }
    }
}
