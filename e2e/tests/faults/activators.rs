//! Activators as pods and as processes of this machine.

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, SYSTEM_NAMESPACE, within};
use catnap_e2e::functions::PATIENCE;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};
use nix::unistd::Pid;

/// The process of an activator, found by what the downward API told it.
pub(crate) fn process_of(pod: &Pod) -> anyhow::Result<Pid> {
    let name = pod.metadata.name.as_deref().context("a pod without a name")?;
    let variable = format!("POD_NAME={name}");
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(id) = path.file_name().and_then(|id| id.to_str()).and_then(|id| id.parse().ok()) else {
            continue;
        };
        // Processes end while one looks.
        let Ok(environment) = std::fs::read(path.join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes()) {
            return Ok(Pid::from_raw(id));
        }
    }
    anyhow::bail!("{name} has no process")
}

/// Whether kubelet says so.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// How often its containers were started again.
pub(crate) fn restarts(pod: &Pod) -> i32 {
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    containers.map(|container| container.restart_count).sum()
}

/// Waits until a pod whose process was ended since is there again.
pub(crate) async fn back(test: &Context, ended: &Pod) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
    let is_back = |pod: &Pod| is_ready(pod) && restarts(pod) > restarts(ended);
    Box::pin(within(PATIENCE, &pods, &ended.name_any(), is_back)).await.map(drop)
}
