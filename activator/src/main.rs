//! The data path's process.

mod backoff;
mod leader;
mod members;
mod stream;
mod watch;

fn main() {}
