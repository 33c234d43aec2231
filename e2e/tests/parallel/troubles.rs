//! Everything that commonly keeps a function from coming up: what its status and Events say within a minute, what a caller gets,
//! and that an edit which leads there leaves the revision before it serving.

use std::time::Duration;

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, Needs, eventually, run, within};
use catnap_e2e::functions::{apply, condition, condition_is, deploy, get, hello, nginx_image};
use futures::future::try_join;
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
    /// What is in the way, if anything but the manifest: objects to be made where so many pods run already.
    obstacle: Option<fn(&Context, u32) -> Vec<Value>>,
    /// Status and reason of the condition.
    verdict: (&'static str, &'static str),
    /// Must be in the message.
    words: &'static str,
    event: &'static str,
    /// `Catnap-Reason` of the 503 that a caller of a function without any other revision gets.
    caller: &'static str,
}

impl Trouble {
    fn obstacles(&self, test: &Context, pods: u32) -> Vec<Value> {
        self.obstacle.map(|obstacle| obstacle(test, pods)).unwrap_or_default()
    }
}

/// Has the trouble happen to a new function and to one that serves.
async fn happens(name: &str, trouble: Trouble) {
    run(name, Needs::Cluster, async |test| happens_in(test, &trouble).await).await;
}

async fn happens_in(test: &Context, trouble: &Trouble) -> anyhow::Result<()> {
    let new = async || to_a_new_one(test, trouble).await.context("a new function");
    let serving = async || to_one_that_serves(test, trouble).await.context("a function that serves");
    if trouble.obstacle.is_none() {
        return Box::pin(try_join(new(), serving())).await.map(drop);
    }
    new().await?;
    serving().await
}

async fn to_a_new_one(test: &Context, trouble: &Trouble) -> anyhow::Result<()> {
    put_in_the_way(test, trouble.obstacles(test, 0)).await?;
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
    remove(test, trouble.obstacles(test, 0)).await?;
    let always = json!({"scale": {"min": 1}});
    let function = deploy(test, &hello("serves", always.clone())).await?;
    let good = function.status.and_then(|status| status.latest_ready_revision).context("no revision")?;
    put_in_the_way(test, trouble.obstacles(test, 1)).await?;
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
    remove(test, trouble.obstacles(test, 1)).await
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
            Some("ValidatingAdmissionPolicyBinding") => until_refused(test, HOUSE_RULE).await?,
            Some("ValidatingWebhookConfiguration") => until_refused(test, NO_WEBHOOK).await?,
            _ => {}
        }
    }
    Ok(())
}

/// Waits until admission refuses, in these words, what nothing else minds.
async fn until_refused(test: &Context, words: &str) -> anyhow::Result<()> {
    let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}}).to_string();
    eventually("admission refuses", TOLD, async || {
        let dry = test.kubectl(&["create", "--dry-run=server", "--filename=-"], &probe).await;
        Ok(dry.is_err_and(|error| format!("{error:#}").contains(words)).then_some(()))
    })
    .await
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

/// As the API server says it of a webhook that it cannot reach.
const NO_WEBHOOK: &str = "failed calling webhook";

fn created(group: &str, version: &str, resource: &str) -> Value {
    json!({"apiGroups": [group], "apiVersions": [version], "operations": ["CREATE"], "resources": [resource]})
}

/// The test's namespace, as admission selects it.
fn here(test: &Context) -> Value {
    json!({"matchLabels": {"kubernetes.io/metadata.name": test.namespace}})
}

/// A webhook that nobody answers for and that has to be asked before a Deployment is made in the test's namespace.
fn webhook_that_is_down(test: &Context, _: u32) -> Vec<Value> {
    vec![json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": format!("{}-down", test.namespace)},
        "webhooks": [{
            "name": "down.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 1,
            "failurePolicy": "Fail", "namespaceSelector": here(test),
            "rules": [created("apps", "v1", "deployments"), created("", "v1", "configmaps")],
            "clientConfig": {"service": {"namespace": test.namespace, "name": "nobody"}},
        }],
    })]
}

