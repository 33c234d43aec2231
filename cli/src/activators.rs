//! The activators that can be asked something: their pods.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use crate::connection::Connection;
use crate::connection::call::{Act, CallError};

/// Their pods, as the chart labels them.
const LABELS: &str = "app.kubernetes.io/name=catnap,app.kubernetes.io/component=activator";

/// Names of those that are ready and stay, the youngest first; `system` is the namespace that Catnap is in.
pub(crate) async fn ready(connection: &Connection, system: &str) -> Result<Vec<String>, CallError> {
    let pods: Api<Pod> = Api::namespaced(connection.client.clone(), system);
    let act = Act::on_all("list", "pods", Some(system));
    let found = connection.call(act, pods.list(&ListParams::default().labels(LABELS))).await?;
    let mut ready: Vec<Pod> = found.items.into_iter().filter(is_ready).collect();
    ready.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    Ok(ready.into_iter().rev().filter_map(|pod| pod.metadata.name).collect())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
