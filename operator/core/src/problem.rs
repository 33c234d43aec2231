//! What can be wrong with a Function, in the words of its conditions and of the activators' `Catnap-Reason`.

use crate::Ownership;

/// Longest message of a problem.
const MAX_MESSAGE_BYTES: usize = 4096;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of thing.
    pub reason: Reason,
    /// For the person who must act.
    pub message: String,
    /// Whether waiting can help.
    pub finality: Finality,
    /// What it keeps from being ready.
    pub scope: Scope,
}

/// The reasons of conditions that say no, and of `RevisionFailed` Events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The image cannot be pulled, does not exist or has no valid name.
    ImagePullFailed,
    /// The container ends again and again.
    CrashLoop,
    /// kubelet cannot start the container: a missing ConfigMap, a command that is not in the image …
    ContainerCannotStart,
    /// The pods are refused, by Pod Security or another admission plugin.
    PodRejected,
    /// A quota is used up.
    QuotaExceeded,
    /// No node has room for a pod.
    Unschedulable,
    /// Containers run and are never ready.
    NeverReady,
    /// Pods end one after the other, evicted or refused by their node.
    PodFailed,
    /// The API server refuses the pod template.
    InvalidPodTemplate,
    /// The API server forbids a write.
    Forbidden,
    /// The API server, or a webhook that it asks, fails at a write and goes on failing.
    WriteFailed,
    /// The API server refuses a Service or an EndpointSlice of the Function.
    InvalidService,
    /// The record of the revision is not one of Catnap's, or was changed.
    RecordUnreadable,
    /// `revisionName` was used for other content.
    RevisionNameTaken,
    /// A Deployment of the revision's name is somebody else's.
    DeploymentNotOwned,
    /// A Service or EndpointSlice of the Function's name is somebody else's.
    ServiceNotOwned,
    /// Somebody changes an object of the Function again whenever it is put right.
    ChangedByOthers,
    /// An object of an earlier Function of this name is not gone yet.
    PredecessorLeaving,
    /// There is no address of the activators to send requests to.
    ActivatorMissing,
    /// A revision named in `spec.traffic` is no revision of the Function.
    RevisionMissing,
    /// A new revision failed too many of the requests that it got.
    RolloutFailed,
    /// A new revision has replicas, and waits until it is known how requests end.
    RolloutWaiting,
    /// As many new revisions as may prove themselves at once are doing so.
    WaitingForProof,
    /// A host belongs to another Function.
    HostTaken,
    /// A host that nobody may claim, or not from this namespace.
    HostNotAllowed,
    /// A Function has the name that a tag would give a revision.
    TagNotRouted,
    /// The namespace is being deleted.
    NamespaceTerminating,
}

/// Whether waiting can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finality {
    /// It may pass by itself: `Reconciling`.
    Passing,
    /// Somebody must act: `Stalled`.
    Final,
}

/// What a problem keeps from being ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The revision that the spec forms: condition `RevisionReady`.
    Revision,
    /// The way of requests, and the revisions besides the spec's own: condition `RoutesReady`.
    Routes,
    /// One of the hosts besides the Function's own name: condition `RoutesReady` too, once the Function serves.
    Hosts,
}

impl Reason {
    /// All of them, in this order.
    pub const ALL: [Self; 27] = [
        Self::ImagePullFailed,
        Self::CrashLoop,
        Self::ContainerCannotStart,
        Self::PodRejected,
        Self::QuotaExceeded,
        Self::Unschedulable,
        Self::NeverReady,
        Self::PodFailed,
        Self::InvalidPodTemplate,
        Self::Forbidden,
        Self::WriteFailed,
        Self::InvalidService,
        Self::RecordUnreadable,
        Self::RevisionNameTaken,
        Self::DeploymentNotOwned,
        Self::ServiceNotOwned,
        Self::ChangedByOthers,
        Self::PredecessorLeaving,
        Self::ActivatorMissing,
        Self::RevisionMissing,
        Self::RolloutFailed,
        Self::RolloutWaiting,
        Self::WaitingForProof,
        Self::HostTaken,
        Self::HostNotAllowed,
        Self::TagNotRouted,
        Self::NamespaceTerminating,
    ];

