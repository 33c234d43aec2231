//! What someone deletes or edits comes back as it was; what belongs to someone else is not touched.

use catnap_crds::Function;
use catnap_e2e::fixture::{Needs, eventually, run, within};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service, discovery::v1::EndpointSlice};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use catnap_e2e::functions::{
    PATIENCE, apply, body, condition, deploy, deploy_resting, deployment, get, hello, replicas,
};

#[tokio::test(flavor = "multi_thread")]
async fn deleted_children_come_back() {
    run("deleted_children", Needs::Cluster, async |test| {
        deploy_resting(test, &hello("hello", json!({}))).await?;
        let name = deployment(test, "hello").await?.metadata.name.unwrap_or_default();
        let slices = test.api::<EndpointSlice>();
        let of_hello = ListParams::default().labels("catnap.dev/function=hello");
        let slice = slices.list(&of_hello).await?.items.remove(0).metadata.name.unwrap_or_default();
        test.api::<Deployment>().delete(&name, &DeleteParams::default()).await?;
        test.api::<Service>().delete("hello", &DeleteParams::default()).await?;
        slices.delete(&slice, &DeleteParams::default()).await?;
        eventually("all three are there again", PATIENCE, async || {
            let all = test.api::<Service>().get_opt("hello").await?.is_some()
                && slices
                    .get_opt(&slice)
                    .await?
                    .is_some_and(|slice| slice.metadata.deletion_timestamp.is_none())
                && test.api::<Deployment>().get_opt(&name).await?.is_some();
            Ok(all.then_some(()))
        })
        .await?;
        anyhow::ensure!(
            replicas(test, "hello").await? == 0,
            "a Deployment that is rebuilt at rest has no replicas"
        );
        body(get(test, "hello", "/").await?).await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_deployment_is_put_right() {
    run("edited_deployment", Needs::Cluster, async |test| {
        deploy(test, &hello("hello", json!({}))).await?;
        let name = deployment(test, "hello").await?.metadata.name.unwrap_or_default();
        let patch = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 30}}}});
        test.api::<Deployment>().patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        within(PATIENCE, &test.api::<Deployment>(), &name, |deployment| {
            let template = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
            template.and_then(|spec| spec.termination_grace_period_seconds) == Some(63)
        })
        .await?;
        body(get(test, "hello", "/").await?).await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_service_is_not_touched() {
    run("foreign_service", Needs::Cluster, async |test| {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "hello", "labels": {"mine": "yes"}},
            "spec": {"ports": [{"port": 81}], "selector": {"app": "other"}},
        });
        apply(test, &service).await?;
        let before = test.api::<Service>().get("hello").await?;
        apply(test, &hello("hello", json!({}))).await?;
        within(PATIENCE, &test.api::<Function>(), "hello", |function| {
            condition(function, "Ready")
                .is_some_and(|(status, reason, _)| (status, reason) == ("False", "ServiceNotOwned"))
        })
        .await?;
        let after = test.api::<Service>().get("hello").await?;
        anyhow::ensure!(
            before.metadata.resource_version == after.metadata.resource_version,
            "it was written"
        );
        test.api::<Service>().delete("hello", &DeleteParams::default()).await?;
        within(PATIENCE, &test.api::<Function>(), "hello", |function| {
            condition(function, "Ready").is_some_and(|(status, _, _)| status == "True")
        })
        .await?;
        Ok(())
    })
    .await;
}
