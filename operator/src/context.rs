//! What every reconciliation uses.

use std::sync::{Arc, atomic::AtomicBool};

use catnap_runtime::{events::Notice, lease::Leadership};
use k8s_openapi::jiff::Timestamp;
use kube::{Client, runtime::reflector::Store};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    backoff::Backoff,
    claims::HostClaims,
    contests::Contests,
    metrics::Metrics,
    proofs::Proofs,
    rates::RateBook,
    settled::Settled,
    watch::{Caches, GuardedFunction, Watched},
    write::Writer,
};

/// What every reconciliation uses.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) caches: Arc<Caches>,
    pub(crate) claims: Arc<HostClaims>,
    pub(crate) functions: Store<GuardedFunction>,
    pub(crate) proofs: Arc<Proofs>,
    pub(crate) writer: Writer,
    pub(crate) settled: Settled,
    pub(crate) contests: Contests,
    pub(crate) notices: mpsc::Sender<Notice>,
    /// Whether the last one found no room there.
    pub(crate) events_in_vain: AtomicBool,
    pub(crate) metrics: Metrics,
    pub(crate) backoff: Arc<Backoff>,
    pub(crate) rates: Arc<RateBook>,
}

impl Context {
    pub(crate) fn new(
        client: Client,
        watched: &Watched,
        leadership: watch::Receiver<Option<Leadership>>,
        rates: Arc<RateBook>,
        notices: mpsc::Sender<Notice>,
        metrics: Metrics,
    ) -> Arc<Self> {
        let permit = move || leadership.borrow().as_ref().is_some_and(|it| it.is_valid(Instant::now()));
        Arc::new(Self {
            caches: watched.caches.clone(),
            claims: watched.claims.clone(),
            functions: watched.functions.clone(),
            proofs: watched.proofs.clone(),
            writer: Writer::new(Arc::new(permit), metrics.clone()),
            settled: Settled::default(),
            contests: Contests::default(),
            notices,
            events_in_vain: AtomicBool::new(false),
            backoff: watched.backoff.clone(),
            client,
            rates,
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
            scalers,
            activator_addresses,
        } = self.caches.as_ref();
        let (proving, waiting_for_proof) = self.proofs.count();
        let (asked, known) = self.rates.count();
        json!({
            "functions": self.functions.len(),
            "proving": proving,
            "waitingForProof": waiting_for_proof,
            "rates": {"asked": asked, "known": known},
            "failing": self.backoff.failing(),
            "activatorAddresses": *activator_addresses.read(),
            "controllerRevisions": controller_revisions.len(),
            "deployments": deployments.len(),
            "services": services.len(),
            "endpointSlices": endpoint_slices.len(),
            "pods": pods.len(),
            "podAutoscalers": scalers.len(),
        })
    }
}
