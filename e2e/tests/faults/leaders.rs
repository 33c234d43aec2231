//! Two autoscalers: one leads. When it ends, however it ends, the other one leads in time, and under steady load no count of
//! replicas changes.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Forward, eventually, run_with, within};
use catnap_e2e::lateness::{Lateness, Missed, less_than};
use futures::{TryStreamExt as _, future::try_join_all};
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Pod};
use kube::api::{ListParams, WatchEvent, WatchParams};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tokio::time::{sleep_until, timeout};

use crate::activators::{back, is_ready, process_of};
use crate::leases::{holder, leases, next_holder};
use catnap_e2e::functions::{
    PATIENCE, body, catnap_pods, deploy, deploy_resting, deployment, get, hello, is_cold, replicas, restart,
    resting,
};

const LEASE: &str = "catnap-autoscaler";
/// From SIGTERM to the next leader's first decision.
const HAND_OVER: Duration = Duration::from_secs(1);
/// For how long a Lease is left alone that nobody renews, and what the next leader needs then.
const LEASE_TIME: Duration = Duration::from_secs(6);
/// For how long it is watched, to say by how much a bound was missed.
const WATCHED: Duration = Duration::from_secs(20);
/// A decision's age is told to a tenth of a second: it may be younger than that by half of one.
const AGE_PRECISION: Duration = Duration::from_millis(50);
/// Stable and panic window of the functions: what a leader assumed when it began counts no more after it.
const WINDOW: Duration = Duration::from_secs(6);
/// Requests at once. With a limit of 2 and the default utilization each replica is for 1.4 of them: 5 replicas, and as many for
/// anything between 5.6 and 7.
const REQUESTS: u32 = 6;
/// Of each. Long and one after the other, so that hardly any ends while this process is kept from sending the next one: with fewer than
/// 5.6 of them, fewer replicas are right.
const REQUEST_MS: u32 = 20_000;
const REPLICAS: i32 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_end_hands_over_within_a_second() {
    under_steady_load("leader_told_to_end", async |test| {
        deploy_resting(test, &hello("cold", json!({}))).await?;
        let mut ended = None;
        Lateness::watch()?
            .measured("handing over", async |_| {
                let leader = next_leader(test, ended.take()).await?;
                let handed_over = hands_over(test, &leader).await?;
                ended = Some(leader.0);
                Ok(handed_over)
            })
            .await?;
        resting(test, "cold").await
    })
    .await;
}

