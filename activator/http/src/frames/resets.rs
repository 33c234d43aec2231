//! Ends streams of an HTTP/2 connection from outside of its codec, which offers no way to: the codec is made to believe that
//! the client reset the stream, and once it has acted on that, the client is told that we did.
//!
//! In this order nothing of a stream can follow its reset.

use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::RST_STREAM;
use super::windows::Windows;

/// The stream is no longer needed (RFC 9113 7).
const CANCEL: u32 = 8;
const FRAME_BYTES: usize = 13;

/// Streams on their way to their end.
#[derive(Debug, Default)]
pub(super) struct Resets {
    /// The codec is to be told, since.
    wanted: Vec<(u32, Instant)>,
    /// It gets to know.
    told: Vec<u32>,
    /// It knows.
    known: Vec<u32>,
    /// For the client.
    frames: Vec<u8>,
    written: usize,
}

impl Resets {
    pub(super) fn want(&mut self, stream: u32, now: Instant) {
        if !self.wanted.iter().any(|(wanted, _)| *wanted == stream) {
            self.wanted.push((stream, now));
        }
    }

    pub(super) fn wants(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// True when there was no room between frames for so long.
    pub(super) fn wanted_for(&self, longest: Duration, now: Instant) -> bool {
        self.wanted.iter().any(|(_, since)| now.saturating_duration_since(*since) >= longest)
    }

    /// The codec reads again, so that it has seen all that it was given.
    pub(super) fn seen(&mut self) {
        self.known.append(&mut self.told);
    }

    /// Tells the codec, between two frames. False: there was nothing to tell.
    pub(super) fn tell(&mut self, windows: &mut Windows, buffer: &mut ReadBuf<'_>) -> bool {
        let mut told = false;
        while buffer.remaining() >= FRAME_BYTES
            && let Some((stream, _)) = self.wanted.pop()
        {
            // The client may have opened the window in the last moment.
            if windows.waits(stream) {
                windows.end(stream);
                buffer.put_slice(&frame(stream));
                self.told.push(stream);
                told = true;
            }
        }
        told
    }

    /// What is to be written to the client before anything else. `between_frames`: more may be added.
    pub(super) fn unwritten(&mut self, between_frames: bool) -> &[u8] {
        if self.written == self.frames.len() {
            self.frames.clear();
            self.written = 0;
        }
        if between_frames {
            self.frames.extend(self.known.drain(..).flat_map(frame));
        }
        &self.frames[self.written..]
    }

    pub(super) fn written(&mut self, bytes: usize) {
        self.written += bytes;
    }
}

/// `RST_STREAM` (RFC 9113 6.4).
fn frame(stream: u32) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    frame[2] = 4;
    frame[3] = RST_STREAM;
    frame[5..9].copy_from_slice(&stream.to_be_bytes());
    frame[9..].copy_from_slice(&CANCEL.to_be_bytes());
    frame
}
