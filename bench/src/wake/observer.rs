//! What a watch of the API server shows of Deployments, and when: so every write of `/scale` is seen, whoever made it.
//!
//! It shows a write a moment after the API server has accepted it, so that a time from it is never too short.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment as DeploymentObject;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Request;
use kube::{Client, Resource};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Longest wait for a write; one that takes longer is lost.
const LOST_AFTER: Duration = Duration::from_secs(60);
/// Longest wait until all rest.
const REST_LIMIT: Duration = Duration::from_secs(300);
/// Nobody changes anything any more when the watch was silent for so long.
const SILENCE: Duration = Duration::from_millis(500);
/// Field manager of an activator that wrote without the autoscaler: the API server takes it from the client's name.
const ACTIVATOR: &str = "catnap-activator";

/// The last raise from zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Raise {
    /// When the watch showed it.
    pub(super) seen: Instant,
    /// An activator wrote it itself.
    pub(super) alone: bool,
}

/// What is known of one Deployment.
#[derive(Clone, Debug, Default)]
struct Shown {
    replicas: i32,
    /// At zero, and its controller has seen that no pod is left.
    rests: bool,
    raise: Option<Raise>,
}

/// The Deployments of one namespace.
pub(super) struct Observer {
    shown: HashMap<String, watch::Receiver<Shown>>,
    last_event: watch::Receiver<Instant>,
}

impl Observer {
    /// Observes the Deployments that the namespace has now, for as long as the process lives.
    pub(super) async fn start(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let request = Request::new(DeploymentObject::url_path(&(), Some(namespace)));
        let list = request.list(&ListParams::default())?;
        let list: DeploymentList = client.request(list).await.context("cannot list the Deployments")?;
        let (last_event, last_event_seen) = watch::channel(Instant::now());
        let (mut told, mut shown) = (HashMap::new(), HashMap::new());
        for deployment in &list.items {
            let (sender, receiver) = watch::channel(Shown::default().then(deployment, Instant::now()));
            told.insert(deployment.metadata.name.clone(), sender);
            shown.insert(deployment.metadata.name.clone(), receiver);
        }
        let follower = Follower { client: client.clone(), request, told, last_event };
        tokio::spawn(async move {
            // When it ends, everybody who waits is told.
            if let Err(error) = follower.run(list.metadata.resource_version).await {
                eprintln!("the watch of Deployments: {error:#}");
            }
        });
        Ok(Self { shown, last_event: last_event_seen })
    }

    /// Whether it rests at zero.
    pub(super) fn rests(&self, deployment: &str) -> bool {
        self.shown.get(deployment).is_some_and(|shown| shown.borrow().rests)
    }

    /// The raise from zero that is seen after `start`; `None` when there is none for a minute.
    pub(super) async fn raised(&self, deployment: &str, start: Instant) -> anyhow::Result<Option<Raise>> {
        let after = |shown: &Shown| shown.raise.filter(|raise| raise.seen > start);
        let mut shown = self.shown.get(deployment).context("a Deployment that is not observed")?.clone();
        let waited = timeout(LOST_AFTER, shown.wait_for(|shown| after(shown).is_some())).await;
        let Ok(found) = waited else { return Ok(None) };
        Ok(after(&*found.context("the watch of Deployments ended")?))
    }

    /// Waits until it rests at zero.
    pub(super) async fn rest(&self, deployment: &str) -> anyhow::Result<()> {
        let mut shown = self.shown.get(deployment).context("a Deployment that is not observed")?.clone();
        let resting = timeout(REST_LIMIT, shown.wait_for(|shown| shown.rests)).await;
        let resting = resting.with_context(|| format!("{deployment} does not come to rest"))?;
        resting.map(drop).context("the watch of Deployments ended")
    }

    /// Waits until all rest and nobody changes anything any more.
    pub(super) async fn quiet(&self) -> anyhow::Result<()> {
        for deployment in self.shown.keys() {
            self.rest(deployment).await?;
        }
        let mut last_event = self.last_event.clone();
        while let Ok(changed) = timeout(SILENCE, last_event.changed()).await {
            changed.context("the watch of Deployments ended")?;
        }
        Ok(())
    }
}

