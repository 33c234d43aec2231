//! Edits that make no revision take effect within a second, measured on a cluster that does nothing else.

use std::time::Duration;

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, DOMAIN, Needs, eventually, run};
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use catnap_e2e::functions::{
    PATIENCE, body, deploy, deploy_resting, deployments, get, held, hello, pods, replicas, url,
};

use crate::activators::is_ready;

/// From the apply on.
const BOUND: Duration = Duration::from_secs(1);
/// For how long it is asked, to say by how much the bound was missed.
const LONGEST: Duration = Duration::from_secs(20);

/// Edits the Function `hello`, and asks until the answer shows the edit: a question that was put within the bound has to.
async fn takes_effect(
    test: &Context,
    what: &str,
    spec: Value,
    shows: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let before = revisions(test).await?;
    let begun = Instant::now();
    let patch = Patch::Merge(json!({"spec": spec}));
    test.api::<Function>().patch("hello", &PatchParams::default(), &patch).await?;
    let took = loop {
        let asked = begun.elapsed();
        if shows().await.with_context(|| what.to_owned())? {
            break asked;
        }
        anyhow::ensure!(asked < LONGEST, "{what}: no effect after {asked:?}");
    };
    println!("{what}: {took:?}");
    anyhow::ensure!(took < BOUND, "{what}: took effect after {took:?}");
    let after = revisions(test).await?;
    anyhow::ensure!(after == before, "{what}: {before:?} became {after:?}");
    Ok(())
}

/// Names of all revisions on record.
async fn revisions(test: &Context) -> anyhow::Result<Vec<Option<String>>> {
    let records = test.api::<ControllerRevision>().list(&ListParams::default()).await?.items;
    Ok(records.into_iter().map(|record| record.metadata.name).collect())
}

fn reason(response: &reqwest::Response) -> &str {
    response.headers().get("catnap-reason").and_then(|reason| reason.to_str().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_timeouts_queue_and_http_take_effect_within_a_second() {
    run("edits", Needs::Cluster, async |test| {
        let spec = json!({"concurrency": {"limit": 1}, "scale": {"max": 2}});
        deploy_resting(test, &hello("hello", spec)).await?;
        takes_effect(test, "scale.min", json!({"scale": {"min": 2}}), async || {
            Ok(replicas(test, "hello").await? == 2)
        })
        .await?;
        timeouts(test).await?;
        queue(test).await?;
        let host = format!("hello-{}.{DOMAIN}", test.namespace);
        takes_effect(test, "http.visibility", json!({"http": {"visibility": "External"}}), async || {
            let response = test.http.edge.get("http://edge.example/").header("host", &host).send().await?;
            Ok(response.status() == 200)
        })
        .await
    })
    .await;
}

async fn timeouts(test: &Context) -> anyhow::Result<()> {
    body(get(test, "hello", "/sleep?ms=300").await?).await?;
    takes_effect(test, "timeouts.request", json!({"timeouts": {"request": "100ms"}}), async || {
        let response = get(test, "hello", "/sleep?ms=300").await?;
        Ok(response.status() == 504 && reason(&response) == "RequestTimeout")
    })
    .await?;
    takes_effect(test, "timeouts.request again", json!({"timeouts": {"request": "300s"}}), async || {
        Ok(get(test, "hello", "/sleep?ms=300").await?.status() == 200)
    })
    .await
}

async fn queue(test: &Context) -> anyhow::Result<()> {
    eventually("both pods are ready", PATIENCE, async || {
        Ok((pods(test, "hello").await?.iter().filter(|pod| is_ready(pod)).count() == 2).then_some(()))
    })
    .await?;
    // Two of these are at the two pods, and one is held.
    let busy = try_join_all((0..3).map(|_| get(test, "hello", "/sleep?ms=60000")));
    let edited = async {
        eventually("one is held", PATIENCE, async || Ok((held(test, "hello").await? == 1).then_some(())))
            .await?;
        takes_effect(test, "queue.maxRequests", json!({"queue": {"maxRequests": 1}}), async || {
            // One that is held too goes again, and leaves its place.
            let patience = Duration::from_millis(50);
            match test.http.http1.get(url(test, "hello", "/")).timeout(patience).send().await {
                Ok(response) => Ok(response.status() == 503 && reason(&response) == "QueueFull"),
                Err(error) if error.is_timeout() => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await
    };
    tokio::select! {
        answered = Box::pin(busy) => anyhow::bail!("nobody was to be answered so soon: {answered:?}"),
        edited = Box::pin(edited) => edited,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_takes_effect_within_a_second() {
    run("edits_traffic", Needs::Cluster, async |test| {
        let marked = |mark: &str| {
            let env = json!([{"name": "MARK", "value": mark}]);
            hello("hello", json!({"env": env, "scale": {"min": 1}, "rollout": {"interval": "1s"}}))
        };
        let mut names = Vec::new();
        for mark in ["one", "two"] {
            let status = deploy(test, &marked(mark)).await?.status;
            names.push(status.and_then(|status| status.latest_ready_revision).context("no revision")?);
        }
        let share = |revision: &str, percent: u32| json!({"revision": revision, "percent": percent});
        let split = json!([share(&names[0], 50), share(&names[1], 50)]);
        let patch = Patch::Merge(json!({"spec": {"traffic": split}}));
        test.api::<Function>().patch("hello", &PatchParams::default(), &patch).await?;
        // As many as it takes to tell a half from all, and from nothing.
        let answers = async || {
            let ask = async || body(get(test, "hello", "/").await?).await;
            try_join_all((0..20).map(|_| ask())).await
        };
        let of =
            |answers: &[String], name: &str| answers.iter().filter(|answer| answer.contains(name)).count();
        eventually("both answer", PATIENCE, async || {
            let answers = answers().await?;
            Ok(names.iter().all(|name| of(&answers, name) > 0).then_some(()))
        })
        .await?;
        anyhow::ensure!(deployments(test, "hello").await?.len() == 2, "both have replicas");
        for (name, other) in [(&names[0], &names[1]), (&names[1], &names[0])] {
            // The other one keeps some, so that it keeps its replica.
            let traffic = json!([share(name, 99), share(other, 1)]);
            takes_effect(test, "traffic", json!({"traffic": traffic}), async || {
                let answers = answers().await?;
                Ok(of(&answers, name) >= 18)
            })
            .await?;
        }
        Ok(())
    })
    .await;
}
