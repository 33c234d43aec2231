//! Two operators: one leads. However it ends, the other one acts on the next edit in time. And none: nothing says that it is done.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, eventually, run_with, within};
use catnap_e2e::functions::{PATIENCE, apply, body, catnap_pods, deploy, get, hello, ready};
use catnap_e2e::lateness::{Lateness, Missed, less_than};
use k8s_openapi::api::core::v1::Pod;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::activators::{back, is_ready, process_of};
use crate::leases::{holder, leases, next_holder};

const LEASE: &str = "catnap-operator";
/// From SIGTERM to the first reconciliation by the next leader.
const HAND_OVER: Duration = Duration::from_secs(1);
/// For how long a Lease is left alone that nobody renews, and what the next leader needs then.
const LEASE_TIME: Duration = Duration::from_secs(6);
/// For how long it is watched, to say by how much a bound was missed.
const WATCHED: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_told_to_end_hands_over_within_a_second() {
    handed_over("operator_told_to_end", Signal::SIGTERM, HAND_OVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_killed_is_replaced_within_the_lease_time() {
    handed_over("operator_killed", Signal::SIGKILL, LEASE_TIME + HAND_OVER).await;
}

/// Runs a test in which the leader is ended by `signal`.
async fn handed_over(name: &str, signal: Signal, bound: Duration) {
    run_with(name, &["operator.replicas=2"], async |test| {
        deploy(test, &hello("hello", at_most(5))).await?;
        let mut ended = None;
        Lateness::watch()?
            .measured("handing over", async |attempt| {
                if let Some(pod) = ended.take() {
                    back(test, &pod).await?;
                }
                let leader = leader(test).await?;
                let edit = hello("hello", at_most(6 + attempt));
                let handed_over = hands_over(test, &leader, signal, bound, &edit).await?;
                ended = Some(leader);
                Ok(handed_over)
            })
            .await?;
        body(get(test, "hello", "/").await?).await.map(drop)
    })
    .await;
}

fn at_most(replicas: usize) -> Value {
    json!({"scale": {"min": 1, "max": replicas}})
}

/// Ends the leader by `signal`, and edits a Function in the same moment: whether another one leads within `bound`, and its status is
/// about the edit within `bound`.
async fn hands_over(
    test: &Context,
    leader: &Pod,
    signal: Signal,
    bound: Duration,
    edit: &Value,
) -> anyhow::Result<Result<(), Missed>> {
    let functions = test.api::<Function>();
    let before = functions.get("hello").await?;
    let led = next_holder(test, LEASE).await?;
    let process = process_of(leader)?;
    let begin = Instant::now();
    kill(process, signal)?;
    apply(test, edit).await?;
    let edited = Instant::now();
    let observed = |function: &Function| {
        let generation = function.metadata.generation;
        let seen = function.status.as_ref().and_then(|status| status.observed_generation);
        generation > before.metadata.generation && seen == generation
    };
    let status = async { within(WATCHED, &functions, "hello", observed).await.map(|_| Instant::now()) };
    let leads = async { timeout(WATCHED, led).await.context("nobody leads")? };
    let (seen, taken) = tokio::try_join!(status, leads)?;
    let leader = format!("{}_", leader.metadata.name.as_deref().unwrap_or_default());
    if taken.holder.starts_with(&leader) {
        return Ok(Err(Missed::new(begin..begin + bound, format!("{} leads again", taken.holder))));
    }
    let leads = taken.at - begin;
    println!("from {signal}: {leads:?} to the Lease, {:?} to the status of an edit", seen - begin);
    Ok(less_than(bound, begin, leads, "the Lease")
        .and_then(|()| less_than(bound, edited, seen - edited, "the status of an edit")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_no_operator_has_looked_at_is_not_taken_for_done() {
    run_with("no_operator", &["operator.replicas=0"], async |test| {
        let outcome = Box::pin(async {
            eventually("the operator is gone", PATIENCE, async || {
                Ok(catnap_pods(test, "operator").await?.is_empty().then_some(()))
            })
            .await?;
            apply(test, &hello("hello", json!({}))).await?;
            let status = test.api::<Function>().get("hello").await?.status.context("no status")?;
            // kstatus: an object whose generation is not the observed one is in progress.
            anyhow::ensure!(status.observed_generation == Some(-1), "{status:?}");
            anyhow::Ok(())
        })
        .await;
        test.installation().install(&[]).await?;
        outcome?;
        ready(test, "hello").await.map(drop)
    })
    .await;
}

/// The one that leads, when both are ready.
async fn leader(test: &Context) -> anyhow::Result<Pod> {
    let operators = eventually("both operators are ready", PATIENCE, async || {
        let pods = catnap_pods(test, "operator").await?;
        Ok((pods.len() == 2 && pods.iter().all(is_ready)).then_some(pods))
    })
    .await?;
    let holder = holder(&leases(test).get(LEASE).await?).context("nobody leads")?;
    let leads =
        |pod: &Pod| pod.metadata.name.as_ref().is_some_and(|name| holder.starts_with(&format!("{name}_")));
    operators
        .into_iter()
        .find(leads)
        .with_context(|| format!("{holder} leads, but no pod of that name is there"))
}
