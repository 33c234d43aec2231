//! The floor: what Kubernetes alone needs from a patch of `/scale` to the first byte.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;
use tokio::time::{Instant, interval};

use super::{function, wire};

/// Name of the Deployment, and value of the label that its pods carry.
const NAME: &str = "floor";
/// Between two attempts to connect, as the activator's probes.
const ATTEMPT_EVERY: Duration = Duration::from_millis(5);
/// After which an attempt is abandoned, as the activator's probes.
const ATTEMPT_LIMIT: Duration = Duration::from_millis(50);

/// A Deployment with the pods of a Function, scaled by hand.
pub(super) struct Floor {
    deployments: Api<Deployment>,
    pods: Api<Pod>,
    port: u16,
}

impl Floor {
    /// Copies the pod template of a Function's Deployment under labels of its own.
    pub(super) async fn like(
        client: &Client,
        namespace: &str,
        original: &Deployment,
    ) -> anyhow::Result<Self> {
        let mut spec = original.spec.clone().context("the function's Deployment has no spec")?;
        let labels = Some([("app".to_owned(), NAME.to_owned())].into());
        spec.replicas = Some(0);
        spec.selector.match_labels.clone_from(&labels);
        spec.template.metadata.get_or_insert_default().labels = labels;
        let port = function::port_of(&spec.template)?;
        let mut deployment = Deployment { spec: Some(spec), ..Deployment::default() };
        deployment.metadata.name = Some(NAME.to_owned());
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        deployments
            .create(&PostParams::default(), &deployment)
            .await
            .context("cannot create the floor's Deployment")?;
        Ok(Self { deployments, pods: Api::namespaced(client.clone(), namespace), port })
    }

    /// Scales to one and times the first byte.
    pub(super) async fn request(&self) -> anyhow::Result<Duration> {
        let list =
            self.pods.list(&ListParams::default().labels(&selector())).await.context("cannot list pods")?;
        let version = list.metadata.resource_version.context("a list without a version")?;
        let watch = WatchParams::default().labels(&selector()).timeout(60);
        let mut events = pin!(self.pods.watch(&watch, &version).await.context("cannot watch pods")?);
        // The watch has taken the connection: the write must not pay for a new one, for an autoscaler's does not.
        self.scale(0).await?;
        let start = Instant::now();
        let (scaled, found) = tokio::join!(self.scale(1), async {
            while let Some(event) = events.try_next().await.context("the watch of pods broke")? {
                if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = event {
                    let address = pod.status.and_then(|status| status.pod_ip);
                    if let Some(address) = address.filter(|address| !address.is_empty()) {
                        return address.parse::<IpAddr>().context("a pod's address is none");
                    }
                }
            }
            bail!("the watch of pods ended before a pod had an address")
        });
        scaled?;
        let address = SocketAddr::new(found?, self.port);
        let mut attempts = interval(ATTEMPT_EVERY);
        let stream = loop {
            attempts.tick().await;
            if let Some(stream) = wire::connect(address, ATTEMPT_LIMIT).await {
                break stream;
            }
            if start.elapsed() > Duration::from_secs(60) {
                bail!("the floor's pod did not answer in 60 s");
            }
        };
        let answer = wire::get(stream, NAME).await?;
        Ok(answer.first_byte - start)
    }

    /// Scales to zero and waits until no pod object is left.
    pub(super) async fn rest(&self) -> anyhow::Result<()> {
        self.scale(0).await?;
        function::no_pods(&self.pods, &selector()).await
    }

    async fn scale(&self, replicas: i32) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        self.deployments
            .patch_scale(NAME, &PatchParams::default(), &patch)
            .await
            .context("cannot scale the floor")?;
        Ok(())
    }
}

fn selector() -> String {
    format!("app={NAME}")
}
