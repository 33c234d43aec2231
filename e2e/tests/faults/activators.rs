//! Activators as pods and as processes of this machine.

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
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
