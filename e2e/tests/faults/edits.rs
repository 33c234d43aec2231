//! Edits that make no revision take effect within a second, measured on a cluster that does nothing else.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, DOMAIN, Needs, eventually, run};
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use catnap_e2e::functions::{
    PATIENCE, body, deploy, deploy_resting, deployments, get, held, hello, pods, replicas, url,
};
use catnap_e2e::lateness::{Lateness, less_than};

use crate::activators::is_ready;

/// From the apply on.
const BOUND: Duration = Duration::from_secs(1);
/// For how long it is asked, to say by how much the bound was missed.
const LONGEST: Duration = Duration::from_secs(20);
/// Answers in a row that do not show an edit that was undone: one alone may be late, or by chance.
const LOOKS: usize = 5;

/// Edits the Function `hello`, and asks until the answer shows the edit: a question that was put within the bound has to. `before`: the
/// edit that undoes it, to measure it again.
async fn takes_effect(
    test: &Context,
    what: &str,
    spec: Value,
    before: Value,
    shows: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let measure = async |attempt| {
        if attempt > 0 {
            edit(test, &before).await?;
            eventually("the edit is undone", PATIENCE, async || {
                for _ in 0..LOOKS {
                    if shows().await? {
                        return Ok(None);
                    }
                }
                Ok(Some(()))
            })
            .await?;
        }
        let before = revisions(test).await?;
        let begun = Instant::now();
        edit(test, &spec).await?;
        let took = loop {
            let asked = begun.elapsed();
            if shows().await.with_context(|| what.to_owned())? {
                break asked;
            }
            anyhow::ensure!(asked < LONGEST, "{what}: no effect after {asked:?}");
        };
        println!("{what}: {took:?}");
        let after = revisions(test).await?;
        anyhow::ensure!(after == before, "{what}: {before:?} became {after:?}");
        Ok(less_than(BOUND, begun, took, "took effect"))
    };
    Lateness::watch()?.measured(what, measure).await
}

async fn edit(test: &Context, spec: &Value) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({"spec": spec}));
    test.api::<Function>().patch("hello", &PatchParams::default(), &patch).await?;
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
        let (two, none) = (json!({"scale": {"min": 2}}), json!({"scale": {"min": null}}));
        takes_effect(test, "scale.min", two, none, async || Ok(replicas(test, "hello").await? == 2)).await?;
        timeouts(test).await?;
        queue(test).await?;
        let host = format!("hello-{}.{DOMAIN}", test.namespace);
        let visibility = |visibility: Value| json!({"http": {"visibility": visibility}});
        let (external, default) = (visibility(json!("External")), visibility(Value::Null));
        takes_effect(test, "http.visibility", external, default, async || {
            let response = test.http.edge.get("http://edge.example/").header("host", &host).send().await?;
            Ok(response.status() == 200)
        })
        .await
    })
    .await;
}

async fn timeouts(test: &Context) -> anyhow::Result<()> {
    body(get(test, "hello", "/sleep?ms=300").await?).await?;
    let request = |timeout: Value| json!({"timeouts": {"request": timeout}});
    let [short, long] = ["100ms", "300s"].map(|timeout| request(json!(timeout)));
    takes_effect(test, "timeouts.request", short.clone(), request(Value::Null), async || {
        let response = get(test, "hello", "/sleep?ms=300").await?;
        Ok(response.status() == 504 && reason(&response) == "RequestTimeout")
    })
    .await?;
    takes_effect(test, "timeouts.request again", long, short, async || {
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
        let places = |places: Value| json!({"queue": {"maxRequests": places}});
        takes_effect(test, "queue.maxRequests", places(json!(1)), places(Value::Null), async || {
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
        let both = json!({"traffic": split});
        edit(test, &both).await?;
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
            takes_effect(test, "traffic", json!({"traffic": traffic}), both.clone(), async || {
                let answers = answers().await?;
                Ok(of(&answers, name) >= 18)
            })
            .await?;
        }
        Ok(())
    })
    .await;
}
