//! Watches of the API server, each trimmed object by object and handed to the driver in the order it came.
//!
//! A watch that fails is restarted with a back-off for ever: the mirror is then old, which the leader's own rules allow for.

use std::fmt::Debug;
use std::pin::pin;

use catnap_crds::{Function as FunctionObject, labels};
use catnap_runtime::Causes;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment as DeploymentObject, ReplicaSet as ReplicaSetObject};
use k8s_openapi::api::core::v1::Pod;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::cluster::fact::{Activator, Deployment, Function, FunctionPod, ReplicaSet};
use crate::cluster::{Change, ClusterChange};
use crate::driver::Input;
use crate::metrics::Metrics;

/// Which activators there are.
#[derive(Clone, Debug)]
pub(crate) struct Activators {
    pub(crate) namespace: String,
    pub(crate) selector: String,
}

/// Where changes go.
struct Sink {
    inputs: mpsc::Sender<Input>,
    metrics: Metrics,
}

/// Watches everything until the driver is gone.
pub(crate) async fn run(
    client: Client,
    activators: Activators,
    inputs: mpsc::Sender<Input>,
    metrics: Metrics,
) {
    let sink = Sink { inputs, metrics };
    let managed = format!("{}={}", labels::MANAGED_BY, labels::MANAGED_BY_CATNAP);
    let children = Config::default().labels(&managed);
    let client = || client.clone();
    tokio::join!(
        sink.follow(
            Api::<DeserializeGuard<FunctionObject>>::all(client()),
            Config::default(),
            Function::of,
            ClusterChange::Functions
        ),
        sink.follow(
            Api::<DeserializeGuard<DeploymentObject>>::all(client()),
            children.clone(),
            Deployment::of,
            ClusterChange::Deployments
        ),
        sink.follow(
            Api::<DeserializeGuard<ReplicaSetObject>>::all(client()),
            children.clone(),
            ReplicaSet::of,
            ClusterChange::ReplicaSets
        ),
        sink.follow(
            Api::<DeserializeGuard<Pod>>::all(client()),
            children.clone(),
            FunctionPod::of,
            ClusterChange::Pods
        ),
        sink.follow(
            Api::<DeserializeGuard<Pod>>::namespaced(client(), &activators.namespace),
            Config::default().labels(&activators.selector),
            Activator::of,
            ClusterChange::Activators
        ),
    );
}

impl Sink {
    async fn follow<K, T>(
        &self,
        api: Api<DeserializeGuard<K>>,
        config: Config,
        trim: fn(&K) -> Option<T>,
        wrap: fn(Change<T>) -> ClusterChange,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut events = pin!(watcher(api, config).default_backoff());
        let mut listed = Vec::new();
        while let Some(event) = events.next().await {
            let change = match event {
                Ok(Event::Init) => {
                    listed.clear();
                    continue;
                }
                Ok(Event::InitApply(object)) => {
                    listed.extend(self.fact(&object, trim));
                    continue;
                }
                Ok(Event::InitDone) => Change::Replaced(std::mem::take(&mut listed)),
                Ok(Event::Apply(object)) => match self.fact(&object, trim) {
                    Some(fact) => Change::Applied(fact),
                    None => continue,
                },
                Ok(Event::Delete(object)) => match self.fact(&object, trim) {
                    Some(fact) => Change::Deleted(fact),
                    None => continue,
                },
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), error = %Causes(&error), "watch failed");
                    self.metrics.watch_failed(&K::kind(&()));
                    continue;
                }
            };
            if self.inputs.send(Input::Cluster(wrap(change))).await.is_err() {
                return;
            }
        }
    }

    fn fact<K: Resource<DynamicType = ()>, T>(
        &self,
        object: &DeserializeGuard<K>,
        trim: fn(&K) -> Option<T>,
    ) -> Option<T> {
        match &object.0 {
            Ok(object) => trim(object),
            Err(error) => {
                let name = error.metadata.name.as_deref().unwrap_or_default();
                tracing::warn!(kind = %K::kind(&()), name, %error, "cannot read an object; what was known of it stays");
                self.metrics.watch_failed(&K::kind(&()));
                None
            }
        }
    }
}
