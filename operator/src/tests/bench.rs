//! An operator whose watches are moved by hand.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use catnap_crds::{Function, FunctionStatus, guarded::Guarded, labels};
use catnap_operator_core::{Claims, HostSettings};
use catnap_runtime::{
    CancellationToken,
    events::{Notice, Publisher},
    watch::Change,
};
use catnap_testkit::FakeApi;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod},
};
use kube::{
    Resource, ResourceExt,
    core::NamespaceResourceScope,
    runtime::{
        controller::Action,
        reflector::{self, ObjectRef},
        watcher::Event,
    },
};
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    args::{HostArgs, HostClaimsArg, UrlScheme},
    cache::Cache,
    claims::HostClaims,
    contests::Contests,
    context::Context,
    metrics::Metrics,
    proofs::Proofs,
    reconcile::{ReconcileError, after_failure, reconcile},
    scalers::Scaler,
    settled::Settled,
    touches::Touches,
    watch::{Caches, GuardedFunction, namespace_claims},
    write::Writer,
};

pub(crate) const NAMESPACE: &str = "default";
/// The revision of the image `example/hello:1`.
pub(crate) const FIRST: &str = "hello-eca2fb41a6";

pub(crate) struct Bench {
    pub(crate) api: FakeApi,
    pub(crate) leads: Arc<AtomicBool>,
    context: Arc<Context>,
    store: Mutex<reflector::store::Writer<GuardedFunction>>,
    touched: Mutex<Touches<ObjectRef<GuardedFunction>>>,
    namespaces: Mutex<Vec<String>>,
    notices: Mutex<mpsc::Receiver<Notice>>,
    told: Mutex<Vec<Notice>>,
}

/// As an installation with a domain has them.
pub(crate) fn settings(claims: Claims) -> HostSettings {
    let arguments = HostArgs {
        cluster_domain: "cluster.local".into(),
        domain: "apps.example.com".into(),
        domain_template: "{{name}}-{{namespace}}.{{domain}}".into(),
        host_claims: HostClaimsArg::Restricted,
        url_scheme: UrlScheme::Https,
    };
    let mut settings = arguments.settings().unwrap();
    settings.rules.claims = claims;
    settings
}

impl Bench {
    /// A cluster with one Function, `default/hello`.
    pub(crate) fn new(spec: &Value) -> Self {
        let api = FakeApi::default();
        let mut function = json!({
            "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
            "metadata": {"name": "hello", "namespace": NAMESPACE}, "spec": {"image": "example/hello:1"},
        });
        for (name, field) in spec.as_object().unwrap() {
            function["spec"][name] = field.clone();
        }
        api.insert(&serde_json::from_value::<Function>(function).unwrap());
        Self::with(api, Claims::Restricted)
    }

    /// An operator on this cluster.
    pub(crate) fn with(api: FakeApi, claims: Claims) -> Self {
        let leads = Arc::new(AtomicBool::new(true));
        let (permit, client) = (leads.clone(), api.client());
        let metrics = Metrics::new(&mut prometheus_client::registry::Registry::default());
        let caches = Arc::new(Caches::default());
        *caches.activator_addresses.write() = vec!["10.96.0.20".parse().unwrap()];
        let (notices, taken) = mpsc::channel(1_000);
        let (functions, store) = reflector::store();
        let (touch, touched) = Touches::new();
        let context = Arc::new(Context {
            caches,
            claims: Arc::new(HostClaims::new(settings(claims), functions.clone(), touch.clone())),
            functions,
            proofs: Arc::new(Proofs::new(20, touch)),
            writer: Writer::new(Arc::new(move || permit.load(Ordering::Relaxed)), metrics.clone()),
            settled: Settled::default(),
            contests: Contests::default(),
            notices,
            events_in_vain: AtomicBool::new(false),
            backoff: Arc::default(),
            client,
            rates: Arc::default(),
            metrics,
        });
        let (store, touched) = (Mutex::new(store), Mutex::new(touched));
        let bench = Self {
            api,
            leads,
            context,
            store,
            touched,
            namespaces: Mutex::default(),
            notices: Mutex::new(taken),
            told: Mutex::default(),
        };
        bench.namespace(NAMESPACE, None);
        bench
    }

