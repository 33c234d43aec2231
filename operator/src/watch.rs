//! The watches: Functions, their labelled children and pods, namespaces, and the Service in front of the activators.
//!
//! Every one keeps only what is used of an object, survives objects that it cannot read, and says which Functions to
//! look at again.

use std::{collections::BTreeSet, fmt::Debug, future::Future, net::IpAddr, sync::Arc};

use catnap_crds::{Function, RevisionState, guarded::Guarded, labels};
use catnap_operator_core::{HostSettings, RawDeployment};
use catnap_runtime::{
    Causes,
    watch::{Change, WATCH_SECONDS, follow},
};
use futures::StreamExt;
use k8s_openapi::api::{
    apps::v1::ControllerRevision,
    autoscaling::v1::HorizontalPodAutoscaler,
    core::v1::{Namespace, Pod, Service},
    discovery::v1::EndpointSlice,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher::{self, Event},
    },
};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};

use crate::{
    backoff::Backoff,
    cache::{Cache, FunctionKey},
    claims::{HostClaims, NamespaceClaims},
    metrics::Metrics,
    proofs::Proofs,
    reconcile::key,
    scalers::{Scaler, Scalers},
    touches::{Touch, Touches, When},
};

/// A Function as watched: one that cannot be read is there, with the reason.
pub(crate) type GuardedFunction = Guarded<Function>;

/// What the watches saw last.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    pub(crate) controller_revisions: Cache<ControllerRevision>,
    pub(crate) deployments: Cache<RawDeployment>,
    pub(crate) services: Cache<Service>,
    pub(crate) endpoint_slices: Cache<EndpointSlice>,
    pub(crate) pods: Cache<Pod>,
    /// Others that scale Deployments.
    pub(crate) scalers: Scalers,
    /// ClusterIPs of the Service in front of the activators.
    pub(crate) activator_addresses: RwLock<Vec<IpAddr>>,
}

/// The running watches.
pub(crate) struct Watched {
    pub(crate) functions: Store<GuardedFunction>,
    pub(crate) caches: Arc<Caches>,
    pub(crate) claims: Arc<HostClaims>,
    /// Whose revisions prove themselves.
    pub(crate) proofs: Arc<Proofs>,
    /// Failures of Functions that are there.
    pub(crate) backoff: Arc<Backoff>,
    /// Functions to look at again.
    pub(crate) touched: Touches<ObjectRef<GuardedFunction>>,
    /// How many of the watches other than that of Functions that are needed have a complete list.
    synced: watch::Receiver<usize>,
}

/// Watches other than that of Functions without whose lists nothing may be decided.
const NEEDED_WATCHES: usize = 7;

impl Watched {
    /// Returns when every watch has a complete list.
    pub(crate) async fn ready(&mut self) {
        // Both end only with the process, so a failure has nobody to be told to.
        let _ = self.synced.wait_for(|count| *count >= NEEDED_WATCHES).await;
        let _ = self.functions.wait_until_ready().await;
    }
}

