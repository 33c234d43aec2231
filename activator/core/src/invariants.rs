//! What must hold after every event, in one place for tests, properties and the simulation.

use crate::activator::PodSnapshot;
use crate::effect::{Effect, Grant};
use crate::queue::Ticket;
use crate::revision::Revision;
use std::collections::{BTreeMap, BTreeSet};

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A pod has more exchanges than the limit allows.
    #[error("{revision}: pod {pod} has {in_flight} exchanges, the limit is {limit}")]
    OverLimit {
        /// The revision.
        revision: String,
        /// The pod.
        pod: String,
        /// Its exchanges.
        in_flight: u32,
        /// `concurrency.limit`.
        limit: u32,
    },
    /// A request waits although a pod has room.
    #[error("{revision}: {held} requests wait beside a free slot")]
    WaiterBesideFreeSlot {
        /// The revision.
        revision: String,
        /// Requests held.
        held: u64,
    },
    /// The sums do not agree.
    #[error("{revision}: {measured} requests are measured, {held} held and {in_flight} in flight")]
    Miscounted {
        /// The revision.
        revision: String,
        /// Requests in the measurements.
        measured: u64,
        /// Requests held.
        held: u64,
        /// Exchanges of all pods.
        in_flight: u64,
    },
    /// A request was granted a pod that must not be used.
    #[error("request {ticket} was granted pod {pod}, which is {why}")]
    ForbiddenGrant {
        /// The request.
        ticket: u64,
        /// The pod.
        pod: String,
        /// What is wrong with the pod.
        why: &'static str,
    },
    /// A request was granted before one that came earlier and still waits.
    #[error("request {ticket} was granted before request {earlier}")]
    OutOfOrder {
        /// The request granted.
        ticket: u64,
        /// The one that still waits.
        earlier: u64,
    },
    /// A request ended twice, or one ended that was not held.
    #[error("request {ticket} ended without being held")]
    EndedTwice {
        /// The request.
        ticket: u64,
    },
    /// The queue and the requests that never ended are not the same.
    #[error("{missing} held requests have no end and are in no queue")]
    Forgotten {
        /// How many.
        missing: usize,
    },
}

/// Checks everything that can be seen in the state alone.
pub fn check<W>(revision: &Revision<W>) -> Result<(), Violation> {
    let state = revision.snapshot();
    let limit = revision.route().policy.limit;
    if let Some(pod) = state.pods.iter().find(|pod| limit > 0 && pod.in_flight > limit) {
        return Err(Violation::OverLimit {
            revision: revision.id().to_string(),
            pod: pod.uid.to_string(),
            in_flight: pod.in_flight,
            limit,
        });
    }
    // Without a limit a pod is full at its share, while held requests are spread over pods that are on their way.
    let full = if limit > 0 { limit } else { revision.route().policy.effective_target().max(1) };
    // Only whoever owns the slots knows whether one is free.
    let knows = state.slots.is_none_or(|role| role == "owner");
    let free = |pod: &PodSnapshot| pod.usable && pod.in_flight + pod.elsewhere < full;
    if state.held > 0 && knows && state.pods.iter().any(free) {
        return Err(Violation::WaiterBesideFreeSlot {
            revision: revision.id().to_string(),
            held: state.held,
        });
    }
    let in_flight: u64 = state.pods.iter().map(|pod| u64::from(pod.in_flight)).sum();
    if in_flight != state.in_flight || state.measured != state.held + in_flight {
        return Err(Violation::Miscounted {
            revision: revision.id().to_string(),
            measured: state.measured,
            held: state.held,
            in_flight,
        });
    }
    Ok(())
}

/// Checks a grant right after it was made, before anything else happens.
pub fn check_grant<W>(revision: &Revision<W>, grant: &Grant) -> Result<(), Violation> {
    let state = revision.snapshot();
    let pod = state.pods.iter().find(|pod| pod.uid == grant.uid);
    let why = match pod {
        None => "unknown",
        Some(pod) if pod.terminating => "terminating",
        Some(pod) if pod.condemned => "condemned",
        Some(pod) if pod.set_aside => "set aside",
        Some(pod) if !pod.usable => "not usable",
        Some(pod) if pod.address != Some(grant.address) => "elsewhere",
        Some(_) => return Ok(()),
    };
    Err(Violation::ForbiddenGrant { ticket: grant.ticket.0, pod: grant.uid.to_string(), why })
}

/// Follows the requests of one revision: each held one ends exactly once, and in order.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    held: BTreeSet<Ticket>,
    ends: BTreeMap<Ticket, &'static str>,
}

impl Ledger {
    /// A request was held.
    pub fn held(&mut self, ticket: Ticket) {
        self.held.insert(ticket);
    }

    /// The client of a held request left.
    pub fn left(&mut self, ticket: Ticket) -> Result<(), Violation> {
        self.end(ticket, "left")
    }

    /// Everything that came out of one event.
    pub fn observe<W>(&mut self, revision: &Revision<W>, effects: &[Effect<W>]) -> Result<(), Violation> {
        for effect in effects {
            match effect {
                Effect::Grant { grant, .. } => {
                    check_grant(revision, grant)?;
                    if let Some(earlier) = self.held.first().filter(|first| **first < grant.ticket) {
                        return Err(Violation::OutOfOrder { ticket: grant.ticket.0, earlier: earlier.0 });
                    }
                    self.end(grant.ticket, "granted")?;
                }
                Effect::Fail { ticket, .. } => self.end(*ticket, "failed")?,
                Effect::Send(_) | Effect::ReadScale { .. } | Effect::RaiseScale { .. } | Effect::Probe(_) => {
                }
            }
        }
        let queued: BTreeSet<Ticket> = revision.held_tickets().collect();
        if queued != self.held {
            return Err(Violation::Forgotten { missing: self.held.symmetric_difference(&queued).count() });
        }
        Ok(())
    }

    fn end(&mut self, ticket: Ticket, how: &'static str) -> Result<(), Violation> {
        if !self.held.remove(&ticket) {
            return Err(Violation::EndedTwice { ticket: ticket.0 });
        }
        self.ends.insert(ticket, how);
        Ok(())
    }
}
