//! The chart with two of each, as it is by default: they run apart, and draining nodes takes one at a time. And with objects that it
//! makes only when asked to: the API server takes them, and they go with the value.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Needs, SYSTEM_NAMESPACE, eventually, run, run_with};
use catnap_e2e::functions::{PATIENCE, body, catnap_pods, deploy, get, hello};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::activators::is_ready;

/// Kinds of other projects that the chart makes objects of: the Go module, which a benchmark pins, and the file with the definition.
const OF_OTHERS: [(&str, &str); 2] = [
    ("sigs.k8s.io/gateway-api", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"),
    ("github.com/cert-manager/cert-manager", "deploy/crds/crd-certificates.yaml"),
];
/// Pairs that are tried: between two evictions kubectl starts, and a successor is ready in a second or two.
const EVICTIONS: usize = 3;
const TWO_OF_EACH: [&str; 3] = ["operator.replicas=2", "activator.replicas=2", "autoscaler.replicas=2"];

#[tokio::test(flavor = "multi_thread")]
async fn two_of_each_run_apart_and_are_evicted_one_after_the_other() {
    run_with("two_of_each", &TWO_OF_EACH, async |test| Box::pin(apart_and_one_after_the_other(test)).await)
        .await;
}

async fn apart_and_one_after_the_other(test: &Context) -> anyhow::Result<()> {
    deploy(test, &hello("hello", json!({"scale": {"min": 1}}))).await?;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
    let nodes =
        Api::<Node>::all(test.client.clone()).list_metadata(&ListParams::default()).await?.items.len();
    for component in ["operator", "activator", "autoscaler"] {
        let two = two_ready(test, component).await?;
        let on: BTreeSet<_> = two.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref()).collect();
        anyhow::ensure!(on.len() == nodes.min(2), "{component} is on {on:?}, of {nodes} nodes");
        one_after_the_other(test, component, &budgets).await?;
    }
    body(get(test, "hello", "/").await?).await.map(drop)
}

/// Evicts one of the two: the other one may not go as well.
async fn one_after_the_other(
    test: &Context,
    component: &str,
    budgets: &Api<PodDisruptionBudget>,
) -> anyhow::Result<()> {
    let mut allowed = Vec::new();
    for _ in 0..EVICTIONS {
        let two = two_ready(test, component).await?;
        let names: Vec<_> = two.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
        anyhow::ensure!(names.len() == 2, "{names:?}");
        // Its budget is counted a moment later: it may still have a pod in it that the installation replaced.
        eventually("the budget of one", PATIENCE, async || {
            let status = budgets.get(&format!("catnap-{component}")).await?.status.unwrap_or_default();
            Ok((status.current_healthy == 2 && status.disruptions_allowed == 1).then_some(()))
        })
        .await?;
        evict(test, names[0]).await?;
        match evict(test, names[1]).await {
            Err(error) if format!("{error:#}").contains("disruption budget") => return Ok(()),
            Err(error) => return Err(error.context(format!("evicting the other {component}"))),
            // Rightly, if the first one's successor was ready by then.
            Ok(answer) => allowed.push(answer),
        }
    }
    anyhow::bail!("{component}: the other one may go too: {allowed:?}")
}

async fn two_ready(test: &Context, component: &str) -> anyhow::Result<Vec<Pod>> {
    eventually("two that are ready", PATIENCE, async || {
        let found = catnap_pods(test, component).await?;
        Ok((found.len() == 2 && found.iter().all(is_ready)).then_some(found))
    })
    .await
}

