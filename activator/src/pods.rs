//! Pods of functions as the watch shows them, trimmed to what routing needs and checked to be a revision's own.
//!
//! That the Function has the UID in the pod's label is checked where the routes are known.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use catnap_activator_core::{Pod, Reason, Trouble};
use catnap_crds::{PodOwner, names};
use catnap_wire::{PodUid, RevisionId};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod as PodObject, PodSpec, PodStatus};

/// Containers by which Istio and Linkerd are known.
const MESH_PROXIES: [&str; 2] = ["istio-proxy", "linkerd-proxy"];

/// How the pods of a revision are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reach {
    /// Where the function listens.
    pub(crate) port: u16,
    /// Whether kubelet must call a pod Ready first.
    pub(crate) requires_ready: bool,
}

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub(crate) struct FunctionPod {
    /// UID of the pod.
    pub(crate) uid: PodUid,
    /// The revision it belongs to; `None` when no revision's ReplicaSet made it.
    pub(crate) revision: Option<RevisionId>,
    address: Option<IpAddr>,
    started: bool,
    ready: bool,
    /// A mesh's proxy is in it. Its port may answer before the proxy lets requests through.
    meshed: bool,
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
            revision: PodOwner::of(&pod.metadata).map(|PodOwner { revision, function_uid }| RevisionId {
                namespace: pod.metadata.namespace.as_deref().unwrap_or_default().into(),
                name: revision.into(),
                function_uid: function_uid.into(),
            }),
            address: status.pod_ip.as_deref().and_then(|address| address.parse().ok()),
            started: function_container(&status).is_some_and(runs),
            ready: has_condition(&status, "Ready", "True"),
            meshed: pod.spec.as_ref().is_some_and(is_meshed),
            terminating: ended || pod.metadata.deletion_timestamp.is_some(),
            trouble: trouble(&status),
        })
    }

    /// The pod as the core wants it, once it is known how to reach those of its revision.
    pub(crate) fn reached(&self, Reach { port, requires_ready }: Reach) -> Pod {
        Pod {
            uid: Arc::clone(&self.uid),
            address: self.address.map(|address| SocketAddr::new(address, port)),
            started: self.started,
            ready: self.ready,
            requires_ready: requires_ready || self.meshed,
            terminating: self.terminating,
            trouble: self.trouble.clone(),
        }
    }
}

fn function_container(status: &PodStatus) -> Option<&ContainerStatus> {
    status.container_statuses.iter().flatten().find(|container| container.name == names::CONTAINER)
}

/// Whether a mesh's proxy is among the containers, or among those that start before them.
fn is_meshed(pod: &PodSpec) -> bool {
    let mut containers = pod.init_containers.iter().flatten().chain(&pod.containers);
    containers.any(|container| MESH_PROXIES.contains(&container.name.as_str()))
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
