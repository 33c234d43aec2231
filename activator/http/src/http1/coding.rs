//! How a body's end is known while it is read, on either side (RFC 9112 6).

use bytes::BytesMut;
use http_body::SizeHint;

use super::chunked::{Chunked, Decoded};
use super::head::Length;

/// A body, as far as it was not read yet.
#[derive(Debug)]
pub(super) enum Coding {
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

impl Coding {
    pub(super) fn new(length: Length) -> Self {
        match length {
            Length::Known(length) => Self::Length(length),
            Length::Chunked => Self::Chunked(Chunked::default()),
            Length::UntilClose => Self::UntilClose,
        }
    }

    /// The next piece of the body.
    pub(super) fn decode(&mut self, read: &mut BytesMut) -> Result<Decoded, &'static str> {
        match self {
            Self::Length(0) => Ok(Decoded::End),
            Self::Chunked(chunked) => chunked.decode_ahead(read),
            Self::Length(_) | Self::UntilClose if read.is_empty() => Ok(Decoded::Missing),
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                *left -= count as u64;
                Ok(Decoded::Data(read.split_to(count).freeze()))
            }
            Self::UntilClose => Ok(Decoded::Data(read.split().freeze())),
        }
    }

    /// Bytes that are left, when that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Bytes that are known to come.
    pub(super) fn expected(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::Chunked(chunked) => chunked.expected(),
            Self::UntilClose => u64::MAX,
        }
    }

    pub(super) fn ended(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.ended(),
            Self::UntilClose => false,
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Length(left) => SizeHint::with_exact(*left),
            Self::Chunked(_) | Self::UntilClose => SizeHint::default(),
        }
    }
}
