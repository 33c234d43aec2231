//! Catnap installed without its admission policies: what they guard is done all the same.

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Needs, eventually, run};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use catnap_e2e::functions::{PATIENCE, body, deploy, get, hello, is_cold, pods, replicas, resting};

use crate::activators::is_ready;

const POLICIES: [&str; 3] = ["catnap-scale", "catnap-peers", "catnap-pods"];
const COST: &str = "controller.kubernetes.io/pod-deletion-cost";

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_without_the_policies() {
    run("without_policies", Needs::Launcher, async |test| {
        let found = policies(test).await?;
        anyhow::ensure!(
            POLICIES.iter().all(|name| found.contains(&(*name).to_owned())),
            "they are on by default: {found:?}"
        );
        let off = ["scale", "peers", "pods"].map(|policy| format!("admissionPolicies.{policy}=false"));
        let mut values: Vec<_> = off.iter().map(String::as_str).collect();
        // Two, so that they have to trust each other.
        values.push("activator.replicas=2");
        test.installation().install(&values).await?;
        Box::pin(grows_shrinks_and_rests(test)).await
    })
    .await;
}

async fn policies(test: &Context) -> anyhow::Result<Vec<String>> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(test.client.clone());
    let found = policies.list_metadata(&ListParams::default()).await?;
    Ok(found.iter().map(kube::ResourceExt::name_any).collect())
}

async fn grows_shrinks_and_rests(test: &Context) -> anyhow::Result<()> {
    let found = policies(test).await?;
    anyhow::ensure!(!POLICIES.iter().any(|name| found.contains(&(*name).to_owned())), "{found:?}");

    // With a limit, whose slots activators hand to each other.
    deploy(test, &hello("hello", json!({"concurrency": {"limit": 10}, "scale": {"min": 3}}))).await?;
    let ready = async || anyhow::Ok(pods(test, "hello").await?.iter().filter(|pod| is_ready(pod)).count());
    eventually("three that are ready", PATIENCE, async || Ok((ready().await? == 3).then_some(()))).await?;
    body(get(test, "hello", "/").await?).await?;

    // The autoscaler names who goes by the annotation that the policy is about, and then the count falls.
    deploy(test, &hello("hello", json!({"concurrency": {"limit": 10}, "scale": {"min": 1, "max": 1}})))
        .await?;
    let marked = async || {
        let cost = |pod: &Pod| pod.annotations().get(COST).cloned();
        anyhow::Ok(pods(test, "hello").await?.iter().filter_map(cost).collect::<Vec<_>>())
    };
    let costs = eventually("pods are marked", PATIENCE, async || {
        Ok(Some(marked().await?).filter(|costs| costs.len() == 2))
    });
    let costs = costs.await?;
    anyhow::ensure!(costs.iter().all(|cost| cost.starts_with('-')), "{costs:?}");
    eventually("one replica, and nobody is marked", PATIENCE, async || {
        let alone = replicas(test, "hello").await? == 1 && pods(test, "hello").await?.len() == 1;
        Ok((alone && marked().await?.is_empty()).then_some(()))
    })
    .await?;

    deploy(test, &hello("hello", json!({"concurrency": {"limit": 10}, "scale": {"min": 0, "max": 1}})))
        .await?;
    resting(test, "hello").await?;
    let response = get(test, "hello", "/").await.context("a cold one")?;
    anyhow::ensure!(is_cold(&response), "{response:?}");
    body(response).await.map(drop)
}
