//! The activator's program as it is released, in front of a pod that is the backend: its API server is the only pretended part.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::json;

use super::Subject;
use super::api::{self, Collections};
use super::backend::{answers, free_address};
use super::cpu::Process;

/// Catnap in front of the backend.
pub(super) async fn start(
    core: usize,
    program: &Path,
    upstream: SocketAddr,
    directory: &Path,
) -> anyhow::Result<Subject> {
    let (api, _serving) = api::serve(collections(upstream)).await?;
    let kubeconfig = directory.join("kubeconfig.json");
    let contents = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": format!("http://{api}")}}],
        "users": [{"name": "bench", "user": {}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
    });
    std::fs::write(&kubeconfig, contents.to_string()).context("cannot write a kubeconfig")?;
    let [address, edge, peers, admin] = [free_address()?, free_address()?, free_address()?, free_address()?];
    let mut command = Command::new(program);
    command.env("KUBECONFIG", &kubeconfig).args(["--workers", "1", "--log", "warn"]);
    command.args([
        "--pod-name",
        "a",
        "--pod-namespace",
        "catnap-system",
        "--pod-uid",
        "a",
        "--pod-ip",
        "127.0.0.1",
    ]);
    for (flag, address) in
        [("--listen", address), ("--edge-listen", edge), ("--peer-listen", peers), ("--admin-address", admin)]
    {
        command.arg(flag).arg(address.to_string());
    }
    let process = Process::start(core, &command)?;
    answers(address).await?;
    Ok(Subject { name: "catnap", address, process })
}

/// One Function that is up.
fn collections(pod: SocketAddr) -> Collections {
    let function = json!({
        "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
        "metadata": {"name": "bench", "namespace": "default", "uid": "f", "resourceVersion": "1", "generation": 1},
        "spec": {"image": "none"},
        "status": {
            "revisions": [{"name": "bench-1", "port": pod.port(), "protocol": "HTTP1", "state": "Routed"}],
            "traffic": [{"revision": "bench-1", "percent": 100}],
        },
    });
    let running = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "bench-1-abc-x", "namespace": "default", "uid": "p", "resourceVersion": "1",
            "labels": {
                "catnap.dev/function": "bench", "catnap.dev/revision": "bench-1", "catnap.dev/function-uid": "f",
            },
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "bench-1-abc", "uid": "r", "controller": true},
            ],
        },
        "status": {
            "phase": "Running", "podIP": pod.ip().to_string(),
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{
                "name": "function", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "state": {"running": {}},
            }],
        },
    });
    Collections::from([("/functions", vec![function]), ("api/v1/pods", vec![running])])
}
