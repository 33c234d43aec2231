//! The definition as a real API server applies it: every manifest of the table, and the defaults that it fills in.

use anyhow::Context as _;
use catnap_e2e::{
    fixture::{Context, Needs, run},
    manifests::{Case, cases},
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

/// How many are asked about at once: each is a process of its own.
const AT_ONCE: usize = 4;

/// What the API server would store, or what it says instead.
async fn checked(test: &Context, manifest: &Value) -> anyhow::Result<Value> {
    let arguments = ["create", "--dry-run=server", "--output=json", "--filename=-"];
    let stored = test.kubectl(&arguments, &manifest.to_string()).await?;
    serde_json::from_str(&stored).context("what kubectl printed")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_manifest_of_the_table_becomes_what_it_says() {
    run("rules", Needs::Cluster, async |test| {
        let judge = async |case: Case| case.complaint(&checked(test, &case.manifest()).await);
        let complaints: Vec<_> = stream::iter(cases()?)
            .map(judge)
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        anyhow::ensure!(
            complaints.is_empty(),
            "{} of the table:\n{}",
            complaints.len(),
            complaints.join("\n")
        );
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_default_is_filled_in() {
    run("defaults", Needs::Cluster, async |test| {
        let image = "example/hello:1";
        let everything = json!({
            "image": image,
            "timeouts": {"activation": "60s", "firstByte": "0s", "request": "300s", "inactivity": "0s"},
            "queue": {"maxRequests": 1000},
            "scale": {
                "min": 0, "max": 100, "initial": 1, "wake": 1, "metric": "Concurrency", "target": 0, "utilization": 70,
                "window": "60s", "panic": {"window": "6s", "threshold": 200}, "downDelay": "0s",
                "idle": {"after": "30s", "policy": "Fixed", "budget": 50},
            },
            "http": {"visibility": "Cluster"},
            "rollout": {"stepPercent": 100, "interval": "60s", "maxErrorPercent": 5},
            "revisionHistoryLimit": 5,
        });
        // Where nothing is written, and where the parts are there and empty.
        let empty = json!({
            "image": image, "timeouts": {}, "queue": {}, "scale": {"panic": {}, "idle": {}}, "http": {}, "rollout": {},
        });
        let manifest = |spec: &Value| {
            json!({
                "apiVersion": "catnap.dev/v1alpha1", "kind": "Function", "metadata": {"name": "hello"}, "spec": spec,
            })
        };
        for spec in [json!({"image": image}), empty] {
            let stored = checked(test, &manifest(&spec)).await?;
            anyhow::ensure!(stored["spec"] == everything, "{spec} became {}", stored["spec"]);
        }
        let schedule = json!({"cron": "0 7 * * *", "duration": "1h", "min": 1});
        let stored = checked(test, &manifest(&json!({"image": image, "scale": {"schedules": [schedule]}}))).await?;
        let expected = json!({"cron": "0 7 * * *", "timeZone": "UTC", "duration": "1h", "min": 1});
        anyhow::ensure!(stored["spec"]["scale"]["schedules"][0] == expected, "{stored}");
        Ok(())
    })
    .await;
}

/// What is kept as it is: the schema may neither drop nor change any of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_template_is_stored_as_it_was_written() {
    run("template_stored", Needs::Cluster, async |test| {
        let template = json!({
            "metadata": {"labels": {"team": "a"}, "somethingNew": 1},
            "spec": {
                "volumes": [{"name": "v", "emptyDir": {}}],
                "topologySpreadConstraints": [{"maxSkew": 1, "labelSelector": {}}],
                "somethingNew": {"deep": [1, 2.5, true, "text", {}]},
            },
            "alsoNew": ["a"],
        });
        let manifest = json!({
            "apiVersion": "catnap.dev/v1alpha1", "kind": "Function", "metadata": {"name": "hello"},
            "spec": {"image": "example/hello:1", "podTemplate": template},
        });
        let stored = checked(test, &manifest).await?;
        anyhow::ensure!(stored["spec"]["podTemplate"] == template, "{}", stored["spec"]["podTemplate"]);
        Ok(())
    })
    .await;
}
