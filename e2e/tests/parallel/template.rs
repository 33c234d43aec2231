//! `spec.podTemplate` on a real API server: what it takes reaches the pods, what it refuses comes back in its own words, and
//! nobody's webhook is fought with.

use std::time::Duration;

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, Needs, eventually, run, within};
use catnap_e2e::functions::{
    PATIENCE, apply, body, condition, deploy, deployment, examples_image, get, hello, pods, replicas,
};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::ListParams;
use serde_json::{Value, json};

/// Within this time of the apply it is said what is wrong.
const TOLD: Duration = Duration::from_secs(60);

#[expect(clippy::needless_pass_by_value, reason = "so that tests may write `templated(json!(…))`")]
fn templated(template: Value) -> Value {
    hello("hello", json!({"podTemplate": template}))
}

/// A second container that serves on a port of its own.
fn sidecar() -> Value {
    json!({
        "name": "sidecar", "image": examples_image(), "command": ["hello"],
        "env": [{"name": "PORT", "value": "9001"}, {"name": "MARK", "value": "sidecar"}],
    })
}

/// Waits until the Function is stalled by its template, and gives the message.
async fn refused(test: &Context, manifest: &Value) -> anyhow::Result<String> {
    apply(test, manifest).await?;
    let function = within(TOLD, &test.api::<Function>(), "hello", |function| {
        condition(function, "Stalled")
            .is_some_and(|(status, reason, _)| (status, reason) == ("True", "InvalidPodTemplate"))
    })
    .await?;
    let (status, reason, message) = condition(&function, "Ready").context("no Ready")?;
    anyhow::ensure!((status, reason) == ("False", "InvalidPodTemplate"), "{status} {reason} {message}");
    Ok(message.to_owned())
}