/// Ends the leader, the first of the two, when a function is cold; whether the other one did in time all that a leader does.
async fn hands_over(test: &Context, (leader, next): &(Pod, Pod)) -> anyhow::Result<Result<(), Missed>> {
    resting(test, "cold").await?;
    let admin = Forward::to(test, next).await?;
    let (deployments, cold) = (test.api::<Deployment>(), deployment_name(test, "cold").await?);
    let led = next_holder(test, LEASE).await?;
    let process = process_of(leader)?;
    let begin = Instant::now();
    kill(process, Signal::SIGTERM)?;
    let woken = Box::pin(async {
        let response = get(test, "cold", "/").await?;
        anyhow::ensure!(is_cold(&response), "{response:?}");
        body(response).await?;
        anyhow::Ok(begin.elapsed())
    });
    let raised = Box::pin(async {
        let wanted = |it: &Deployment| it.spec.as_ref().and_then(|spec| spec.replicas) > Some(0);
        within(WATCHED, &deployments, &cold, wanted).await.map(|_| begin.elapsed())
    });
    let leads = async { timeout(WATCHED, led).await.context("nobody leads")? };
    let decided = Box::pin(decided(test, &admin, begin));
    let (taken, raised, decided, woken) = tokio::try_join!(leads, raised, decided, woken)?;
    if !taken.holder.starts_with(&identity(next)?) {
        let what = format!("{} leads, not the other one", taken.holder);
        return Ok(Err(Missed::new(begin..begin + HAND_OVER, what)));
    }
    let leads = taken.at - begin;
    println!(
        "from SIGTERM: {leads:?} to the Lease, {decided:?} to a decision from all history; a cold function's count after \
         {raised:?}, its answer after {woken:?}"
    );
    let all =
        [("the Lease", leads), ("a decision from all history", decided), ("a cold function's count", raised)];
    Ok(all.into_iter().try_for_each(|(what, took)| less_than(HAND_OVER, begin, took, what)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_is_replaced_within_the_lease_time() {
    under_steady_load("leader_killed", async |test| {
        let mut ended = None;
        Lateness::watch()?
            .measured("replacing a leader", async |_| {
                let (leader, _) = next_leader(test, ended.take()).await?;
                let led = next_holder(test, LEASE).await?;
                let process = process_of(&leader)?;
                let begin = Instant::now();
                kill(process, Signal::SIGKILL)?;
                ended = Some(leader);
                let taken = timeout(WATCHED, led).await.context("nobody leads")??;
                let leads = taken.at - begin;
                println!("from SIGKILL: {leads:?} to the Lease");
                Ok(less_than(LEASE_TIME + HAND_OVER, begin, leads, "the Lease"))
            })
            .await
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
            let load = try_join_all((0..REQUESTS).map(|client| async move {
                let mut milliseconds = REQUEST_MS / REQUESTS * (REQUESTS - client);
                loop {
                    body(get(test, "steady", &format!("/sleep?ms={milliseconds}")).await?).await?;
                    milliseconds = REQUEST_MS;
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
    let watch = WatchParams::default().labels(&format!("catnap.dev/function={function}")).timeout(290);
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

/// Both autoscalers, when both are ready.
async fn autoscalers(test: &Context) -> anyhow::Result<Vec<Pod>> {
    eventually("both autoscalers are ready", PATIENCE, async || {
        let pods = catnap_pods(test, "autoscaler").await?;
        Ok((pods.len() == 2 && pods.iter().all(is_ready)).then_some(pods))
    })
    .await
}

/// What the identities of a pod's processes begin with.
fn identity(pod: &Pod) -> anyhow::Result<String> {
    Ok(format!("{}_", pod.metadata.name.as_deref().context("a pod without a name")?))
}

/// Who leads and who does not, once the one that was ended before is back.
async fn next_leader(test: &Context, ended: Option<Pod>) -> anyhow::Result<(Pod, Pod)> {
    if let Some(pod) = ended {
        back(test, &pod).await?;
    }
    let holder = holder(&leases(test).get(LEASE).await?).context("nobody leads")?;
    let leads = |pod: &Pod| identity(pod).is_ok_and(|identity| holder.starts_with(&identity));
    let (mut leaders, mut others): (Vec<_>, Vec<_>) = autoscalers(test).await?.into_iter().partition(leads);
    let pair = leaders.pop().zip(others.pop());
    pair.with_context(|| format!("{holder} leads, but no pod of that name is there"))
}

async fn deployment_name(test: &Context, function: &str) -> anyhow::Result<String> {
    deployment(test, function).await?.metadata.name.context("a Deployment without a name")
}

/// Waits for the first decision of a new leader about the function with load that is made from what both windows measured
/// before it led; how long after `begin` it was made.
async fn decided(test: &Context, admin: &Forward, begin: Instant) -> anyhow::Result<Duration> {
    let most = f64::from(REQUESTS);
    let mut last = Value::Null;
    while begin.elapsed() < WATCHED {
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
            let age = last["decision"]["secondsAgo"].as_f64().context("a decision without an age")?;
            let age = Duration::try_from_secs_f64(age)?.saturating_sub(AGE_PRECISION);
            return Ok(begin.elapsed().saturating_sub(age));
        }
    }
    anyhow::bail!("no decision from the whole history after {WATCHED:?}: {last}")
}
