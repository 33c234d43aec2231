//! The Lease of each activator: where its peer port is, and which certificate it shows there.
//!
//! Written at the start and when somebody deleted it, never renewed: it only says who the pod is, and goes with the pod that owns
//! it. An admission policy sees to it that no activator writes that of another one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use catnap_runtime::backoff::GrowingDelay;
use catnap_runtime::identity::{self, Pod};
use catnap_runtime::lease::{ADDRESS_ANNOTATION, FINGERPRINT_ANNOTATION};
use catnap_runtime::tls::Fingerprint;
use catnap_runtime::{Causes, watch};
use catnap_wire::PodUid;
use futures::Stream;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::members::SELECTOR;

const CALL_TIMEOUT: Duration = Duration::from_secs(2);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// Whoever deletes it again and again brings about one write in this time.
const WRITTEN_AGAIN: Duration = Duration::from_secs(1);

/// What another activator says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertisement {
    /// UID of the pod that owns the Lease.
    pub(crate) pod: PodUid,
    /// Which start of its process wrote it.
    pub(crate) boot: u64,
    /// Where its peer port is.
    pub(crate) address: SocketAddr,
    /// Which certificate it shows.
    pub(crate) fingerprint: Fingerprint,
}

impl Advertisement {
    /// Reads a Lease; `None` when something is missing or malformed.
    pub(crate) fn trim(lease: Lease) -> Option<Self> {
        let annotations = lease.metadata.annotations?;
        let owner = lease.metadata.owner_references?.into_iter().find(|owner| owner.kind == "Pod")?;
        let holder = lease.spec?.holder_identity?;
        Some(Self {
            pod: owner.uid.into(),
            boot: identity::boot_of(&holder)?,
            address: annotations.get(ADDRESS_ANNOTATION)?.parse().ok()?,
            fingerprint: annotations.get(FINGERPRINT_ANNOTATION)?.parse().ok()?,
        })
    }
}

/// Why a Lease was not written.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    /// The API server refused it.
    #[error("cannot write lease {name}")]
    Write {
        /// The Lease.
        name: String,
        /// What the API server said.
        #[source]
        source: kube::Error,
    },
    /// The API server did not answer in time.
    #[error("no answer to the write of lease {name}")]
    Timeout {
        /// The Lease.
        name: String,
    },
}

/// This activator's own Lease.
#[derive(Debug)]
pub(crate) struct OwnLease {
    api: Api<Lease>,
    name: String,
    contents: serde_json::Value,
}

impl OwnLease {
    pub(crate) fn new(client: Client, pod: &Pod, boot: u64, port: u16, fingerprint: Fingerprint) -> Self {
        Self {
            api: Api::namespaced(client, &pod.namespace),
            name: pod.name.clone(),
            contents: lease(pod, boot, SocketAddr::new(pod.ip, port), fingerprint),
        }
    }

    /// Writes it, over and over until it is there.
    pub(crate) async fn publish(&self) {
        let mut delay = GrowingDelay::new(FIRST_RETRY, LAST_RETRY);
        while let Err(error) = write(&self.api, &self.name, &self.contents).await {
            warn!(error = %Causes(&error), "the other activators do not know this one yet");
            sleep(delay.delay()).await;
        }
    }

    /// Writes it again whenever it is `gone`: one that starts later would not know this activator, and could not own slots.
    pub(crate) async fn keep(self, gone: Arc<Notify>) {
        loop {
            gone.notified().await;
            warn!("somebody deleted this activator's lease: writing it again");
            self.publish().await;
            sleep(WRITTEN_AGAIN).await;
        }
    }
}

async fn write(api: &Api<Lease>, name: &str, lease: &serde_json::Value) -> Result<(), PublishError> {
    let parameters = PatchParams::apply("catnap-activator").force();
    match timeout(CALL_TIMEOUT, api.patch(name, &parameters, &Patch::Apply(lease))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(source)) => Err(PublishError::Write { name: name.to_owned(), source }),
        Err(_) => Err(PublishError::Timeout { name: name.to_owned() }),
    }
}

