//! What the data path needs of a Function: its routed revision, the revisions in its status, and its live settings.
//!
//! Routes come from status alone, so that an edit of the spec changes nothing before the operator has acted on it; scaling,
//! timeouts and the queue come from the spec, so that they take effect at once.

use std::sync::Arc;

use catnap_activator_core::{
    FunctionName, FunctionPolicy, FunctionRoute, Protocol, Reason, RevisionRoute, Timeouts, Trouble,
};
use catnap_crds::{Function, FunctionSpec, FunctionStatus, Protocol as SpecProtocol, RevisionStatus};

/// A Function as the watch shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It takes requests.
    Route(FunctionRoute),
    /// It is being deleted (in the foreground, or held by somebody's finalizer).
    Deleting(FunctionName),
}

impl Seen {
    /// Trims a Function; `None` when it cannot be named.
    pub(crate) fn trim(function: Function) -> Option<Self> {
        let metadata = function.metadata;
        let name = FunctionName { namespace: metadata.namespace?.into(), name: metadata.name?.into() };
        if metadata.deletion_timestamp.is_some() {
            return Some(Self::Deleting(name));
        }
        let status = function.status.unwrap_or_default();
        let revisions: Vec<_> = status.revisions.iter().map(revision).collect();
        let routed =
            routed(&status).filter(|routed| revisions.iter().any(|revision| revision.name == *routed));
        Some(Self::Route(FunctionRoute {
            name,
            uid: metadata.uid?.into(),
            // What already serves goes on serving when a later revision cannot.
            stalled: if routed.is_none() { stalled(&status, metadata.generation) } else { None },
            routed,
            revisions,
            policy: policy(&function.spec),
        }))
    }

    /// The route, of a Function that takes requests.
    pub(crate) fn into_route(self) -> Option<FunctionRoute> {
        match self {
            Self::Route(route) => Some(route),
            Self::Deleting(_) => None,
        }
    }
}

/// The revision with the largest share of the traffic.
fn routed(status: &FunctionStatus) -> Option<Arc<str>> {
    let largest =
        status.traffic.iter().filter(|share| share.percent > 0).max_by_key(|share| share.percent)?;
    Some(largest.revision.as_str().into())
}

fn revision(status: &RevisionStatus) -> RevisionRoute {
    RevisionRoute {
        name: status.name.as_str().into(),
        port: u16::try_from(status.port).unwrap_or_default(),
        protocol: match status.protocol {
            SpecProtocol::Http1 => Protocol::Http1,
            SpecProtocol::H2c => Protocol::H2c,
        },
        readiness_path: status.readiness_path.as_str().into(),
        concurrency_limit: count(status.concurrency_limit),
    }
}

fn policy(spec: &FunctionSpec) -> FunctionPolicy {
    let (scale, timeouts) = (&spec.scale, &spec.timeouts);
    FunctionPolicy {
        target: count(scale.concurrency_target()),
        wake: count(scale.wake_replicas()),
        max: count(scale.max),
        activation: timeouts.activation.get(),
        max_requests: usize::try_from(spec.queue.max_requests).unwrap_or_default(),
        window: scale.window.get(),
        timeouts: Timeouts::of(timeouts.first_byte.get(), timeouts.request.get(), timeouts.inactivity.get()),
    }
}

/// Why the Function as it is now cannot come up. A condition about an older generation says nothing about this one.
fn stalled(status: &FunctionStatus, generation: Option<i64>) -> Option<Trouble> {
    let is_current =
        |observed: Option<i64>| observed.is_none() || generation.is_none() || observed >= generation;
    let condition = status.conditions.iter().find(|condition| condition.type_ == "Stalled")?;
    (condition.status == "True" && is_current(condition.observed_generation)).then(|| Trouble {
        reason: Reason::from_name(&condition.reason).unwrap_or(Reason::Stalled),
        detail: condition.message.as_str().into(),
    })
}

/// The API server lets no negative number through.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests;
