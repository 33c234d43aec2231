//! The pods of a Function: those that a revision of it controls, whatever others call theirs.

use catnap_crds::{Function, PodOwner, labels};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use crate::connection::Connection;
use crate::connection::call::{Act, CallError};

/// What selects them.
pub(crate) fn selector(function: &Function) -> String {
    format!("{}={}", labels::FUNCTION, function.metadata.name.as_deref().unwrap_or_default())
}

/// The revision that a pod is of, if it is one of the Function's.
pub(crate) fn revision<'pod>(pod: &'pod Pod, function: &Function) -> Option<&'pod str> {
    let owner = PodOwner::of(&pod.metadata)?;
    (Some(owner.function_uid) == function.metadata.uid.as_deref()).then_some(owner.revision)
}

/// All of them, by name.
pub(crate) async fn list(connection: &Connection, function: &Function) -> Result<Vec<Pod>, CallError> {
    let namespace = function.metadata.namespace.as_deref().unwrap_or(&connection.namespace);
    let api: Api<Pod> = Api::namespaced(connection.client.clone(), namespace);
    let parameters = ListParams::default().labels(&selector(function));
    let act = Act::on_all("list", "pods", Some(namespace));
    let list = connection.call(act, api.list(&parameters)).await?;
    Ok(list.items.into_iter().filter(|pod| revision(pod, function).is_some()).collect())
}
