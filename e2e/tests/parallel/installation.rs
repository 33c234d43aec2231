//! What the chart says of an installation that is there.

use catnap_e2e::fixture::{Needs, SYSTEM_NAMESPACE, eventually, run};

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
        let outcome = test.installation().test().await;
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
