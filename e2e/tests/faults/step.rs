//! From one request at once to a hundred, on a running function: as many replicas are asked for as `decide` says, as soon as its
//! windows allow, none more, and no request fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use catnap_autoscaler_core::{History, Observation, Policy, Settings, Stage, decide};
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, Needs, eventually, run};
use catnap_e2e::functions::{PATIENCE, body, deploy, deployments, held, hello, pods, url};
use catnap_e2e::lateness::{Lateness, Missed, less_than};
use futures::future::try_join_all;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::activators::is_ready;
use crate::asked::{Asked, asked_during};

/// Requests at once after the step.
const REQUESTS: u32 = 100;
/// Requests at once in one replica. With the default utilization it is meant for 8.4 of them: 12 replicas for anything between
/// 92.4 and 100.8, since clients have none for a moment between two. Waiting requests fill 9.
const CAPACITY: u32 = 12;
/// Of a request. Long and evenly spread, so that few end while this process is kept from sending the next ones: with fewer than 92.4 at
/// once over a window, fewer replicas are right.
const REQUEST_MS: u32 = 5_000;
const WINDOW: Duration = Duration::from_secs(6);
const PANIC_WINDOW: Duration = Duration::from_secs(1);
/// Requests that wait count when they have done so for 100 ms; the rest is for a small machine that has a hundred clients, too.
const FIRST_WITHIN: Duration = Duration::from_secs(1);
/// The second of the step ends, and one of the panic window passes.
const SEEN_WITHIN: Duration = Duration::from_secs(2);
/// Headroom is asked for once that is so and nine pods are ready: with the next decision, at most a second later; one more for a
/// machine that just started nine pods.
const ALL_WITHIN: Duration = Duration::from_secs(2);

