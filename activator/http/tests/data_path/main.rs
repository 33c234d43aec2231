//! The data path on real sockets: clients, a running server with a scripted leader, and pods that are servers of this test.
//!
//! Nothing sleeps: waits are on conditions and bounded.

// Clippy takes only what is marked as a test for one; all of this crate is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bed;
mod client;
mod pod;

mod answers;
mod broken;
mod connections;
mod cut_short;
mod drain;
mod drain_http2;
mod forwarding;
mod hardening;
mod holding;
mod http1;
mod http2;
mod leaving;
mod limits;
mod misbehaving;
mod probing;
mod protocols;
mod streams;
mod timeouts;
mod tls;
mod traffic;
mod tunnels;
mod uploads;
