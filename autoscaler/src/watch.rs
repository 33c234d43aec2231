//! Watches of the API server, each trimmed object by object and handed to the driver in the order it came.
//!
//! While a watch fails, the mirror is old, which the leader's own rules allow for.

use std::fmt::Debug;
use std::pin::pin;

use catnap_crds::{Function as FunctionObject, labels};
use catnap_runtime::watch::{Change, follow};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment as DeploymentObject, ReplicaSet as ReplicaSetObject};
use k8s_openapi::api::core::v1::Pod;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Config;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::cluster::ClusterChange;
use crate::cluster::fact::{Activator, Deployment, Function, FunctionPod, ReplicaSet};
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
        T: Send + 'static,
    {
        let metrics = self.metrics.clone();
        let failed = move || metrics.watch_failed(&K::kind(&()));
        let mut changes = pin!(follow(api, config, move |object| trim(&object), failed));
        while let Some(change) = changes.next().await {
            if self.inputs.send(Input::Cluster(wrap(change))).await.is_err() {
                return;
            }
        }
    }
}
