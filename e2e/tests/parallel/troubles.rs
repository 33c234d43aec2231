//! Everything that commonly keeps a function from coming up: what its status and Events say within a minute, what a caller gets,
//! and that an edit which leads there leaves the revision before it serving.

use std::time::Duration;

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, Needs, eventually, run, within};
use catnap_e2e::functions::{apply, condition, condition_is, deploy, get, hello, nginx_image};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Within this time of the apply everything is said.
const TOLD: Duration = Duration::from_secs(60);

/// One thing that goes wrong.
struct Trouble {
    /// What the user writes, over the example.
    spec: Value,
    /// What is in the way: objects to be made where so many pods run already.
    obstacle: fn(&Context, u32) -> Vec<Value>,
    /// Status and reason of the condition.
    verdict: (&'static str, &'static str),
    /// Must be in the message.
    words: &'static str,
    event: &'static str,
    /// `Catnap-Reason` of the 503 that a caller of a function without any other revision gets.
    caller: &'static str,
}

fn nothing(_: &Context, _: u32) -> Vec<Value> {
    Vec::new()
}

/// Has the trouble happen to a new function and to one that serves.
async fn happens(name: &str, trouble: Trouble) {
    run(name, Needs::Cluster, async |test| {
        to_a_new_one(test, &trouble).await.context("a new function")?;
        to_one_that_serves(test, &trouble).await.context("a function that serves")
    })
    .await;
}

async fn to_a_new_one(test: &Context, trouble: &Trouble) -> anyhow::Result<()> {
    put_in_the_way(test, (trouble.obstacle)(test, 0)).await?;
    let mut manifest = hello("new", trouble.spec.clone());
    manifest["spec"]["timeouts"] = json!({"activation": "5s"});
    let applied = Instant::now();
    apply(test, &manifest).await?;
    let function = told(test, "new", trouble, applied).await?;
    let (ready, reason, _) = condition(&function, "Ready").context("no Ready")?;
    anyhow::ensure!((ready, reason) == trouble.verdict, "Ready is {ready} {reason}");
    anyhow::ensure!(condition_is(&function, "Stalled", "True") == (ready == "False"), "{function:?}");
    let response = get(test, "new", "/").await?;
    anyhow::ensure!(response.status() == 503, "{response:?}");
    anyhow::ensure!(response.headers()["catnap-reason"] == trouble.caller, "{response:?}");
    test.kubectl(&["delete", "function", "new", "--wait=false"], "").await.map(drop)
}

async fn to_one_that_serves(test: &Context, trouble: &Trouble) -> anyhow::Result<()> {
    remove(test, (trouble.obstacle)(test, 0)).await?;
    let always = json!({"scale": {"min": 1}});
    let function = deploy(test, &hello("serves", always.clone())).await?;
    let good = function.status.and_then(|status| status.latest_ready_revision).context("no revision")?;
    put_in_the_way(test, (trouble.obstacle)(test, 1)).await?;
    let mut manifest = hello("serves", trouble.spec.clone());
    manifest["spec"]["scale"]["min"] = json!(1);
    let applied = Instant::now();
    apply(test, &manifest).await?;
    // All the while the revision before answers.
    let function = tokio::select! {
        function = told(test, "serves", trouble, applied) => function?,
        error = asked_all_the_time(test, "serves") => anyhow::bail!("the revision before does not serve: {error:#}"),
    };
    let traffic = function.status.map(|status| status.traffic).unwrap_or_default();
    anyhow::ensure!(traffic.len() == 1 && traffic[0].revision == good, "{traffic:?}");
    remove(test, (trouble.obstacle)(test, 1)).await
}

/// Ends with the first request that is not answered by the function.
async fn asked_all_the_time(test: &Context, name: &str) -> anyhow::Error {
    loop {
        match get(test, name, "/").await {
            Ok(response) if response.status() == 200 => tokio::time::sleep(Duration::from_millis(100)).await,
            Ok(response) => return anyhow::anyhow!("{response:?}"),
            Err(error) => return error,
        }
    }
}

/// The Function once its condition and an Event say what they must.
async fn told(test: &Context, name: &str, trouble: &Trouble, applied: Instant) -> anyhow::Result<Function> {
    let (status, reason) = trouble.verdict;
    let left = || TOLD.saturating_sub(applied.elapsed());
    let function = within(left(), &test.api::<Function>(), name, |function| {
        condition(function, "RevisionReady").is_some_and(|(now, why, _)| (now, why) == (status, reason))
    })
    .await?;
    let (_, _, message) = condition(&function, "RevisionReady").context("no RevisionReady")?;
    anyhow::ensure!(message.contains(trouble.words), "{message}");
    eventually("an Event tells of it", left(), async || {
        let events = test.api::<Event>().list(&ListParams::default()).await?.items;
        let told = events.iter().any(|event| {
            event.regarding.as_ref().and_then(|it| it.name.as_deref()) == Some(name)
                && event.reason.as_deref() == Some(trouble.event)
                && event
                    .note
                    .as_ref()
                    .is_some_and(|note| note.contains(reason) && note.contains(trouble.words))
        });
        Ok(told.then_some(()))
    })
    .await?;
    Ok(function)
}

