//! The Leases by which parts of Catnap lead, and when they change hands as their holders say.

use std::time::Duration;

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, SYSTEM_NAMESPACE};
use futures::TryStreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};

/// A Lease in new hands.
pub(crate) struct Taken {
    pub(crate) holder: String,
    at: Timestamp,
}

impl Taken {
    /// How long after a moment it was taken, by the clock of this machine, which its pods have too.
    pub(crate) fn after(&self, moment: Timestamp) -> Duration {
        // Negative: the clock was set.
        Duration::try_from(self.at.duration_since(moment)).unwrap_or_default()
    }
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
                let acquired = lease.spec.and_then(|spec| spec.acquire_time);
                return Ok(Taken { holder, at: acquired.context("a Lease without a time")?.0 });
            }
        }
        anyhow::bail!("the watch of {name} ended")
    })
}
