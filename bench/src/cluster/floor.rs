//! The floor: what Kubernetes alone needs from patches of `/scale` to the first bytes.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v1::{Scale, ScaleSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;
use tokio::time::{Instant, interval, timeout};

use super::{function, wire};

/// Between two attempts to connect, as the activator's probes.
const ATTEMPT_EVERY: Duration = Duration::from_millis(5);
/// After which an attempt is abandoned, as the activator's probes.
const ATTEMPT_LIMIT: Duration = Duration::from_millis(50);
/// Longest time until a pod answers.
const LIMIT: Duration = Duration::from_secs(60);

/// A Deployment with the pods of a Function, scaled by hand.
pub(crate) struct Floor {
    name: String,
    deployments: Api<Deployment>,
    pods: Api<Pod>,
    port: u16,
}

impl Floor {
    /// Copies the pod template of a Function's Deployment under labels of its own.
    pub(crate) async fn like(
        client: &Client,
        namespace: &str,
        name: &str,
        original: &Deployment,
    ) -> anyhow::Result<Self> {
        let mut spec = original.spec.clone().context("the function's Deployment has no spec")?;
        let labels = Some([("app".to_owned(), name.to_owned())].into());
        spec.replicas = Some(0);
        spec.selector.match_labels.clone_from(&labels);
        spec.template.metadata.get_or_insert_default().labels = labels;
        let port = function::port_of(&spec.template)?;
        let mut deployment = Deployment { spec: Some(spec), ..Deployment::default() };
        deployment.metadata.name = Some(name.to_owned());
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        deployments
            .create(&PostParams::default(), &deployment)
            .await
            .context("cannot create the floor's Deployment")?;
        let pods = Api::namespaced(client.clone(), namespace);
        Ok(Self { name: name.to_owned(), deployments, pods, port })
    }

    /// Scales to zero and waits until no pod object is left.
    pub(crate) async fn rest(&self) -> anyhow::Result<()> {
        self.scale(0).await?;
        function::no_pods(&self.pods, &format!("app={}", self.name)).await
    }

    /// Where its pods listen.
    pub(crate) async fn addresses(&self) -> anyhow::Result<Vec<SocketAddr>> {
        let labels = ListParams::default().labels(&format!("app={}", self.name));
        let pods = self.pods.list(&labels).await.context("cannot list the floor's pods")?;
        let addresses = pods.items.iter().filter_map(address_of);
        Ok(addresses.map(|address| SocketAddr::new(address, self.port)).collect())
    }

    /// Its name, and that of its Deployment.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Writes `/scale` with the kind of call that the autoscaler makes.
    pub(crate) async fn update(&self, replicas: i32) -> anyhow::Result<()> {
        let name = Some(self.name.clone());
        let scale = Scale {
            metadata: ObjectMeta { name, ..ObjectMeta::default() },
            spec: Some(ScaleSpec { replicas: Some(replicas) }),
            status: None,
        };
        let written = self.deployments.replace_scale(&self.name, &PostParams::default(), &scale).await;
        written.map(drop).context("cannot update the floor")
    }

    async fn scale(&self, replicas: i32) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        self.deployments
            .patch_scale(&self.name, &PatchParams::default(), &patch)
            .await
            .context("cannot scale the floor")?;
        Ok(())
    }
}

/// Scales all of these at once, and sends each of their pods one request as soon as it takes a connection. Times to the first
/// bytes, in the order in which the pods came.
pub(crate) async fn wake(floors: &[&Floor], replicas: i32, path: &str) -> anyhow::Result<Vec<Duration>> {
    let first = floors.first().context("nothing to wake")?;
    let names: Vec<&str> = floors.iter().map(|floor| floor.name.as_str()).collect();
    let selector = format!("app in ({})", names.join(","));
    let list = first.pods.list_metadata(&ListParams::default().labels(&selector)).await;
    let version = list.context("cannot list pods")?.metadata.resource_version;
    let version = version.context("a list without a version")?;
    let watch = WatchParams::default().labels(&selector).timeout(60);
    let mut events = pin!(first.pods.watch(&watch, &version).await.context("cannot watch pods")?);
    // The watch has taken the connection: the writes must not pay for new ones, for an autoscaler's do not.
    try_join_all(floors.iter().map(|floor| floor.scale(0))).await?;
    let expected = floors.len() * usize::try_from(replicas)?;
    let start = Instant::now();
    let scaled = try_join_all(floors.iter().map(|floor| floor.scale(replicas)));
    let asked = async {
        let mut seen = BTreeSet::new();
        let mut asking = FuturesUnordered::new();
        let mut times = Vec::with_capacity(expected);
        while times.len() < expected {
            tokio::select! {
                event = events.try_next() => {
                    let event = event.context("the watch of pods broke")?.context("the watch of pods ended")?;
                    if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = event
                        && let Some(address) = address_of(&pod)
                        && seen.insert(address)
                    {
                        asking.push(ask(SocketAddr::new(address, first.port), path));
                    }
                }
                Some(answered) = asking.next() => {
                    let answered: Instant = answered?;
                    times.push(answered - start);
                }
            }
        }
        anyhow::Ok(times)
    };
    let (_, times) = futures::try_join!(scaled, asked)?;
    Ok(times)
}

fn address_of(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()
}

/// Connects as soon as a pod listens, and asks it; when the first byte of its answer came.
async fn ask(address: SocketAddr, path: &str) -> anyhow::Result<Instant> {
    let mut attempts = interval(ATTEMPT_EVERY);
    let connecting = async {
        loop {
            attempts.tick().await;
            if let Some(stream) = wire::connect(address, ATTEMPT_LIMIT).await {
                break stream;
            }
        }
    };
    let Ok(stream) = timeout(LIMIT, connecting).await else {
        bail!("a pod of the floor did not answer in {LIMIT:?}")
    };
    Ok(wire::get(stream, "floor", path).await?.first_byte)
}
