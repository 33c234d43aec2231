//! Follows the frames of one direction of an HTTP/2 connection (RFC 9113 4.1), however they are cut into reads and writes.

/// Length, type, flags and stream.
pub(super) const HEADER_BYTES: usize = 9;

/// The beginning of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Of the payload, in bytes.
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

/// Where in its frames a direction is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Walk {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// Of the frame that is passing.
    payload_left: u32,
}

/// What passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed<'bytes> {
    Header(Header),
    /// A part of a frame's payload, or of what is no frame.
    Payload(&'bytes [u8]),
    /// The last byte of a frame. It follows the header at once when there is no payload.
    End,
}

impl Walk {
    /// `before`: bytes that are no frame.
    pub(super) fn new(before: u32) -> Self {
        Self { header: [0; HEADER_BYTES], header_bytes: 0, payload_left: before }
    }

    /// True when the next byte is the first of a frame.
    pub(super) fn between_frames(&self) -> bool {
        self.header_bytes == 0 && self.payload_left == 0
    }

    /// Goes on by these bytes.
    pub(super) fn go<'bytes>(&mut self, mut bytes: &'bytes [u8], mut passed: impl FnMut(Passed<'bytes>)) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let here = bytes.len().min(usize::try_from(self.payload_left).unwrap_or(usize::MAX));
                passed(Passed::Payload(&bytes[..here]));
                bytes = &bytes[here..];
                self.payload_left -= u32::try_from(here).unwrap_or(self.payload_left);
            } else {
                let here = bytes.len().min(HEADER_BYTES - self.header_bytes);
                self.header[self.header_bytes..][..here].copy_from_slice(&bytes[..here]);
                bytes = &bytes[here..];
                self.header_bytes += here;
                if self.header_bytes < HEADER_BYTES {
                    return;
                }
                self.header_bytes = 0;
                let header = self.read_header();
                self.payload_left = header.length;
                passed(Passed::Header(header));
            }
            if self.payload_left == 0 {
                passed(Passed::End);
            }
        }
    }

    fn read_header(&self) -> Header {
        let [high, middle, low, kind, flags, stream @ ..] = self.header;
        Header {
            length: u32::from_be_bytes([0, high, middle, low]),
            kind,
            flags,
            // The first bit means nothing.
            stream: u32::from_be_bytes(stream) & (u32::MAX >> 1),
        }
    }
}
