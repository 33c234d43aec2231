//! An operator whose watches are moved by hand.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use catnap_crds::{Function, FunctionStatus, labels};
use catnap_runtime::watch::Change;
use catnap_testkit::FakeApi;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Resource, ResourceExt,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{
        controller::Action,
        events::{Recorder, Reporter},
        reflector,
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    backoff::Backoff,
    cache::Cache,
    context::Context,
    metrics::Metrics,
    reconcile::{ReconcileError, after_failure, reconcile},
    watch::Caches,
    write::Writer,
};

pub(crate) const NAMESPACE: &str = "default";
/// The revision of the image `example/hello:1`.
pub(crate) const FIRST: &str = "hello-eca2fb41a6";

pub(crate) struct Bench {
    pub(crate) api: FakeApi,
    pub(crate) leads: Arc<AtomicBool>,
    context: Arc<Context>,
}

impl Bench {
    /// A cluster with one Function, `default/hello`.
    pub(crate) fn new(spec: &Value) -> Self {
        let api = FakeApi::default();
        api.insert_at("/api/v1/namespaces", json!({"metadata": {"name": NAMESPACE}}));
        let mut function = json!({
            "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
            "metadata": {"name": "hello", "namespace": NAMESPACE}, "spec": {"image": "example/hello:1"},
        });
        for (name, field) in spec.as_object().unwrap() {
            function["spec"][name] = field.clone();
        }
        api.insert(&serde_json::from_value::<Function>(function).unwrap());
        let leads = Arc::new(AtomicBool::new(true));
        let (permit, client) = (leads.clone(), api.client());
        let metrics = Metrics::new(&mut prometheus_client::registry::Registry::default());
        let caches = Arc::new(Caches::default());
        *caches.activator_addresses.write() = vec!["10.96.0.20".parse().unwrap()];
        let reporter = Reporter { controller: "catnap-operator".into(), instance: Some("test".into()) };
        let context = Arc::new(Context {
            caches,
            functions: reflector::store().0,
            writer: Writer::new(Arc::new(move || permit.load(Ordering::Relaxed)), metrics.clone()),
            recorder: Recorder::new(client.clone(), reporter),
            backoff: Backoff::default(),
            client,
            metrics,
        });
        Self { api, leads, context }
    }

    /// Lets the watches see everything, then reconciles once.
    pub(crate) async fn look(&self) -> Result<Action, ReconcileError> {
        self.watch();
        self.look_with_old_caches().await
    }

    /// Reconciles with the Function of now and children as last seen.
    pub(crate) async fn look_with_old_caches(&self) -> Result<Action, ReconcileError> {
        let function = Arc::new(DeserializeGuard(Ok(self.function())));
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
    }

    fn list<K>(&self, cache: &Cache<K>)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
    {
        let mut objects = self.api.list::<K>(NAMESPACE);
        objects.retain(|it| it.labels().contains_key(labels::FUNCTION));
        cache.observe(Change::Listed(objects));
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

    /// `True/Ready` and the like.
    pub(crate) fn said(&self, type_: &str) -> String {
        let conditions = self.status().conditions;
        let condition = conditions.iter().find(|it| it.type_ == type_).unwrap();
        format!("{}/{}", condition.status, condition.reason)
    }

    pub(crate) fn edit_spec(&self, change: impl FnOnce(&mut Value)) {
        assert!(self.api.edit::<Function>(NAMESPACE, "hello", |function| change(&mut function["spec"])));
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
        bench.ready_pods(FIRST, 1);
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
