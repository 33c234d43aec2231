//! The form in which what was learned outlives the process: at most [`STORED_BYTES`] bytes a function.
//!
//! A version, the credit in milliseconds, then five bytes an interval; numbers are little-endian. What does not look exactly
//! like this is refused, and the function is learned anew.

use super::Learned;
use super::histogram::{Histogram, INTERVALS, Interval, Length};

/// Most bytes of one function.
pub const STORED_BYTES: usize = HEAD + INTERVALS * INTERVAL;

const VERSION: u8 = 1;
const HEAD: usize = 5;
const INTERVAL: usize = 5;
/// Stands for a credit that was never touched.
const UNTOUCHED: i32 = i32::MIN;

/// Stored bytes that are not what this version writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Another version.
    #[error("version {0} instead of {VERSION}")]
    Version(u8),
    /// Not a head and whole intervals.
    #[error("{0} bytes are no head and whole intervals")]
    Size(usize),
    /// Intervals overlap, are empty, or are too many.
    #[error("intervals are not in order")]
    Intervals,
}

impl Learned {
    /// The form to store.
    #[allow(clippy::cast_possible_truncation)]
    pub fn stored(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(STORED_BYTES);
        bytes.push(VERSION);
        // `as` saturates; nobody saves up or owes three weeks.
        let credit =
            self.credit.map_or(UNTOUCHED, |credit| ((credit * 1_000.0).round() as i32).max(UNTOUCHED + 1));
        bytes.extend(credit.to_le_bytes());
        for Interval { shortest, longest, weight } in self.histogram.intervals() {
            bytes.extend(shortest.0.to_le_bytes());
            bytes.extend(longest.0.to_le_bytes());
            bytes.push(*weight);
        }
        bytes
    }

    /// What was stored.
    pub fn restored(bytes: &[u8]) -> Result<Self, Malformed> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(Malformed::Size(bytes.len()))?;
        let [version, credit @ ..] = head;
        if *version != VERSION {
            return Err(Malformed::Version(*version));
        }
        let (intervals, remainder) = rest.as_chunks::<INTERVAL>();
        if !remainder.is_empty() {
            return Err(Malformed::Size(bytes.len()));
        }
        let interval = |[a, b, c, d, weight]: &[u8; INTERVAL]| Interval {
            shortest: Length(u16::from_le_bytes([*a, *b])),
            longest: Length(u16::from_le_bytes([*c, *d])),
            weight: *weight,
        };
        let histogram =
            Histogram::of(intervals.iter().map(interval).collect()).ok_or(Malformed::Intervals)?;
        let credit = i32::from_le_bytes(*credit);
        let credit = (credit != UNTOUCHED).then(|| f64::from(credit) / 1_000.0);
        Ok(Self { histogram, credit, plan: None })
    }
}
