//! What RBAC cannot say and the admission policies of the chart do: which Deployments Catnap may scale, and which way; and who
//! may say which certificate an activator has. Each is tried with a token of the very ServiceAccount.

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Needs, SYSTEM_NAMESPACE, run};
use catnap_e2e::functions::{catnap_pods, deploy, deployment, examples_image, hello, pods, replicas};
use http::header::CONTENT_TYPE;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use serde_json::{Value, json};

const MERGE_PATCH: &str = "application/merge-patch+json";

/// One request with the token of a part of Catnap. Not by kubectl, which reads what it is to write first.
async fn ask(client: &Client, request: http::request::Builder, body: &Value) -> anyhow::Result<()> {
    let request = request.body(body.to_string().into_bytes())?;
    client.request_text(request).await.map(drop).map_err(anyhow::Error::from)
}

/// Writes the replicas of a Deployment with the rights of a part of Catnap.
async fn scale(test: &Context, client: &Client, deployment: &str, replicas: i32) -> anyhow::Result<()> {
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/{deployment}/scale", test.namespace);
    let scale = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {"name": deployment, "namespace": test.namespace},
        "spec": {"replicas": replicas},
    });
    ask(client, http::Request::put(path).header(CONTENT_TYPE, "application/json"), &scale).await
}

/// Asserts that the policy said no, in these words.
fn refused(outcome: anyhow::Result<()>, words: &str) -> anyhow::Result<()> {
    let error = outcome.err().with_context(|| format!("allowed, instead of: {words}"))?;
    anyhow::ensure!(format!("{error:#}").contains(words), "{error:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn catnap_scales_only_its_own_deployments_and_activators_only_up() {
    run("scale_policy", Needs::Cluster, async |test| {
        deploy(test, &hello("hello", json!({"scale": {"min": 1}}))).await?;
        let own = deployment(test, "hello").await?.metadata.name.unwrap_or_default();
        let container = json!({"name": "one", "image": examples_image(), "command": ["hello"]});
        let foreign = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "foreign"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "foreign"}},
                "template": {"metadata": {"labels": {"app": "foreign"}}, "spec": {"containers": [container]}},
            },
        });
        test.kubectl(&["apply", "--filename=-"], &foreign.to_string()).await?;

        let activator = test.client_of("catnap-activator", None).await?;
        let autoscaler = test.client_of("catnap-autoscaler", None).await?;
        let operator = test.client_of("catnap-operator", None).await?;
        for client in [&activator, &autoscaler] {
            refused(scale(test, client, "foreign", 1).await, "only the Deployments of its own revisions")?;
        }
        scale(test, &activator, &own, 2).await?;
        anyhow::ensure!(replicas(test, "hello").await? == 2);
        refused(scale(test, &activator, &own, 1).await, "an activator only raises")?;
        refused(scale(test, &activator, &own, 0).await, "an activator only raises")?;
        scale(test, &autoscaler, &own, 1).await?;
        refused(scale(test, &operator, &own, 3).await, "deployments/scale")
    })
    .await;
}

