//! What RBAC cannot say and the admission policy of the chart does: which Deployments Catnap may scale, and which way.

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Needs, SYSTEM_NAMESPACE, run};
use catnap_e2e::functions::{deploy, deployment, examples_image, hello, replicas};
use serde_json::json;

/// Writes the replicas of a Deployment with the rights of a part of Catnap.
async fn scale(test: &Context, component: &str, deployment: &str, replicas: i32) -> anyhow::Result<()> {
    let account = format!("--as=system:serviceaccount:{SYSTEM_NAMESPACE}:catnap-{component}");
    let path = format!("--raw=/apis/apps/v1/namespaces/{}/deployments/{deployment}/scale", test.namespace);
    let scale = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {"name": deployment, "namespace": test.namespace},
        "spec": {"replicas": replicas},
    });
    test.kubectl(&["replace", &account, &path, "--filename=-"], &scale.to_string()).await.map(drop)
}

/// Asserts that the policy said no, in these words.
fn refused(outcome: anyhow::Result<()>, words: &str) -> anyhow::Result<()> {
    let error = outcome.err().with_context(|| format!("allowed, instead of: {words}"))?;
    anyhow::ensure!(format!("{error:#}").contains(words), "{error:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn catnap_scales_only_its_own_deployments_and_activators_only_up() {
    run("scale_policy", Needs::Cluster, async |test| {
        deploy(test, &hello("hello", json!({"scale": {"min": 1}}))).await?;
        let own = deployment(test, "hello").await?.metadata.name.unwrap_or_default();
        let container = json!({"name": "one", "image": examples_image(), "command": ["hello"]});
        let foreign = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "foreign"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "foreign"}},
                "template": {"metadata": {"labels": {"app": "foreign"}}, "spec": {"containers": [container]}},
            },
        });
        test.kubectl(&["apply", "--filename=-"], &foreign.to_string()).await?;

        for component in ["activator", "autoscaler"] {
            refused(scale(test, component, "foreign", 1).await, "only the Deployments of its own revisions")?;
        }
        scale(test, "activator", &own, 2).await?;
        anyhow::ensure!(replicas(test, "hello").await? == 2);
        refused(scale(test, "activator", &own, 1).await, "an activator only raises")?;
        refused(scale(test, "activator", &own, 0).await, "an activator only raises")?;
        scale(test, "autoscaler", &own, 1).await?;
        refused(scale(test, "operator", &own, 3).await, "deployments/scale")
    })
    .await;
}
