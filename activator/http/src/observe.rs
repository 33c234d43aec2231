//! What the data path tells whoever counts: one call when a request ends, with everything about it.
//!
//! Labels stay bounded: functions and revisions that exist, reasons and outcomes from lists; never a host or a path.

use std::time::Duration;

use catnap_activator_core::{FunctionName, Phases, Reason};
use catnap_wire::message::RevisionId;

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

/// One request, after its end.
#[derive(Debug)]
pub struct Ended<'record> {
    /// The function, when the host was known.
    pub function: Option<&'record FunctionName>,
    /// The revision whose pod had the request last.
    pub revision: Option<&'record RevisionId>,
    /// Status code of the response, when there was one.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// From the parsed head to the end.
    pub duration: Duration,
    /// From the parsed head to the response's.
    pub first_byte: Option<Duration>,
    /// How the time before the dispatch was spent, when the request waited.
    pub phases: Option<Phases>,
    /// Times that the request was given to a pod; 0 when never.
    pub attempts: u32,
    /// Bytes of the request's body that were forwarded.
    pub request_bytes: u64,
    /// Bytes of the response's body.
    pub response_bytes: u64,
}

/// Counts what happens. Called on the workers: it must be short and must not block.
pub trait Observer: Send + Sync + 'static {
    /// A request's head was parsed.
    fn began(&self) {}

    /// A request ended; `began` was called for it.
    fn ended(&self, _exchange: &Ended<'_>) {}

    /// A request is held now.
    fn held(&self) {}

    /// A held request was dispatched, refused or left; `held` was called for it.
    fn released(&self) {}

    /// The parser refused what a client sent; there was no request.
    fn unparsable(&self, _reason: Reason) {}

    /// There was no room for a connection, and it was closed before it said anything.
    fn turned_away(&self) {}
}

/// Counts nothing.
impl Observer for () {}