/// Patches a pod with these rights.
async fn patch_pod(test: &Context, client: &Client, pod: &str, patch: Value) -> anyhow::Result<()> {
    let url = format!("/api/v1/namespaces/{}/pods/{pod}", test.namespace);
    ask(client, http::Request::patch(url).header(CONTENT_TYPE, MERGE_PATCH), &patch).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_autoscaler_changes_nothing_of_a_pod_but_its_deletion_cost() {
    run("pods_policy", Needs::Cluster, async |test| {
        deploy(test, &hello("hello", json!({"scale": {"min": 1}}))).await?;
        let own = pods(test, "hello").await?.remove(0).metadata.name.unwrap_or_default();
        let foreign = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "foreign"},
            "spec": {"containers": [{"name": "one", "image": examples_image(), "command": ["hello"]}]},
        });
        test.kubectl(&["apply", "--filename=-"], &foreign.to_string()).await?;
        let autoscaler = test.client_of("catnap-autoscaler", None).await?;
        let cost = |value: Value| {
            json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": value}}})
        };
        refused(patch_pod(test, &autoscaler, "foreign", cost(json!("-1"))).await, "only the pods of its own revisions")?;
        patch_pod(test, &autoscaler, &own, cost(json!("-1"))).await?;
        let nothing_else = "changes nothing of a pod but its deletion cost";
        let label = json!({"metadata": {"labels": {"catnap.dev/revision": "other"}}});
        refused(patch_pod(test, &autoscaler, &own, label).await, nothing_else)?;
        let annotation = json!({"metadata": {"annotations": {"other": "1"}}});
        refused(patch_pod(test, &autoscaler, &own, annotation).await, nothing_else)?;
        let spec = json!({"spec": {"activeDeadlineSeconds": 1}});
        refused(patch_pod(test, &autoscaler, &own, spec).await, nothing_else)?;
        let finalizer = json!({"metadata": {"finalizers": ["example.com/never"]}});
        refused(patch_pod(test, &autoscaler, &own, finalizer).await, nothing_else)?;
        // Nobody's pod would stay when its revision goes.
        let orphan = json!({"metadata": {"ownerReferences": null}});
        refused(patch_pod(test, &autoscaler, &own, orphan).await, nothing_else)?;
        patch_pod(test, &autoscaler, &own, cost(Value::Null)).await
    })
    .await;
}

fn leases() -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/leases")
}

/// Makes a Lease in the install namespace with these rights.
async fn make_lease(client: &Client, name: &str, labels: &Value) -> anyhow::Result<()> {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE, "labels": labels},
        "spec": {"holderIdentity": "somebody_0000000000000001"},
    });
    ask(client, http::Request::post(leases()).header(CONTENT_TYPE, "application/json"), &lease).await
}

/// Whether a change of a Lease would be let through.
async fn try_patch(client: &Client, name: &str, patch: Value) -> anyhow::Result<()> {
    let url = format!("{}/{name}?dryRun=All", leases());
    ask(client, http::Request::patch(url).header(CONTENT_TYPE, MERGE_PATCH), &patch).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_activator_itself_says_which_certificate_it_has() {
    run("peers_policy", Needs::Cluster, async |test| {
        let labels = json!({"app.kubernetes.io/name": "catnap", "app.kubernetes.io/component": "activator"});
        let name = format!("{}-intruder", test.namespace);
        for account in ["catnap-operator", "catnap-autoscaler"] {
            let client = test.client_of(account, None).await?;
            let intruder = make_lease(&client, &name, &labels).await;
            refused(intruder, "only activators tell whom activators trust")?;
        }
        let pod = catnap_pods(test, "activator").await?.into_iter().next().context("no activator")?;
        let own = pod.metadata.name.clone().unwrap_or_default();
        let of_no_pod = test.client_of("catnap-activator", None).await?;
        let of_its_pod = test.client_of("catnap-activator", Some(&pod)).await?;
        let of_its_own_name = "only the Lease that has the name of its own pod";
        for client in [&of_no_pod, &of_its_pod] {
            for labels in [&labels, &json!({})] {
                refused(make_lease(client, &name, labels).await, of_its_own_name)?;
            }
        }
        let note = || json!({"metadata": {"annotations": {"example.com/note": "1"}}});
        refused(try_patch(&of_no_pod, &own, note()).await, of_its_own_name)?;
        refused(try_patch(&of_its_pod, "catnap-autoscaler", note()).await, of_its_own_name)?;
        try_patch(&of_its_pod, &own, note()).await.context("its own Lease")?;
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": own, "uid": "of-another"});
        let given_away = json!({"metadata": {"ownerReferences": [owner]}});
        refused(try_patch(&of_its_pod, &own, given_away).await, "belongs to its own pod alone")?;

        let all: Api<Lease> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
        for pod in catnap_pods(test, "activator").await? {
            let name = pod.metadata.name.unwrap_or_default();
            let lease = all.get(&name).await.with_context(|| format!("the Lease of {name}"))?;
            let owner = lease.metadata.owner_references.unwrap_or_default();
            anyhow::ensure!(owner.iter().any(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref()));
        }
        Ok(())
    })
    .await;
}
