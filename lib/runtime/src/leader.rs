//! Where the leading autoscaler is: read from its Lease, which also carries the fingerprint of its certificate.
//!
//! A Lease that stays as it was says nothing about whether that leader still lives; only the stream does.

use std::net::SocketAddr;

use futures::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use tokio::sync::watch;
use tracing::info;

use crate::lease::{Advertised, advertised};
use crate::tls::Fingerprint;
use crate::watch::{Change, follow};

/// The Lease that autoscalers lead by.
const LEASE: &str = "catnap-autoscaler";

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// How many Leases there were, this one included: terms count from the beginning with each.
    pub lease: u64,
    /// Who holds it.
    pub holder: String,
    /// Transitions of the Lease: the first half of the leader's term.
    pub transitions: u64,
    /// Where its measurement stream listens.
    pub address: SocketAddr,
    /// Which certificate it must show.
    pub fingerprint: Fingerprint,
}

/// Which Lease there is, as the API server showed it so far.
#[derive(Debug, Default)]
struct Leases {
    count: u64,
    uid: Option<String>,
    transitions: i32,
}

impl Leases {
    /// The number of this one. Another UID: it was deleted and made anew. Fewer transitions: the API server's store was put back
    /// to an earlier state, because lists and watches only go forward.
    fn number(&mut self, lease: &Lease) -> u64 {
        let uid = &lease.metadata.uid;
        let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default();
        if self.count == 0 || self.uid != *uid || transitions < self.transitions {
            self.count += 1;
            self.uid.clone_from(uid);
        }
        self.transitions = transitions;
        self.count
    }
}

/// Returns when another one leads than `current`. A Lease that names nobody does not end a stream that works.
pub async fn replaced(leader: &mut watch::Receiver<Option<Leader>>, current: &Leader) {
    let other = |leader: &Option<Leader>| leader.as_ref().is_some_and(|leader| leader != current);
    if leader.wait_for(other).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Follows the Lease in `namespace` for ever and publishes whom it names.
pub async fn follow_leader(client: Client, namespace: &str, leader: watch::Sender<Option<Leader>>) {
    let config = Config::default().fields(&format!("metadata.name={LEASE}"));
    publish(follow(Api::namespaced(client, namespace), config, Some, || ()), &leader).await;
}

async fn publish(changes: impl Stream<Item = Change<Lease>>, leader: &watch::Sender<Option<Leader>>) {
    let mut changes = std::pin::pin!(changes);
    let mut leases = Leases::default();
    while let Some(change) = changes.next().await {
        let lease = match change {
            Change::Listed(mut leases) => leases.pop(),
            Change::Applied(lease) => Some(lease),
            Change::Deleted(_) => None,
        };
        let now = lease.as_ref().and_then(|found| {
            let lease = leases.number(found);
            let Advertised { holder, transitions, address, fingerprint } = advertised(found)?;
            Some(Leader { lease, holder, transitions, address, fingerprint })
        });
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
        lease_of("a", holder, 3)
    }

    fn lease_of(uid: &str, holder: &str, transitions: u32) -> Lease {
        serde_json::from_value(json!({
            "metadata": {"name": LEASE, "uid": uid, "annotations": {
                "catnap.dev/address": "10.0.0.7:9443", "catnap.dev/fingerprint": "00ff".repeat(16),
            }},
            "spec": {"holderIdentity": holder, "leaseTransitions": transitions},
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_lease_that_was_made_anew_or_put_back_is_another_one() {
        let (sender, receiver) = watch::channel(None);
        let (changes, watched) = futures::channel::mpsc::unbounded();
        let publishing = publish(watched, &sender);
        let telling = async {
            let mut numbers = Vec::new();
            for change in [
                Change::Listed(vec![lease_of("a", "pod_1", 3)]),
                Change::Applied(lease_of("a", "pod_2", 4)),
                Change::Deleted(lease_of("a", "pod_2", 4)),
                // By the same process, which has not noticed yet.
                Change::Applied(lease_of("b", "pod_2", 4)),
                Change::Applied(lease_of("b", "pod_3", 5)),
                Change::Listed(vec![lease_of("b", "pod_1", 2)]),
            ] {
                changes.unbounded_send(change).unwrap();
                while !changes.is_empty() {
                    tokio::task::yield_now().await;
                }
                numbers.push(receiver.borrow().as_ref().map(|leader: &Leader| leader.lease));
            }
            drop(changes);
            numbers
        };
        let ((), numbers) = futures::join!(publishing, telling);
        assert_eq!(numbers, [Some(1), Some(1), None, Some(2), Some(2), Some(3)]);
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
