//! The greeter's messages, client and server as tonic generates them, and the greeter itself.
//!
//! The function is `src/main.rs`; tests use the client from here.

mod greeter;

pub use greeter::Greetings;

/// Generated from `proto/greeter.proto`.
pub mod proto {
    #![allow(missing_docs, clippy::pedantic, reason = "generated code")]
    tonic::include_proto!("catnap.examples.greeter.v1");
}