/// Replicas wanted for what is seen of so many ready pods, by the autoscaler's own formula.
fn decided(policy: &Policy, ready: u32, seen: &Observation) -> u32 {
    let seen = Observation { replicas: ready, ready, busy: true, ..seen.clone() };
    let (_, decision) =
        decide(policy, Stage::Routed, &Settings::default(), History::default(), &seen, Duration::ZERO);
    decision.desired
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_from_one_to_a_hundred_requests_asks_for_what_decide_says_in_its_time() {
    run("step", Needs::Cluster, async |test| {
        let spec = json!({
            "concurrency": {"limit": CAPACITY},
            "env": [{"name": "MAX_CONCURRENCY", "value": CAPACITY.to_string()}],
            // What it does when nothing comes is not looked at here.
            "scale": {"panic": {"window": "1s"}, "idle": {"after": "60s"}},
        });
        let function = hello("hello", spec);
        Lateness::watch()?
            .measured("a step", async |attempt| {
                if attempt > 0 {
                    begin_anew(test).await?;
                }
                follow(test, &function).await
            })
            .await
    })
    .await;
}

/// Deletes the function, with its replicas and what is known of it.
async fn begin_anew(test: &Context) -> anyhow::Result<()> {
    test.api::<Function>().delete("hello", &DeleteParams::default()).await?;
    eventually("the function is gone", PATIENCE, async || {
        let is_gone = deployments(test, "hello").await?.is_empty() && pods(test, "hello").await?.is_empty();
        Ok(is_gone.then_some(()))
    })
    .await
}

/// Whether what is to be asked for was asked for in its time.
async fn follow(test: &Context, function: &Value) -> anyhow::Result<Result<(), Missed>> {
    let function = deploy(test, function).await?;
    let policy = catnap_autoscaler_api::policy(&function.spec.scale, function.spec.concurrency_limit());
    anyhow::ensure!((policy.window, policy.panic_window) == (WINDOW, PANIC_WINDOW), "{policy:?}");
    let load = f64::from(REQUESTS);
    let waiting = Observation { pressed: REQUESTS.into(), stable: 1.0, panic: 1.0, ..Observation::default() };
    let first = decided(&policy, 1, &waiting);
    let all = decided(&policy, first, &Observation { stable: load, panic: load, ..Observation::default() });
    anyhow::ensure!((first, all) == (9, 12), "{first} for those that wait, {all} for all");

    let (outcome, asked) = Box::pin(asked_during(test, step(test, first, all))).await?;
    let Followed { begin, ready, served, settled, ended } = outcome.with_context(|| format!("{asked:#?}"))?;
    // What the load is when its clients end one after the other is no part of it.
    let (before, after): (Vec<_>, Vec<_>) =
        asked.iter().filter(|asked| asked.at < ended).partition(|asked| asked.at < begin);
    let counts = |of: &[&Asked]| of.iter().map(|asked| asked.replicas).collect::<Vec<_>>();
    anyhow::ensure!(counts(&before) == [1], "one request at once: {before:?}");
    let rising = counts(&after);
    anyhow::ensure!(rising.iter().max() == Some(&all), "all ask for {all}, and no more: {after:?}");
    if !rising.is_sorted() {
        return Ok(Err(Missed::new(begin..ended, format!("fewer than before: {after:?}"))));
    }
    let times = after.iter().map(|asked| (asked.replicas, asked.at.duration_since(begin)));
    println!("{served} requests; asked for {:?}; nobody waits after {settled:?}", times.collect::<Vec<_>>());
    let seen = ready.max(begin + SEEN_WITHIN);
    for (replicas, by) in [(first, begin + FIRST_WITHIN), (all, seen + ALL_WITHIN)] {
        let reached = after.iter().find(|asked| asked.replicas >= replicas).context("not asked for")?;
        let kept =
            less_than(by - begin, begin, reached.at - begin, format!("{replicas} replicas: {after:?}"));
        if kept.is_err() {
            return Ok(kept);
        }
    }
    Ok(Ok(()))
}

/// What became of the step.
struct Followed {
    begin: Instant,
    /// As many pods as the requests fill were ready.
    ready: Instant,
    /// Requests that were served.
    served: usize,
    /// How long it took until none waited.
    settled: Duration,
    /// Until then it was watched.
    ended: Instant,
}

/// The load, until the step has been followed and nothing has changed for a window.
async fn step(test: &Context, first: u32, all: u32) -> anyhow::Result<Followed> {
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (all_ask, may_ask) = watch::channel(false);
    let load = try_join_all((0..REQUESTS).map(|client| {
        let (stop, served, mut may_ask) = (&stop, &served, may_ask.clone());
        async move {
            may_ask.wait_for(|all| *all || client == 0).await?;
            // The longest first: those that are served first are not done before the others have waited.
            let mut milliseconds = REQUEST_MS / REQUESTS * (REQUESTS - client);
            while !stop.load(Ordering::Relaxed) {
                let url = url(test, "hello", &format!("/sleep?ms={milliseconds}"));
                // Over one connection, which is there by then: a hundred new ones are no part of the step.
                body(test.http.h2c.get(url).send().await?).await?;
                served.fetch_add(1, Ordering::Relaxed);
                milliseconds = REQUEST_MS;
            }
            anyhow::Ok(())
        }
    }));
    let watched =
        async {
            // Both windows know one request at once.
            sleep_until((Instant::now() + WINDOW).into()).await;
            let begin = Instant::now();
            all_ask.send_replace(true);
            let ready = async |wanted: u32| {
                let count = pods(test, "hello").await?.iter().filter(|pod| is_ready(pod)).count();
                Ok((count >= usize::try_from(wanted)?).then(Instant::now))
            };
            let first =
                eventually("pods for all requests are ready", PATIENCE, async || ready(first).await).await?;
            eventually("all replicas are ready", PATIENCE, async || ready(all).await).await?;
            eventually("no request waits", PATIENCE, async || {
                Ok((held(test, "hello").await? == 0).then_some(()))
            })
            .await?;
            let settled = begin.elapsed();
            // What more would be asked for is seen within a window.
            sleep_until((Instant::now() + WINDOW).into()).await;
            let ended = Instant::now();
            stop.store(true, Ordering::Relaxed);
            anyhow::Ok((begin, first, settled, ended))
        };
    let (_, (begin, ready, settled, ended)) = Box::pin(async { tokio::try_join!(load, watched) }).await?;
    Ok(Followed { begin, ready, served: served.into_inner(), settled, ended })
}
