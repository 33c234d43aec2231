//! A namespace that is being deleted: what the status says while Kubernetes lets it be written, what callers get, and that nothing
//! of its Functions is left.

use std::time::Duration;

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, Needs, eventually, run, within};
use catnap_e2e::functions::{apply, condition, deploy, examples_image, get, hello};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

/// Within this time of its cause everything is said, and done.
const TOLD: Duration = Duration::from_secs(60);
const FINALIZER: &str = "catnap.dev/e2e";

fn edited(value: &str) -> Value {
    let env = json!([{"name": "MARK", "value": value}]);
    // Kubernetes looks at a namespace's end again only after the time that its pods may take.
    let grace_seconds = 1;
    let spec = json!({
        "env": env, "scale": {"min": 1}, "timeouts": {"activation": "5s"}, "terminationGracePeriodSeconds": grace_seconds,
    });
    hello("hello", spec)
}

/// Begins the namespace's end, which takes as long as its finalizers are there.
async fn end(test: &Context) -> anyhow::Result<()> {
    let namespaces = Api::<Namespace>::all(test.client.clone());
    namespaces
        .delete(&test.namespace, &DeleteParams::background())
        .await
        .map(drop)
        .context("ending the namespace")
}

/// Lets an object go that the test has kept.
async fn release(test: &Context, object: &str) -> anyhow::Result<()> {
    let patch = r#"--patch={"metadata":{"finalizers":null}}"#;
    test.kubectl(&["patch", object, "--type=merge", patch], "").await.map(drop)
}

/// Waits until the namespace is gone with everything in it, and nobody has the name any more.
async fn nothing_is_left(test: &Context) -> anyhow::Result<()> {
    let namespaces = Api::<Namespace>::all(test.client.clone());
    eventually("the namespace is gone", TOLD, async || {
        Ok(namespaces.get_opt(&test.namespace).await?.is_none().then_some(()))
    })
    .await?;
    let (status, reason) = eventually("nobody has the name", TOLD, async || {
        let answer = answer(test).await?;
        Ok((answer.0 == 404).then_some(answer))
    })
    .await?;
    anyhow::ensure!(reason == "UnknownHost", "{status} {reason}");
    Ok(())
}

/// Status and reason of what a caller gets.
async fn answer(test: &Context) -> anyhow::Result<(u16, String)> {
    let response = get(test, "hello", "/").await?;
    let reason = response.headers().get("catnap-reason").and_then(|reason| reason.to_str().ok());
    Ok((response.status().as_u16(), reason.unwrap_or_default().to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_any_more_is_told() {
    run("ending_told", Needs::Cluster, async |test| {
        deploy(test, &edited("one")).await?;
        // Kubernetes deletes pods before everything else, so the Function stays until this one is gone.
        let keep = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "keep", "finalizers": [FINALIZER]},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "one", "image": examples_image()}]},
        });
        apply(test, &keep).await?;
        end(test).await?;
        let outcome = told(test).await;
        release(test, "pod/keep").await?;
        outcome?;
        nothing_is_left(test).await
    })
    .await;
}

async fn told(test: &Context) -> anyhow::Result<()> {
    apply(test, &edited("two")).await?;
    let function = within(TOLD, &test.api::<Function>(), "hello", |function| {
        condition(function, "RevisionReady")
            .is_some_and(|(status, reason, _)| (status, reason) == ("False", "NamespaceTerminating"))
    })
    .await?;
    anyhow::ensure!(function.metadata.deletion_timestamp.is_none(), "the Function goes already");
    for (kind, verdict) in [("Ready", "False"), ("Stalled", "True"), ("Reconciling", "False")] {
        let (status, reason, message) = condition(&function, kind).with_context(|| kind.to_owned())?;
        let reason_fits = kind == "Reconciling" || reason == "NamespaceTerminating";
        anyhow::ensure!(status == verdict && reason_fits, "{kind} is {status} {reason} {message}");
    }
    let (_, _, message) = condition(&function, "Ready").context("no Ready")?;
    anyhow::ensure!(message.contains("because it is being terminated"), "{message}");
    // Its pods went first, and none can be made: the request waits for the revision that served, in vain.
    let (status, reason) = eventually("a caller hears of it", TOLD, async || {
        let answer = answer(test).await?;
        Ok((answer.0 != 200).then_some(answer))
    })
    .await?;
    anyhow::ensure!((status, reason.as_str()) == (503, "ActivationTimeout"), "{status} {reason}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_a_function_that_goes_with_its_namespace_hear_of_it() {
    run("ending", Needs::Cluster, async |test| {
        let mut function = edited("one");
        function["metadata"]["finalizers"] = json!([FINALIZER]);
        deploy(test, &function).await?;
        end(test).await?;
        let outcome = heard(test).await;
        release(test, "function/hello").await?;
        outcome?;
        nothing_is_left(test).await
    })
    .await;
}

async fn heard(test: &Context) -> anyhow::Result<()> {
    within(TOLD, &test.api::<Function>(), "hello", |function| function.metadata.deletion_timestamp.is_some())
        .await?;
    let (status, reason) = eventually("a caller hears of it", TOLD, async || {
        let answer = answer(test).await?;
        Ok((answer.0 != 200).then_some(answer))
    })
    .await?;
    // The first if it was held before.
    let known = [(503, "Deleted"), (404, "UnknownHost")];
    anyhow::ensure!(known.contains(&(status, reason.as_str())), "{status} {reason}");
    Ok(())
}
