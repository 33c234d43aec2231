//! Revisions that take over in steps, go back when they fail requests, and are gone back to by hand: all under load, of which
//! nothing is lost.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use catnap_crds::{Function, RolloutStatus};
use catnap_e2e::fixture::{Context, Needs, eventually, run, within};
use catnap_e2e::functions::{PATIENCE, apply, body, condition, deploy, deployments, get, hello, sent_to};
use futures::TryStreamExt as _;
use futures::future::try_join_all;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, WatchEvent, WatchParams};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Callers that ask one after the other.
const CALLERS: usize = 16;

/// A revision that answers everybody; `value` makes it another one.
fn good(value: &str, rollout: &Value) -> Value {
    let env = json!([{"name": "MARK", "value": value}]);
    hello("hello", json!({"env": env, "scale": {"min": 1}, "rollout": rollout}))
}

/// One that fails requests that meet in it.
fn bad(rollout: &Value) -> Value {
    let env = json!([{"name": "MAX_CONCURRENCY", "value": "1"}]);
    hello("hello", json!({"env": env, "scale": {"min": 1}, "rollout": rollout}))
}

fn ready_revision(function: &Function) -> String {
    function.status.as_ref().and_then(|status| status.latest_ready_revision.clone()).unwrap_or_default()
}

/// Percent of the requests that `revision` gets.
fn percent_of(function: &Function, revision: &str) -> i32 {
    let shares = function.status.iter().flat_map(|status| &status.traffic);
    shares.filter(|share| share.revision == revision).map(|share| share.percent).sum()
}

