//! A Service of Knative Serving: applied, put to rest, asked. What of it is Knative's own, and what is not, is in
//! `bench/peers/knative/README.md`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::function::{eventually, is_ready, no_pods};
use super::{ClusterArgs, wire};

/// Its name among the peers of a report.
pub(crate) const NAME: &str = "knative";
/// Annotations by which a Service rests as soon as Knative allows: six seconds are the shortest window. The panic window, which
/// decides how fast it grows, stays at the six seconds of the default.
pub(crate) const RESTS_SOON: &[(&str, &str)] =
    &[("autoscaling.knative.dev/window", "6s"), ("autoscaling.knative.dev/panic-window-percentage", "100")];
/// Where the requests of every Service go.
const ACTIVATOR: &str = "activator-service.knative-serving.svc.cluster.local";

/// A Service that scales as Knative decides.
pub(crate) struct KnativeService {
    namespace: String,
    revision: String,
    deployments: Api<Deployment>,
    pods: Api<Pod>,
    activator: SocketAddr,
}

impl KnativeService {
    /// Applies it, with the image of the Functions, and waits until it is Ready. Its name has a part of its own, for a Function
    /// and a Service each make a Kubernetes Service of their name.
    pub(crate) async fn apply(
        client: &Client,
        cluster: &ClusterArgs,
        activator: SocketAddr,
        name: &str,
        limit: Option<u32>,
        annotations: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let ClusterArgs { image, namespace, .. } = cluster;
        let name = format!("{NAME}-{name}");
        let api = |group: &str, version: &str, kind: &str| -> Api<DynamicObject> {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            Api::namespaced_with(client.clone(), namespace, &resource)
        };
        let services = api("serving.knative.dev", "v1", "Service");
        let ingresses = api("networking.internal.knative.dev", "v1alpha1", "Ingress");
        let annotations: BTreeMap<&str, &str> = annotations.iter().copied().collect();
        let mut container = json!({"image": image, "command": ["hello"], "imagePullPolicy": "IfNotPresent"});
        let mut spec = json!({});
        if let Some(limit) = limit {
            spec["containerConcurrency"] = json!(limit);
            container["env"] = json!([{"name": "MAX_CONCURRENCY", "value": limit.to_string()}]);
        }
        spec["containers"] = json!([container]);
        let object = serde_json::from_value(json!({
            "apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"template": {"metadata": {"annotations": annotations}, "spec": spec}},
        }))
        .context("the Service of Knative is malformed")?;
        services
            .create(&PostParams::default(), &object)
            .await
            .context("cannot create a Service of Knative; is Knative Serving installed?")?;
        let mut revision = None;
        eventually("the Service of Knative is Ready", async || {
            accept(&ingresses, &name).await?;
            let service = services.get_status(&name).await?;
            revision = service.data["status"]["latestReadyRevisionName"].as_str().map(str::to_owned);
            Ok(is_ready(&service))
        })
        .await?;
        Ok(Self {
            namespace: namespace.clone(),
            revision: revision.context("the Service of Knative is Ready without a revision")?,
            deployments: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            activator,
        })
    }

    /// Name of its Deployment.
    pub(crate) fn deployment(&self) -> String {
        format!("{}-deployment", self.revision)
    }

    /// Waits until it rests at zero: replicas 0 and no pod object left.
    pub(crate) async fn rest(&self) -> anyhow::Result<()> {
        eventually("the Service of Knative rests at zero", async || {
            let spec = self.deployments.get(&self.deployment()).await?.spec;
            Ok(spec.and_then(|spec| spec.replicas) == Some(0))
        })
        .await?;
        no_pods(&self.pods, &format!("serving.knative.dev/revision={}", self.revision)).await
    }

    /// What its requests name as their host: the activator finds the revision by it, as by the header fields that an ingress adds.
    pub(crate) fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.revision, self.namespace)
    }

    /// One request: time to the first byte, connecting included.
    pub(crate) async fn request(&self, path: &str) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let answered = self.request_on(self.connect().await?, path).await?;
        Ok(answered - start)
    }

    /// A connection to Knative's activators, for [`KnativeService::request_on`].
    pub(crate) async fn connect(&self) -> anyhow::Result<TcpStream> {
        let connecting = wire::connect(self.activator, Duration::from_secs(5));
        connecting.await.context("cannot reach Knative's activator")
    }

    /// One request: when its first byte came.
    pub(crate) async fn request_on(&self, stream: TcpStream, path: &str) -> anyhow::Result<Instant> {
        Ok(wire::get(stream, &self.host(), path).await?.first_byte)
    }
}

/// Says of an Ingress of Knative what an ingress controller says once its proxies have it: there is none, for requests go to the
/// activator themselves. Nothing to do before Knative has made it.
async fn accept(ingresses: &Api<DynamicObject>, name: &str) -> anyhow::Result<()> {
    let Some(ingress) = ingresses.get_opt(name).await.context("cannot read an Ingress of Knative")? else {
        return Ok(());
    };
    let generation = ingress.metadata.generation;
    if ingress.data["status"]["observedGeneration"].as_i64() == generation {
        return Ok(());
    }
    // Their definition wants a time of each.
    let now = Time(Timestamp::now());
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let balancer = json!({"ingress": [{"domainInternal": ACTIVATOR}]});
    let status = json!({"status": {
        "observedGeneration": generation,
        "conditions": [condition("NetworkConfigured"), condition("LoadBalancerReady"), condition("Ready")],
        "publicLoadBalancer": balancer,
        "privateLoadBalancer": balancer,
    }});
    let patched = ingresses.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await;
    patched.map(drop).context("cannot patch the status of an Ingress of Knative")
}
