//! A Function's pods, a line each: what a person looks for when one does not come up.

use catnap_crds::{Function, names};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use serde::Serialize;

use crate::connection::Connection;
use crate::connection::call::CallError;
use crate::pods;

/// One pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodLine {
    pub(crate) name: String,
    pub(crate) revision: String,
    /// Its phase, or what keeps its container from running.
    pub(crate) state: String,
    pub(crate) ready: bool,
    pub(crate) restarts: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<Timestamp>,
    /// How its container ended before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_end: Option<String>,
}

/// All of them.
pub(super) async fn read(connection: &Connection, function: &Function) -> Result<Vec<PodLine>, CallError> {
    let pods = pods::list(connection, function).await?;
    Ok(pods.iter().filter_map(|pod| line(pod, function)).collect())
}

fn line(pod: &Pod, function: &Function) -> Option<PodLine> {
    let revision = pods::revision(pod, function)?.to_owned();
    let status = pod.status.as_ref();
    let statuses = || status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let container = statuses().find(|container| container.name == names::CONTAINER);
    let last = container.and_then(|container| container.last_state.as_ref()?.terminated.as_ref());
    Some(PodLine {
        name: pod.metadata.name.clone().unwrap_or_default(),
        revision,
        state: state(pod, container),
        ready: conditions.filter(|it| it.type_ == "Ready").any(|it| it.status == "True"),
        restarts: statuses().map(|container| container.restart_count).sum(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        created: pod.metadata.creation_timestamp.as_ref().map(|created| created.0),
        last_end: last.map(end),
    })
}

/// As kubectl's column STATUS, as far as the function's own container is concerned.
fn state(pod: &Pod, container: Option<&ContainerStatus>) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let state = container.and_then(|container| container.state.as_ref());
    let waiting = state.and_then(|state| state.waiting.as_ref()?.reason.clone());
    let ended = state.and_then(|state| state.terminated.as_ref()).map(end);
    let phase = || pod.status.as_ref().and_then(|status| status.phase.clone());
    waiting.or(ended).or_else(phase).unwrap_or_else(|| "Unknown".to_owned())
}

fn end(ended: &ContainerStateTerminated) -> String {
    let reason = ended.reason.as_deref().unwrap_or("Ended");
    format!("{reason}, exit code {}", ended.exit_code)
}
