//! What every reconciliation uses.

use std::sync::Arc;

use catnap_runtime::lease::Leadership;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Client,
    runtime::{
        events::{Recorder, Reporter},
        reflector::Store,
    },
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use crate::{
    COMPONENT,
    backoff::Backoff,
    metrics::Metrics,
    watch::{Caches, GuardedFunction, Watched},
    write::Writer,
};

/// What every reconciliation uses.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) caches: Arc<Caches>,
    pub(crate) functions: Store<GuardedFunction>,
    pub(crate) writer: Writer,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Metrics,
    pub(crate) backoff: Backoff,
}

impl Context {
    pub(crate) fn new(
        client: Client,
        pod_name: String,
        watched: &Watched,
        leadership: watch::Receiver<Option<Leadership>>,
        metrics: Metrics,
    ) -> Arc<Self> {
        let permit = move || leadership.borrow().as_ref().is_some_and(|it| it.is_valid(Instant::now()));
        let reporter = Reporter { controller: COMPONENT.to_owned(), instance: Some(pod_name) };
        Arc::new(Self {
            caches: watched.caches.clone(),
            functions: watched.functions.clone(),
            writer: Writer::new(Arc::new(permit), metrics.clone()),
            recorder: Recorder::new(client.clone(), reporter),
            backoff: Backoff::default(),
            client,
            metrics,
        })
    }

    /// The time, as precise as the API server keeps it.
    pub(crate) fn now() -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    /// What `/debug/state` shows.
    pub(crate) fn describe(&self) -> Value {
        let Caches {
            controller_revisions,
            deployments,
            services,
            endpoint_slices,
            pods,
            activator_addresses,
        } = self.caches.as_ref();
        json!({
            "functions": self.functions.len(),
            "failing": self.backoff.failing(),
            "activatorAddresses": *activator_addresses.read(),
            "controllerRevisions": controller_revisions.len(),
            "deployments": deployments.len(),
            "services": services.len(),
            "endpointSlices": endpoint_slices.len(),
            "pods": pods.len(),
        })
    }
}
