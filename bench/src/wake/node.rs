//! The node that kwok pretends, on which all new pods land while the benchmark runs.
//!
//! The nodes that take pods are closed for the time and opened again; what runs on them runs on.

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::cluster::function::eventually;

const NAME: &str = "catnap-bench";

/// Runs with the pretended node alone open, and undoes it whatever came of it, unless the process is killed meanwhile.
pub(super) async fn pretending<R>(
    client: &Client,
    run: impl Future<Output = anyhow::Result<R>>,
) -> anyhow::Result<R> {
    let nodes: Api<Node> = Api::all(client.clone());
    let list = nodes.list(&ListParams::default()).await.context("cannot list the nodes")?;
    let open: Vec<String> = list
        .items
        .into_iter()
        .filter(|node| node.spec.as_ref().and_then(|spec| spec.unschedulable) != Some(true))
        .filter_map(|node| node.metadata.name)
        .collect();
    let node = serde_json::from_value(json!({"metadata": {"name": NAME, "labels": {"type": "kwok"}}}))?;
    nodes.create(&PostParams::default(), &node).await.context("cannot make a node to pretend")?;
    let outcome = async {
        let ready = eventually("kwok makes its node Ready", async || Ok(is_ready(&nodes.get(NAME).await?)));
        ready.await.context("does kwok run? `catnap-cluster up --kwok` starts it")?;
        close(&nodes, &open, true).await?;
        run.await
    }
    .await;
    let undone = async {
        // Whoever finds a node closed has more trouble than with one that is pretended.
        close(&nodes, &open, false).await?;
        let deleted = nodes.delete(NAME, &DeleteParams::default()).await;
        deleted.map(drop).context("cannot delete the pretended node")
    }
    .await;
    // What went wrong first tells more.
    let outcome = outcome?;
    undone.map(|()| outcome)
}

async fn close(nodes: &Api<Node>, names: &[String], closed: bool) -> anyhow::Result<()> {
    for name in names {
        let patch = Patch::Merge(json!({"spec": {"unschedulable": closed}}));
        let patched = nodes.patch(name, &PatchParams::default(), &patch).await;
        patched.with_context(|| format!("cannot close or open the node {name}"))?;
    }
    Ok(())
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
