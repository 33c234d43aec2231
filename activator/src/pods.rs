//! Pods of functions as the watch shows them, trimmed to what routing needs and checked to be a revision's own.
//!
//! A label alone proves nothing, since anybody who may create pods may set it: the owner must be a ReplicaSet of the
//! revision's Deployment. That the Function has the UID in the label is checked where the routes are known.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use catnap_activator_core::{Pod, Reason, Trouble};
use catnap_crds::{labels, names};
use catnap_wire::{PodUid, RevisionId};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod as PodObject, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FunctionPod {
    /// UID of the pod.
    pub(crate) uid: PodUid,
    /// The revision it belongs to; `None` when its labels or its owner do not say so.
    pub(crate) revision: Option<RevisionId>,
    address: Option<IpAddr>,
    started: bool,
    ready: bool,
    terminating: bool,
    trouble: Option<Trouble>,
}

impl FunctionPod {
    /// Trims a pod; `None` when it has no UID.
    pub(crate) fn trim(pod: PodObject) -> Option<Self> {
        let uid = PodUid::from(pod.metadata.uid.as_deref()?);
        let status = pod.status.unwrap_or_default();
        let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        Some(Self {
            uid,
            revision: owner(&pod.metadata),
            address: status.pod_ip.as_deref().and_then(|address| address.parse().ok()),
            started: function_container(&status).is_some_and(runs),
            ready: has_condition(&status, "Ready", "True"),
            terminating: ended || pod.metadata.deletion_timestamp.is_some(),
            trouble: trouble(&status),
        })
    }

    /// The pod as the core wants it, once the revision's port is known.
    pub(crate) fn on_port(&self, port: u16) -> Pod {
        Pod {
            uid: Arc::clone(&self.uid),
            address: self.address.map(|address| SocketAddr::new(address, port)),
            started: self.started,
            ready: self.ready,
            terminating: self.terminating,
            trouble: self.trouble.clone(),
        }
    }
}

/// The revision in the labels, if the controller is a ReplicaSet of the Deployment of that name.
fn owner(metadata: &ObjectMeta) -> Option<RevisionId> {
    let label = |name: &str| metadata.labels.as_ref()?.get(name).map(String::as_str);
    let name = label(labels::REVISION)?;
    let function_uid = label(labels::FUNCTION_UID)?;
    let controller =
        metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    let suffix = controller.name.strip_prefix(name)?.strip_prefix('-')?;
    // A Deployment's ReplicaSet is its name and a hash; a longer rest belongs to another Deployment's.
    let is_replica_set = controller.kind == "ReplicaSet" && controller.api_version == "apps/v1";
    (is_replica_set && !suffix.is_empty() && !suffix.contains('-')).then(|| RevisionId {
        namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
        name: name.into(),
        function_uid: function_uid.into(),
    })
}

fn function_container(status: &PodStatus) -> Option<&ContainerStatus> {
    status.container_statuses.iter().flatten().find(|container| container.name == names::CONTAINER)
}

fn runs(container: &ContainerStatus) -> bool {
    container.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn has_condition(status: &PodStatus, kind: &str, value: &str) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == kind && condition.status == value)
}

/// What keeps the pod from serving, as kubelet or the scheduler say it.
fn trouble(status: &PodStatus) -> Option<Trouble> {
    let containers =
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let waiting = containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref());
    let container = waiting.into_iter().find_map(|waiting| {
        let reason = match waiting.reason.as_deref()? {
            // kubelet reports the first failed pull for 10 s and more before it calls it a back-off.
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
                Reason::ImagePullFailed
            }
            "CrashLoopBackOff" => Reason::CrashLoop,
            _ => return None,
        };
        Some(Trouble { reason, detail: waiting.message.as_deref().unwrap_or_default().into() })
    });
    let scheduling = || {
        let mut conditions = status.conditions.iter().flatten();
        let unscheduled =
            conditions.find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
        (unscheduled.reason.as_deref() == Some("Unschedulable")).then(|| Trouble {
            reason: Reason::Unschedulable,
            detail: unscheduled.message.as_deref().unwrap_or_default().into(),
        })
    };
    container.or_else(scheduling)
}

#[cfg(test)]
mod tests;
