//! The activator's program as it is released, in front of a pod that is the backend: its API server is the only pretended part.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::{Value, json};

use super::api::{Api, Collections};
use super::process::Process;
use super::{Subject, answers, free_address};

/// A running activator, and the API server that it knows.
pub(crate) struct Activator {
    pub(crate) subject: Subject,
    /// Where its metrics are.
    pub(crate) admin: SocketAddr,
    api: Api,
}

impl Activator {
    /// The Function's pod is there from now on.
    pub(crate) fn add_pod(&self, pod: SocketAddr) {
        self.api.add(PODS, running(pod));
    }
}

const FUNCTIONS: &str = "/functions";
const PODS: &str = "api/v1/pods";

/// Starts one. The Function's pod, `upstream`, is there from the beginning, or until `add_pod` it is not.
pub(crate) async fn start(
    core: usize,
    program: &Path,
    upstream: SocketAddr,
    cold: bool,
    directory: &Path,
) -> anyhow::Result<Activator> {
    let pods = if cold { Vec::new() } else { vec![running(upstream)] };
    let api = Api::serve(Collections::from([(FUNCTIONS, vec![function(upstream)]), (PODS, pods)])).await?;
    let kubeconfig = directory.join("kubeconfig.json");
    let contents = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": format!("http://{}", api.address)}}],
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
    Ok(Activator { subject: Subject { name: "catnap", address, process }, admin, api })
}

fn function(pod: SocketAddr) -> Value {
    json!({
        "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
        "metadata": {"name": "bench", "namespace": "default", "uid": "f", "resourceVersion": "1", "generation": 1},
        "spec": {"image": "none", "queue": {"maxRequests": 50_000}},
        "status": {
            "revisions": [{"name": "bench-1", "port": pod.port(), "protocol": "HTTP1", "state": "Routed"}],
            "traffic": [{"revision": "bench-1", "percent": 100}],
        },
    })
}

fn running(pod: SocketAddr) -> Value {
    json!({
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
    })
}
