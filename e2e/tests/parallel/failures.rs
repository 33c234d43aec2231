//! What a caller gets, and what the status says, when a function cannot come up or goes away.

use std::{pin::pin, time::Duration};

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, Needs, eventually, run, within};
use kube::api::DeleteParams;
use serde_json::json;
use tokio::time::timeout;

use catnap_e2e::functions::{
    PATIENCE, apply, body, condition, condition_is, deploy, deploy_resting, deployments, get, held, hello,
    pods,
};

/// From when kubelet says that an image cannot be pulled, until a caller hears of it.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// Waits until kubelet says that the image of `hello` cannot be pulled.
async fn pull_failed(test: &Context) -> anyhow::Result<()> {
    eventually("a pull fails", PATIENCE, async || {
        let pods = pods(test, "hello").await?;
        let containers = pods.iter().filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref());
        let mut reasons =
            containers.flatten().filter_map(|it| it.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
        Ok(reasons.any(|reason| matches!(reason, "ErrImagePull" | "ImagePullBackOff")).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_is_told_to_the_caller() {
    run("image_pull", Needs::Cluster, async |test| {
        apply(test, &hello("hello", json!({"image": "catnap.invalid/nothing:1"}))).await?;
        within(Duration::from_secs(20), &test.api::<Function>(), "hello", |function| {
            function.status.as_ref().is_some_and(|status| !status.revisions.is_empty())
        })
        .await?;
        let mut answer = pin!(get(test, "hello", "/"));
        let response = tokio::select! {
            response = &mut answer => response?,
            // What comes before, such as a sandbox, is as slow as the machine is.
            failed = pull_failed(test) => {
                failed?;
                timeout(TOLD_WITHIN, answer).await.context("not told in time")??
            }
        };
        anyhow::ensure!(response.status() == 503, "{response:?}");
        anyhow::ensure!(response.headers()["catnap-reason"] == "ImagePullFailed", "{response:?}");
        let function = within(Duration::from_secs(60), &test.api::<Function>(), "hello", |function| {
            condition_is(function, "Stalled", "True")
        })
        .await?;
        let (status, reason, message) = condition(&function, "Ready").unwrap_or_default();
        anyhow::ensure!((status, reason) == ("False", "ImagePullFailed"), "{status} {reason} {message}");
        anyhow::ensure!(
            message.contains("catnap.invalid/nothing:1"),
            "the message names no image: {message}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ends_at_once_is_a_crash_loop() {
    run("crash_loop", Needs::Cluster, async |test| {
        apply(
            test,
            &hello(
                "hello",
                json!({"command": ["hello"], "env": [{"name": "MAX_CONCURRENCY", "value": "x"}]}),
            ),
        )
        .await?;
        let function = within(Duration::from_secs(60), &test.api::<Function>(), "hello", |function| {
            condition_is(function, "Stalled", "True")
        })
        .await?;
        let (status, reason, message) = condition(&function, "Ready").unwrap_or_default();
        anyhow::ensure!((status, reason) == ("False", "CrashLoop"), "{status} {reason} {message}");
        let response = get(test, "hello", "/").await?;
        anyhow::ensure!(response.status() == 503, "{response:?}");
        anyhow::ensure!(response.headers()["catnap-reason"] == "CrashLoop", "{response:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_function_cleans_up_and_fails_what_is_held() {
    run("deleted", Needs::Cluster, async |test| {
        // Never ready, so that a request is held for as long as the test wants.
        let spec = json!({"readiness": {"path": "/status/500"}});
        apply(test, &hello("hello", spec)).await?;
        eventually("a pod was made", PATIENCE, async || {
            Ok((!pods(test, "hello").await?.is_empty()).then_some(()))
        })
        .await?;
        let (held, deleted) = tokio::join!(get(test, "hello", "/"), async {
            eventually("the request is held", Duration::from_secs(20), async || {
                Ok((held(test, "hello").await? == 1).then_some(()))
            })
            .await?;
            test.api::<Function>().delete("hello", &DeleteParams::default()).await?;
            anyhow::Ok(())
        });
        deleted?;
        let response = held?;
        anyhow::ensure!(response.status() == 503, "{response:?}");
        anyhow::ensure!(response.headers()["catnap-reason"] == "Deleted", "{response:?}");
        eventually("its objects are gone", PATIENCE, async || {
            let names = test
                .kubectl(
                    &[
                        "get",
                        "deployments,services,endpointslices,controllerrevisions,pods",
                        "--output=name",
                        "--selector=catnap.dev/function=hello",
                    ],
                    "",
                )
                .await?;
            Ok(names.trim().is_empty().then_some(()))
        })
        .await?;
        anyhow::ensure!(deployments(test, "hello").await?.is_empty());
        let response = get(test, "hello", "/").await?;
        anyhow::ensure!(response.status() == 404, "{response:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_revision_that_fails_never_takes_traffic() {
    run("failed_revision", Needs::Cluster, async |test| {
        let function = deploy(test, &hello("hello", json!({}))).await?;
        let good = function.status.and_then(|status| status.latest_ready_revision).unwrap_or_default();
        apply(test, &hello("hello", json!({"image": "catnap.invalid/nothing:1"}))).await?;
        let function = within(Duration::from_secs(60), &test.api::<Function>(), "hello", |function| {
            condition_is(function, "RevisionReady", "False")
                && condition(function, "RevisionReady")
                    .is_some_and(|(_, reason, _)| reason == "ImagePullFailed")
        })
        .await?;
        let traffic = function.status.map(|status| status.traffic).unwrap_or_default();
        anyhow::ensure!(traffic.len() == 1 && traffic[0].revision == good, "{traffic:?}");
        let response = get(test, "hello", "/").await?;
        anyhow::ensure!(response.status() == 200, "{response:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_recovers_from_an_edit_that_failed() {
    run("recovers", Needs::Cluster, async |test| {
        deploy_resting(test, &hello("hello", json!({}))).await?;
        apply(test, &hello("hello", json!({"image": "catnap.invalid/nothing:1"}))).await?;
        within(Duration::from_secs(60), &test.api::<Function>(), "hello", |function| {
            condition(function, "RevisionReady").is_some_and(|(_, reason, _)| reason == "ImagePullFailed")
        })
        .await?;
        deploy(test, &hello("hello", json!({"env": [{"name": "FIXED", "value": "yes"}]}))).await?;
        let text = body(get(test, "hello", "/env").await?).await?;
        anyhow::ensure!(text.contains("FIXED=yes"), "{text}");
        Ok(())
    })
    .await;
}
