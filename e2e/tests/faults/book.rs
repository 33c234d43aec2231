//! The page that begins with a cluster without Catnap and ends with one.

use catnap_e2e::book::follow;
use catnap_e2e::fixture::{Needs, Resolver, SYSTEM_NAMESPACE, eventually, run};
use catnap_e2e::functions::PATIENCE;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn running_a_cluster() {
    run("running_a_cluster", Needs::Launcher, async |test| {
        test.installation().uninstall().await?;
        let pods: Api<Pod> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
        let gone = eventually("the processes have gone", PATIENCE, async || {
            Ok(pods.list_metadata(&ListParams::default()).await?.items.is_empty().then_some(()))
        });
        let gone = gone.await;
        // What the page builds is on the nodes already, under the name that the chart has for it.
        let image = [("REGISTRY/catnap", "catnap")];
        let followed = match gone {
            Ok(()) => follow(test, "paths/running-a-cluster.md", &image).await,
            failed => failed,
        };
        test.installation().install(&[]).await?;
        // Its Services are others than before, of which the nodes know a moment later.
        eventually("the new Services lead somewhere", PATIENCE, async || {
            let address = Resolver::new(test.client.clone()).activator().await?;
            Ok(TcpStream::connect(address).await.ok().map(drop))
        })
        .await?;
        followed
    })
    .await;
}
