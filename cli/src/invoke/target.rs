//! Where the request goes: which host it is for, and which activator is near enough to ask.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::Value;

use crate::connection::Connection;
use crate::connection::call::{Act, CallError};
use crate::functions::Found;

/// The activators' pods, as the chart labels them.
const ACTIVATORS: &str = "app.kubernetes.io/name=catnap,app.kubernetes.io/component=activator";

/// Host of the address inside the cluster; `None` until the operator has given it one.
pub(super) fn host(found: &Found) -> Option<String> {
    let url = found.object.data.pointer("/status/url").and_then(Value::as_str)?;
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().filter(|host| !host.is_empty()).map(str::to_owned)
}

/// An activator that is ready, the youngest; `system` is the namespace that Catnap is in.
pub(super) async fn activator(connection: &Connection, system: &str) -> Result<Option<String>, CallError> {
    let pods: Api<Pod> = Api::namespaced(connection.client.clone(), system);
    let act = Act::on_all("list", "pods", Some(system));
    let found = connection.call(act, pods.list(&ListParams::default().labels(ACTIVATORS))).await?;
    let ready = found.items.into_iter().filter(is_ready);
    let youngest = ready.max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    Ok(youngest.and_then(|pod| pod.metadata.name))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
