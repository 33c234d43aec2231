//! Writes of the one annotation of pods by which the ReplicaSet controller chooses: a bounded number at once, each with a timeout.
//!
//! Nobody waits for an answer: the watch shows what came of it, and the leader asks again for what does not show.

use std::sync::Arc;
use std::time::Duration;

use catnap_runtime::Causes;
use catnap_runtime::lease::Leadership;
use catnap_wire::PodUid;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::cluster::fact::{DELETION_COST, FIRST_TO_GO};
use crate::metrics::Metrics;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Beside the writers of `/scale`, which do not wait for these.
const AT_ONCE: usize = 8;
const FIELD_MANAGER: &str = "catnap-autoscaler";

/// A write that the leader asked for.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) uid: PodUid,
    /// Set it, or remove it.
    pub(crate) marked: bool,
    /// Not without this.
    pub(crate) leadership: Leadership,
}

/// The API server, as far as pods are marked.
#[derive(Clone)]
pub(crate) struct MarkClient {
    client: Client,
    turns: Arc<Semaphore>,
    metrics: Metrics,
}

impl MarkClient {
    pub(crate) fn new(client: Client, metrics: Metrics) -> Self {
        Self { client, turns: Arc::new(Semaphore::new(AT_ONCE)), metrics }
    }

    /// Writes it beside everything else, in no tracker that is waited for: the watch tells what came of it.
    pub(crate) fn send(&self, mark: Mark) {
        let client = self.clone();
        tokio::spawn(async move { client.write(&mark).await });
    }

    /// PATCH of the annotation, if the pod is still the same.
    pub(crate) async fn write(&self, mark: &Mark) {
        let _turn = self.turns.acquire().await;
        if !mark.leadership.is_valid(Instant::now()) {
            self.metrics.deletion_cost_written("NotSent");
            return;
        }
        let pods = Api::<Pod>::namespaced(self.client.clone(), &mark.namespace);
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(mark.patch());
        let written = pods.patch_metadata(&mark.name, &parameters, &patch);
        let outcome = match timeout(REQUEST_TIMEOUT, written).await {
            Ok(Ok(_)) => "Written",
            // Gone, or another one of the same name.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => "Gone",
            Ok(Err(error)) => {
                let Mark { namespace, name, .. } = mark;
                tracing::warn!(%namespace, %name, error = %Causes(&error), "cannot write the deletion cost");
                "Refused"
            }
            Err(_) => "Timeout",
        };
        self.metrics.deletion_cost_written(outcome);
    }
}

impl Mark {
    fn patch(&self) -> Value {
        let cost = self.marked.then_some(FIRST_TO_GO);
        json!({ "metadata": { "uid": &*self.uid, "annotations": { DELETION_COST: cost } } })
    }
}

#[cfg(test)]
mod tests;
