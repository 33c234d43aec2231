//! The activator's program as it is released, in front of pods that are small backends: its API server is the only pretended part.

mod objects;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::api::Api;
use super::process::Process;
use super::{Subject, Wire, answers, free_address};
pub(crate) use objects::host;

/// Where activators run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) core: usize,
    /// The activator's program.
    pub(crate) program: &'a Path,
    /// For configuration files.
    pub(crate) directory: &'a Path,
}

/// A Function and its only pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) pod: SocketAddr,
    pub(crate) wire: Wire,
    /// Requests that the pod takes at once; 0 for any number.
    pub(crate) limit: u32,
    /// Requests that may be held.
    pub(crate) queue: u32,
    /// The pod is not there before `add_pod`.
    pub(crate) cold: bool,
}

impl Function {
    /// `bench`, without a limit, over HTTP/1.1.
    pub(crate) fn at(pod: SocketAddr) -> Self {
        Self { name: "bench", pod, wire: Wire::Http1, limit: 0, queue: 50_000, cold: false }
    }
}

/// A running activator, and the API server that it knows.
pub(crate) struct Activator {
    pub(crate) subject: Subject,
    /// Where its metrics are.
    pub(crate) admin: SocketAddr,
    api: Api,
}

impl Activator {
    /// Starts one.
    pub(crate) async fn start(place: Place<'_>, functions: &[Function]) -> anyhow::Result<Self> {
        let api = serve(functions).await?;
        let Started { address, admin, process } = start(place, &api, "a").await?;
        Ok(Self { subject: Subject { name: "catnap", address, processes: vec![process] }, admin, api })
    }

    /// Two, where requests go to the one that must ask the other for every slot of `function`, which has a limit.
    pub(crate) async fn start_two(place: Place<'_>, function: Function) -> anyhow::Result<Self> {
        let api = serve(&[function]).await?;
        let names = ["a", "b"];
        for name in names {
            api.add(objects::ACTIVATORS, objects::activator(name));
        }
        let [first, second] = names;
        let (first, second) = (start(place, &api, first).await?, start(place, &api, second).await?);
        let agreed = async {
            loop {
                // Whoever gets no request does not care whose the slots are.
                for one in [&first, &second] {
                    fetch(one.address, &host(function.name), "/").await?;
                }
                match [slots(&first).await?.as_deref(), slots(&second).await?.as_deref()] {
                    [Some("owner"), Some("following")] => return anyhow::Ok(false),
                    [Some("following"), Some("owner")] => return Ok(true),
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let first_follows =
            timeout(Duration::from_secs(20), agreed).await.context("nobody owns the slots")??;
        let (follower, owner) = if first_follows { (first, second) } else { (second, first) };
        let processes = vec![follower.process, owner.process];
        let subject = Subject { name: "catnap", address: follower.address, processes };
        Ok(Self { subject, admin: follower.admin, api })
    }

    /// The Function's pod is there from now on.
    pub(crate) fn add_pod(&self, function: &Function) {
        self.api.add(objects::PODS, objects::pod(function));
    }

    /// Returns when requests that are held wait for a pod and for nothing else: an activator that has just started waits two
    /// seconds for an autoscaler first.
    pub(crate) async fn settled(&self) -> anyhow::Result<()> {
        let settled = async {
            while state(self.admin).await?["revisions"][0]["gate"] != "open" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            anyhow::Ok(())
        };
        timeout(Duration::from_secs(10), settled).await.context("the activator waits for an autoscaler")?
    }

    /// Requests that are held now.
    pub(crate) async fn held(&self) -> anyhow::Result<usize> {
        let metrics = fetch(self.admin, "localhost", "/metrics").await?;
        let held = metrics.lines().filter(|line| line.starts_with("catnap_activator_held{"));
        let numbers = held.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
        Ok(numbers.sum())
    }
}

struct Started {
    address: SocketAddr,
    admin: SocketAddr,
    process: Process,
}

async fn serve(functions: &[Function]) -> anyhow::Result<Api> {
    let api = Api::serve().await?;
    for function in functions {
        api.add(objects::FUNCTIONS, objects::function(function));
        if !function.cold {
            api.add(objects::PODS, objects::pod(function));
        }
    }
    Ok(api)
}

async fn start(place: Place<'_>, api: &Api, pod: &str) -> anyhow::Result<Started> {
    let kubeconfig = place.directory.join(format!("kubeconfig-{}.json", api.address.port()));
    let contents = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": format!("http://{}", api.address)}}],
        "users": [{"name": "bench", "user": {}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
    });
    std::fs::write(&kubeconfig, contents.to_string()).context("cannot write a kubeconfig")?;
    let [address, edge, peers, admin] = [free_address()?, free_address()?, free_address()?, free_address()?];
    let mut command = Command::new(place.program);
    command.env("KUBECONFIG", &kubeconfig).args(["--workers", "1", "--log", "warn"]);
    command.args(["--pod-name", pod, "--pod-namespace", objects::NAMESPACE, "--pod-uid", pod]);
    command.args(["--pod-ip", objects::ADDRESS]);
    for (flag, address) in
        [("--listen", address), ("--edge-listen", edge), ("--peer-listen", peers), ("--admin-address", admin)]
    {
        command.arg(flag).arg(address.to_string());
    }
    let process = Process::start(place.core, &command)?;
    answers(address).await?;
    Ok(Started { address, admin, process })
}

/// What the activator has to do with the slots of its only revision.
async fn slots(activator: &Started) -> anyhow::Result<Option<String>> {
    Ok(state(activator.admin).await?["revisions"][0]["slots"].as_str().map(str::to_owned))
}

async fn state(admin: SocketAddr) -> anyhow::Result<Value> {
    serde_json::from_str(&fetch(admin, "localhost", "/debug/state").await?).context("/debug/state is no JSON")
}

/// Body of a response, which must be a success.
pub(crate) async fn fetch(address: SocketAddr, host: &str, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await.context("cannot connect")?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await?;
    let response = String::from_utf8_lossy(&response);
    let (head, body) = response.split_once("\r\n\r\n").context("no response")?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("{path}: {head}");
    }
    Ok(body.to_owned())
}