/// Starts all watches, for as long as the process lives.
pub(crate) fn start(
    client: &Client,
    namespace: &str,
    activator_service: &str,
    hosts: HostSettings,
    max_proofs: u32,
    metrics: &Metrics,
) -> Watched {
    let caches = Arc::new(Caches::default());
    let (touch, touched) = Touches::new();
    let (done, synced) = watch::channel(0);
    let (functions, writer) = reflector::store();
    let claims = Arc::new(HostClaims::new(hosts, functions.clone(), touch.clone()));
    let proofs = Arc::new(Proofs::new(max_proofs, touch.clone()));
    let calling = proofs.clone();
    tokio::spawn(async move { calling.keep_calling().await });
    let watches = Watches { touch, done, metrics: metrics.clone(), functions: functions.clone() };
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let events = watcher::watcher(Api::<GuardedFunction>::all(client.clone()), config);
    let events = events.default_backoff().reflect(writer);
    let backoff = Arc::new(Backoff::default());
    tokio::spawn(watches.clone().functions(events, claims.clone(), proofs.clone(), backoff.clone()));
    tokio::spawn(watches.clone().namespaces(client, claims.clone()));

    let all = caches.clone();
    tokio::spawn(watches.clone().children(
        client,
        When::Soon,
        |_: &mut ControllerRevision| {},
        move |change| all.controller_revisions.observe(change),
    ));
    let all = caches.clone();
    tokio::spawn(watches.clone().children(
        client,
        When::InTurn,
        |_: &mut RawDeployment| {},
        move |change| all.deployments.observe(change),
    ));
    let all = caches.clone();
    tokio::spawn(watches.clone().children(
        client,
        When::Soon,
        |_: &mut Service| {},
        move |change| {
            // Whose name it has may be waiting for it to go: a tag's Service gives way to a Function.
            let name = name_of_deleted(&change, |service| service.metadata.name.as_ref());
            all.services.observe(change).into_iter().chain(name).collect()
        },
    ));
    let all = caches.clone();
    tokio::spawn(watches.clone().children(
        client,
        When::Soon,
        |_: &mut EndpointSlice| {},
        move |change| {
            let name = name_of_deleted(&change, |slice| slice.labels().get(labels::SERVICE_NAME));
            all.endpoint_slices.observe(change).into_iter().chain(name).collect()
        },
    ));
    let all = caches.clone();
    let observe = move |change| all.pods.observe(change);
    tokio::spawn(watches.clone().children(client, When::InTurn, trim_pod, observe));
    tokio::spawn(watches.clone().pod_autoscalers(client, caches.clone()));
    let services = Api::namespaced(client.clone(), namespace);
    tokio::spawn(watches.activator(services, activator_service.to_owned(), caches.clone()));

    Watched { functions, caches, claims, proofs, backoff, touched, synced }
}

#[derive(Clone)]
struct Watches {
    touch: mpsc::UnboundedSender<Touch<ObjectRef<GuardedFunction>>>,
    done: watch::Sender<usize>,
    metrics: Metrics,
    functions: Store<GuardedFunction>,
}

