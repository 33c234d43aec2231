//! What of the command line reads files, apart from the program so that other tools can try it.

pub mod manifest;
pub mod migrate;
#[cfg(any(test, fuzzing))]
pub mod parsers;
pub mod printable;
pub mod replay;