    /// A namespace is there, with these suffixes in its annotation, and was seen.
    pub(crate) fn namespace(&self, name: &str, suffixes: Option<&str>) {
        let mut object = json!({"metadata": {"name": name}});
        if let Some(suffixes) = suffixes {
            object["metadata"]["annotations"] = json!({ labels::HOST_SUFFIXES: suffixes });
        }
        self.api.insert_at("/api/v1/namespaces", object.clone());
        let namespace: Namespace = serde_json::from_value(object).unwrap();
        self.context.claims.observe_namespaces(Change::Applied(namespace_claims(&namespace)));
        let mut namespaces = self.namespaces.lock();
        if !namespaces.iter().any(|known| known == name) {
            namespaces.push(name.to_owned());
        }
    }

    /// Somebody deletes a Function, and the watch shows it.
    pub(crate) fn delete_function(&self, namespace: &str, name: &str) {
        let gone: Function = self.api.get(namespace, name).unwrap();
        self.api.remove::<Function>(namespace, name);
        let gone = Guarded(Ok(gone));
        self.store.lock().apply_watcher_event(&Event::Delete(gone.clone()));
        self.context.claims.forget(&gone);
    }

    /// As if nobody wrote Events any more.
    pub(crate) fn fill_notices(&self) {
        while let Ok(room) = self.context.notices.try_reserve() {
            // A place that is never given back.
            std::mem::forget(room);
        }
    }

    /// All that was to become an Event so far.
    pub(crate) fn told(&self) -> Vec<Notice> {
        let (mut notices, mut told) = (self.notices.lock(), self.told.lock());
        told.extend(std::iter::from_fn(|| notices.try_recv().ok()));
        told.clone()
    }

    /// Lets an operator that ends write all of that.
    pub(crate) async fn publish(&self) {
        let client = self.api.client();
        let publisher =
            Publisher { client, controller: "catnap-operator", instance: "test".into(), writers: 1 };
        let stop = CancellationToken::new();
        let (notices, all_told) = publisher.start(stop.clone(), |_| ());
        for notice in self.told() {
            notices.send(notice).await.unwrap();
        }
        stop.cancel();
        all_told.await.unwrap();
    }

    /// Takes the lead.
    pub(crate) async fn take_over(&self) {
        self.context.claims.take_over(&self.context.client).await;
    }

    /// Looks at one Function after the watches saw everything.
    pub(crate) async fn look_at(&self, namespace: &str, name: &str) -> Result<Action, ReconcileError> {
        self.watch();
        self.look_at_as_it_was(self.api.get(namespace, name).unwrap()).await
    }

    /// Looks at a Function that may not be there any more.
    pub(crate) async fn look_at_as_it_was(&self, function: Function) -> Result<Action, ReconcileError> {
        self.reconcile(Guarded(Ok(function))).await
    }

    /// Looks at the Functions that are to be looked at again, until there are none; those that it looked at.
    pub(crate) async fn settle(&self) -> Vec<String> {
        let mut looked_at = Vec::new();
        loop {
            let touched = self.touched.lock().next().now_or_never().flatten();
            let Some(ObjectRef { name, namespace, .. }) = touched else { return looked_at };
            let namespace = namespace.unwrap();
            if self.api.get::<Function>(&namespace, &name).is_some() {
                self.look_at(&namespace, &name).await.unwrap();
            }
            looked_at.push(format!("{namespace}/{name}"));
            assert!(looked_at.len() < 100, "they touch each other for ever: {looked_at:?}");
        }
    }

    /// Lets the watches see everything, then reconciles once.
    pub(crate) async fn look(&self) -> Result<Action, ReconcileError> {
        self.watch();
        self.look_with_old_caches().await
    }

    /// Reconciles with the Function of now and children as last seen.
    pub(crate) async fn look_with_old_caches(&self) -> Result<Action, ReconcileError> {
        self.look_by(self.function()).await
    }

    /// Reconciles with this view of the Function.
    pub(crate) async fn look_by(&self, function: Function) -> Result<Action, ReconcileError> {
        let function = Guarded(Ok(function));
        self.store.lock().apply_watcher_event(&Event::Apply(function.clone()));
        self.reconcile(function).await
    }

    async fn reconcile(&self, function: GuardedFunction) -> Result<Action, ReconcileError> {
        let function = Arc::new(function);
        let result = reconcile(function.clone(), self.context.clone()).await;
        if let Err(error) = &result {
            after_failure(&function, error, &self.context);
        }
        result
    }

    pub(crate) fn watch(&self) {
        let caches = &self.context.caches;
        self.list(&caches.controller_revisions);
        self.list(&caches.deployments);
        self.list(&caches.services);
        self.list(&caches.endpoint_slices);
        self.list(&caches.pods);
        let mut store = self.store.lock();
        store.apply_watcher_event(&Event::Init);
        for function in self.in_all::<Function>() {
            store.apply_watcher_event(&Event::InitApply(Guarded(Ok(function))));
        }
        store.apply_watcher_event(&Event::InitDone);
    }

