//! Two operators: one leads. However it ends, the other one acts on the next edit in time. And none: nothing says that it is done.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, SYSTEM_NAMESPACE, eventually, run_with, within};
use catnap_e2e::functions::{PATIENCE, apply, body, catnap_pods, deploy, get, hello, ready};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::Api;
use nix::sys::signal::{Signal, kill};
use serde_json::json;

use crate::activators::{is_ready, process_of};

const LEASE: &str = "catnap-operator";
/// From SIGTERM to the first reconciliation by the next leader.
const HAND_OVER: Duration = Duration::from_secs(1);
/// For how long a Lease is left alone that nobody renews, and what the next leader needs then.
const LEASE_TIME: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_told_to_end_hands_over_within_a_second() {
    handed_over("operator_told_to_end", Signal::SIGTERM, HAND_OVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_killed_is_replaced_within_the_lease_time() {
    handed_over("operator_killed", Signal::SIGKILL, LEASE_TIME + HAND_OVER).await;
}

/// Ends the leader by `signal`, and edits a Function in the same moment: its status is about the edit within `bound`.
async fn handed_over(name: &str, signal: Signal, bound: Duration) {
    run_with(name, &["operator.replicas=2"], async |test| {
        Box::pin(async {
            let scale = |max: u32| json!({"scale": {"min": 1, "max": max}});
            let before = deploy(test, &hello("hello", scale(5))).await?;
            let leader = leader(test).await?;
            kill(process_of(&leader)?, signal)?;
            let begin = Instant::now();
            apply(test, &hello("hello", scale(6))).await?;
            let observed = |function: &Function| {
                let generation = function.metadata.generation;
                let seen = function.status.as_ref().and_then(|status| status.observed_generation);
                generation > before.metadata.generation && seen == generation
            };
            within(bound, &test.api::<Function>(), "hello", observed).await?;
            println!("from {signal} to the status of an edit: {:?}", begin.elapsed());
            body(get(test, "hello", "/").await?).await.map(drop)
        })
        .await
    })
    .await;
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
    let leases: Api<Lease> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
    let holder = leases.get(LEASE).await?.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
    let leads =
        |pod: &Pod| pod.metadata.name.as_ref().is_some_and(|name| holder.starts_with(&format!("{name}_")));
    operators
        .into_iter()
        .find(leads)
        .with_context(|| format!("{holder} leads, but no pod of that name is there"))
}
