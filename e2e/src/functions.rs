//! Functions for the end-to-end tests: manifests, waits on the states that they go through, and requests to them.
//!
//! Every wait is bounded; an error says what was awaited.

use std::time::Duration;

use crate::fixture::{Context, Forward, Resolver, SYSTEM_NAMESPACE, eventually, within};
use anyhow::Context as _;
use catnap_crds::Function;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};

/// Longest wait for a function to prove itself, to answer or to rest.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A Function of the HTTP example that rests one second after its last request; `spec` is merged over it.
pub fn hello(name: &str, spec: Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "catnap.dev/v1alpha1",
        "kind": "Function",
        "metadata": {"name": name},
        "spec": {
            "image": examples_image(),
            "command": ["hello"],
            "scale": {"window": "6s", "panic": {"window": "6s"}, "idle": {"after": "1s"}},
        },
    });
    merge(&mut manifest["spec"], spec);
    manifest
}

/// As [`hello`], for the gRPC example.
pub fn greeter(name: &str, spec: Value) -> Value {
    let mut manifest = hello(name, json!({"command": ["grpc"], "protocol": "H2C"}));
    merge(&mut manifest["spec"], spec);
    manifest
}

/// Where the nodes find the example functions: `CATNAP_E2E_EXAMPLES_IMAGE`, or what was put on the launcher's nodes.
pub fn examples_image() -> String {
    std::env::var("CATNAP_E2E_EXAMPLES_IMAGE").unwrap_or_else(|_| "catnap-examples:dev".into())
}

/// As [`examples_image`], for nginx: `CATNAP_E2E_NGINX_IMAGE`.
pub fn nginx_image() -> String {
    std::env::var("CATNAP_E2E_NGINX_IMAGE").unwrap_or_else(|_| "catnap-example-nginx:dev".into())
}

/// As [`examples_image`], for Knative's own program: `CATNAP_E2E_KNATIVE_IMAGE`.
pub fn knative_image() -> String {
    std::env::var("CATNAP_E2E_KNATIVE_IMAGE").unwrap_or_else(|_| "catnap-knative-runtime:dev".into())
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Applies a manifest as a user would.
pub async fn apply(test: &Context, manifest: &Value) -> anyhow::Result<()> {
    test.kubectl(&["apply", "--filename", "-"], &manifest.to_string()).await.map(drop)
}

/// Applies a manifest and waits until the Function is Ready.
pub async fn deploy(test: &Context, manifest: &Value) -> anyhow::Result<Function> {
    apply(test, manifest).await?;
    ready(test, manifest["metadata"]["name"].as_str().context("a manifest without a name")?).await
}

/// Waits until a Function is Ready.
pub async fn ready(test: &Context, name: &str) -> anyhow::Result<Function> {
    within(PATIENCE, &test.api::<Function>(), name, |function| condition_is(function, "Ready", "True")).await
}

/// Deploys, and waits until it rests at zero.
pub async fn deploy_resting(test: &Context, manifest: &Value) -> anyhow::Result<Function> {
    let function = deploy(test, manifest).await?;
    resting(test, &name_of(&function)).await?;
    Ok(function)
}

/// Its name.
pub fn name_of(function: &Function) -> String {
    function.metadata.name.clone().unwrap_or_default()
}

/// Whether a condition of the current generation has this status.
pub fn condition_is(function: &Function, kind: &str, status: &str) -> bool {
    condition(function, kind).is_some_and(|(found, _, _)| found == status)
}

/// Status, reason and message of a condition of the current generation.
pub fn condition<'a>(function: &'a Function, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let status = function.status.as_ref()?;
    if status.observed_generation != function.metadata.generation {
        return None;
    }
    let found = status.conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((&found.status, &found.reason, &found.message))
}

fn of_function(name: &str) -> ListParams {
    ListParams::default().labels(&format!("catnap.dev/function={name}"))
}

/// All Deployments of a function.
pub async fn deployments(test: &Context, name: &str) -> anyhow::Result<Vec<Deployment>> {
    Ok(test.api::<Deployment>().list(&of_function(name)).await?.items)
}

/// The only Deployment of a function.
pub async fn deployment(test: &Context, name: &str) -> anyhow::Result<Deployment> {
    let found = deployments(test, name).await?;
    let count = found.len();
    found
        .into_iter()
        .next()
        .filter(|_| count == 1)
        .with_context(|| format!("{name} has {count} Deployments, not 1"))
}

/// All pods of a function, terminating ones included.
pub async fn pods(test: &Context, name: &str) -> anyhow::Result<Vec<Pod>> {
    Ok(test.api::<Pod>().list(&of_function(name)).await?.items)
}

