//! A Function gets another name, which is a new one made and the old one deleted: under load, both names give what they owe.

use std::time::Duration;

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, Needs, eventually, run, within};
use catnap_e2e::functions::{PATIENCE, apply, body, condition, deploy, deployments, get, hello, url};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

/// Callers of each name that ask one after the other.
const CALLERS: usize = 8;

/// Requests that one caller had answered before the name went.
#[derive(Default)]
struct Served {
    count: usize,
    /// When the first one was sent that the function did not answer, with status and reason.
    refused: Option<(Instant, u16, String)>,
}

/// Asks until the name is refused, or until it is told to stop.
async fn caller(test: &Context, name: &str, ended: &watch::Receiver<bool>) -> anyhow::Result<Served> {
    let mut served = Served::default();
    while !*ended.borrow() {
        let sent = Instant::now();
        let response = get(test, name, "/sleep?ms=50").await?;
        let status = response.status().as_u16();
        if status == 200 {
            body(response).await?;
            served.count += 1;
        } else {
            let reason = response.headers().get("catnap-reason").and_then(|reason| reason.to_str().ok());
            served.refused = Some((sent, status, reason.unwrap_or_default().to_owned()));
            break;
        }
    }
    Ok(served)
}

async fn callers(test: &Context, name: &str, ended: &watch::Receiver<bool>) -> anyhow::Result<Vec<Served>> {
    try_join_all((0..CALLERS).map(|_| caller(test, name, ended))).await
}

fn always(name: &str, spec: Value) -> Value {
    let mut manifest = hello(name, spec);
    manifest["spec"]["scale"]["min"] = json!(1);
    manifest
}

/// Requests of the old name that last longer than its Function.
async fn long(test: &Context) -> anyhow::Result<()> {
    let ask = async || body(test.http.http1.get(url(test, "old", "/sleep?ms=3000")).send().await?).await;
    try_join_all((0..CALLERS).map(|_| ask())).await.map(drop).context("a request that had begun")
}

/// The most requests that the old one's pod has met at once.
async fn met(test: &Context) -> anyhow::Result<usize> {
    Ok(body(get(test, "old", "/concurrency").await?).await?.trim().parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_function_loses_nothing_under_load() {
    run("rename", Needs::Cluster, async |test| {
        deploy(test, &always("old", json!({}))).await?;
        let (end, ended) = watch::channel(false);
        let renamed = async {
            deploy(test, &always("new", json!({}))).await?;
            let new = Box::pin(callers(test, "new", &ended));
            let old_goes = async {
                let deleted = async {
                    eventually("all long requests have begun", PATIENCE, async || {
                        Ok((met(test).await? >= 2 * CALLERS).then_some(()))
                    })
                    .await?;
                    let deleted = Instant::now();
                    test.api::<Function>().delete("old", &DeleteParams::default()).await?;
                    anyhow::Ok(deleted)
                };
                let ((), deleted) = tokio::try_join!(long(test), deleted)?;
                eventually("nothing of the old one is left", PATIENCE, async || {
                    Ok(deployments(test, "old").await?.is_empty().then_some(()))
                })
                .await?;
                end.send_replace(true);
                anyhow::Ok(deleted)
            };
            tokio::try_join!(new, Box::pin(old_goes))
        };
        let (old, (new, deleted)) =
            tokio::try_join!(Box::pin(callers(test, "old", &ended)), Box::pin(renamed))?;

        for served in &old {
            let (sent, status, reason) = served.refused.as_ref().context("the old name was never refused")?;
            anyhow::ensure!(*sent >= deleted, "a request before the deletion was answered {status} {reason}");
            let known = [(404, "UnknownHost"), (503, "Deleted")];
            anyhow::ensure!(known.contains(&(*status, reason.as_str())), "{status} {reason}");
        }
        for served in &new {
            anyhow::ensure!(served.refused.is_none(), "the new name was refused: {:?}", served.refused);
        }
        let counts = [&old, &new].map(|all| all.iter().map(|served| served.count).sum::<usize>());
        anyhow::ensure!(counts.iter().all(|count| *count > 2 * CALLERS), "only {counts:?} were answered");
        Ok(())
    })
    .await;
}

/// Longest that a host may be nobody's when it is handed over, beside the other tests.
const MOMENT: Duration = Duration::from_secs(5);

/// Asks for a host at the edge until told to stop; for how long nobody had it.
async fn visitors(test: &Context, host: &str, ended: &watch::Receiver<bool>) -> anyhow::Result<Duration> {
    let mut unknown: Option<[Instant; 2]> = None;
    while !*ended.borrow() {
        let asked = Instant::now();
        let response = test.http.edge.get("http://edge.example/").header("host", host).send().await?;
        if response.status() == 200 {
            continue;
        }
        let reason = response.headers().get("catnap-reason").cloned();
        anyhow::ensure!(reason.is_some_and(|reason| reason == "UnknownHost"), "{response:?}");
        let [since, _] = unknown.unwrap_or([asked; 2]);
        unknown = Some([since, Instant::now()]);
    }
    Ok(unknown.map_or(Duration::ZERO, |[since, until]| until - since))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_goes_over_to_the_new_name_within_a_moment() {
    run("rename_host", Needs::Cluster, async |test| {
        let shop = format!("shop.{}.example.org", test.namespace);
        let patch = json!({"metadata": {"annotations": {"catnap.dev/host-suffixes": shop}}});
        let namespaces = Api::<Namespace>::all(test.client.clone());
        namespaces.patch(&test.namespace, &PatchParams::default(), &Patch::Merge(patch)).await?;
        let claim = json!({"http": {"hosts": [shop]}});
        deploy(test, &always("old", claim.clone())).await?;
        eventually("the old one answers", PATIENCE, async || {
            let response = test.http.edge.get("http://edge.example/").header("host", &shop).send().await?;
            Ok((response.status() == 200).then_some(()))
        })
        .await?;
        let (end, ended) = watch::channel(false);
        let renamed = async {
            // As the documentation says: the new one waits for it, then the old one gives it up.
            apply(test, &always("new", claim)).await?;
            within(PATIENCE, &test.api::<Function>(), "new", |function| {
                condition(function, "RoutesReady").is_some_and(|(_, reason, _)| reason == "HostTaken")
            })
            .await?;
            apply(test, &always("old", json!({"http": {"hosts": []}}))).await?;
            eventually("the new one answers", PATIENCE, async || {
                let response =
                    test.http.edge.get("http://edge.example/").header("host", &shop).send().await?;
                Ok(body(response).await?.starts_with("Hello from new-").then_some(()))
            })
            .await?;
            end.send_replace(true);
            anyhow::Ok(())
        };
        let (gap, ()) = tokio::try_join!(Box::pin(visitors(test, &shop, &ended)), Box::pin(renamed))?;
        println!("nobody had the host for {gap:?}");
        anyhow::ensure!(gap < MOMENT, "nobody had the host for {gap:?}");
        Ok(())
    })
    .await;
}
