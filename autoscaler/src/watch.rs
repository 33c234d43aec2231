//! Watches of the API server, each trimmed object by object and handed to the driver in the order it came.
//!
//! While a watch fails, the mirror is old, which the leader's own rules allow for.

use std::fmt::Debug;
use std::pin::pin;

use catnap_crds::{Function as FunctionObject, guarded::Guarded, labels};
use catnap_runtime::watch::{Change, follow};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment as DeploymentObject, ReplicaSet as ReplicaSetObject};
use k8s_openapi::api::core::v1::Pod;
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
            Api::<Guarded<FunctionObject>>::all(client()),
            Config::default(),
            Function::of,
            ClusterChange::Functions
        ),
        sink.follow(
            Api::<Guarded<DeploymentObject>>::all(client()),
            children.clone(),
            Deployment::of,
            ClusterChange::Deployments
        ),
        sink.follow(
            Api::<Guarded<ReplicaSetObject>>::all(client()),
            children.clone(),
            ReplicaSet::of,
            ClusterChange::ReplicaSets
        ),
        sink.follow(
            Api::<Guarded<Pod>>::all(client()),
            children.clone(),
            FunctionPod::of,
            ClusterChange::Pods
        ),
        sink.follow(
            Api::<Guarded<Pod>>::namespaced(client(), &activators.namespace),
            Config::default().labels(&activators.selector),
            Activator::of,
            ClusterChange::Activators
        ),
    );
}

impl Sink {
    async fn follow<K, T>(
        &self,
        api: Api<Guarded<K>>,
        config: Config,
        trim: fn(&K) -> Option<T>,
        wrap: fn(Change<T>) -> ClusterChange,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Default + Send + 'static,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use catnap_runtime::prometheus_client::registry::Registry;
    use catnap_testkit::FakeApi;
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_function_that_is_nested_too_deep_keeps_none_from_being_known() {
        let api = FakeApi::default();
        for (name, levels) in [("deep", 200), ("hello", 1)] {
            let template = (0..levels).fold(json!(1), |inner, _| json!({"a": inner}));
            let function = json!({
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"image": "example/hello:1", "podTemplate": template},
            });
            api.insert_at("/apis/catnap.dev/v1alpha1/namespaces/default/functions", function);
        }
        let (inputs, mut seen) = mpsc::channel(64);
        let activators = Activators { namespace: "catnap-system".into(), selector: "a=b".into() };
        let metrics = Metrics::new(&mut Registry::default());
        let watching = tokio::spawn(run(api.client(), activators, inputs, metrics));
        let functions = async {
            loop {
                let input = seen.recv().await.expect("the watches go on");
                if let Input::Cluster(ClusterChange::Functions(Change::Listed(all))) = input {
                    return all;
                }
            }
        };
        let functions = tokio::time::timeout(Duration::from_secs(60), functions).await.expect("a list");
        watching.abort();
        let names: Vec<_> = functions.iter().map(|function| &*function.name).collect();
        assert_eq!(names, ["deep", "hello"]);
    }
}