/// `spec.replicas` of the only Deployment of a function.
pub async fn replicas(test: &Context, name: &str) -> anyhow::Result<i32> {
    let spec = deployment(test, name).await?.spec;
    spec.and_then(|spec| spec.replicas).context("a Deployment without replicas")
}

/// Waits until a function's replicas are 0 and no pod object is left.
pub async fn resting(test: &Context, name: &str) -> anyhow::Result<()> {
    eventually(&format!("{name} rests at zero"), PATIENCE, async || {
        let zero = replicas(test, name).await? == 0;
        Ok((zero && pods(test, name).await?.is_empty()).then_some(()))
    })
    .await
}

/// Address of a path of a function.
pub fn url(test: &Context, name: &str, path: &str) -> String {
    format!("http://{name}.{}{path}", test.namespace)
}

/// The answer to a GET over HTTP/1.1, whatever its status.
pub async fn get(test: &Context, name: &str, path: &str) -> anyhow::Result<reqwest::Response> {
    test.http
        .http1
        .get(url(test, name, path))
        .send()
        .await
        .with_context(|| format!("asking {name} for {path}"))
}

/// The body of a 200; anything else is an error that shows the answer.
pub async fn body(response: reqwest::Response) -> anyhow::Result<String> {
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.context("reading the body")?;
    anyhow::ensure!(status == 200, "answered {status}: {text} {headers:?}");
    Ok(text)
}

/// Whether the response says that its request met a cold function.
pub fn is_cold(response: &reqwest::Response) -> bool {
    let timing = response.headers().get("server-timing").and_then(|value| value.to_str().ok());
    timing.is_some_and(|timing| timing.contains("desc=cold"))
}

/// A channel to a function that speaks gRPC; calls carry its name as authority.
pub async fn channel(test: &Context, name: &str) -> anyhow::Result<Channel> {
    let activator = Resolver::new(test.client.clone()).activator().await?;
    let endpoint = Endpoint::from_shared(format!("http://{activator}"))?;
    let authority = format!("http://{name}.{}", test.namespace).parse()?;
    endpoint.origin(authority).connect().await.context("connecting to the activator")
}

/// Pods of one part of Catnap that run.
pub async fn catnap_pods(test: &Context, component: &str) -> anyhow::Result<Vec<Pod>> {
    let labels = format!("app.kubernetes.io/name=catnap,app.kubernetes.io/component={component}");
    let api: Api<Pod> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
    let found = api.list(&ListParams::default().labels(&labels)).await?.items;
    Ok(found.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
}

/// Restarts the pods of a Deployment of Catnap, and waits until others have replaced them.
///
/// `patience`: whole seconds, fewer than the 90 that a command has.
pub async fn restart(test: &Context, deployment: &str, patience: Duration) -> anyhow::Result<()> {
    let system = ["--namespace", SYSTEM_NAMESPACE];
    let deployment = format!("deployment/{deployment}");
    test.kubectl(&[&["rollout", "restart", &deployment][..], &system].concat(), "").await?;
    let bound = format!("--timeout={}s", patience.as_secs());
    test.kubectl(&[&["rollout", "status", &deployment, &bound][..], &system].concat(), "").await.map(drop)
}

/// What `/debug/state` of each activator shows of a function.
pub async fn known_to_activators(test: &Context, name: &str) -> anyhow::Result<Vec<Value>> {
    let path = format!("/debug/state?function={}/{name}", test.namespace);
    let mut states = Vec::new();
    for pod in catnap_pods(test, "activator").await? {
        let admin = Forward::to(test, &pod).await?;
        let answer = test.http.plain.get(admin.url(&path)).send().await?.text().await?;
        states.push(serde_json::from_str(&answer).context("the state of an activator")?);
    }
    Ok(states)
}

/// Waits until every activator sends all requests for a function to this revision: the status says so a moment before.
pub async fn sent_to(test: &Context, name: &str, revision: &str) -> anyhow::Result<()> {
    eventually(&format!("every activator sends all to {revision}"), PATIENCE, async || {
        let known = known_to_activators(test, name).await?;
        let told = known.iter().all(|state| {
            let mut shares = state["functions"][0]["traffic"].as_array().into_iter().flatten();
            shares.any(|share| share["revision"] == revision && share["percent"] == 100)
        });
        Ok((told && !known.is_empty()).then_some(()))
    })
    .await
}

/// Requests to a function that all activators hold now, for its revisions or for want of one.
pub async fn held(test: &Context, name: &str) -> anyhow::Result<u64> {
    let mut held = 0;
    for state in known_to_activators(test, name).await? {
        let list = |key: &str| state[key].as_array().cloned().unwrap_or_default();
        held +=
            list("functions").iter().filter_map(|function| function["heldUnproven"].as_u64()).sum::<u64>();
        held += list("revisions").iter().filter_map(|revision| revision["held"].as_u64()).sum::<u64>();
    }
    Ok(held)
}
