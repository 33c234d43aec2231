//! What the chart says of an installation that is there.

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Needs, SYSTEM_NAMESPACE, eventually, run};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use catnap_e2e::functions::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn the_charts_own_test_passes_under_pod_security_restricted_and_leaves_nothing_behind() {
    run("chart_test", Needs::Cluster, async |test| {
        let level = "pod-security.kubernetes.io/enforce";
        let restricted = format!("{level}=restricted");
        let path = format!("--output=jsonpath={{.metadata.labels.{}}}", level.replace('.', "\\."));
        let before = test.kubectl(&["get", "namespace", SYSTEM_NAMESPACE, &path], "").await?;
        let as_before = match before.trim() {
            "" => format!("{level}-"),
            before => format!("{level}={before}"),
        };
        test.kubectl(&["label", "namespace", SYSTEM_NAMESPACE, &restricted, "--overwrite"], "").await?;
        let outcome = async {
            test.installation().test().await?;
            every_pod_is_let_in(test).await
        }
        .await;
        test.kubectl(&["label", "namespace", SYSTEM_NAMESPACE, &as_before, "--overwrite"], "").await?;
        outcome?;
        let kinds = "pods,serviceaccounts,roles,rolebindings";
        let label = "app.kubernetes.io/component=test";
        // Of two namespaces that are named, kubectl takes the last.
        let left = ["get", kinds, "--selector", label, "--output=name", "--namespace", SYSTEM_NAMESPACE];
        eventually("nothing of the test", PATIENCE, async || {
            Ok(test.kubectl(&left, "").await?.trim().is_empty().then_some(()))
        })
        .await
    })
    .await;
}

/// Those that run were made before the namespace became strict: each is made once more, as far as admission goes.
async fn every_pod_is_let_in(test: &Context) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
    let deployments =
        deployments.list(&ListParams::default().labels("app.kubernetes.io/name=catnap")).await?.items;
    anyhow::ensure!(deployments.len() == 3, "{} Deployments", deployments.len());
    for deployment in deployments {
        let name = deployment.metadata.name.unwrap_or_default();
        let spec = deployment.spec.and_then(|spec| spec.template.spec);
        try_pod(test, &name, json!(spec)).await.with_context(|| format!("a pod of {name}"))?;
    }
    let container = json!({"name": "one", "image": "one", "securityContext": {"privileged": true}});
    let refused = try_pod(test, "stranger", json!({"containers": [container]})).await;
    let refused = format!("{:#}", refused.err().context("a privileged pod is let in, too")?);
    anyhow::ensure!(refused.contains("PodSecurity"), "{refused}");
    Ok(())
}

async fn try_pod(test: &Context, name: &str, spec: Value) -> anyhow::Result<()> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
    let create = ["create", "--dry-run=server", "--namespace", SYSTEM_NAMESPACE, "--filename=-"];
    test.kubectl(&create, &pod.to_string()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_every_plain_manifest() {
    run("plain_manifests", Needs::Cluster, async |test| {
        let manifests = include_str!("../../../deploy/catnap.yaml");
        let apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--output=name"];
        let namespace = ["--namespace", SYSTEM_NAMESPACE, "--filename=-"];
        let taken = test.kubectl(&[&apply[..], &namespace[..]].concat(), manifests).await?;
        let objects = manifests.lines().filter(|line| line.starts_with("kind: ")).count();
        anyhow::ensure!(taken.lines().count() == objects, "of {objects} objects:\n{taken}");
        Ok(())
    })
    .await;
}
