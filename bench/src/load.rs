//! Callers. None of them is the subject's own code, and each counts what it asked for against what came back.

mod closed;
pub(crate) mod http2;
mod open;
mod response;

pub(crate) use closed::ClosedLoop;
pub(crate) use http2::{Call, Http2ClosedLoop};
pub(crate) use open::{Arrivals, OpenLoop, Outcome};

/// Longest wait for an answer.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// A request without a body, as HTTP/1.1 writes it.
pub(crate) fn get(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: catnap-bench\r\naccept: */*\r\n\r\n")
        .into_bytes()
}

#[cfg(test)]
pub(crate) mod tests;
