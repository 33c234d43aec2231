//! The Function as a user sees it: the smallest manifest, its columns, and manifests that are refused.

use catnap_crds::Function;
use catnap_e2e::fixture::{Needs, run, within};
use serde_json::{Value, json};

use catnap_e2e::functions::{PATIENCE, apply, condition, condition_is, examples_image, hello};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_manifest_is_refused_with_the_field_and_what_is_allowed() {
    run("bad_manifests", Needs::Cluster, async |test| {
        let cases: [(Value, &[&str]); 12] = [
            (json!({"scale": {"min": 3, "max": 2}}), &["scale.min", "scale.max"]),
            (json!({"scale": {"initial": 300, "max": 2}}), &["scale.initial", "scale.max"]),
            (json!({"scale": {"wake": 5, "max": 2}}), &["scale.wake", "scale.max"]),
            (json!({"scale": {"window": "6s", "panic": {"window": "20s"}}}), &["panic.window"]),
            (
                json!({"scale": {"target": 20}, "concurrency": {"limit": 10}}),
                &["scale.target", "concurrency.limit"],
            ),
            (json!({"scale": {"downDelay": "61m"}}), &["scale.downDelay", "1h"]),
            (json!({"scale": {"metric": "RPS"}}), &["scale.metric", "RequestRate"]),
            (json!({"concurrency": {"limit": 1001}}), &["concurrency.limit", "1000"]),
            (json!({"port": 0}), &["spec.port"]),
            (json!({"timeouts": {"activation": "0s"}}), &["timeouts.activation"]),
            (json!({"timeouts": {"activation": "soon"}}), &["timeouts.activation"]),
            (json!({"schedule": "daily"}), &["schedule"]),
        ];
        for (spec, words) in cases {
            let refusal = match apply(test, &hello("bad", spec.clone())).await {
                Ok(()) => anyhow::bail!("accepted: {spec}"),
                Err(error) => format!("{error:#}"),
            };
            for word in words {
                anyhow::ensure!(refusal.contains(word), "{spec}: no `{word}` in: {refusal}");
            }
        }
        let mut long = hello("x", json!({}));
        long["metadata"]["name"] = json!("x".repeat(51));
        let refusal =
            format!("{:#}", apply(test, &long).await.expect_err("a name of 51 characters was accepted"));
        anyhow::ensure!(refusal.contains("metadata.name") && refusal.contains("50"), "{refusal}");
        Ok(())
    })
    .await;
}
