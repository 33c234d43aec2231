//! Reads and writes of `/scale`, a bounded number at once, each with a timeout and exactly one answer.
//!
//! It decides nothing: what may be written, and on which resourceVersion, the leader has said. The leader asks one question
//! about a revision at a time, so no more wait here than there are revisions, whatever the API server does.

use std::sync::Arc;
use std::time::Duration;

use catnap_autoscaler_core::{ReadOutcome, Scale, Token, WriteOutcome};
use catnap_runtime::lease::Leadership;
use catnap_runtime::{Causes, failpoint};
use catnap_wire::{PodUid, RevisionId};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v1::{Scale as ScaleObject, ScaleSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, ObjectList, ObjectMeta, PostParams};
use kube::core::Request;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::call::{CallError, call};
use crate::cluster::fact::Activator;
use crate::metrics::Metrics;
use crate::patterns::Done;
use crate::watch::Activators;
use turns::Turns;
pub(crate) use turns::Urgency;

mod turns;

/// Longest wait for the answer to a write of a lower count, after which its outcome is unknown: gates are closed meanwhile,
/// and the leader counts on it that no such write lands much later.
const LOWER_TIMEOUT: Duration = Duration::from_secs(1);

/// A write that the leader asked for.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) revision: RevisionId,
    pub(crate) replicas: u32,
    pub(crate) resource_version: Arc<str>,
    /// The request must not be started later; the write of a lower count, of zero or not, and no other, has such a time.
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
    turns: Arc<Turns>,
    metrics: Metrics,
}

impl ScaleClient {
    pub(crate) fn new(client: Client, activators: Activators, at_once: usize, metrics: Metrics) -> Self {
        Self { client, activators, turns: Arc::new(Turns::new(at_once)), metrics }
    }

    /// GET, from the API server itself.
    pub(crate) async fn read(&self, revision: &RevisionId, urgency: Urgency) -> ReadOutcome {
        let _turn = self.turns.take(urgency).await;
        let request = deployments(revision).get_subresource("scale", &revision.name);
        match self.call::<ScaleObject>(request).await {
            Ok(object) => scale(&object).map_or(ReadOutcome::Failed, ReadOutcome::Read),
            Err(error) if error.code() == Some(404) => ReadOutcome::Missing,
            Err(error) => {
                tracing::warn!(%revision, error = %Causes(&error), "cannot read /scale");
                ReadOutcome::Failed
            }
        }
    }

    /// PUT on the given resourceVersion. Whether it may still start is looked at as late as possible.
    pub(crate) async fn write(&self, write: &Write) -> WriteOutcome {
        let Write { revision, replicas, not_after, leadership, .. } = write;
        let _turn = self.turns.take(if write.lowers() { Urgency::Later } else { Urgency::Now }).await;
        let start = Instant::now();
        if not_after.is_some_and(|not_after| start > not_after) || !leadership.is_valid(start) {
            self.metrics.scale_not_sent();
            return WriteOutcome::NotSent;
        }
        failpoint::reach("put-sent").await;
        let outcome = match self.put(write).await {
            Ok(object) => scale(&object).map_or(WriteOutcome::Unknown, |scale| WriteOutcome::Written {
                resource_version: scale.resource_version,
            }),
            Err(error) => {
                tracing::warn!(%revision, replicas, error = %Causes(&error), "cannot write /scale");
                refusal(&error)
            }
        };
        self.metrics.scale_written(name(&outcome), start.elapsed());
        failpoint::reach("put-answered").await;
        outcome
    }

    async fn put(&self, write: &Write) -> Result<ScaleObject, CallError> {
        let object = serde_json::to_vec(&write.object())
            .map_err(|source| CallError::Failed { source: kube::Error::SerdeError(source) })?;
        let name = &write.revision.name;
        let request =
            deployments(&write.revision).replace_subresource("scale", name, &PostParams::default(), object);
        if write.lowers() {
            return self.pausing(call(&self.client, request, LOWER_TIMEOUT).await);
        }
        self.call(request).await
    }

    /// Activators that may hold or dispatch requests, from the API server itself; `None` when it does not answer.
    pub(crate) async fn list_activators(&self) -> Option<Vec<PodUid>> {
        let _turn = self.turns.take_for_list().await;
        let pods = Request::new(Pod::url_path(&(), Some(&self.activators.namespace)));
        let request = pods.list(&ListParams::default().labels(&self.activators.selector));
        let answer = self.patiently::<ObjectList<Pod>>(request).await;
        if let Err(CallError::Throttled { after }) = &answer {
            self.turns.pause_lists(*after);
        }
        match answer {
            Ok(pods) => {
                let activators = pods.items.iter().filter_map(Activator::of);
                Some(activators.filter(|activator| activator.live).map(|activator| activator.uid).collect())
            }
            Err(error) => {
                tracing::warn!(error = %Causes(&error), "cannot list the activators");
                None
            }
        }
    }

    /// A call about `/scale`.
    async fn call<T: DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, CallError> {
        self.pausing(self.patiently(request).await)
    }

    /// A call that is given as much time as the API server needs at present.
    async fn patiently<T: DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, CallError> {
        let start = Instant::now();
        let answer = call(&self.client, request, self.turns.patience()).await;
        match &answer {
            Err(CallError::Timeout { within }) => self.turns.gave_up(*within),
            _ => self.turns.answered(start.elapsed()),
        }
        answer
    }

    /// Nobody asks a server that has too much to do.
    fn pausing<T>(&self, answer: Result<T, CallError>) -> Result<T, CallError> {
        if let Err(CallError::Throttled { after }) = &answer {
            self.turns.pause(*after);
        }
        answer
    }
}

fn deployments(revision: &RevisionId) -> Request {
    Request::new(Deployment::url_path(&(), Some(&revision.namespace)))
}

impl Write {
    /// Gates are closed until its outcome is known.
    fn lowers(&self) -> bool {
        self.not_after.is_some()
    }

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
fn refusal(error: &CallError) -> WriteOutcome {
    match (error, error.code()) {
        (CallError::Throttled { after }, _) => WriteOutcome::Throttled { after: *after },
        (_, Some(409)) => WriteOutcome::Conflict,
        (_, Some(400..500)) => WriteOutcome::Refused,
        _ => WriteOutcome::Unknown,
    }
}

fn name(outcome: &WriteOutcome) -> &'static str {
    match outcome {
        WriteOutcome::Written { .. } => "Written",
        WriteOutcome::Conflict => "Conflict",
        WriteOutcome::Throttled { .. } => "Throttled",
        WriteOutcome::Refused => "Refused",
        WriteOutcome::NotSent => "NotSent",
        WriteOutcome::Unknown => "Unknown",
    }
}

#[cfg(test)]
mod tests;
