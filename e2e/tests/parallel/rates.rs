//! While requests move from one revision to another: each has its part of the floor, and the operator learns how they end.

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, Forward, Needs, eventually, run};
use catnap_e2e::functions::{PATIENCE, apply, body, catnap_pods, deploy, deployments, get, hello};
use serde_json::{Value, json};

/// A quarter moves, and no more of it within the test.
fn marked(value: &str) -> Value {
    let scale = json!({"min": 4, "max": 8, "window": "6s", "panic": {"window": "2s"}});
    let rollout = json!({"stepPercent": 25, "interval": "1h"});
    let spec = json!({"env": [{"name": "MARK", "value": value}], "scale": scale, "rollout": rollout});
    hello("hello", spec)
}

/// Whether the operator that acts knows all that it asks for.
async fn knows(test: &Context) -> anyhow::Result<bool> {
    for pod in catnap_pods(test, "operator").await? {
        let admin = Forward::to(test, &pod).await?;
        let answer = test.http.plain.get(admin.url("/debug/state")).send().await?.text().await?;
        let state: Value = serde_json::from_str(&answer).context("the state of an operator")?;
        let [asked, known] = ["asked", "known"].map(|key| state["rates"][key].as_u64().unwrap_or_default());
        if asked > 0 && asked == known {
            return Ok(true);
        }
    }
    Ok(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moves_is_sized_by_parts_and_its_ends_are_known() {
    run("rates", Needs::Cluster, async |test| {
        deploy(test, &marked("one")).await?;
        apply(test, &marked("two")).await?;
        let rollout = eventually("a quarter of the requests has moved", PATIENCE, async || {
            body(get(test, "hello", "/").await?).await?;
            let function = test.api::<Function>().get("hello").await?;
            let rollout = function.status.and_then(|status| status.rollout);
            Ok(rollout.filter(|rollout| rollout.percent == 25))
        })
        .await?;
        eventually("the operator knows how requests end", PATIENCE, async || {
            Ok(knows(test).await?.then_some(()))
        })
        .await?;
        eventually("three of four replicas for one revision, one for the other", PATIENCE, async || {
            let mut replicas = Vec::new();
            for deployment in deployments(test, "hello").await? {
                let name = deployment.metadata.name.unwrap_or_default();
                replicas.push((name, deployment.spec.and_then(|spec| spec.replicas).unwrap_or_default()));
            }
            let parts = [(rollout.from.clone(), 3), (rollout.to.clone(), 1)];
            Ok(parts.iter().all(|part| replicas.contains(part)).then_some(()))
        })
        .await?;
        let explained =
            test.catnap(&["explain", "function/hello", "--namespace", &test.namespace, "--json"]).await?;
        let explained: Value = serde_json::from_str(&explained).context("what --json prints")?;
        let percents = explained.as_array().into_iter().flatten();
        let percents: Vec<_> =
            percents.filter_map(|one| one["inputs"]["shift"]["percent"].as_u64()).collect();
        anyhow::ensure!(percents.len() == 2 && percents.iter().sum::<u64>() == 100, "{explained}");
        Ok(())
    })
    .await;
}
