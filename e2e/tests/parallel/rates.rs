//! While requests move from one revision to another: each has its part of the floor, and how all
//! requests of each end is known.

use std::collections::BTreeMap;

use anyhow::Context as _;
use catnap_autoscaler_api::state::State;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, Forward, Needs, eventually, run};
use catnap_e2e::functions::{PATIENCE, apply, body, catnap_pods, deploy, deployments, get, hello};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// A quarter moves, and no more of it within the test.
fn marked(value: &str) -> Value {
    let scale = json!({"min": 4, "max": 8, "window": "6s", "panic": {"window": "2s"}});
    let rollout = json!({"stepPercent": 25, "interval": "1h"});
    let spec = json!({"env": [{"name": "MARK", "value": value}], "scale": scale, "rollout": rollout});
    hello("hello", spec)
}

/// Requests that fail before the rollout begins, and that succeed in each of two rounds during it.
const FAILED: u64 = 20;
const ANSWERED: u64 = 100;

/// By revision: requests that ended, and how many of them failed.
type Ends = BTreeMap<String, (u64, u64)>;

/// Asks once, and counts the answer for the revision that gave it.
async fn ask(test: &Context, sent: &Mutex<Ends>) -> anyhow::Result<()> {
    let answer = body(get(test, "hello", "/").await?).await?;
    let revision = answer.trim().strip_prefix("Hello from ").context("no greeting")?;
    sent.lock().entry(revision.to_owned()).or_default().0 += 1;
    Ok(())
}

/// What the autoscaler that leads was told of this Function by all activators, because the operator asks for it.
async fn counted(test: &Context) -> anyhow::Result<Ends> {
    for pod in catnap_pods(test, "autoscaler").await? {
        let admin = Forward::to(test, &pod).await?;
        let path = format!("/debug/state?function={}/hello", test.namespace);
        let answer = test.http.plain.get(admin.url(&path)).send().await?.error_for_status()?.text().await?;
        let state: State = serde_json::from_str(&answer).context("the state of an autoscaler")?;
        if state.leading {
            let told = state.revisions.into_iter().map(|revision| {
                let ended = revision.outcomes.filter(|ended| ended.complete);
                let ended = ended.with_context(|| format!("not all is told of {}", revision.revision))?;
                Ok((revision.revision, (ended.ended, ended.errors)))
            });
            return told.collect();
        }
    }
    anyhow::bail!("no autoscaler leads")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moves_is_sized_by_parts_and_its_ends_are_known() {
    run("rates", Needs::Cluster, async |test| {
        let first = deploy(test, &marked("one")).await?;
        let first = first.status.and_then(|status| status.latest_ready_revision).context("no revision")?;
        // All by the first revision: a rollout is not judged by what was before it.
        for _ in 0..FAILED {
            let failed = get(test, "hello", "/status/500").await?;
            anyhow::ensure!(failed.status() == 500, "{failed:?}");
        }
        let sent = Mutex::new(Ends::from([(first, (FAILED, FAILED))]));
        apply(test, &marked("two")).await?;
        let rollout = eventually(
            "a quarter of the requests has moved, and the operator counts",
            PATIENCE,
            async || {
                ask(test, &sent).await?;
                let function = test.api::<Function>().get("hello").await?;
                let rollout = function.status.and_then(|status| status.rollout);
                Ok(rollout.filter(|rollout| rollout.percent == 25 && rollout.counted.is_some()))
            },
        )
        .await?;
        for _ in 0..2 {
            for _ in 0..ANSWERED {
                ask(test, &sent).await?;
            }
            let sent = sent.lock().clone();
            anyhow::ensure!(sent.len() == 2, "the share of one revision does not reach it: {sent:?}");
            eventually("each end is counted once, for its revision", PATIENCE, async || {
                let counted = counted(test).await?;
                anyhow::ensure!(counted == sent, "{counted:?}, and not {sent:?}");
                Ok(Some(()))
            })
            .await?;
        }
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
        let explained = test
            .catnap(&["explain", "function/hello", "--namespace", &test.namespace, "--output=json"])
            .await?;
        let explained: Value = serde_json::from_str(&explained).context("what --output=json prints")?;
        let percents = explained.as_array().into_iter().flatten();
        let percents: Vec<_> =
            percents.filter_map(|one| one["inputs"]["shift"]["percent"].as_u64()).collect();
        anyhow::ensure!(percents.len() == 2 && percents.iter().sum::<u64>() == 100, "{explained}");
        Ok(())
    })
    .await;
}
