//! Reads and writes of `/scale`, a bounded number at once, each with a timeout and exactly one answer.
//!
//! It decides nothing: what may be written, and on which resourceVersion, the leader has said.

use std::sync::Arc;
use std::time::Duration;

use catnap_autoscaler_core::{ReadOutcome, Scale, Token, WriteOutcome};
use catnap_runtime::lease::Leadership;
use catnap_runtime::{Causes, failpoint};
use catnap_wire::{PodUid, RevisionId};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v1::{Scale as ScaleObject, ScaleSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::cluster::fact::Activator;
use crate::metrics::Metrics;
use crate::patterns::Done;
use crate::watch::Activators;

/// Longest wait for an answer. A write that took longer has an unknown outcome.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// A write that the leader asked for.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) revision: RevisionId,
    pub(crate) replicas: u32,
    pub(crate) resource_version: Arc<str>,
    /// The request must not be started later.
    pub(crate) not_after: Option<Instant>,
    /// Nor without this.
    pub(crate) leadership: Leadership,
}

/// What came of a question of the leader.
#[derive(Debug)]
pub(crate) enum Answer {
    Read(Token, ReadOutcome),
    Written(Token, WriteOutcome),
    Activators(Token, Option<Vec<PodUid>>),
    Patterns(Done),
}

/// The API server, as far as the leader asks it for something.
#[derive(Clone)]
pub(crate) struct ScaleClient {
    client: Client,
    activators: Activators,
    turns: Arc<Semaphore>,
    metrics: Metrics,
}

impl ScaleClient {
    pub(crate) fn new(client: Client, activators: Activators, at_once: usize, metrics: Metrics) -> Self {
        Self { client, activators, turns: Arc::new(Semaphore::new(at_once.max(1))), metrics }
    }

    /// GET, from the API server itself.
    pub(crate) async fn read(&self, revision: &RevisionId) -> ReadOutcome {
        let _turn = self.turns.acquire().await;
        match timeout(REQUEST_TIMEOUT, self.deployments(revision).get_scale(&revision.name)).await {
            Ok(Ok(object)) => scale(&object).map_or(ReadOutcome::Failed, ReadOutcome::Read),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => ReadOutcome::Missing,
            Ok(Err(error)) => {
                tracing::warn!(%revision, error = %Causes(&error), "cannot read /scale");
                ReadOutcome::Failed
            }
            Err(_) => ReadOutcome::Failed,
        }
    }

    /// PUT on the given resourceVersion. Whether it may still start is looked at as late as possible.
    pub(crate) async fn write(&self, write: &Write) -> WriteOutcome {
        let _turn = self.turns.acquire().await;
        let Write { revision, replicas, not_after, leadership, .. } = write;
        let start = Instant::now();
        if not_after.is_some_and(|not_after| start > not_after) || !leadership.is_valid(start) {
            self.metrics.scale_not_sent();
            return WriteOutcome::NotSent;
        }
        failpoint::reach("put-sent").await;
        let object = write.object();
        let deployments = self.deployments(revision);
        let parameters = PostParams::default();
        let written = deployments.replace_scale(&revision.name, &parameters, &object);
        let outcome = match timeout(REQUEST_TIMEOUT, written).await {
            Ok(Ok(object)) => scale(&object).map_or(WriteOutcome::Unknown, |scale| WriteOutcome::Written {
                resource_version: scale.resource_version,
            }),
            Ok(Err(error)) => {
                tracing::warn!(%revision, replicas, error = %Causes(&error), "cannot write /scale");
                refusal(&error)
            }
            Err(_) => WriteOutcome::Unknown,
        };
        self.metrics.scale_written(name(&outcome), start.elapsed());
        failpoint::reach("put-answered").await;
        outcome
    }

    /// Activators that may hold or dispatch requests, from the API server itself; `None` when it does not answer.
    pub(crate) async fn list_activators(&self) -> Option<Vec<PodUid>> {
        let _turn = self.turns.acquire().await;
        let pods = Api::<Pod>::namespaced(self.client.clone(), &self.activators.namespace);
        let parameters = ListParams::default().labels(&self.activators.selector);
        match timeout(REQUEST_TIMEOUT, pods.list(&parameters)).await {
            Ok(Ok(pods)) => {
                let activators = pods.items.iter().filter_map(Activator::of);
                Some(activators.filter(|activator| activator.live).map(|activator| activator.uid).collect())
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %Causes(&error), "cannot list the activators");
                None
            }
            Err(_) => None,
        }
    }

    fn deployments(&self, revision: &RevisionId) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &revision.namespace)
    }
}

impl Write {
    fn object(&self) -> ScaleObject {
        ScaleObject {
            metadata: ObjectMeta {
                name: Some(self.revision.name.to_string()),
                namespace: Some(self.revision.namespace.to_string()),
                resource_version: Some(self.resource_version.to_string()),
                ..ObjectMeta::default()
            },
            spec: Some(ScaleSpec { replicas: Some(i32::try_from(self.replicas).unwrap_or(i32::MAX)) }),
            status: None,
        }
    }
}

fn scale(object: &ScaleObject) -> Option<Scale> {
    let replicas = object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    Some(Scale {
        replicas: u32::try_from(replicas).unwrap_or(0),
        resource_version: object.metadata.resource_version.as_deref()?.into(),
    })
}

/// What a failed write says about whether it landed.
fn refusal(error: &kube::Error) -> WriteOutcome {
    match error {
        kube::Error::Api(status) => match status.code {
            409 => WriteOutcome::Conflict,
            400..500 => WriteOutcome::Refused,
            _ => WriteOutcome::Unknown,
        },
        _ => WriteOutcome::Unknown,
    }
}

fn name(outcome: &WriteOutcome) -> &'static str {
    match outcome {
        WriteOutcome::Written { .. } => "Written",
        WriteOutcome::Conflict => "Conflict",
        WriteOutcome::Refused => "Refused",
        WriteOutcome::NotSent => "NotSent",
        WriteOutcome::Unknown => "Unknown",
    }
}

#[cfg(test)]
mod tests;
