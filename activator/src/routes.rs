//! What the data path needs of a Function: how its requests are split, the revisions in its status, its other names, and its
//! live settings.
//!
//! Routes come from status alone, so that an edit of the spec changes nothing before the operator has acted on it; scaling,
//! timeouts and the queue come from the spec, so that they take effect at once.

use std::sync::Arc;

use catnap_activator_core::{
    FunctionName, FunctionPolicy, FunctionRoute, HostRoute, Protocol, Reason, RevisionRoute, Share, TagRoute,
    Timeouts, Trouble,
};
use catnap_crds::{Function, FunctionSpec, FunctionStatus, Protocol as SpecProtocol, RevisionStatus, Scale};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// A Function as the watch shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It takes requests.
    Route(Box<FunctionRoute>),
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
        let revisions: Vec<_> = status
            .revisions
            .iter()
            .map(|each| revision(each, &function.spec.scale.of_part(status.coming_percent(&each.name))))
            .collect();
        // Of a revision without an entry of its own nothing is known that a request could be sent by.
        let known = status.traffic.iter().filter_map(|share| {
            let known = revisions.iter().find(|revision| *revision.name == *share.revision)?;
            Some((Arc::clone(&known.name), share))
        });
        let shares = known.clone().filter(|(_, share)| share.percent > 0);
        let traffic: Vec<_> =
            shares.map(|(revision, share)| Share { revision, percent: count(share.percent) }).collect();
        let tags = known
            .filter_map(|(revision, share)| Some(TagRoute { tag: share.tag.as_deref()?.into(), revision }));
        let tags = tags.collect();
        Some(Self::Route(Box::new(FunctionRoute {
            name,
            uid: metadata.uid?.into(),
            created: metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            // What already serves goes on serving when a later revision cannot.
            stalled: if traffic.is_empty() { stalled(&status, metadata.generation) } else { None },
            traffic,
            tags,
            hosts: hosts(&status),
            revisions,
            policy: policy(&function.spec),
        })))
    }

    /// The route, of a Function that takes requests.
    pub(crate) fn into_route(self) -> Option<FunctionRoute> {
        match self {
            Self::Route(route) => Some(*route),
            Self::Deleting(_) => None,
        }
    }
}

/// The hosts that the Function was given.
fn hosts(status: &FunctionStatus) -> Vec<HostRoute> {
    let accepted = status.hosts.iter().filter(|host| host.accepted);
    accepted
        .map(|host| HostRoute { host: host.host.as_str().into(), tag: host.tag.as_deref().map(Into::into) })
        .collect()
}

/// `scale` is the revision's part of the Function's.
fn revision(status: &RevisionStatus, scale: &Scale) -> RevisionRoute {
    RevisionRoute {
        name: status.name.as_str().into(),
        port: u16::try_from(status.port).unwrap_or_default(),
        protocol: match status.protocol {
            SpecProtocol::Http1 => Protocol::Http1,
            SpecProtocol::H2c => Protocol::H2c,
        },
        readiness_path: status.readiness_path.as_str().into(),
        concurrency_limit: count(status.concurrency_limit),
        requires_ready: status.requires_ready,
        wake: count(scale.wake_replicas()),
        max: count(scale.max),
    }
}

fn policy(spec: &FunctionSpec) -> FunctionPolicy {
    let (scale, timeouts) = (&spec.scale, &spec.timeouts);
    FunctionPolicy {
        target: count(scale.concurrency_target()),
        activation: timeouts.activation.get(),
        max_requests: usize::try_from(spec.queue.max_requests).unwrap_or_default(),
        window: scale.window.get(),
        timeouts: Timeouts::of(timeouts.first_byte.get(), timeouts.request.get(), timeouts.inactivity.get()),
    }
}

/// Why the Function as it is now cannot come up, or what whoever waits in vain for it has waited for. A condition about an older
/// generation says nothing about this one.
fn stalled(status: &FunctionStatus, generation: Option<i64>) -> Option<Trouble> {
    let is_current =
        |observed: Option<i64>| observed.is_none() || generation.is_none() || observed >= generation;
    let holds = |type_: &str| {
        let condition = status.conditions.iter().find(|condition| condition.type_ == type_)?;
        (condition.status == "True" && is_current(condition.observed_generation)).then_some(condition)
    };
    let trouble =
        |reason, condition: &Condition| Trouble { reason, detail: condition.message.as_str().into() };
    if let Some(condition) = holds("Stalled") {
        return Some(trouble(Reason::from_name(&condition.reason).unwrap_or(Reason::Stalled), condition));
    }
    let passing = holds("Reconciling")?;
    let reason = Reason::from_name(&passing.reason).filter(|reason| !reason.ends_wait())?;
    Some(trouble(reason, passing))
}

/// The API server lets no negative number through.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests;
