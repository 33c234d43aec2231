//! Clients, load generators and conformance checkers of other people, without a cluster: each begins with a function at
//! rest under `catnap dev`; those under TLS have a server of the test's process. They come from Debian (`deploy/dependencies.sh peers`) and from the Go modules in `peers/`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod conformance;
mod curl;
mod function;
mod grpc;
mod languages;
mod load;
mod programs;
mod slow;
mod tls;
