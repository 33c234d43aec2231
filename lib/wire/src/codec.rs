//! Checked conversion between the plain messages and their protobuf form.
//!
//! Decoding refuses what is malformed or oversized, naming the field; encoding cannot fail.

mod decode;
mod encode;
#[cfg(any(test, fuzzing))]
pub mod parsers;
mod peers;
mod rates;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use crate::limits::MAX_NAME_BYTES;

type Decoded<T> = Result<T, DecodeError>;

/// A frame that was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// A field that must be there is not.
    #[error("{field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A string is empty or too long.
    #[error("{field} must have 1 to {MAX_NAME_BYTES} bytes, has {bytes}")]
    BadName {
        /// The field.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A list or number is larger than allowed.
    #[error("{field} is {value}, at most {most} is allowed")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// What was sent.
        value: u64,
        /// What is allowed.
        most: u64,
    },
}
