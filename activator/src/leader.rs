//! Where the leading autoscaler is: read from its Lease, which also carries the fingerprint of its certificate.
//!
//! A Lease that stays as it was says nothing about whether that leader still lives; only the stream does.

use catnap_runtime::lease::{Advertised, advertised};
use catnap_runtime::watch::{Change, follow};
use futures::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use tokio::sync::watch;
use tracing::info;

/// The Lease that autoscalers lead by.
const LEASE: &str = "catnap-autoscaler";

/// Follows the Lease in `namespace` for ever and publishes whom it names.
pub(crate) async fn follow_leader(
    client: Client,
    namespace: &str,
    leader: watch::Sender<Option<Advertised>>,
) {
    let config = Config::default().fields(&format!("metadata.name={LEASE}"));
    publish(follow(Api::namespaced(client, namespace), config, Some, || ()), &leader).await;
}

async fn publish(changes: impl Stream<Item = Change<Lease>>, leader: &watch::Sender<Option<Advertised>>) {
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        let lease = match change {
            Change::Listed(mut leases) => leases.pop(),
            Change::Applied(lease) => Some(lease),
            Change::Deleted(_) => None,
        };
        let now = lease.as_ref().and_then(advertised);
        // Renewals change nothing here; only a new holder is news to the stream.
        leader.send_if_modified(|known| {
            let is_news = *known != now;
            if is_news {
                info!(
                    holder = now.as_ref().map(|now| &now.holder),
                    "the autoscalers' Lease names another leader"
                );
                *known = now;
            }
            is_news
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lease(holder: &str) -> Lease {
        serde_json::from_value(json!({
            "metadata": {"name": LEASE, "annotations": {
                "catnap.dev/address": "10.0.0.7:9443", "catnap.dev/fingerprint": "00ff".repeat(16),
            }},
            "spec": {"holderIdentity": holder, "leaseTransitions": 3},
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_new_holder_is_published_once_and_a_released_lease_names_none() {
        let (sender, mut receiver) = watch::channel(None);
        publish(futures::stream::iter([Change::Listed(vec![lease("pod_1")])]), &sender).await;
        let holder = receiver.borrow_and_update().as_ref().map(|leader| leader.holder.clone());
        assert_eq!(holder.as_deref(), Some("pod_1"));

        publish(futures::stream::iter([Change::Applied(lease("pod_1"))]), &sender).await;
        assert!(!receiver.has_changed().unwrap(), "a renewal is no news");

        publish(futures::stream::iter([Change::Applied(lease("pod_2"))]), &sender).await;
        assert_eq!(receiver.borrow_and_update().as_ref().unwrap().holder, "pod_2");

        publish(futures::stream::iter([Change::Applied(lease(""))]), &sender).await;
        assert_eq!(*receiver.borrow_and_update(), None);
    }
}