impl Watches {
    async fn functions(
        self,
        events: impl futures::Stream<Item = watcher::Result<Event<GuardedFunction>>>,
        claims: Arc<HostClaims>,
        proofs: Arc<Proofs>,
        backoff: Arc<Backoff>,
    ) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(function)) => {
                    if let Ok(function) = &function.0 {
                        proofs.observe(function);
                    }
                    self.touch(ObjectRef::from_obj(&function), When::Now);
                }
                Ok(Event::Delete(function)) => {
                    claims.forget(&function);
                    backoff.forget(&key(&function));
                    if let Ok(function) = &function.0 {
                        proofs.forget(function);
                    }
                }
                Ok(Event::Init) => {}
                Ok(Event::InitApply(function)) => {
                    if let Ok(function) = &function.0 {
                        proofs.observe(function);
                    }
                }
                // Only now the store has what was listed.
                Ok(Event::InitDone) => {
                    claims.relisted();
                    let exists = |namespace: &str, name: &str| {
                        self.functions.get(&ObjectRef::new(name).within(namespace)).is_some()
                    };
                    proofs.retain(|FunctionKey { namespace, name }| exists(namespace, name));
                    backoff.retain(|function| {
                        function.split_once('/').is_some_and(|(namespace, name)| exists(namespace, name))
                    });
                    self.touch_all(|_| true);
                }
                Err(error) => {
                    self.metrics.watch_failed("Function");
                    tracing::warn!(error = %Causes(&error), "the watch of Functions broke and is made anew");
                }
            }
        }
    }

    /// Keeps what Functions have of one kind; `settled` is when to look at a Function that serves after an update of them. A change of
    /// a Deployment or a pod comes with every wake.
    fn children<K>(
        self,
        client: &Client,
        settled: When,
        trim: impl Fn(&mut K) + Send + 'static,
        observe: impl Fn(Change<K>) -> BTreeSet<FunctionKey> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Default
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let config = watcher::Config::default().labels(labels::FUNCTION);
        let trim = move |mut object: K| {
            trim(&mut object);
            Some(object)
        };
        let changes = follow(Api::all(client.clone()), config, trim, self.counting(kind::<K>()));
        async move {
            let mut changes = std::pin::pin!(changes);
            let mut first = true;
            while let Some(change) = changes.next().await {
                let complete = matches!(change, Change::Listed(_));
                let update = matches!(change, Change::Applied(_));
                for FunctionKey { namespace, name } in observe(change) {
                    let function = ObjectRef::new(&name).within(&namespace);
                    let may_wait = update && self.is_settled(&function);
                    self.touch(function, if may_wait { settled } else { When::Now });
                }
                if complete && std::mem::take(&mut first) {
                    self.done.send_modify(|count| *count += 1);
                }
            }
        }
    }

    async fn activator(self, services: Api<Guarded<Service>>, name: String, caches: Arc<Caches>) {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let changes =
            follow(services, config, |service| Some(cluster_ips(&service)), self.counting("Service"));
        let mut changes = std::pin::pin!(changes);
        let mut first = true;
        while let Some(change) = changes.next().await {
            let addresses = match change {
                Change::Listed(mut services) => services.pop().unwrap_or_default(),
                Change::Applied(addresses) => addresses,
                Change::Deleted(_) => Vec::new(),
            };
            let before = std::mem::replace(&mut *caches.activator_addresses.write(), addresses.clone());
            if before != addresses {
                self.touch_all(|_| true);
            }
            if std::mem::take(&mut first) {
                self.done.send_modify(|count| *count += 1);
            }
        }
    }

    fn namespaces(
        self,
        client: &Client,
        claims: Arc<HostClaims>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let trim = |namespace: Namespace| Some(namespace_claims(&namespace));
        let changes =
            follow(Api::all(client.clone()), watcher::Config::default(), trim, self.counting("Namespace"));
        async move {
            let mut changes = std::pin::pin!(changes);
            let mut first = true;
            while let Some(change) = changes.next().await {
                claims.observe_namespaces(change);
                if std::mem::take(&mut first) {
                    self.done.send_modify(|count| *count += 1);
                }
            }
        }
    }

    /// Nothing waits for this one: a Function is none the worse for what is told of it a moment later, or not at all.
    fn pod_autoscalers(
        self,
        client: &Client,
        caches: Arc<Caches>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let trim = |scaler: HorizontalPodAutoscaler| Some(Scaler::of(&scaler));
        let failed = self.counting("HorizontalPodAutoscaler");
        let changes = follow(Api::all(client.clone()), watcher::Config::default(), trim, failed);
        async move {
            let mut changes = std::pin::pin!(changes);
            let mut first = true;
            while let Some(change) = changes.next().await {
                let complete = matches!(change, Change::Listed(_));
                for (namespace, deployment) in caches.scalers.observe(change) {
                    let function = caches.deployments.function_of(&namespace, &deployment);
                    if let Some(FunctionKey { namespace, name }) = function {
                        self.touch(ObjectRef::new(&name).within(&namespace), When::Now);
                    }
                }
                if complete && std::mem::take(&mut first) {
                    // Of one that went while nobody looked.
                    self.touch_all(tells_of_another_scaler);
                }
            }
        }
    }

    /// Counts the failures of a watch.
    fn counting(&self, kind: &'static str) -> impl Fn() + Send + 'static + use<> {
        let metrics = self.metrics.clone();
        move || metrics.watch_failed(kind)
    }

    /// The Function serves, and nothing about it waits for what its children become.
    fn is_settled(&self, function: &ObjectRef<GuardedFunction>) -> bool {
        let Some(guarded) = self.functions.get(function) else { return false };
        let Guarded(Ok(Function { metadata, status: Some(status), .. })) = guarded.as_ref() else {
            return false;
        };
        let ready = |condition: &Condition| condition.type_ == "Ready" && condition.status == "True";
        status.observed_generation == metadata.generation
            && status.conditions.iter().any(ready)
            && status.revisions.iter().all(|revision| revision.state == RevisionState::Routed)
    }

    fn touch_all(&self, which: impl Fn(&GuardedFunction) -> bool) {
        for function in self.functions.state().into_iter().filter(|function| which(function)) {
            self.touch(ObjectRef::from_obj(function.as_ref()), When::Now);
        }
    }

    fn touch(&self, what: ObjectRef<GuardedFunction>, when: When) {
        // Nobody listens only while the process ends.
        let _ = self.touch.send(Touch { what, when });
    }
}

fn tells_of_another_scaler(function: &GuardedFunction) -> bool {
    let Guarded(Ok(Function { status: Some(status), .. })) = function else { return false };
    status.conditions.iter().any(|it| it.type_ == "ScaleConflict")
}

