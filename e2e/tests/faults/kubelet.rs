//! A node's kubelet dies and comes back.

use std::time::Duration;

use catnap_e2e::fixture::{Needs, run_bare, within};
use k8s_openapi::api::core::v1::Node;
use kube::Api;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_kubelet_comes_back() {
    run_bare("a_killed_kubelet_comes_back", Needs::Launcher, async |test| {
        let kubelet = test.cluster()?.component("node1/kubelet")?;
        kubelet.kill()?;
        kubelet.start().await?;
        let nodes: Api<Node> = Api::all(test.client.clone());
        within(Duration::from_secs(30), &nodes, "node1", |node| {
            let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        })
        .await?;
        Ok(())
    })
    .await;
}