fn lease(pod: &Pod, boot: u64, address: SocketAddr, fingerprint: Fingerprint) -> serde_json::Value {
    let labels: serde_json::Map<_, _> = SELECTOR
        .split(',')
        .filter_map(|label| label.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": pod.name,
            "labels": labels,
            "annotations": {
                ADDRESS_ANNOTATION: address.to_string(),
                FINGERPRINT_ANNOTATION: fingerprint.to_string(),
            },
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}],
        },
        "spec": {"holderIdentity": identity::holder(&pod.name, boot)},
    })
}

/// The Leases of all activators in `namespace`.
pub(crate) fn follow(
    client: Client,
    namespace: &str,
) -> impl Stream<Item = watch::Change<Advertisement>> + Send + 'static {
    let config = Config::default().labels(SELECTOR);
    watch::follow(Api::namespaced(client, namespace), config, Advertisement::trim, || ())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use catnap_runtime::tls::SelfMade;
    use http::{Request, Response};
    use kube::client::Body;
    use tokio::sync::mpsc;

    use super::*;

    fn pod() -> Pod {
        Pod {
            name: "catnap-activator-7d9c4f2b10-x2x4z".into(),
            namespace: "catnap-system".into(),
            uid: "u-1".into(),
            ip: [10, 0, 0, 7].into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let fingerprint = SelfMade::generate("a").unwrap().fingerprint();
        let address = SocketAddr::from(([10, 0, 0, 7], 8444));
        let written: Lease = serde_json::from_value(lease(&pod(), 77, address, fingerprint)).unwrap();
        let labels = written.metadata.labels.clone().unwrap();
        assert_eq!(labels["app.kubernetes.io/component"], "activator");
        let read = Advertisement::trim(written).unwrap();
        assert_eq!(read, Advertisement { pod: "u-1".into(), boot: 77, address, fingerprint });
    }

    #[test]
    fn a_lease_that_lacks_something_names_nobody() {
        let fingerprint = SelfMade::generate("a").unwrap().fingerprint();
        let whole = lease(&pod(), 77, SocketAddr::from(([10, 0, 0, 7], 8444)), fingerprint);
        for path in ["/metadata/annotations", "/metadata/ownerReferences", "/spec/holderIdentity"] {
            let mut partial = whole.clone();
            *partial.pointer_mut(path).unwrap() = serde_json::Value::Null;
            assert_eq!(Advertisement::trim(serde_json::from_value(partial).unwrap()), None, "{path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_somebody_deleted_is_written_again() {
        let (tell, mut written) = mpsc::unbounded_channel();
        let mut writes = 0;
        let answer = move |request: &Request<Body>| {
            tell.send((request.method().clone(), request.uri().path().to_owned())).unwrap();
            writes += 1;
            // The first one is refused.
            let (status, answer) = if writes == 1 { (500, "{}") } else { (200, r#"{"metadata": {}}"#) };
            Response::builder().status(status).body(Body::from(answer.as_bytes().to_vec()))
        };
        let answer = Arc::new(Mutex::new(answer));
        let service = tower::service_fn(move |request: Request<Body>| {
            std::future::ready((answer.lock().unwrap())(&request))
        });
        let fingerprint = SelfMade::generate("a").unwrap().fingerprint();
        let own = OwnLease::new(Client::new(service, "default"), &pod(), 77, 8444, fingerprint);
        let write = || Ok((http::Method::PATCH, PATH.to_owned()));
        own.publish().await;
        assert_eq!([written.try_recv(), written.try_recv()], [write(), write()]);
        let gone = Arc::new(Notify::new());
        let keeping = tokio::spawn(own.keep(Arc::clone(&gone)));
        for _ in 0..2 {
            gone.notify_one();
            // Time passes by itself while nobody has anything to do.
            let again = timeout(Duration::from_secs(60), written.recv()).await.expect("it is written again");
            assert_eq!(again, write().ok());
        }
        assert!(written.try_recv().is_err(), "once each");
        keeping.abort();
    }

    const PATH: &str =
        "/apis/coordination.k8s.io/v1/namespaces/catnap-system/leases/catnap-activator-7d9c4f2b10-x2x4z";
}
