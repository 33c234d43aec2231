//! The Function as a user sees it: the smallest manifest, and its columns. What is refused is in rules.rs.

use catnap_crds::Function;
use catnap_e2e::fixture::{Needs, run, within};
use serde_json::json;

use catnap_e2e::functions::{PATIENCE, apply, condition, condition_is, examples_image};

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_manifest_becomes_ready() {
    run("smallest_manifest", Needs::Cluster, async |test| {
        // The image's own entry point is not needed: the port is what matters.
        let manifest = json!({
            "apiVersion": "catnap.dev/v1alpha1", "kind": "Function", "metadata": {"name": "hello"},
            "spec": {"image": examples_image()},
        });
        apply(test, &manifest).await?;
        let function = within(PATIENCE, &test.api::<Function>(), "hello", |function| {
            condition_is(function, "Ready", "True")
        })
        .await?;
        for (kind, status) in [
            ("RevisionReady", "True"),
            ("RoutesReady", "True"),
            ("Reconciling", "False"),
            ("Stalled", "False"),
        ] {
            anyhow::ensure!(
                condition_is(&function, kind, status),
                "{kind}: {:?}",
                condition(&function, kind)
            );
        }
        let status = function.status.unwrap_or_default();
        anyhow::ensure!(status.url == Some(format!("http://hello.{}", test.namespace)), "{:?}", status.url);
        let columns = test.kubectl(&["get", "catfn", "hello"], "").await?;
        for column in ["NAME", "URL", "READY", "REPLICAS", "REVISION", "AGE"] {
            anyhow::ensure!(columns.contains(column), "no {column} in:\n{columns}");
        }
        let wide = test.kubectl(&["get", "catnap", "--output=wide"], "").await?;
        anyhow::ensure!(wide.contains(&examples_image()), "{wide}");
        Ok(())
    })
    .await;
}