impl Shown {
    /// After this version of the object.
    fn then(self, deployment: &Deployment, now: Instant) -> Self {
        let Deployment { metadata, spec, status } = deployment;
        let raised = self.replicas == 0 && spec.replicas > 0;
        let writer = metadata.managed_fields.iter().find(|writer| writer.subresource == "scale");
        let alone = writer.is_some_and(|writer| writer.manager == ACTIVATOR);
        Self {
            replicas: spec.replicas,
            rests: spec.replicas == 0
                && status.replicas == 0
                && status.observed_generation == metadata.generation,
            raise: if raised { Some(Raise { seen: now, alone }) } else { self.raise },
        }
    }
}

/// The task that watches.
struct Follower {
    client: Client,
    request: Request,
    told: HashMap<String, watch::Sender<Shown>>,
    last_event: watch::Sender<Instant>,
}

impl Follower {
    async fn run(self, mut version: String) -> anyhow::Result<()> {
        loop {
            let watch = self.request.watch(&WatchParams::default(), &version)?;
            // The API server ends each after some minutes.
            let mut events = pin!(self.client.request_events::<Deployment>(watch).await?);
            while let Some(event) = events.try_next().await? {
                let now = Instant::now();
                match event {
                    WatchEvent::Added(deployment) | WatchEvent::Modified(deployment) => {
                        if let Some(shown) = self.told.get(&deployment.metadata.name) {
                            shown.send_modify(|shown| *shown = std::mem::take(shown).then(&deployment, now));
                        }
                        self.last_event.send_replace(now);
                        version = deployment.metadata.resource_version;
                    }
                    WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                    WatchEvent::Deleted(_) => {}
                    WatchEvent::Error(status) => bail!("{}", status.message),
                }
            }
        }
    }
}

/// The fields of a Deployment that matter here: reading all of them would cost the time that is measured.
#[derive(Clone, Debug, Deserialize)]
struct Deployment {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    resource_version: String,
    #[serde(default)]
    generation: i64,
    #[serde(default)]
    managed_fields: Vec<Writer>,
}

#[derive(Clone, Debug, Deserialize)]
struct Writer {
    #[serde(default)]
    manager: String,
    #[serde(default)]
    subresource: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Spec {
    #[serde(default)]
    replicas: i32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    replicas: i32,
    #[serde(default)]
    observed_generation: i64,
}

#[derive(Debug, Deserialize)]
struct DeploymentList {
    metadata: ListMetadata,
    items: Vec<Deployment>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(replicas: i32, pods: i32, observed: i64, writer: &str) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "resourceVersion": "7", "generation": 2, "managedFields": [
                {"manager": "catnap-operator", "operation": "Apply"},
                {"manager": writer, "operation": "Update", "subresource": "scale"},
            ]},
            "spec": {"replicas": replicas, "selector": {}},
            "status": {"replicas": pods, "observedGeneration": observed},
        }))
        .unwrap()
    }

    #[test]
    fn a_raise_counts_from_its_first_event_and_names_its_writer() {
        let (first, second) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let raised = Shown::default().then(&deployment(1, 0, 1, "catnap-activator"), first);
        assert_eq!(raised.raise, Some(Raise { seen: first, alone: true }));
        let later = raised.then(&deployment(1, 1, 2, "catnap-activator"), second);
        assert_eq!(later.raise, Some(Raise { seen: first, alone: true }));
        let lowered = later.then(&deployment(0, 1, 2, "catnap-autoscaler"), second);
        assert!(!lowered.rests, "a pod is left");
        let again = lowered.then(&deployment(1, 1, 2, "catnap-autoscaler"), second);
        assert_eq!(again.raise, Some(Raise { seen: second, alone: false }));
    }

    #[test]
    fn it_rests_when_its_controller_has_seen_the_end_of_its_pods() {
        let now = Instant::now();
        assert!(Shown::default().then(&deployment(0, 0, 2, "kubectl"), now).rests);
        assert!(!Shown::default().then(&deployment(0, 0, 1, "kubectl"), now).rests);
        assert!(!Shown::default().then(&deployment(1, 0, 2, "kubectl"), now).rests);
    }
}
