//! What RBAC cannot say and the admission policies of the chart do: which Deployments Catnap may scale, and which way; and who
//! may say which certificate an activator has.

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Needs, SYSTEM_NAMESPACE, run};
use catnap_e2e::functions::{catnap_pods, deploy, deployment, examples_image, hello, pods, replicas};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::{Value, json};

/// Writes the replicas of a Deployment with the rights of a part of Catnap.
async fn scale(test: &Context, component: &str, deployment: &str, replicas: i32) -> anyhow::Result<()> {
    let account = format!("--as=system:serviceaccount:{SYSTEM_NAMESPACE}:catnap-{component}");
    let path = format!("--raw=/apis/apps/v1/namespaces/{}/deployments/{deployment}/scale", test.namespace);
    let scale = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {"name": deployment, "namespace": test.namespace},
        "spec": {"replicas": replicas},
    });
    test.kubectl(&["replace", &account, &path, "--filename=-"], &scale.to_string()).await.map(drop)
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

        for component in ["activator", "autoscaler"] {
            refused(scale(test, component, "foreign", 1).await, "only the Deployments of its own revisions")?;
        }
        scale(test, "activator", &own, 2).await?;
        anyhow::ensure!(replicas(test, "hello").await? == 2);
        refused(scale(test, "activator", &own, 1).await, "an activator only raises")?;
        refused(scale(test, "activator", &own, 0).await, "an activator only raises")?;
        scale(test, "autoscaler", &own, 1).await?;
        refused(scale(test, "operator", &own, 3).await, "deployments/scale")
    })
    .await;
}

/// Patches a pod with the rights of the autoscaler, which may not read it: kubectl would do that first.
async fn patch_pod(test: &Context, pod: &str, patch: Value) -> anyhow::Result<()> {
    let url = format!("/api/v1/namespaces/{}/pods/{pod}", test.namespace);
    let request = http::Request::patch(url)
        .header("Impersonate-User", format!("system:serviceaccount:{SYSTEM_NAMESPACE}:catnap-autoscaler"))
        .header("Content-Type", "application/merge-patch+json")
        .body(patch.to_string().into_bytes())?;
    test.client.request_text(request).await.map(drop).map_err(anyhow::Error::from)
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
        let cost = |value: Value| {
            json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": value}}})
        };
        refused(patch_pod(test, "foreign", cost(json!("-1"))).await, "only the pods of its own revisions")?;
        patch_pod(test, &own, cost(json!("-1"))).await?;
        let nothing_else = "changes nothing of a pod but its deletion cost";
        let label = json!({"metadata": {"labels": {"catnap.dev/revision": "other"}}});
        refused(patch_pod(test, &own, label).await, nothing_else)?;
        let annotation = json!({"metadata": {"annotations": {"other": "1"}}});
        refused(patch_pod(test, &own, annotation).await, nothing_else)?;
        let spec = json!({"spec": {"activeDeadlineSeconds": 1}});
        refused(patch_pod(test, &own, spec).await, nothing_else)?;
        let finalizer = json!({"metadata": {"finalizers": ["example.com/never"]}});
        refused(patch_pod(test, &own, finalizer).await, nothing_else)?;
        patch_pod(test, &own, cost(Value::Null)).await
    })
    .await;
}

/// Writes a Lease of the install namespace with the rights of a part of Catnap.
async fn write_lease(test: &Context, component: &str, name: &str, labels: Value) -> anyhow::Result<()> {
    let account = format!("--as=system:serviceaccount:{SYSTEM_NAMESPACE}:catnap-{component}");
    let path = format!("--raw=/apis/coordination.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/leases");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE, "labels": labels},
        "spec": {"holderIdentity": "somebody_0000000000000001"},
    });
    test.kubectl(&["create", &account, &path, "--filename=-"], &lease.to_string()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_activator_itself_says_which_certificate_it_has() {
    run("peers_policy", Needs::Cluster, async |test| {
        let labels = json!({"app.kubernetes.io/name": "catnap", "app.kubernetes.io/component": "activator"});
        let name = format!("{}-intruder", test.namespace);
        for component in ["operator", "autoscaler"] {
            let intruder = write_lease(test, component, &name, labels.clone()).await;
            refused(intruder, "only activators tell whom activators trust")?;
        }
        // A token that is not bound to the pod of that name.
        for labels in [labels, json!({})] {
            let intruder = write_lease(test, "activator", &name, labels).await;
            refused(intruder, "only the Lease that has the name of its own pod")?;
        }
        let leases: Api<Lease> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
        for pod in catnap_pods(test, "activator").await? {
            let name = pod.metadata.name.unwrap_or_default();
            let lease = leases.get(&name).await.with_context(|| format!("the Lease of {name}"))?;
            let owner = lease.metadata.owner_references.unwrap_or_default();
            anyhow::ensure!(owner.iter().any(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref()));
        }
        Ok(())
    })
    .await;
}
