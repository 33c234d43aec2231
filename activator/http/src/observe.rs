//! What the data path tells whoever counts: one call when a request ends, with everything about it.
//!
//! Labels stay bounded: functions and revisions that exist, reasons and outcomes from lists; never a host or a path.

use std::time::Duration;

use catnap_activator_core::{Function, Phases, Reason};
use catnap_wire::PodUid;
use catnap_wire::message::RevisionId;
use http::request::Parts;
use http::{HeaderValue, Version};

use crate::trace::Trace;

/// How an exchange ended, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The function's response was delivered to its end, or its tunnel closed.
    Answered,
    /// Catnap answered itself.
    Refused(Reason),
    /// The client went away before the end.
    ClientLeft,
    /// The pod broke off after the response head.
    BrokenOff,
    /// A time limit of the function ended it after the response head.
    TimedOut(Reason),
}

impl Outcome {
    /// Why it ended as it did, a name from a list; empty when the function answered.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Refused(reason) | Self::TimedOut(reason) => reason.name(),
            Self::ClientLeft => "ClientLeft",
            Self::BrokenOff => "BrokenOff",
            Self::Answered => "",
        }
    }
}

/// One request, after its end.
#[derive(Debug)]
pub struct Ended<'record> {
    /// The function, when the host was known.
    pub function: Option<&'record Function>,
    /// The revision whose pod had the request last, or that it waited for in vain; none when the wait was for longer than the
    /// caller had time.
    pub revision: Option<&'record RevisionId>,
    /// Status code of the response, when there was one.
    pub status: Option<u16>,
    /// `grpc-status` of the function's answer to a gRPC call, when it had one.
    pub grpc_status: Option<u8>,
    /// How it ended.
    pub outcome: Outcome,
    /// From the parsed head to the end.
    pub duration: Duration,
    /// From the parsed head to the response's.
    pub first_byte: Option<Duration>,
    /// How long it waited for capacity, all its waits together, whatever became of it; `None`: it did not.
    pub held: Option<Duration>,
    /// How the waits that ended in a dispatch were spent.
    pub phases: Option<Phases>,
    /// Times that the request was given to a pod; 0 when never.
    pub attempts: u32,
    /// Bytes of the request's body that were forwarded.
    pub request_bytes: u64,
    /// Bytes of the response's body.
    pub response_bytes: u64,
    /// More about it, when the observer [wants](Observer::wants_details) that or its trace is sampled.
    pub details: Option<&'record Details>,
}

/// What only a log or a trace tells of a request. Nothing in it is as a client wrote it, but the id, which was checked.
#[derive(Clone, Debug)]
pub struct Details {
    /// One of the methods of RFC 9110 and PATCH, else `_OTHER`.
    pub method: &'static str,
    /// `1.0`, `1.1` or `2`.
    pub version: &'static str,
    /// The client's connection is under TLS.
    pub tls: bool,
    /// Up to 128 letters, digits and `-_.:/+=@`.
    pub request_id: HeaderValue,
    /// Length of path and query in bytes; 0 where the parser refused the head.
    pub path_length: usize,
    /// The pod that had the request last.
    pub pod: Option<PodUid>,
    /// Set when the request's trace is sampled.
    pub trace: Option<Box<Trace>>,
}

/// What [`Details`] take from a request's head, which is gone by then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) method: &'static str,
    pub(crate) version: &'static str,
    pub(crate) path_length: usize,
}

impl Line {
    pub(crate) fn of(parts: &Parts) -> Self {
        let version = match parts.version {
            Version::HTTP_2 => "2",
            Version::HTTP_10 => "1.0",
            _ => "1.1",
        };
        let path_length = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
        Self { method: method_name(parts.method.as_str().as_bytes()), version, path_length }
    }

    /// Of an HTTP/1.1 request whose head was not parsed, but for its method.
    pub(crate) fn unparsable(method: &[u8]) -> Self {
        Self { method: method_name(method), version: "1.1", path_length: 0 }
    }
}

/// The name of a method, one of a list.
fn method_name(method: &[u8]) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| known.as_bytes() == method).unwrap_or("_OTHER")
}

/// Counts what happens. Called on the workers: it must be short and must not block.
pub trait Observer: Send + Sync + 'static {
    /// True when it makes use of [`Details`] of every request: keeping them costs an allocation each.
    fn wants_details(&self) -> bool {
        false
    }

    /// A request's head was parsed.
    fn began(&self) {}

    /// A request ended; `began` was called for it.
    fn ended(&self, _exchange: &Ended<'_>) {}

    /// The parser refused what a client sent; `began` was not called for it.
    fn unparsable(&self, _exchange: &Ended<'_>) {}

    /// There was no room for a connection, and it was closed before it said anything.
    fn turned_away(&self) {}

    /// Once a second: part of the last one in which the worker of this number was busy, from 0 to 1, and whether it refuses
    /// requests for that.
    fn looked_at(&self, _worker: usize, _busy: f64, _refuses: bool) {}
}

/// Counts nothing.
impl Observer for () {}
