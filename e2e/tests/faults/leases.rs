//! The Leases by which parts of Catnap lead, and when they change hands.

use std::time::Instant;

use catnap_e2e::fixture::{Context, SYSTEM_NAMESPACE};
use futures::TryStreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};

/// A Lease in new hands.
pub(crate) struct Taken {
    pub(crate) holder: String,
    /// When that was seen.
    pub(crate) at: Instant,
}

pub(crate) fn leases(test: &Context) -> Api<Lease> {
    Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE)
}

/// Who holds it; nobody when it was given back.
pub(crate) fn holder(lease: &Lease) -> Option<String> {
    lease.spec.as_ref()?.holder_identity.clone().filter(|holder| !holder.is_empty())
}

/// Begins to watch a Lease at once; then waits for the next one who takes it.
pub(crate) async fn next_holder(
    test: &Context,
    name: &str,
) -> anyhow::Result<impl Future<Output = anyhow::Result<Taken>>> {
    let api = leases(test);
    let lease = api.get(name).await?;
    let (before, version) = (holder(&lease), lease.metadata.resource_version.unwrap_or_default());
    let watch = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(60);
    let mut events = Box::pin(api.watch(&watch, &version).await?);
    Ok(async move {
        while let Some(event) = events.try_next().await? {
            if let WatchEvent::Modified(lease) = event
                && let Some(holder) = holder(&lease).filter(|holder| before.as_ref() != Some(holder))
            {
                return Ok(Taken { holder, at: Instant::now() });
            }
        }
        anyhow::bail!("the watch of {name} ended")
    })
}
