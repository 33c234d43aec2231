//! The hold queue: requests in the order of their arrival.
//!
//! A request that is tried again keeps its ticket, and with it its place before everybody who came later.

use crate::budget::HeldPermit;
use std::collections::BTreeMap;
use std::time::Duration;

/// Names one request in the whole process; a later arrival has a larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// One held request.
#[derive(Debug)]
pub(crate) struct Held<W> {
    pub(crate) waiter: W,
    pub(crate) arrived: Duration,
    /// No pod was usable at some time of the wait.
    pub(crate) cold: bool,
    /// Counts against the process for as long as the request is held.
    _permit: HeldPermit,
}

impl<W> Held<W> {
    pub(crate) fn new(waiter: W, arrived: Duration, cold: bool, permit: HeldPermit) -> Self {
        Self { waiter, arrived, cold, _permit: permit }
    }
}

/// First in, first out by ticket; leaving from the middle is cheap.
#[derive(Debug)]
pub(crate) struct Queue<W> {
    entries: BTreeMap<Ticket, Held<W>>,
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
    }
}

impl<W> Queue<W> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn push(&mut self, ticket: Ticket, held: Held<W>) {
        self.entries.insert(ticket, held);
    }

    pub(crate) fn pop(&mut self) -> Option<(Ticket, Held<W>)> {
        self.entries.pop_first()
    }

    pub(crate) fn leave(&mut self, ticket: Ticket) -> Option<Held<W>> {
        self.entries.remove(&ticket)
    }

    /// Takes those out that have to leave, in order.
    pub(crate) fn take(&mut self, leaves: impl Fn(&W) -> bool) -> Vec<(Ticket, Held<W>)> {
        self.entries.extract_if(.., |_, held| leaves(&held.waiter)).collect()
    }

    /// When the request at the head arrived.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        self.entries.first_key_value().map(|(_, held)| held.arrived)
    }

    /// Takes the head when it has waited for `longest`.
    pub(crate) fn pop_expired(&mut self, now: Duration, longest: Duration) -> Option<(Ticket, Held<W>)> {
        if self.oldest()? + longest > now {
            return None;
        }
        self.pop()
    }

    /// Remembers that everybody in the queue now waits for a cold start.
    pub(crate) fn mark_cold(&mut self) {
        for held in self.entries.values_mut() {
            held.cold = true;
        }
    }

    /// Tickets in the order of granting.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = Ticket> + '_ {
        self.entries.keys().copied()
    }
}