/// Makes the obstacles, and waits until the API server acts on them.
async fn put_in_the_way(test: &Context, obstacles: Vec<Value>) -> anyhow::Result<()> {
    for obstacle in obstacles {
        test.kubectl(&["apply", "--filename=-"], &obstacle.to_string()).await?;
        let name = obstacle["metadata"]["name"].as_str().unwrap_or_default();
        match obstacle["kind"].as_str() {
            Some("ResourceQuota") => {
                eventually("the quota is counted", TOLD, async || {
                    let path = "--output=jsonpath={.status.hard.pods}";
                    let hard = test.kubectl(&["get", "resourcequota", name, path], "").await?;
                    Ok((!hard.is_empty()).then_some(()))
                })
                .await?;
            }
            Some("ValidatingAdmissionPolicyBinding") => {
                eventually("the policy refuses", TOLD, async || {
                    let dry = test
                        .kubectl(&["create", "--dry-run=server", "--filename=-"], &probe().to_string())
                        .await;
                    Ok(dry.is_err_and(|error| format!("{error:#}").contains(HOUSE_RULE)).then_some(()))
                })
                .await?;
            }
            Some("ValidatingWebhookConfiguration") => {
                eventually("the webhook is asked", TOLD, async || {
                    let dry = test
                        .kubectl(&["create", "--dry-run=server", "--filename=-"], &probe().to_string())
                        .await;
                    Ok(dry.is_err_and(|error| format!("{error:#}").contains(UNREACHABLE)).then_some(()))
                })
                .await?;
            }
            _ => {}
        }
    }
    Ok(())
}

async fn remove(test: &Context, obstacles: Vec<Value>) -> anyhow::Result<()> {
    for obstacle in obstacles.into_iter().rev() {
        test.kubectl(&["delete", "--ignore-not-found", "--filename=-"], &obstacle.to_string()).await?;
    }
    Ok(())
}

fn quota(_: &Context, pods: u32) -> Vec<Value> {
    vec![json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"},
        "spec": {"hard": {"pods": pods.to_string()}},
    })]
}

const HOUSE_RULE: &str = "the house rule says no";

/// A policy that is in force once it refuses this object, which nothing else minds.
fn probe() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}})
}

/// A policy that lets nobody make such objects in the test's namespace.
fn house_rule(test: &Context, group: &str, version: &str, resource: &str) -> Vec<Value> {
    let name = format!("{}-{resource}", test.namespace);
    let rule = |group: &str, version: &str, resource: &str| json!({"apiGroups": [group], "apiVersions": [version], "operations": ["CREATE"], "resources": [resource]});
    let kind = |kind: &str, spec: Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": test.namespace}});
    vec![
        kind(
            "ValidatingAdmissionPolicy",
            json!({
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule(group, version, resource), rule("", "v1", "configmaps")]},
                "validations": [{"expression": "has(object.metadata.annotations) && 'allowed' in object.metadata.annotations", "message": HOUSE_RULE}],
            }),
        ),
        kind(
            "ValidatingAdmissionPolicyBinding",
            json!({
                "policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here},
            }),
        ),
    ]
}

const UNREACHABLE: &str = "failed calling webhook";