/// Asks all the time while `work` goes on; how many were answered by 200 and by the function's own 500. Anything else is lost.
async fn under_load<T>(
    test: &Context,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, [usize; 2])> {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let caller = async || {
        let mut counts = [0; 2];
        while !*stopped.borrow() {
            let response = get(test, "hello", "/sleep?ms=50").await?;
            let of_the_function = response.headers().contains_key("hello-concurrency-exceeded");
            match response.status().as_u16() {
                200 => counts[0] += 1,
                500 if of_the_function => counts[1] += 1,
                _ => anyhow::bail!("a request was lost: {response:?}"),
            }
        }
        anyhow::Ok(counts)
    };
    // On the heap: all that is waited for adds up to more than a thread's stack.
    let load = Box::pin(try_join_all((0..CALLERS).map(|_| caller())));
    let work = async {
        let done = work.await;
        stop.send_replace(true);
        done
    };
    let (counts, done) = Box::pin(async { tokio::try_join!(load, work) }).await?;
    let sum = counts.into_iter().fold([0; 2], |sum, counts| [sum[0] + counts[0], sum[1] + counts[1]]);
    Ok((done, sum))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_revision_takes_over_in_steps() {
    run("rollout_steps", Needs::Cluster, async |test| {
        let rollout = json!({"stepPercent": 25, "interval": "3s"});
        let first = ready_revision(&deploy(test, &good("one", &rollout)).await?);
        let (steps, [served, failed]) = under_load(
            test,
            Box::pin(async {
                let functions = test.api::<Function>();
                let version = functions.list(&ListParams::default()).await?.metadata.resource_version;
                apply(test, &good("two", &rollout)).await?;
                // Looks every now and then could miss a step.
                let watch = WatchParams::default().timeout(u32::try_from(PATIENCE.as_secs())?);
                let mut events = pin!(functions.watch(&watch, &version.unwrap_or_default()).await?);
                let mut steps: Vec<(i32, Option<RolloutStatus>)> = Vec::new();
                while let Some(event) = events.try_next().await? {
                    let WatchEvent::Modified(function) = event else { continue };
                    let moved = 100 - percent_of(&function, &first);
                    if steps.last().is_none_or(|(last, _)| *last != moved) {
                        let status = function.status.as_ref();
                        steps.push((moved, status.and_then(|status| status.rollout.clone())));
                    }
                    if moved == 100 && ready_revision(&function) != first {
                        return Ok(steps);
                    }
                }
                anyhow::bail!("not everything has moved when the watch ended: {steps:?}")
            }),
        )
        .await?;
        let percents: Vec<_> = steps.iter().map(|(percent, _)| *percent).collect();
        anyhow::ensure!(percents == [0, 25, 50, 75, 100], "{percents:?}");
        // Its own times, in whole seconds: those of this test's looks come when the machine has time for them.
        let stepped: Vec<_> = steps[1..]
            .iter()
            .filter_map(|(_, rollout)| rollout.as_ref().map(|rollout| rollout.stepped_at.0.as_second()))
            .collect();
        anyhow::ensure!(stepped.len() == 4, "{steps:?}");
        anyhow::ensure!(stepped.windows(2).all(|pair| pair[1] - pair[0] >= 3), "{stepped:?}");
        anyhow::ensure!(failed == 0 && served > 100, "{served} served, {failed} failed");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_fails_requests_goes_back_and_says_why() {
    run("rollout_back", Needs::Cluster, async |test| {
        let rollout = json!({"stepPercent": 50, "interval": "10s", "maxErrorPercent": 5});
        let first = ready_revision(&deploy(test, &good("one", &rollout)).await?);
        let (function, [served, failed]) = under_load(
            test,
            Box::pin(async {
                apply(test, &bad(&rollout)).await?;
                within(PATIENCE, &test.api::<Function>(), "hello", |function| {
                    condition(function, "RevisionReady")
                        .is_some_and(|(_, reason, _)| reason == "RolloutFailed")
                })
                .await
            }),
        )
        .await?;
        anyhow::ensure!(failed > 0 && served > failed, "{served} served, {failed} failed");
        anyhow::ensure!(percent_of(&function, &first) == 100, "{:?}", function.status);
        let (stalled, _, message) = condition(&function, "Stalled").context("no Stalled")?;
        anyhow::ensure!(stalled == "True" && message.contains("percent"), "{message}");
        println!("{message}");
        eventually("an Event tells of it", PATIENCE, async || {
            let events = test.api::<Event>().list(&ListParams::default()).await?.items;
            let told = |event: &Event| event.note.as_ref().is_some_and(|note| note.contains("RolloutFailed"));
            Ok(events.iter().any(told).then_some(()))
        })
        .await?;
        // It stays there.
        sent_to(test, "hello", &first).await?;
        let ((), [_, failed]) = under_load(
            test,
            Box::pin(async {
                for _ in 0..20 {
                    body(get(test, "hello", "/sleep?ms=100").await?).await?;
                }
                Ok(())
            }),
        )
        .await?;
        anyhow::ensure!(failed == 0, "{failed} failed after it went back");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_goes_back_by_naming_a_revision_of_the_history() {
    run("rollback", Needs::Cluster, async |test| {
        let rollout = json!({"interval": "1s"});
        let first = ready_revision(&deploy(test, &good("one", &rollout)).await?);
        let second = ready_revision(&deploy(test, &good("two", &rollout)).await?);
        anyhow::ensure!(first != second, "the edit made no revision");
        eventually("only the record of the first is left", PATIENCE, async || {
            let names: Vec<_> =
                deployments(test, "hello").await?.into_iter().filter_map(|it| it.metadata.name).collect();
            Ok((names == [second.clone()]).then_some(()))
        })
        .await?;
        let mut back = good("two", &rollout);
        back["spec"]["traffic"] = json!([{"revision": first}]);
        let (_, [served, failed]) = under_load(
            test,
            Box::pin(async {
                apply(test, &back).await?;
                within(PATIENCE, &test.api::<Function>(), "hello", |function| {
                    percent_of(function, &first) == 100
                })
                .await
            }),
        )
        .await?;
        anyhow::ensure!(failed == 0 && served > 0, "{served} served, {failed} failed");
        sent_to(test, "hello", &first).await?;
        let text = body(get(test, "hello", "/env").await?).await?;
        anyhow::ensure!(text.contains("MARK=one"), "{text}");
        // A revision that does not exist changes nothing.
        back["spec"]["traffic"] = json!([{"revision": "hello-absent"}]);
        apply(test, &back).await?;
        let function = within(PATIENCE, &test.api::<Function>(), "hello", |function| {
            condition(function, "RoutesReady").is_some_and(|(_, reason, _)| reason == "RevisionMissing")
        })
        .await?;
        anyhow::ensure!(percent_of(&function, &first) == 100, "{:?}", function.status);
        body(get(test, "hello", "/").await?).await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_edits_in_five_seconds_end_with_the_last() {
    run("twenty_edits", Needs::Cluster, async |test| {
        let rollout = json!({"interval": "1s"});
        deploy(test, &good("0", &rollout)).await?;
        let (most, [_, failed]) = under_load(
            test,
            Box::pin(async {
                let start = Instant::now();
                let edits = async {
                    for edit in 1..=20_u32 {
                        tokio::time::sleep_until(start + edit * Duration::from_millis(250)).await;
                        apply(test, &good(&edit.to_string(), &rollout)).await?;
                    }
                    anyhow::Ok(())
                };
                let most = Mutex::new((0, 0));
                let observed = eventually("the last edit takes all requests", PATIENCE, async || {
                    let function = test.api::<Function>().get("hello").await?;
                    let shares = function.status.iter().flat_map(|status| &status.traffic);
                    let routed: BTreeSet<_> = shares.map(|share| share.revision.as_str()).collect();
                    let there = deployments(test, "hello").await?.len();
                    {
                        let mut most = most.lock();
                        *most = (most.0.max(routed.len()), most.1.max(there));
                    }
                    let text = body(get(test, "hello", "/env").await?).await?;
                    Ok(text.contains("MARK=20\n").then_some(()))
                });
                tokio::try_join!(edits, observed)?;
                Ok(most.into_inner())
            }),
        )
        .await?;
        let (routed, deployments) = most;
        anyhow::ensure!(failed == 0, "{failed} failed");
        anyhow::ensure!(routed == 1, "{routed} revisions took requests at once");
        // The one that serves, the one before it, the one that proves itself, and one whose deletion is under way.
        anyhow::ensure!(deployments <= 4, "{deployments} Deployments at once");
        Ok(())
    })
    .await;
}