/// By kubectl, which takes no for an answer; this client would ask again.
async fn evict(test: &Context, pod: &str) -> anyhow::Result<String> {
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}).to_string();
    let path = format!("/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods/{pod}/eviction");
    test.kubectl(&["create", "--raw", &path, "--filename", "-"], &eviction).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_chart_makes_by_value_is_taken_and_goes_with_the_value() {
    run("by_value", Needs::Launcher, async |test| {
        let values = [
            "networkPolicies.enabled=true",
            "networkPolicies.metricsFrom[0].namespaceSelector.matchLabels.name=monitoring",
            "networkPolicies.edgeFrom[0].ipBlock.cidr=10.0.0.0/8",
            "networkPolicies.egress.enabled=true",
            "networkPolicies.egress.apiServer.networks={10.96.0.1/32,10.89.0.1/32}",
            "activator.edge.ingress.enabled=true",
            "activator.edge.ingress.tls[0].secretName=wildcard",
            "activator.edge.service.type=NodePort",
            "activator.edge.service.externalTrafficPolicy=Local",
            "commonLabels.cost-centre=seven",
        ];
        test.installation().install(&values).await?;
        let made = made(test).await;
        test.installation().install(&[]).await?;
        let made = made?;
        anyhow::ensure!(made == (3, 1), "policies and Ingresses: {made:?}");
        anyhow::ensure!(self::made(test).await? == (0, 0), "they stay without the value");
        Ok(())
    })
    .await;
}

/// How many policies of the network and Ingresses there are beside Catnap.
async fn made(test: &Context) -> anyhow::Result<(usize, usize)> {
    let policies: Api<NetworkPolicy> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
    let ingresses: Api<Ingress> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
    let all = ListParams::default();
    Ok((policies.list_metadata(&all).await?.items.len(), ingresses.list_metadata(&all).await?.items.len()))
}

/// Helm applies on the server's side, which refuses a field that a definition does not have.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_and_a_certificate_are_taken_as_their_projects_define_them() {
    run("of_others", Needs::Launcher, async |test| {
        let mut names = Vec::new();
        for (module, file) in OF_OTHERS {
            let definition = definition(module, file).await?;
            test.kubectl(&["apply", "--server-side", "--filename=-"], &definition.to_string()).await?;
            names.push(format!("crd/{}", definition["metadata"]["name"].as_str().unwrap_or_default()));
        }
        let outcome = Box::pin(routed_and_certified(test, &names)).await;
        test.installation().install(&[]).await?;
        for name in &names {
            test.kubectl(&["delete", name, "--timeout=60s"], "").await?;
        }
        outcome
    })
    .await;
}

async fn routed_and_certified(test: &Context, definitions: &[String]) -> anyhow::Result<()> {
    for name in definitions {
        test.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", name], "").await?;
    }
    let values = [
        "activator.edge.httpRoute.enabled=true",
        "activator.edge.httpRoute.parentRefs[0].name=public",
        "activator.edge.httpRoute.parentRefs[0].namespace=gateways",
        "activator.edge.tls.certificate.enabled=true",
        "activator.edge.tls.certificate.issuerRef.name=letters",
        "activator.edge.tls.certificate.duration=2160h",
        "activator.edge.tls.certificate.renewBefore=360h",
    ];
    test.installation().install(&values).await?;
    for kind in ["httproutes.gateway.networking.k8s.io", "certificates.cert-manager.io"] {
        let get = ["get", kind, "catnap-activator-edge", "--namespace", SYSTEM_NAMESPACE, "--output=json"];
        let found: Value = serde_json::from_str(&test.kubectl(&get, "").await?)?;
        anyhow::ensure!(found["spec"].is_object(), "{found:#}");
    }
    Ok(())
}

/// A definition as its project has it, without labels: those of one are Helm's to fill in.
async fn definition(module: &str, file: &str) -> anyhow::Result<Value> {
    let mut go = Command::new("go");
    go.args(["mod", "download", "-json", module]).kill_on_drop(true);
    go.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/peers/knative/serving"));
    let output = timeout(PATIENCE, go.output()).await.context("go mod download takes too long")??;
    let said: Value = serde_json::from_slice(&output.stdout).context("what go mod download says")?;
    let folder = said["Dir"].as_str().with_context(|| format!("no folder of {module}: {said}"))?;
    let path = Path::new(folder).join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut definition: Value =
        serde_saphyr::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    if let Some(metadata) = definition["metadata"].as_object_mut() {
        metadata.remove("labels");
    }
    Ok(definition)
}
