//! Parts of Catnap, or of Kubernetes, are gone: warm functions keep answering, and cold ones still wake.

use std::time::Duration;

use catnap_e2e::fixture::{Context, Needs, SYSTEM_NAMESPACE, eventually, run, within};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use catnap_e2e::functions::{
    PATIENCE, body, catnap_pods, deploy, deploy_resting, get, hello, is_cold, pods, resting,
};

async fn scale(test: &Context, component: &str, replicas: i32) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
    let name = format!("catnap-{component}");
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    deployments.patch_scale(&name, &PatchParams::default(), &patch).await?;
    if replicas == 0 {
        return eventually(&format!("no {component} is left"), PATIENCE, async || {
            Ok(catnap_pods(test, component).await?.is_empty().then_some(()))
        })
        .await;
    }
    within(PATIENCE, &deployments, &name, |deployment| {
        deployment.status.as_ref().and_then(|status| status.available_replicas) == Some(replicas)
    })
    .await
    .map(drop)
}

async fn cold_request_without(name: &str, component: &'static str) {
    run(name, Needs::Launcher, async |test| {
        deploy_resting(test, &hello("hello", json!({}))).await?;
        scale(test, component, 0).await?;
        let answer = async {
            let response = get(test, "hello", "/").await?;
            anyhow::ensure!(is_cold(&response), "{response:?}");
            body(response).await
        }
        .await;
        scale(test, component, 1).await?;
        answer?;
        resting(test, "hello").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_request_is_answered_without_the_autoscaler() {
    cold_request_without("without_autoscaler", "autoscaler").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_request_is_answered_without_the_operator() {
    cold_request_without("without_operator", "operator").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warm_requests_are_answered_without_the_api_server() {
    run("without_api_server", Needs::Launcher, async |test| {
        deploy(test, &hello("hello", json!({"scale": {"min": 1}}))).await?;
        body(get(test, "hello", "/").await?).await?;
        // A client of its own resolves the activators' address by the API server once; this one has by now.
        let server = test.cluster()?.component("kube-apiserver")?;
        server.stop()?;
        let mut outcome = Ok(String::new());
        let end = tokio::time::Instant::now() + Duration::from_secs(12);
        let mut every = tokio::time::interval(Duration::from_millis(50));
        while outcome.is_ok() && tokio::time::Instant::now() < end {
            every.tick().await;
            outcome = match get(test, "hello", "/").await {
                Ok(response) => body(response).await,
                Err(error) => Err(error),
            };
        }
        server.start().await?;
        outcome?;
        eventually("the API server answers again", PATIENCE, async || Ok(pods(test, "hello").await.ok()))
            .await?;
        body(get(test, "hello", "/").await?).await.map(drop)
    })
    .await;
}