    /// The one of this name, as conditions have it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// Whether it is why pods do not become ready.
    pub fn is_of_pods(self) -> bool {
        matches!(
            self,
            Self::ImagePullFailed
                | Self::CrashLoop
                | Self::ContainerCannotStart
                | Self::PodRejected
                | Self::QuotaExceeded
                | Self::Unschedulable
                | Self::NeverReady
                | Self::PodFailed
        )
    }

    /// As written in conditions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ImagePullFailed => "ImagePullFailed",
            Self::CrashLoop => "CrashLoop",
            Self::ContainerCannotStart => "ContainerCannotStart",
            Self::PodRejected => "PodRejected",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::Unschedulable => "Unschedulable",
            Self::NeverReady => "NeverReady",
            Self::PodFailed => "PodFailed",
            Self::InvalidPodTemplate => "InvalidPodTemplate",
            Self::Forbidden => "Forbidden",
            Self::WriteFailed => "WriteFailed",
            Self::InvalidService => "InvalidService",
            Self::RecordUnreadable => "RecordUnreadable",
            Self::RevisionNameTaken => "RevisionNameTaken",
            Self::DeploymentNotOwned => "DeploymentNotOwned",
            Self::ServiceNotOwned => "ServiceNotOwned",
            Self::ChangedByOthers => "ChangedByOthers",
            Self::PredecessorLeaving => "PredecessorLeaving",
            Self::ActivatorMissing => "ActivatorMissing",
            Self::RevisionMissing => "RevisionMissing",
            Self::RolloutFailed => "RolloutFailed",
            Self::RolloutWaiting => "RolloutWaiting",
            Self::WaitingForProof => "WaitingForProof",
            Self::HostTaken => "HostTaken",
            Self::HostNotAllowed => "HostNotAllowed",
            Self::TagNotRouted => "TagNotRouted",
            Self::NamespaceTerminating => "NamespaceTerminating",
        }
    }
}

impl Problem {
    /// That an object which is needed belongs to another.
    pub fn not_ours(kind: &str, name: &str, ownership: Ownership) -> Self {
        let (reason, scope) = match kind {
            "Deployment" => (Reason::DeploymentNotOwned, Scope::Revision),
            "ControllerRevision" => (Reason::RevisionNameTaken, Scope::Revision),
            _ => (Reason::ServiceNotOwned, Scope::Routes),
        };
        if ownership == Ownership::Predecessor {
            let message = format!(
                "waiting until the {kind} {name} of an earlier Function of this name, or of a tag, is gone"
            );
            return Self::passing(Reason::PredecessorLeaving, scope, message);
        }
        let message =
            format!("the {kind} {name} exists and is not this Function's; delete it or choose another name");
        Self::lasting(reason, scope, message)
    }

    /// A problem that only somebody's action ends.
    pub fn lasting(reason: Reason, scope: Scope, message: impl Into<String>) -> Self {
        Self { reason, message: bounded(message.into()), finality: Finality::Final, scope }
    }

    /// A problem that may pass by itself.
    pub fn passing(reason: Reason, scope: Scope, message: impl Into<String>) -> Self {
        Self { reason, message: bounded(message.into()), finality: Finality::Passing, scope }
    }
}

/// Others' words can be of any length, and stand in several conditions: a status that is too large is not stored.
fn bounded(mut message: String) -> String {
    if message.len() > MAX_MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_bounded() {
        let long = "é".repeat(MAX_MESSAGE_BYTES);
        let Problem { message, .. } = Problem::lasting(Reason::InvalidPodTemplate, Scope::Revision, long);
        assert_eq!(message.len(), MAX_MESSAGE_BYTES + '…'.len_utf8());
        let Problem { message, .. } = Problem::passing(Reason::Forbidden, Scope::Revision, "no");
        assert_eq!(message, "no");
    }

    #[test]
    fn every_reason_is_explained_in_the_documentation() {
        let page = include_str!("../../../docs/troubleshooting.md");
        let explained: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        assert_eq!(explained, Reason::ALL.map(Reason::as_str), "the reasons, and the page's headings");
    }
}