/// A webhook that must be asked before a Deployment is made, and that is not there.
fn dead_webhook(test: &Context, _: u32) -> Vec<Value> {
    let rule = |group: &str, resource: &str| json!({"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]});
    vec![json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": format!("{}-dead", test.namespace)},
        "webhooks": [{
            "name": "dead.catnap.dev", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
            // A dry run is refused unasked where there may be side effects.
            "sideEffects": "None", "timeoutSeconds": 1,
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": test.namespace}},
            "rules": [rule("apps", "deployments"), rule("", "configmaps")],
        }],
    })]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_missing() {
    let spec = json!({"image": "catnap.invalid/nothing:1"});
    let verdict = ("False", "ImagePullFailed");
    let words = "catnap.invalid/nothing:1";
    let (event, caller) = ("RevisionFailed", "ImagePullFailed");
    happens("image", Trouble { spec, obstacle: nothing, verdict, words, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_crashes() {
    let spec = json!({"env": [{"name": "MAX_CONCURRENCY", "value": "x"}]});
    let verdict = ("False", "CrashLoop");
    let words = "exit code";
    let (event, caller) = ("RevisionFailed", "CrashLoop");
    happens("crash", Trouble { spec, obstacle: nothing, verdict, words, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_not_in_the_image() {
    let spec = json!({"command": ["absent"]});
    let verdict = ("False", "ContainerCannotStart");
    let words = "absent";
    let (event, caller) = ("RevisionFailed", "Stalled");
    happens("command", Trouble { spec, obstacle: nothing, verdict, words, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_readiness_check_that_fails() {
    let spec = json!({"readiness": {"path": "/status/500"}});
    let verdict = ("Unknown", "NeverReady");
    let words = "GET /status/500 on port 8080 is not answered";
    let (event, caller) = ("RevisionNotReady", "ActivationTimeout");
    happens("readiness", Trouble { spec, obstacle: nothing, verdict, words, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_nobody_listens_on() {
    let spec = json!({"image": nginx_image(), "command": null, "port": 9999});
    let verdict = ("Unknown", "NeverReady");
    let words = "nothing accepts connections on port 9999";
    let (event, caller) = ("RevisionNotReady", "ActivationTimeout");
    happens("port", Trouble { spec, obstacle: nothing, verdict, words, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up() {
    let spec = json!({"env": [{"name": "EDIT", "value": "1"}]});
    let verdict = ("Unknown", "QuotaExceeded");
    let words = "exceeded quota: quota";
    let (event, caller) = ("RevisionNotReady", "QuotaExceeded");
    happens("quota", Trouble { spec, obstacle: quota, verdict, words, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_node_with_room() {
    let spec = json!({"resources": {"requests": {"cpu": "10k"}}});
    let verdict = ("Unknown", "Unschedulable");
    let words = "Insufficient cpu";
    let (event, caller) = ("RevisionNotReady", "Unschedulable");
    happens("room", Trouble { spec, obstacle: nothing, verdict, words, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_against_its_pods() {
    let spec = json!({"env": [{"name": "EDIT", "value": "1"}]});
    let verdict = ("False", "PodRejected");
    let (event, caller) = ("RevisionFailed", "Stalled");
    let obstacle = |test: &Context, _: u32| house_rule(test, "", "v1", "pods");
    happens("pods", Trouble { spec, obstacle, verdict, words: HOUSE_RULE, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_against_its_deployment() {
    let spec = json!({"env": [{"name": "EDIT", "value": "1"}]});
    let verdict = ("False", "Forbidden");
    let (event, caller) = ("RevisionFailed", "Stalled");
    let obstacle = |test: &Context, _: u32| house_rule(test, "apps", "v1", "deployments");
    happens("deployments", Trouble { spec, obstacle, verdict, words: HOUSE_RULE, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_down() {
    let spec = json!({"env": [{"name": "EDIT", "value": "1"}]});
    let verdict = ("Unknown", "WriteFailed");
    let (event, caller) = ("RevisionNotReady", "ActivationTimeout");
    happens("webhook", Trouble { spec, obstacle: dead_webhook, verdict, words: UNREACHABLE, event, caller })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_ending() {
    run("ending", Needs::Cluster, async |test| {
        // Keeps the namespace ending, and the Function in it.
        let keep = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "keep", "finalizers": ["catnap.dev/e2e"]},
        });
        test.kubectl(&["create", "--filename=-"], &keep.to_string()).await?;
        let mut function = hello("hello", json!({}));
        function["metadata"]["finalizers"] = json!(["catnap.dev/e2e"]);
        deploy(test, &function).await?;
        let outcome = ending(test).await;
        for object in ["configmap/keep", "function/hello"] {
            let patch = r#"--patch={"metadata":{"finalizers":null}}"#;
            test.kubectl(&["patch", object, "--type=merge", patch], "").await?;
        }
        outcome
    })
    .await;
}

async fn ending(test: &Context) -> anyhow::Result<()> {
    test.kubectl(&["delete", "namespace", &test.namespace, "--wait=false"], "").await?;
    let applied = Instant::now();
    let response = eventually("a caller hears of it", TOLD, async || {
        let response = get(test, "hello", "/").await?;
        Ok((response.status() != 200).then_some(response))
    })
    .await?;
    let reason = response.headers().get("catnap-reason").and_then(|reason| reason.to_str().ok());
    anyhow::ensure!(matches!(reason, Some("Deleted" | "UnknownHost")), "{response:?}");
    anyhow::ensure!(applied.elapsed() < TOLD);
    Ok(())
}
