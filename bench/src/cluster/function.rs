//! A Function under test: applied, put to rest, asked.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, PodTemplateSpec};
use kube::Client;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
    PostParams,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

use super::{ClusterArgs, wire};

/// Longest wait for a state of the cluster: the windows of a function that had a hundred pods, then the end of all of them.
const LIMIT: Duration = Duration::from_secs(300);
/// Between two looks at the cluster.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A Function that rests at zero between requests.
pub(crate) struct ColdFunction {
    name: String,
    functions: Api<DynamicObject>,
    deployments: Api<Deployment>,
    pods: Api<Pod>,
    namespace: String,
    activator: SocketAddr,
}

impl ColdFunction {
    /// Applies it, with this beside what every Function here has in its spec, and waits until it is Ready.
    pub(crate) async fn apply(
        client: &Client,
        cluster: &ClusterArgs,
        name: &str,
        special: &Value,
    ) -> anyhow::Result<Self> {
        let ClusterArgs { image, namespace, activator } = cluster;
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("catnap.dev", "v1alpha1", "Function"));
        let functions: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
        let mut spec = json!({
            "image": image, "command": ["hello"], "imagePullPolicy": "IfNotPresent", "scale": {"idle": {"after": "1s"}},
        });
        for (field, value) in special.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        let object = serde_json::from_value(json!({
            "apiVersion": "catnap.dev/v1alpha1", "kind": "Function", "metadata": {"name": name}, "spec": spec,
        }))
        .context("the Function is malformed")?;
        functions.create(&PostParams::default(), &object).await.context("cannot create the Function")?;
        eventually("the Function is Ready", async || {
            let function = functions.get_status(name).await?;
            Ok(is_ready(&function))
        })
        .await?;
        Ok(Self {
            name: name.to_owned(),
            functions,
            deployments: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            namespace: namespace.clone(),
            activator: *activator,
        })
    }

    /// Its Deployment.
    pub(crate) async fn deployment(&self) -> anyhow::Result<Deployment> {
        let found = self.deployments.list(&ListParams::default().labels(&self.selector())).await?;
        found.items.into_iter().next().context("the Function has no Deployment")
    }

    /// Waits until it rests at zero: replicas 0 and no pod object left.
    pub(crate) async fn rest(&self) -> anyhow::Result<()> {
        eventually("the Function rests at zero", async || {
            let spec = self.deployment().await?.spec;
            Ok(spec.and_then(|spec| spec.replicas) == Some(0))
        })
        .await?;
        no_pods(&self.pods, &self.selector()).await
    }

    /// From now on it stays for so long after its last request.
    pub(crate) async fn stay(&self, after: Duration) -> anyhow::Result<()> {
        let patch = json!({"spec": {"scale": {"idle": {"after": format!("{}s", after.as_secs())}}}});
        let patched = self.functions.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map(drop).context("cannot patch the Function")
    }

    /// What its requests name as their host.
    pub(crate) fn host(&self) -> String {
        format!("{}.{}", self.name, self.namespace)
    }

    fn selector(&self) -> String {
        format!("catnap.dev/function={}", self.name)
    }

    /// One request: time to the first byte, connecting included, and the phases that the activator reports.
    pub(crate) async fn request(&self, path: &str) -> anyhow::Result<(Duration, Vec<(String, f64)>)> {
        let start = Instant::now();
        let (answered, phases) = self.request_on(self.connect().await?, path).await?;
        Ok((answered - start, phases))
    }

    /// A connection to the activators, for [`ColdFunction::request_on`].
    pub(crate) async fn connect(&self) -> anyhow::Result<TcpStream> {
        wire::connect(self.activator, Duration::from_secs(5)).await.context("cannot reach the activator")
    }

    /// One request: when its first byte came, and the phases that the activator reports.
    pub(crate) async fn request_on(
        &self,
        stream: TcpStream,
        path: &str,
    ) -> anyhow::Result<(Instant, Vec<(String, f64)>)> {
        let answer = wire::get(stream, &self.host(), path).await?;
        let phases = wire::phases(&answer.head);
        if phases.is_empty() {
            bail!("the response has no Server-Timing: the function was not cold");
        }
        Ok((answer.first_byte, phases))
    }
}

/// Whether an object's condition `Ready` is true.
pub(crate) fn is_ready(object: &DynamicObject) -> bool {
    let conditions = object.data["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// The port that a rendered pod template listens on.
pub(crate) fn port_of(template: &PodTemplateSpec) -> anyhow::Result<u16> {
    let spec = template.spec.as_ref().context("the template has no spec")?;
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let port = ports.map(|port| port.container_port).next().context("the template names no port")?;
    u16::try_from(port).context("the port is out of range")
}

/// Waits until no pod matches the selector.
pub(crate) async fn no_pods(pods: &Api<Pod>, selector: &str) -> anyhow::Result<()> {
    eventually("no pod is left", async || {
        Ok(pods.list_metadata(&ListParams::default().labels(selector)).await?.items.is_empty())
    })
    .await
}

/// Makes the namespace of the run.
pub(crate) async fn make_namespace(client: &Client, name: &str) -> anyhow::Result<()> {
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name.to_owned());
    Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .with_context(|| format!("cannot create the namespace {name}; is one left from another run?"))?;
    Ok(())
}

/// Deletes the namespace and waits until it is gone.
pub(crate) async fn delete_namespace(client: &Client, name: &str) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.delete(name, &DeleteParams::default()).await.context("cannot delete the namespace")?;
    eventually("the namespace is gone", async || Ok(namespaces.get_opt(name).await?.is_none())).await
}

pub(crate) async fn eventually(
    what: &str,
    mut holds: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let wait = async {
        let mut looks = interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            if holds().await? {
                return Ok(());
            }
        }
    };
    timeout(LIMIT, wait).await.with_context(|| format!("waited {} s in vain: {what}", LIMIT.as_secs()))?
}
