//! What delivery tools rely on: nothing changes when nothing was changed, `kubectl wait` and kstatus tell when it is done, and
//! nobody fights about a field.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, Needs, eventually, run, within};
use catnap_e2e::functions::{PATIENCE, apply, body, condition, deploy, deployment, get, hello, replicas};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::time::Instant;

/// A `HorizontalPodAutoscaler` looks every 15 seconds, and on the launcher's cluster every second.
const SEVERAL_ROUNDS: Duration = Duration::from_secs(150);

/// Name, generation and version of everything that belongs to the function, and the replicas of its Deployments.
async fn children(test: &Context, name: &str) -> anyhow::Result<BTreeMap<String, Value>> {
    let kinds = "deployments,services,endpointslices,controllerrevisions";
    let selector = format!("--selector=catnap.dev/function={name}");
    let list = test.kubectl(&["get", kinds, &selector, "--output=json"], "").await?;
    let list: Value = serde_json::from_str(&list).context("what kubectl printed")?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let child = |item: Value| {
        let key = format!("{}/{}", item["kind"], item["metadata"]["name"]);
        // A Deployment's status is its controller's.
        let version =
            if item["kind"] == "Deployment" { &Value::Null } else { &item["metadata"]["resourceVersion"] };
        let seen = json!([
            item["metadata"]["generation"],
            version,
            item["spec"]["replicas"],
            item["metadata"]["labels"]
        ]);
        (key, seen)
    };
    Ok(items.into_iter().map(child).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_manifest_a_hundred_times_changes_nothing() {
    run("applied_again", Needs::Cluster, async |test| {
        let manifest = hello("hello", json!({"scale": {"min": 2}, "env": [{"name": "A", "value": "b"}]}));
        deploy(test, &manifest).await?;
        eventually("both replicas", PATIENCE, async || {
            Ok((replicas(test, "hello").await? == 2).then_some(()))
        })
        .await?;
        let function = test.api::<Function>().get("hello").await?;
        let before = children(test, "hello").await?;
        anyhow::ensure!(before.len() >= 4, "{before:?}");
        // Client-side and server-side, as kubectl, Argo CD and Flux apply.
        for round in 0..100 {
            let server_side =
                ["apply", "--server-side", "--field-manager=flux", "--force-conflicts", "--filename=-"];
            let arguments: &[&str] = if round % 2 == 0 { &["apply", "--filename=-"] } else { &server_side };
            test.kubectl(arguments, &manifest.to_string()).await?;
        }
        // A tool's own label on the Function does not reach what belongs to it.
        test.kubectl(&["label", "function", "hello", "argocd.argoproj.io/instance=apps"], "").await?;
        let after = test.api::<Function>().get("hello").await?;
        anyhow::ensure!(after.metadata.generation == function.metadata.generation, "{after:?}");
        anyhow::ensure!(after.status == function.status, "{:?} became {:?}", function.status, after.status);
        let now = children(test, "hello").await?;
        anyhow::ensure!(now == before, "{before:?} became {now:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_waits_for_an_edit_to_be_done() {
    run("kubectl_wait", Needs::Cluster, async |test| {
        let wait = ["wait", "function/hello", "--for=condition=Ready", "--timeout=60s"];
        apply(test, &hello("hello", json!({}))).await?;
        test.kubectl(&wait, "").await?;
        // Resting is Ready.
        eventually("it rests", PATIENCE, async || Ok((replicas(test, "hello").await? == 0).then_some(())))
            .await?;
        test.kubectl(&wait, "").await?;
        // A new generation is not done before its revision is: kubectl and kstatus look at observedGeneration.
        let image = json!({"image": "catnap.invalid/nothing:1"});
        apply(test, &hello("hello", image)).await?;
        test.kubectl(&["wait", "function/hello", "--for=condition=Stalled", "--timeout=60s"], "").await?;
        let function = test.api::<Function>().get("hello").await?;
        let ready =
            function.status.iter().flat_map(|status| &status.conditions).find(|it| it.type_ == "Ready");
        let ready = ready.context("no Ready")?;
        anyhow::ensure!(
            ready.status == "False" && ready.observed_generation == function.metadata.generation,
            "{ready:?}"
        );
        Ok(())
    })
    .await;
}

/// Waits until the only Deployment and the status say one replica.
async fn put_right(test: &Context) -> anyhow::Result<()> {
    eventually("as many as spec.scale says", PATIENCE, async || {
        Ok((replicas(test, "hello").await? == 1).then_some(()))
    })
    .await?;
    within(PATIENCE, &test.api::<Function>(), "hello", |function| {
        function.status.as_ref().is_some_and(|status| status.replicas == 1)
    })
    .await
    .map(drop)
}

/// Asserts that all of what somebody else wrote since `begun` is told in one Event, or in one for each minute.
async fn told_once(test: &Context, begun: Instant) -> anyhow::Result<()> {
    let told = async || {
        let events = test.api::<Event>().list(&ListParams::default()).await?.items;
        let of_it = events.into_iter().filter(|event| event.reason.as_deref() == Some("ForeignScale"));
        anyhow::Ok(of_it.count())
    };
    eventually("an Event", Duration::from_secs(20), async || Ok((told().await? > 0).then_some(()))).await?;
    let told = told().await?;
    let minutes = begun.elapsed().as_secs() / 60;
    anyhow::ensure!(told as u64 <= 1 + minutes, "{told} Events in {:?}", begun.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_a_person_writes_are_put_right_with_one_event() {
    run("foreign_scale", Needs::Cluster, async |test| {
        deploy(test, &hello("hello", json!({"scale": {"min": 1, "max": 1}}))).await?;
        let name = deployment(test, "hello").await?.name_any();
        let begun = Instant::now();
        for replicas in ["4", "3", "2"] {
            test.kubectl(&["scale", "deployment", &name, "--replicas", replicas], "").await?;
            put_right(test).await?;
        }
        told_once(test, begun).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_another_autoscaler_writes_are_put_right_with_one_event() {
    run("foreign_autoscaler", Needs::Cluster, async |test| {
        deploy(test, &hello("hello", json!({"scale": {"min": 1, "max": 1}}))).await?;
        let deployment = async || deployment(test, "hello").await;
        let before = deployment().await?.metadata;
        let other = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "other"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": before.name},
                "minReplicas": 3, "maxReplicas": 5,
            },
        });
        let begun = Instant::now();
        apply(test, &other).await?;
        let function = within(PATIENCE, &test.api::<Function>(), "hello", |function| {
            condition(function, "ScaleConflict").is_some_and(|(status, _, _)| status == "True")
        })
        .await?;
        let (_, _, message) = condition(&function, "ScaleConflict").context("no ScaleConflict")?;
        anyhow::ensure!(message.starts_with("the HorizontalPodAutoscaler other is to scale"), "{message}");
        // It raises them, they are put right, and so on: two new generations each time.
        eventually("three corrections", SEVERAL_ROUNDS, async || {
            let now = deployment().await?.metadata.generation;
            Ok((now >= before.generation.map(|before| before + 6)).then_some(()))
        })
        .await?;
        body(get(test, "hello", "/").await?).await.context("while they disagree")?;
        test.kubectl(&["delete", "horizontalpodautoscaler", "other", "--wait=true", "--timeout=60s"], "")
            .await?;
        put_right(test).await?;
        within(PATIENCE, &test.api::<Function>(), "hello", |function| {
            condition(function, "Ready").is_some() && condition(function, "ScaleConflict").is_none()
        })
        .await?;
        told_once(test, begun).await
    })
    .await;
}
