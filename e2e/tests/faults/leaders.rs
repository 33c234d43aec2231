//! Two autoscalers: one leads. When it ends, however it ends, the other one leads in time, and under steady load no count of
//! replicas changes.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Forward, SYSTEM_NAMESPACE, eventually, run_with, within};
use futures::{TryStreamExt as _, future::try_join_all};
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api,
    api::{ListParams, WatchEvent, WatchParams},
};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tokio::time::{sleep_until, timeout};

use crate::activators::{is_ready, process_of};
use catnap_e2e::functions::{
    PATIENCE, body, catnap_pods, deploy, deploy_resting, deployment, get, hello, is_cold, replicas, restart,
    resting,
};

const LEASE: &str = "catnap-autoscaler";
/// From SIGTERM to the next leader's first decision.
const HAND_OVER: Duration = Duration::from_secs(1);
/// For how long a Lease is left alone that nobody renews, and what the next leader needs then.
const LEASE_TIME: Duration = Duration::from_secs(6);
/// Stable and panic window of the functions: what a leader assumed when it began counts no more after it.
const WINDOW: Duration = Duration::from_secs(6);
/// Requests at once. With a limit of 2 and the default utilization each replica is for 1.4 of them: 5 replicas, and as many for
/// anything between 5.6 and 7.
const REQUESTS: u32 = 6;
const REPLICAS: i32 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_end_hands_over_within_a_second() {
    under_steady_load("leader_told_to_end", async |test| {
        deploy_resting(test, &hello("cold", json!({}))).await?;
        let (leader, next) = leader_and_candidate(test).await?;
        let admin = Forward::to(test, &next).await?;
        let (deployments, cold) = (test.api::<Deployment>(), deployment_name(test, "cold").await?);
        let led = watched_lease(test, &next).await?;
        let begin = Instant::now();
        kill(process_of(&leader)?, Signal::SIGTERM)?;
        let woken = Box::pin(async {
            let response = get(test, "cold", "/").await?;
            anyhow::ensure!(is_cold(&response), "{response:?}");
            body(response).await?;
            anyhow::Ok(begin.elapsed())
        });
        let raised = Box::pin(async {
            let wanted = |it: &Deployment| it.spec.as_ref().and_then(|spec| spec.replicas) > Some(0);
            within(HAND_OVER, &deployments, &cold, wanted).await.map(|_| begin.elapsed())
        });
        let leads = async { timeout(HAND_OVER, led).await.context("nobody leads")? };
        let decided = Box::pin(decided(test, &admin, begin));
        let (leads, raised, decided, woken) = tokio::try_join!(leads, raised, decided, woken)?;
        println!(
            "from SIGTERM: {leads:?} to the Lease, {decided:?} to a decision from all history; a cold function's count \
             after {raised:?}, its answer after {woken:?}"
        );
        anyhow::ensure!(leads <= HAND_OVER, "{leads:?}");
        resting(test, "cold").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_is_replaced_within_the_lease_time() {
    under_steady_load("leader_killed", async |test| {
        let (leader, _) = leader_and_candidate(test).await?;
        let leases = leases(test);
        let holder = holder(&leases.get(LEASE).await?);
        kill(process_of(&leader)?, Signal::SIGKILL)?;
        let begin = Instant::now();
        let other = |lease: &Lease| self::holder(lease).is_some_and(|other| Some(other) != holder);
        // A watch of the API server tells it late by as much as the machine is busy.
        within(LEASE_TIME + HAND_OVER, &leases, LEASE, other).await?;
        println!("from SIGKILL: {:?} to the Lease", begin.elapsed());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarting_all_autoscalers_changes_no_count() {
    under_steady_load("leaders_restarted", async |test| {
        restart(test, "catnap-autoscaler", Duration::from_secs(60)).await?;
        stays(WINDOW).await;
        // And without any word.
        let holder = holder(&leases(test).get(LEASE).await?);
        for pod in autoscalers(test).await? {
            kill(process_of(&pod)?, Signal::SIGKILL)?;
        }
        let other = |lease: &Lease| self::holder(lease).is_some_and(|other| Some(other) != holder);
        within(PATIENCE, &leases(test), LEASE, other).await.map(drop)
    })
    .await;
}

/// Two autoscalers and a function with steady load, whose replicas must not change while `fault` runs, nor within a window and
/// more after it.
async fn under_steady_load(name: &str, fault: impl AsyncFnOnce(&Context) -> anyhow::Result<()>) {
    run_with(name, &["autoscaler.replicas=2"], async |test| {
        // On the heap: what each step waits for adds up to more than a thread's stack.
        Box::pin(async {
            let window = format!("{}s", WINDOW.as_secs());
            let scale = json!({"window": window, "panic": {"window": window}});
            deploy(test, &hello("steady", json!({"concurrency": {"limit": 2}, "scale": scale}))).await?;
            let load = try_join_all((0..REQUESTS).map(|_| async {
                loop {
                    body(get(test, "steady", "/sleep?ms=1000").await?).await?;
                }
                #[expect(unreachable_code, reason = "says of what type nothing is")]
                anyhow::Ok(())
            }));
            let steady = Box::pin(async {
                eventually("as many replicas as the load needs", PATIENCE, async || {
                    Ok((replicas(test, "steady").await? == REPLICAS).then_some(()))
                })
                .await?;
                // They were reached in panic, perhaps, and then they stay for a window.
                let settled = async {
                    stays(2 * WINDOW).await;
                    Ok(())
                };
                unchanged(test, "steady", settled).await.context("before anything happened")?;
                let watched = Box::pin(async {
                    fault(test).await?;
                    stays(2 * WINDOW).await;
                    Ok(())
                });
                unchanged(test, "steady", watched).await
            });
            tokio::select! {
                ended = load => ended.map(drop).context("the load"),
                done = steady => done,
            }
        })
        .await
    })
    .await;
}

/// Time in which something is watched by others.
async fn stays(time: Duration) {
    sleep_until((Instant::now() + time).into()).await;
}

/// Fails when the replicas of the function change while `work` goes on.
async fn unchanged(
    test: &Context,
    function: &str,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let deployments = test.api::<Deployment>();
    let listed =
        deployments.list(&ListParams::default().labels(&format!("catnap.dev/function={function}"))).await?;
    let count = |deployment: &Deployment| deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let before = listed.items.first().and_then(count);
    let watch = WatchParams::default().labels(&format!("catnap.dev/function={function}")).timeout(200);
    let version = listed.metadata.resource_version.unwrap_or_default();
    let mut events = pin!(deployments.watch(&watch, &version).await?);
    let changes = async {
        while let Some(event) = events.try_next().await? {
            if let WatchEvent::Modified(deployment) | WatchEvent::Deleted(deployment) = event {
                let now = count(&deployment);
                anyhow::ensure!(now == before, "the replicas went from {before:?} to {now:?}");
            }
        }
        anyhow::bail!("the watch ended")
    };
    tokio::select! {
        other = changes => other,
        done = work => done,
    }
}

fn leases(test: &Context) -> Api<Lease> {
    Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE)
}

fn holder(lease: &Lease) -> Option<String> {
    lease.spec.as_ref()?.holder_identity.clone().filter(|holder| !holder.is_empty())
}

/// Both autoscalers, when both are ready.
async fn autoscalers(test: &Context) -> anyhow::Result<Vec<Pod>> {
    eventually("both autoscalers are ready", PATIENCE, async || {
        let pods = catnap_pods(test, "autoscaler").await?;
        Ok((pods.len() == 2 && pods.iter().all(is_ready)).then_some(pods))
    })
    .await
}

async fn leader_and_candidate(test: &Context) -> anyhow::Result<(Pod, Pod)> {
    let holder = holder(&leases(test).get(LEASE).await?).context("nobody leads")?;
    let leads =
        |pod: &Pod| pod.metadata.name.as_ref().is_some_and(|name| holder.starts_with(&format!("{name}_")));
    let (mut leaders, mut others): (Vec<_>, Vec<_>) = autoscalers(test).await?.into_iter().partition(leads);
    let pair = leaders.pop().zip(others.pop());
    pair.with_context(|| format!("{holder} leads, but no pod of that name is there"))
}

async fn deployment_name(test: &Context, function: &str) -> anyhow::Result<String> {
    deployment(test, function).await?.metadata.name.context("a Deployment without a name")
}

/// Begins to watch the Lease at once; then how long it took until `pod` held it.
async fn watched_lease(
    test: &Context,
    pod: &Pod,
) -> anyhow::Result<impl Future<Output = anyhow::Result<Duration>>> {
    let name = format!("{}_", pod.metadata.name.as_deref().context("a pod without a name")?);
    let api = leases(test);
    let version = api.get(LEASE).await?.metadata.resource_version.unwrap_or_default();
    let watch = WatchParams::default().fields(&format!("metadata.name={LEASE}")).timeout(60);
    let mut events = Box::pin(api.watch(&watch, &version).await?);
    let begin = Instant::now();
    Ok(async move {
        while let Some(event) = events.try_next().await? {
            if let WatchEvent::Modified(lease) = event
                && holder(&lease).is_some_and(|holder| holder.starts_with(&name))
            {
                return Ok(begin.elapsed());
            }
        }
        anyhow::bail!("the watch ended")
    })
}

/// Waits for the first decision of a new leader about the function with load that is made from what both windows measured
/// before it led.
async fn decided(test: &Context, admin: &Forward, begin: Instant) -> anyhow::Result<Duration> {
    let most = f64::from(REQUESTS);
    let mut last = Value::Null;
    while begin.elapsed() < HAND_OVER {
        let answer = test.http.plain.get(admin.url("/debug/state")).send().await?.text().await?;
        let state: Value = serde_json::from_str(&answer)?;
        let all = state["revisions"].as_array().cloned().unwrap_or_default();
        let of_test = |it: &&Value| it["namespace"] == test.namespace.as_str() && it["function"] == "steady";
        last = all.iter().find(of_test).cloned().unwrap_or_default();
        let inputs = &last["inputs"];
        let [stable, panic] = ["stable", "panic"].map(|window| inputs[window].as_f64().unwrap_or_default());
        let known = |average: f64| (0.9 * most..=1.01 * most).contains(&average);
        if inputs["incomplete"] == false && known(stable) && known(panic) {
            anyhow::ensure!(last["decision"]["desired"] == REPLICAS, "{last}");
            return Ok(begin.elapsed());
        }
    }
    anyhow::bail!("no decision from the whole history after {HAND_OVER:?}: {last}")
}