    /// The watch shows that these are to scale Deployments, each with one's name, and no others.
    pub(crate) fn watch_scalers(&self, targets: &[(&str, &str)]) {
        let scalers = targets.iter().map(|(name, deployment)| {
            let object = json!({
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": deployment}},
            });
            Scaler::of(&serde_json::from_value(object).unwrap())
        });
        self.context.caches.scalers.observe(Change::Listed(scalers.collect()));
    }

    fn in_all<K>(&self) -> Vec<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
    {
        self.namespaces.lock().iter().flat_map(|namespace| self.api.list::<K>(namespace)).collect()
    }

    fn list<K>(&self, cache: &Cache<K>)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned,
    {
        let mut objects = self.in_all::<K>();
        objects.retain(|it| it.labels().contains_key(labels::FUNCTION));
        cache.observe(Change::Listed(objects));
    }

    /// How many new revisions prove themselves, and how many wait.
    pub(crate) fn proofs(&self) -> (usize, usize) {
        self.context.proofs.count()
    }

    /// What the watch shows of the Function now.
    pub(crate) fn watch_proofs(&self) {
        self.context.proofs.observe(&self.function());
    }

    pub(crate) fn failing(&self) -> usize {
        self.context.backoff.failing()
    }

    pub(crate) fn function(&self) -> Function {
        self.api.get(NAMESPACE, "hello").unwrap()
    }

    pub(crate) fn status(&self) -> FunctionStatus {
        self.function().status.unwrap_or_default()
    }

    /// The revision that the spec forms.
    pub(crate) fn revision(&self) -> String {
        self.status().latest_created_revision.unwrap()
    }

    /// `True/Ready` and the like.
    pub(crate) fn said(&self, type_: &str) -> String {
        let conditions = self.status().conditions;
        let condition = conditions.iter().find(|it| it.type_ == type_).unwrap();
        format!("{}/{}", condition.status, condition.reason)
    }

    pub(crate) fn edit_spec(&self, change: impl FnOnce(&mut Value)) {
        assert!(self.api.edit::<Function>(NAMESPACE, "hello", |function| change(&mut function["spec"])));
    }

    /// Functions whose requests the autoscaler is asked about.
    pub(crate) fn asked(&self) -> usize {
        self.context.rates.count().0
    }

    /// As if the last step of a rollout had been watched for long enough.
    pub(crate) fn pass_interval(&self) {
        assert!(self.api.edit::<Function>(NAMESPACE, "hello", |function| {
            function["status"]["rollout"]["steppedAt"] = json!("2026-01-01T00:00:00Z");
        }));
    }

    pub(crate) fn deployment(&self, name: &str) -> Option<Deployment> {
        self.api.get(NAMESPACE, name)
    }

    /// What the autoscaler, the controllers and kubelet do: so many ready pods of a revision, and no others.
    pub(crate) fn ready_pods(&self, revision: &str, count: i32) {
        for pod in self.api.list::<Pod>(NAMESPACE) {
            if pod.labels()[labels::REVISION] == revision {
                self.api.remove::<Pod>(NAMESPACE, &pod.name_any());
            }
        }
        let uid = self.function().metadata.uid;
        for index in 0..count {
            let pod = json!({
                "metadata": {"name": format!("{revision}-{index}"), "namespace": NAMESPACE, "labels": {
                    labels::FUNCTION: "hello", labels::REVISION: revision, labels::FUNCTION_UID: uid,
                }, "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{revision}-6f7d"), "uid": "rs", "controller": true,
                }]},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            });
            self.api.insert(&serde_json::from_value::<Pod>(pod).unwrap());
        }
        assert!(self.api.edit::<Deployment>(NAMESPACE, revision, |deployment| {
            deployment["spec"]["replicas"] = json!(count);
            deployment["status"]["replicas"] = json!(count);
        }));
    }

    /// A Function whose first revision is proven and at rest with one replica, and nothing recorded yet.
    pub(crate) async fn routed(spec: &Value) -> Self {
        let bench = Self::new(spec);
        bench.look().await.unwrap();
        bench.ready_pods(&bench.revision(), 1);
        bench.look().await.unwrap();
        bench.look().await.unwrap();
        bench.api.take_calls();
        bench
    }

    /// The writes since the last time, in alphabetical order: two groups of objects are written side by side.
    pub(crate) fn writes(&self) -> Vec<String> {
        let mut writes = self.api.take_writes();
        writes.sort();
        writes
    }
}