/// One Function of these is made after the other: what the API server refuses leaves no Deployment behind.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_server_refuses_comes_back_in_its_own_words() {
    run("template_refused", Needs::Cluster, async |test| {
        for (template, words) in [
            (json!({"spec": {"volume": [{"name": "v", "emptyDir": {}}]}}), vec!["unknown field", "spec.template.spec.volume"]),
            (
                json!({"spec": {"containers": [{"name": "function", "volumeMount": []}]}}),
                vec!["unknown field", "volumeMount"],
            ),
            (
                json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]}}),
                vec!["volumes[0]", "may not specify more than 1 volume type"],
            ),
            (
                json!({"spec": {"containers": [{"name": "function", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}}),
                vec!["volumeMounts[0].name", "Not found"],
            ),
            (
                json!({"spec": {"containers": [sidecar(), sidecar()]}}),
                vec!["containers[2].name", "Duplicate value"],
            ),
            (
                json!({"spec": {"initContainers": [{"name": "function", "image": "example/a:1"}]}}),
                vec!["initContainers[0].name", "Duplicate value"],
            ),
            (json!({"spec": {"restartPolicy": "Never"}}), vec!["restartPolicy", "Always"]),
            (json!({"spec": {"tolerations": "all"}}), vec!["tolerations"]),
        ] {
            let message = refused(test, &templated(template.clone())).await?;
            for word in words {
                anyhow::ensure!(message.contains(word), "{template}: {message}");
            }
            let response = get(test, "hello", "/").await?;
            anyhow::ensure!(response.status() == 503, "{template}: {response:?}");
            test.kubectl(&["delete", "function", "hello", "--wait=true", "--timeout=60s"], "").await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_contradicts_the_function_is_refused_before_a_record_is_made() {
    run("template_contradicts", Needs::Cluster, async |test| {
        for (template, words) in [
            (
                json!({"spec": {"containers": [{"name": "function", "ports": [{"containerPort": 9000}]}]}}),
                "9000 is not spec.port, 8080",
            ),
            (
                json!({"spec": {"containers": [{"name": "function", "ports": [{"containerPort": 9000, "name": "http1"}]}]}}),
                "9000 has the name http1",
            ),
            (json!({"metadata": {"labels": {"catnap.dev/function": "other"}}}), "catnap.dev/function is Catnap's own"),
            (json!({"spec": {"containers": "all"}}), "podTemplate.spec.containers must be a list"),
        ] {
            let message = refused(test, &templated(template.clone())).await?;
            anyhow::ensure!(message.contains(words), "{template}: {message}");
        }
        let records = test.api::<ControllerRevision>().list(&ListParams::default()).await?.items;
        anyhow::ensure!(records.is_empty(), "{} records", records.len());
        // The next edit is a new try.
        deploy(test, &templated(json!({"metadata": {"labels": {"team": "a"}}}))).await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_template_leaves_the_revision_before_serving() {
    run("template_edit_refused", Needs::Cluster, async |test| {
        deploy(test, &hello("hello", json!({"env": [{"name": "MARK", "value": "one"}]}))).await?;
        refused(test, &templated(json!({"spec": {"volume": []}}))).await?;
        anyhow::ensure!(body(get(test, "hello", "/env").await?).await?.contains("MARK=one"));
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_a_sidecar_and_a_probe_of_ones_own_work() {
    run("template_works", Needs::Cluster, async |test| {
        let template = json!({
            "metadata": {"labels": {"team": "a"}, "annotations": {"example.com/note": "kept"}},
            "spec": {
                "volumes": [
                    {"name": "scratch", "emptyDir": {"sizeLimit": "1024Mi"}},
                    {"name": "info", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                ],
                "containers": [
                    {
                        "name": "function",
                        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}, {"name": "info", "mountPath": "/info"}],
                        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 9001}, "periodSeconds": 1},
                        "env": [{"name": "MARK", "value": "template"}, {"name": "PORT", "value": "1"}],
                        "resources": {"requests": {"cpu": "0.01"}},
                    },
                    sidecar(),
                ],
                "tolerations": [{"key": "example.com/never", "operator": "Exists"}],
            },
        });
        let function = deploy(test, &templated(template)).await?;
        let status = function.status.context("no status")?;
        anyhow::ensure!(status.revisions.iter().all(|revision| revision.requires_ready), "{:?}", status.revisions);
        let text = body(get(test, "hello", "/env").await?).await?;
        anyhow::ensure!(text.contains("MARK=template") && text.contains("PORT=8080"), "{text}");
        let pod = pods(test, "hello").await?.into_iter().next().context("no pod")?;
        let spec = pod.spec.context("no spec")?;
        let names: Vec<_> = spec.containers.iter().map(|container| container.name.as_str()).collect();
        anyhow::ensure!(names == ["function", "sidecar"], "{names:?}");
        let mounts: Vec<_> = spec.containers[0].volume_mounts.iter().flatten().map(|it| it.mount_path.as_str()).collect();
        anyhow::ensure!(["/scratch", "/info"].iter().all(|path| mounts.contains(path)), "{mounts:?}");
        anyhow::ensure!(spec.volumes.iter().flatten().any(|volume| volume.empty_dir.is_some()), "{:?}", spec.volumes);
        anyhow::ensure!(pod.metadata.labels.is_some_and(|labels| labels["team"] == "a"));
        // What the API server wrote in its own way (quantities, defaults) is no reason to write again.
        eventually("the function rests", PATIENCE, async || {
            Ok((replicas(test, "hello").await? == 0).then_some(()))
        })
        .await?;
        let fields = deployment(test, "hello").await?.metadata.managed_fields.unwrap_or_default();
        let applied = fields.iter().any(|entry| entry.manager.as_deref() == Some("catnap-operator"));
        anyhow::ensure!(!applied, "written again after it was made: {fields:?}");
        anyhow::ensure!(get(test, "hello", "/").await?.status() == 200, "it wakes, with its sidecar");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_kubelet_must_call_ready_takes_no_request_before() {
    run("template_ready", Needs::Cluster, async |test| {
        // The port answers from the start, and the user's own probe a few seconds later.
        let template = json!({"spec": {"containers": [{
            "name": "function",
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "initialDelaySeconds": 5, "periodSeconds": 1},
        }]}});
        let mut manifest = templated(template);
        manifest["spec"]["scale"]["initial"] = json!(0);
        apply(test, &manifest).await?;
        within(TOLD, &test.api::<Function>(), "hello", |function| {
            function.status.as_ref().is_some_and(|status| !status.traffic.is_empty())
        })
        .await?;
        let asked = tokio::time::Instant::now();
        anyhow::ensure!(get(test, "hello", "/").await?.status() == 200);
        let took = asked.elapsed();
        anyhow::ensure!(took >= Duration::from_secs(4), "a pod that is not Ready was asked, after {took:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubernetes_refuses_beside_a_default_is_taken_without_it() {
    run("template_defaults", Needs::Cluster, async |test| {
        let label = "pod-security.kubernetes.io/enforce=privileged";
        test.kubectl(&["label", "namespace", &test.namespace, label, "--overwrite"], "").await?;
        for (name, spec) in [
            ("privileged", json!({"containers": [{"name": "function", "securityContext": {"privileged": true}}]})),
            (
                "capable",
                json!({"containers": [{"name": "function", "securityContext": {"capabilities": {"add": ["CAP_SYS_ADMIN"]}}}]}),
            ),
            ("hasty", json!({"terminationGracePeriodSeconds": 1})),
        ] {
            let mut manifest = templated(json!({"spec": spec}));
            manifest["metadata"]["name"] = json!(name);
            deploy(test, &manifest).await.with_context(|| name.to_owned())?;
        }
        // No node here runs it, but it is not refused.
        let mut windows = templated(json!({"spec": {"os": {"name": "windows"}}}));
        windows["metadata"]["name"] = json!("windows");
        apply(test, &windows).await?;
        eventually("its Deployment is made", TOLD, async || {
            let function = test.api::<Function>().get("windows").await?;
            let ready = condition(&function, "RevisionReady");
            anyhow::ensure!(ready.is_none_or(|(_, reason, _)| reason != "InvalidPodTemplate"), "{ready:?}");
            Ok(deployment(test, "windows").await.ok())
        })
        .await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_with_restricted_pod_security_takes_what_says_enough() {
    run("template_restricted", Needs::Cluster, async |test| {
        let label = "pod-security.kubernetes.io/enforce=restricted";
        test.kubectl(&["label", "namespace", &test.namespace, label, "--overwrite"], "").await?;
        deploy(test, &hello("plain", json!({}))).await?;
        let mut quiet = sidecar();
        quiet["securityContext"] =
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        deploy(test, &templated(json!({"spec": {"containers": [quiet]}}))).await?;
        // A sidecar is the user's own: what it lacks is told, in the words of the admission plugin.
        let mut manifest = templated(json!({"spec": {"containers": [sidecar()]}}));
        manifest["metadata"]["name"] = json!("loud");
        apply(test, &manifest).await?;
        let function = within(TOLD, &test.api::<Function>(), "loud", |function| {
            condition(function, "Ready").is_some_and(|(_, reason, _)| reason == "PodRejected")
        })
        .await?;
        let (_, _, message) = condition(&function, "Ready").context("no Ready")?;
        anyhow::ensure!(message.contains("violates PodSecurity") && message.contains("sidecar"), "{message}");
        Ok(())
    })
    .await;
}
