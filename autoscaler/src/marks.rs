//! Writes of the one annotation of pods by which the ReplicaSet controller chooses: a bounded number at once, each with a timeout.
//!
//! Nobody waits for an answer: the watch shows what came of it, and the leader asks again for what does not show. It counts on
//! it that nothing lands long after it was asked for, so what has waited for its turn too long is not sent.

use std::sync::Arc;
use std::time::Duration;

use catnap_runtime::Causes;
use catnap_runtime::lease::Leadership;
use catnap_wire::PodUid;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::core::{PartialObjectMeta, Request};
use kube::{Client, Resource};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::call::{CallError, call};
use crate::cluster::fact::{DELETION_COST, FIRST_TO_GO};
use crate::metrics::Metrics;
use crate::pause::Pause;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Beside the writers of `/scale`, which do not wait for these.
const AT_ONCE: usize = 8;
/// Nothing is sent later than this after it was asked for. With the timeout less than the `landing` of the leader's settings.
const LATEST: Duration = Duration::from_secs(1);
const FIELD_MANAGER: &str = "catnap-autoscaler";

/// A write that the leader asked for.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) uid: PodUid,
    /// Set it, or remove it.
    pub(crate) marked: bool,
    /// When the leader asked for it.
    pub(crate) asked: Instant,
    /// Not without this.
    pub(crate) leadership: Leadership,
}

/// The API server, as far as pods are marked.
#[derive(Clone)]
pub(crate) struct MarkClient {
    client: Client,
    turns: Arc<Semaphore>,
    pause: Arc<Pause>,
    metrics: Metrics,
}

impl MarkClient {
    pub(crate) fn new(client: Client, metrics: Metrics) -> Self {
        let (turns, pause) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Pause::new()));
        Self { client, turns, pause, metrics }
    }

    /// Writes it beside everything else, in no tracker that is waited for: the watch tells what came of it.
    pub(crate) fn send(&self, mark: Mark) {
        let client = self.clone();
        tokio::spawn(async move { client.write(&mark).await });
    }

    /// PATCH of the annotation, if the pod is still the same.
    pub(crate) async fn write(&self, mark: &Mark) {
        let _turn = self.turns.acquire().await;
        let start = Instant::now();
        if start > mark.asked + LATEST || !self.pause.is_over() || !mark.leadership.is_valid(start) {
            self.metrics.deletion_cost_written("NotSent");
            return;
        }
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let pods = Request::new(Pod::url_path(&(), Some(&mark.namespace)));
        let request = pods.patch_metadata(&mark.name, &parameters, &Patch::Merge(mark.patch()));
        let written = call::<PartialObjectMeta<Pod>>(&self.client, request, REQUEST_TIMEOUT).await;
        let outcome = match written {
            Ok(_) => "Written",
            Err(CallError::Throttled { after }) => {
                self.pause.extend(after);
                "Throttled"
            }
            Err(CallError::Timeout { .. }) => "Timeout",
            // Gone, or another one of the same name.
            Err(error) if matches!(error.code(), Some(404 | 409)) => "Gone",
            Err(error) => {
                let Mark { namespace, name, .. } = mark;
                tracing::warn!(%namespace, %name, error = %Causes(&error), "cannot write the deletion cost");
                "Refused"
            }
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
