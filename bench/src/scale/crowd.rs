//! Functions that are made and rest, and when each of them was Ready, as a watch shows it.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, PostParams, WatchEvent,
    WatchParams,
};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Functions that are applied at once.
const AT_ONCE: usize = 16;
/// Longest wait until one is Ready.
const LIMIT: Duration = Duration::from_secs(120);

/// Those that there are.
pub(super) struct Crowd {
    client: Client,
    namespace: String,
    image: String,
    functions: Api<DynamicObject>,
    ready: watch::Receiver<HashMap<String, Instant>>,
    count: usize,
    plain: usize,
}

/// How many were made, and in what time until the last was Ready.
pub(super) struct Made {
    pub(super) functions: usize,
    pub(super) within: Duration,
}

impl Made {
    pub(super) fn rate(&self) -> f64 {
        self.functions as f64 / self.within.as_secs_f64().max(f64::EPSILON)
    }
}

impl Crowd {
    /// Nobody yet; observes the namespace for as long as the process lives.
    pub(super) async fn start(client: &Client, namespace: &str, image: &str) -> anyhow::Result<Self> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("catnap.dev", "v1alpha1", "Function"));
        let functions: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
        let version =
            functions.list_metadata(&ListParams::default()).await.context("cannot list Functions")?;
        let version = version.metadata.resource_version.context("a list without a version")?;
        let (told, ready) = watch::channel(HashMap::new());
        let observed = functions.clone();
        tokio::spawn(async move {
            // When it ends, everybody who waits is told.
            if let Err(error) = observe(&observed, version, &told).await {
                eprintln!("the watch of Functions: {error:#}");
            }
        });
        Ok(Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
            image: image.to_owned(),
            functions,
            ready,
            count: 0,
            plain: 0,
        })
    }

    /// Makes as many as are missing, and waits until all are Ready.
    pub(super) async fn grow(&mut self, count: usize) -> anyhow::Result<Made> {
        let new = self.count..count.max(self.count);
        let start = Instant::now();
        let crowd = &*self;
        let all = new.clone().map(|number| async move {
            let name = name(number);
            crowd.apply(&name).await?;
            crowd.ready(&name).await
        });
        stream::iter(all).buffer_unordered(AT_ONCE).try_for_each(|_| std::future::ready(Ok(()))).await?;
        self.count = new.end;
        Ok(Made { functions: new.len(), within: start.elapsed() })
    }

    /// One more: from its creation until the watch shows it Ready.
    pub(super) async fn time_one(&mut self) -> anyhow::Result<Duration> {
        let name = name(self.count);
        self.count += 1;
        let start = Instant::now();
        self.apply(&name).await?;
        Ok(self.ready(&name).await? - start)
    }

    /// Copies of the objects of the first Function under another name, written by one client one after the other.
    pub(super) async fn time_plain(&mut self) -> anyhow::Result<Duration> {
        let selector = format!("catnap.dev/function={}", name(0));
        let name = format!("plain-{}", self.plain);
        self.plain += 1;
        let list = ListParams::default().labels(&selector);
        let (record, deployment, service, slice) = tokio::try_join!(
            self.copy::<ControllerRevision>(&list, &name),
            self.copy::<Deployment>(&list, &name),
            self.copy::<Service>(&list, &name),
            self.copy::<EndpointSlice>(&list, &name),
        )?;
        let mut service = service;
        if let Some(spec) = &mut service.spec {
            // What the API server filled in. It stays headless.
            (spec.cluster_ips, spec.ip_families, spec.ip_family_policy) = (None, None, None);
        }
        let start = Instant::now();
        self.create(&record).await?;
        self.create(&deployment).await?;
        self.create(&service).await?;
        self.create(&slice).await?;
        Ok(start.elapsed())
    }

    async fn copy<K>(&self, list: &ListParams, name: &str) -> anyhow::Result<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = api.list(list).await.context("cannot list the objects of a Function")?;
        let mut object = found.items.into_iter().next().context("the Function lacks an object")?;
        *object.meta_mut() = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        Ok(object)
    }

    async fn create<K>(&self, object: &K) -> anyhow::Result<()>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + Serialize
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        api.create(&PostParams::default(), object).await.map(drop).context("cannot write a plain object")
    }

    async fn apply(&self, name: &str) -> anyhow::Result<()> {
        let object = serde_json::from_value(json!({
            "apiVersion": "catnap.dev/v1alpha1", "kind": "Function", "metadata": {"name": name},
            "spec": {"image": self.image, "command": ["hello"], "scale": {"initial": 0}},
        }))
        .context("the Function is malformed")?;
        self.functions
            .create(&PostParams::default(), &object)
            .await
            .map(drop)
            .context("cannot create a Function")
    }

    async fn ready(&self, name: &str) -> anyhow::Result<Instant> {
        let mut ready = self.ready.clone();
        let waited = timeout(LIMIT, ready.wait_for(|ready| ready.contains_key(name))).await;
        let ready = waited
            .with_context(|| format!("{name} is not Ready"))?
            .context("the watch of Functions ended")?;
        ready.get(name).copied().context("a Function that was Ready")
    }
}

fn name(number: usize) -> String {
    format!("crowd-{number}")
}

async fn observe(
    functions: &Api<DynamicObject>,
    mut version: String,
    told: &watch::Sender<HashMap<String, Instant>>,
) -> anyhow::Result<()> {
    loop {
        // The API server ends each after some minutes.
        let mut events = pin!(functions.watch(&WatchParams::default(), &version).await?);
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(function) | WatchEvent::Modified(function) => {
                    if let (true, Some(name)) = (is_ready(&function), &function.metadata.name) {
                        let now = Instant::now();
                        told.send_if_modified(|ready| {
                            let known = ready.contains_key(name);
                            ready.entry(name.clone()).or_insert(now);
                            !known
                        });
                    }
                    version = function.metadata.resource_version.unwrap_or(version);
                }
                WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                WatchEvent::Deleted(_) => {}
                WatchEvent::Error(status) => bail!("{}", status.message),
            }
        }
    }
}

fn is_ready(function: &DynamicObject) -> bool {
    let conditions = function.data["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
