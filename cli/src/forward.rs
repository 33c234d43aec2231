//! A way to a port of a pod through the API server, as `kubectl port-forward` has it: without kubectl, and without a port of
//! this machine.

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use tokio::io::DuplexStream;

use crate::connection::Connection;
use crate::connection::call::{Act, CallError};

/// Opens a connection to the port; `None` when the API server opened none. Needs the right to create `pods/portforward`.
pub(crate) async fn to_pod(
    connection: &Connection,
    namespace: &str,
    pod: &str,
    port: u16,
) -> Result<Option<DuplexStream>, CallError> {
    let pods: Api<Pod> = Api::namespaced(connection.client.clone(), namespace);
    let act = Act::on("create", "pods/portforward", namespace, pod);
    // What it forwards with lives on by itself, as long as the stream does.
    let mut forwarding = connection.call(act, pods.portforward(pod, &[port])).await?;
    Ok(forwarding.take_stream(port))
}