/// Of a pod only who it is, who made it and what became of it matters here.
fn trim_pod(pod: &mut Pod) {
    pod.spec = None;
    pod.metadata.annotations = None;
    // There may be very many that ended, and of their containers nothing is told.
    if let Some(status) = &mut pod.status
        && matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
    {
        (status.container_statuses, status.init_container_statuses) = (None, None);
    }
}

/// The Function that the deleted object could be waited for by: that of this name.
fn name_of_deleted<K: ResourceExt>(
    change: &Change<K>,
    name: impl Fn(&K) -> Option<&String>,
) -> Option<FunctionKey> {
    let Change::Deleted(object) = change else { return None };
    Some(FunctionKey { namespace: object.namespace()?, name: name(object)?.clone() })
}

pub(crate) fn namespace_claims(namespace: &Namespace) -> NamespaceClaims {
    let suffixes = namespace.annotations().get(labels::HOST_SUFFIXES).cloned();
    NamespaceClaims { name: namespace.name_any(), suffixes }
}

fn cluster_ips(service: &Service) -> Vec<IpAddr> {
    let addresses = service.spec.as_ref().and_then(|spec| spec.cluster_ips.as_ref()).into_iter().flatten();
    // A headless Service says `None`, which is no address.
    addresses.filter_map(|address| address.parse().ok()).collect()
}

/// The kind, for labels and logs.
pub(crate) fn kind<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::kind(&()) {
        std::borrow::Cow::Borrowed(kind) => kind,
        std::borrow::Cow::Owned(_) => "other",
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use catnap_operator_core::Claims;
    use catnap_testkit::FakeApi;
    use futures::stream;
    use serde_json::json;

    use super::*;
    use crate::tests::bench::settings;

    fn function(name: &str) -> GuardedFunction {
        let function = json!({
            "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
            "metadata": {"name": name, "namespace": "n", "uid": name}, "spec": {"image": "i"},
        });
        Guarded(Ok(serde_json::from_value(function).unwrap()))
    }

    /// Failures of `a`, `b` and `c` after these events.
    async fn failing_after(events: Vec<Event<GuardedFunction>>) -> Vec<&'static str> {
        let (touch, _touched) = Touches::new();
        let (functions, writer) = reflector::store();
        let claims = Arc::new(HostClaims::new(settings(Claims::Open), functions.clone(), touch.clone()));
        let proofs = Arc::new(Proofs::new(1, touch.clone()));
        let metrics = Metrics::new(&mut prometheus_client::registry::Registry::default());
        let backoff = Arc::new(Backoff::default());
        for name in ["n/a", "n/b", "n/c"] {
            backoff.failed(name);
        }
        let watches = Watches { touch, done: watch::channel(0).0, metrics, functions };
        let events = stream::iter(events.into_iter().map(Ok)).reflect(writer);
        watches.functions(events, claims, proofs, backoff.clone()).await;
        // The first failure of one that is not known has the shortest wait.
        let shortest = backoff.failed("n/new");
        ["n/a", "n/b", "n/c"].into_iter().filter(|name| backoff.failed(name) > shortest).collect()
    }

    #[tokio::test]
    async fn failures_of_what_is_gone_are_forgotten() {
        assert_eq!(failing_after(vec![Event::Delete(function("b"))]).await, ["n/a", "n/c"]);
        let listed = vec![Event::Init, Event::InitApply(function("b")), Event::InitDone];
        assert_eq!(failing_after(listed).await, ["n/b"]);
    }

    #[tokio::test]
    async fn no_watch_is_deaf_for_long() {
        let api = FakeApi::default();
        let metrics = Metrics::new(&mut prometheus_client::registry::Registry::default());
        let _watched = start(&api.client(), "catnap", "activator", settings(Claims::Open), 1, &metrics);
        let all_watch = async {
            let mut seen = BTreeMap::new();
            // And that of Functions, and that of others that scale.
            while seen.len() < NEEDED_WATCHES + 2 {
                let calls = api.take_calls().into_iter().filter(|call| call.query.contains("watch=true"));
                seen.extend(calls.map(|call| (call.path, call.query)));
                tokio::task::yield_now().await;
            }
            seen
        };
        let seen = tokio::time::timeout(Duration::from_secs(20), all_watch).await.unwrap();
        for (path, query) in seen {
            assert!(query.contains(&format!("timeoutSeconds={WATCH_SECONDS}")), "{path}: {query}");
        }
    }
}