/// A policy that lets nobody make such objects in the test's namespace.
fn house_rule(test: &Context, group: &str, version: &str, resource: &str) -> Vec<Value> {
    let name = format!("{}-{resource}", test.namespace);
    let kind = |kind: &str, spec: Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    vec![
        kind(
            "ValidatingAdmissionPolicy",
            json!({
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [created(group, version, resource), created("", "v1", "configmaps")]},
                "validations": [{"expression": "has(object.metadata.annotations) && 'allowed' in object.metadata.annotations", "message": HOUSE_RULE}],
            }),
        ),
        kind(
            "ValidatingAdmissionPolicyBinding",
            json!({
                "policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here(test)},
            }),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_missing() {
    let spec = json!({"image": "catnap.invalid/nothing:1"});
    let verdict = ("False", "ImagePullFailed");
    let words = "catnap.invalid/nothing:1";
    let (event, caller) = ("RevisionFailed", "ImagePullFailed");
    happens("image", Trouble { spec, obstacle: None, verdict, words, event, caller }).await;
}

/// Where the registry listens: on each node, for the node alone. From there images are pulled without TLS.
const REGISTRY: &str = "127.0.0.1:5087";

/// A registry that gives nothing to who does not say who it is.
const PRIVATE: &str = r#"
worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr warn;
events {}
http {
    access_log off;
    client_body_temp_path /tmp/client_body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    server {
        listen 127.0.0.1:5087;
        location / {
            add_header WWW-Authenticate 'Basic realm="private"' always;
            return 401;
        }
    }
}
"#;

/// Puts the registry on every node.
async fn private_registry(test: &Context) -> anyhow::Result<()> {
    let configuration = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "registry"}, "data": {"nginx.conf": PRIVATE},
    });
    let container = json!({
        "name": "registry", "image": nginx_image(),
        "command": ["/usr/sbin/nginx", "-e", "stderr", "-c", "/registry/nginx.conf", "-g", "daemon off;"],
        "volumeMounts": [{"name": "registry", "mountPath": "/registry"}],
        "readinessProbe": {"tcpSocket": {"host": "127.0.0.1", "port": 5087}, "periodSeconds": 1},
    });
    let pod = json!({
        "hostNetwork": true, "containers": [container], "volumes": [{"name": "registry", "configMap": {"name": "registry"}}],
    });
    let registry = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "registry"},
        "spec": {
            "selector": {"matchLabels": {"app": "registry"}},
            "template": {"metadata": {"labels": {"app": "registry"}}, "spec": pod},
        },
    });
    for object in [configuration, registry] {
        apply(test, &object).await?;
    }
    test.kubectl(&["rollout", "status", "daemonset/registry", "--timeout=60s"], "").await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_needs_a_pull_secret_which_is_missing() {
    run("pull_secret", Needs::Cluster, async |test| {
        private_registry(test).await?;
        let template = json!({"spec": {"imagePullSecrets": [{"name": "absent"}]}});
        let spec = json!({"image": format!("{REGISTRY}/private/hello:1"), "podTemplate": template});
        let verdict = ("False", "ImagePullFailed");
        let words = "no basic auth credentials";
        let (event, caller) = ("RevisionFailed", "ImagePullFailed");
        happens_in(test, &Trouble { spec, obstacle: None, verdict, words, event, caller }).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_crashes() {
    let spec = json!({"env": [{"name": "MAX_CONCURRENCY", "value": "x"}]});
    let verdict = ("False", "CrashLoop");
    let words = "exit code";
    let (event, caller) = ("RevisionFailed", "CrashLoop");
    happens("crash", Trouble { spec, obstacle: None, verdict, words, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_not_in_the_image() {
    let spec = json!({"command": ["absent"]});
    let verdict = ("False", "ContainerCannotStart");
    let words = "absent";
    let (event, caller) = ("RevisionFailed", "Stalled");
    happens("command", Trouble { spec, obstacle: None, verdict, words, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_readiness_check_that_fails() {
    let spec = json!({"readiness": {"path": "/status/500"}});
    let verdict = ("Unknown", "NeverReady");
    let words = "GET /status/500 on port 8080 is not answered";
    let (event, caller) = ("RevisionNotReady", "ActivationTimeout");
    happens("readiness", Trouble { spec, obstacle: None, verdict, words, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_nobody_listens_on() {
    let spec = json!({"image": nginx_image(), "command": null, "port": 9999});
    let verdict = ("Unknown", "NeverReady");
    let words = "nothing accepts connections on port 9999";
    let (event, caller) = ("RevisionNotReady", "ActivationTimeout");
    happens("port", Trouble { spec, obstacle: None, verdict, words, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up() {
    let spec = json!({"env": [{"name": "EDIT", "value": "1"}]});
    let verdict = ("Unknown", "QuotaExceeded");
    let words = "exceeded quota: quota";
    let (event, caller) = ("RevisionNotReady", "QuotaExceeded");
    happens("quota", Trouble { spec, obstacle: Some(quota), verdict, words, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_node_with_room() {
    let spec = json!({"resources": {"requests": {"cpu": "10k"}}});
    let verdict = ("Unknown", "Unschedulable");
    let words = "Insufficient cpu";
    let (event, caller) = ("RevisionNotReady", "Unschedulable");
    happens("room", Trouble { spec, obstacle: None, verdict, words, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_against_its_pods() {
    let spec = json!({"env": [{"name": "EDIT", "value": "1"}]});
    let verdict = ("False", "PodRejected");
    let (event, caller) = ("RevisionFailed", "Stalled");
    let obstacle = |test: &Context, _: u32| house_rule(test, "", "v1", "pods");
    happens("pods", Trouble { spec, obstacle: Some(obstacle), verdict, words: HOUSE_RULE, event, caller })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_against_its_deployment() {
    let spec = json!({"env": [{"name": "EDIT", "value": "1"}]});
    let verdict = ("False", "Forbidden");
    let (event, caller) = ("RevisionFailed", "Stalled");
    let obstacle = |test: &Context, _: u32| house_rule(test, "apps", "v1", "deployments");
    happens(
        "deployments",
        Trouble { spec, obstacle: Some(obstacle), verdict, words: HOUSE_RULE, event, caller },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_down() {
    let spec = json!({"env": [{"name": "EDIT", "value": "1"}]});
    // It is told of after ten seconds, and counts as lasting half a minute later.
    let verdict = ("Unknown", "WriteFailed");
    let (event, caller) = ("RevisionNotReady", "ActivationTimeout");
    let obstacle = webhook_that_is_down;
    happens("webhook", Trouble { spec, obstacle: Some(obstacle), verdict, words: NO_WEBHOOK, event, caller })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_the_api_server_refuses() {
    let spec = json!({"podTemplate": {"spec": {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]}}});
    let verdict = ("False", "InvalidPodTemplate");
    let words = "may not specify more than 1 volume type";
    let (event, caller) = ("RevisionFailed", "Stalled");
    happens("template", Trouble { spec, obstacle: None, verdict, words, event, caller }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_contradicts_the_function() {
    let port = json!({"name": "function", "ports": [{"containerPort": 9000}]});
    let spec = json!({"podTemplate": {"spec": {"containers": [port]}}});
    let verdict = ("False", "InvalidPodTemplate");
    let words = "9000 is not spec.port, 8080";
    let (event, caller) = ("RevisionFailed", "Stalled");
    happens("contradiction", Trouble { spec, obstacle: None, verdict, words, event, caller }).await;
}
