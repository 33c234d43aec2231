//! What was learned outlives the autoscaler: written with the rights that the chart gives, read back by the next one.
//!
//! Alone, because it restarts the autoscaler, twice with other values.

use std::time::Duration;

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, SYSTEM_NAMESPACE, eventually, run_with};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::ListParams};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use catnap_e2e::functions::{PATIENCE, body, deploy, get, hello, name_of};

/// Idle times that are known before a pattern is believed, and one more.
const REQUESTS: u32 = 6;
/// From one request to the next.
const PAUSE: Duration = Duration::from_secs(3);

/// What is stored of a function, in whichever of the shards.
async fn stored(test: &Context, uid: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let maps: Api<ConfigMap> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
    let maps = maps.list(&ListParams::default()).await?.items;
    let shards = maps
        .into_iter()
        .filter(|map| map.metadata.name.as_deref().is_some_and(|name| name.starts_with("catnap-patterns-")));
    Ok(shards.filter_map(|map| map.binary_data?.remove(uid)).map(|bytes| bytes.0).next())
}

/// What `catnap explain` prints of it.
async fn explained(test: &Context) -> anyhow::Result<String> {
    test.catnap(&["explain", "function/hello", "--namespace", &test.namespace]).await
}

/// Waits until a decision is made from what was learned.
async fn believed(test: &Context) -> anyhow::Result<()> {
    eventually("the pattern is believed", PATIENCE, async || {
        let explanation = explained(test).await?;
        Ok(explanation.contains("    learned: 100 percent of the idle times end within").then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_learned_survives_a_restart_of_the_autoscaler() {
    let interval =
        ["autoscaler.extraEnv[0].name=CATNAP_PATTERNS_INTERVAL", "autoscaler.extraEnv[0].value=2s"];
    run_with("learned", &interval, learn_and_restart).await;
}

async fn learn_and_restart(test: &Context) -> anyhow::Result<()> {
    let idle = json!({"after": "20s", "policy": "Learned", "budget": 100});
    let function: Function = deploy(test, &hello("hello", json!({"scale": {"idle": idle}}))).await?;
    let uid = function.metadata.uid.clone().with_context(|| format!("{} has no UID", name_of(&function)))?;
    anyhow::ensure!(stored(test, &uid).await?.is_none(), "nothing can be known of a new function");
    body(get(test, "hello", "/").await?).await?;
    let before = explained(test).await?;
    anyhow::ensure!(
        before.contains("  from:\n") && !before.contains("learned: "),
        "not known yet:\n{before}"
    );
    let start = Instant::now();
    for turn in 0..REQUESTS {
        // A pattern is made of time: there is no state to wait for.
        sleep_until(start + PAUSE * turn).await;
        body(get(test, "hello", "/").await?).await?;
    }
    believed(test).await?;
    let bytes = eventually("the pattern is stored", PATIENCE, async || stored(test, &uid).await).await?;
    anyhow::ensure!((5..=60).contains(&bytes.len()), "{} bytes", bytes.len());

    // Another process, with the default interval: whatever it knows at its first request, it has read.
    test.installation().install(&[]).await?;
    body(get(test, "hello", "/").await?).await?;
    believed(test).await
}
