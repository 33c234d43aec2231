//! What Knative's runtime contract promises to a container, held against what a function finds and gets: an image that was made
//! for it runs as it is, among them Knative's own. docs/knative-runtime-contract.md has a row for each promise.

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Needs, eventually, run};
use catnap_e2e::functions::{
    PATIENCE, body, deploy, deploy_resting, get, hello, is_cold, knative_image, pods, resting, url,
};
use kube::ResourceExt as _;
use serde_json::{Value, json};

/// By the image's own entry point, as a Knative Service has it.
fn unchanged(spec: Value) -> Value {
    let mut manifest = hello("hello", spec);
    if let Some(spec) = manifest["spec"].as_object_mut() {
        spec.remove("command");
        // One that was replaced leaves soon.
        spec.insert("rollout".to_owned(), json!({"interval": "1s"}));
    }
    manifest
}

fn has(text: &str, lines: &[String]) -> anyhow::Result<()> {
    for line in lines {
        anyhow::ensure!(text.lines().any(|it| it == line), "no `{line}` in:\n{text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_told_its_port_and_whose_it_is() {
    run("contract_environment", Needs::Cluster, async |test| {
        for port in [None, Some(9000)] {
            let spec = port.map_or_else(|| json!({}), |port| json!({"port": port}));
            let function = deploy_resting(test, &unchanged(spec)).await?;
            let revision = function.status.and_then(|status| status.latest_ready_revision);
            // Nothing was configured but the image, and it listens where $PORT says.
            let response = get(test, "hello", "/env").await?;
            anyhow::ensure!(is_cold(&response), "{response:?}");
            let environment = body(response).await?;
            has(
                &environment,
                &[
                    format!("PORT={}", port.unwrap_or(8080)),
                    "K_SERVICE=hello".to_owned(),
                    "K_CONFIGURATION=hello".to_owned(),
                    format!("K_REVISION={}", revision.context("no revision")?),
                ],
            )?;
            // Other Services of the namespace are not in it.
            let links = environment
                .lines()
                .find(|line| line.contains("_SERVICE_HOST=") && !line.starts_with("KUBERNETES_"));
            anyhow::ensure!(links.is_none(), "{links:?}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_finds_the_surroundings_that_it_may_count_on() {
    run("contract_surroundings", Needs::Cluster, async |test| {
        let template = json!({"spec": {"securityContext": {"runAsUser": 1234}}});
        deploy(test, &unchanged(json!({"podTemplate": template, "scale": {"min": 1}}))).await?;
        let around = body(get(test, "hello", "/surroundings").await?).await?;
        has(&around, &["stdin=end", "terminal=no", "tmp=yes", "user=1234"].map(str::to_owned))?;
        let pod = pods(test, "hello").await?.into_iter().next().context("no pod")?;
        let logs = eventually("what it said is kept", PATIENCE, async || {
            let logs = test.kubectl(&["logs", &pod.name_any()], "").await?;
            Ok(logs.contains("on standard error").then_some(logs))
        })
        .await?;
        anyhow::ensure!(logs.contains("on standard output"), "{logs}");
        let container = pod.spec.context("no spec")?.containers.remove(0);
        let ports = container.ports.unwrap_or_default();
        anyhow::ensure!(ports.len() == 1 && ports[0].host_port.is_none(), "{ports:?}");
        // A sidecar would be somebody else's process beside it.
        anyhow::ensure!(
            pod.status.and_then(|status| status.container_statuses).is_some_and(|all| all.len() == 1)
        );
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_comes_with_the_headers_of_its_client_and_of_the_way() {
    run("contract_headers", Needs::Cluster, async |test| {
        deploy(test, &unchanged(json!({}))).await?;
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let request = test.http.http1.get(url(test, "hello", "/headers"));
        let request =
            request.header("X-Mine", "kept").header("Accept-Language", "fr").header("Cookie", "a=b");
        let request = request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-00"));
        let headers = body(request.send().await?).await?;
        let host = format!("host: hello.{}", test.namespace);
        let expected =
            ["x-mine: kept", "accept-language: fr", "cookie: a=b", "x-forwarded-proto: http", &host];
        has(&headers, &expected.map(str::to_owned))?;
        let trace = format!("traceparent: 00-{trace}-");
        for name in ["forwarded: for=", "x-forwarded-for: ", "x-request-id: ", &trace] {
            anyhow::ensure!(headers.lines().any(|line| line.starts_with(name)), "no {name} in:\n{headers}");
        }
        // Nobody passes off as coming from elsewhere: the platform's own replace what a client says.
        let request = test.http.http1.get(url(test, "hello", "/headers"));
        let forged = body(
            request
                .header("Forwarded", "for=192.0.2.1")
                .header("X-Forwarded-For", "192.0.2.1")
                .send()
                .await?,
        );
        anyhow::ensure!(!forged.await?.contains("192.0.2.1"));
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_proves_itself_by_http_and_ends_gracefully() {
    run("contract_life", Needs::Cluster, async |test| {
        deploy(test, &unchanged(json!({"readiness": {"path": "/"}, "terminationGracePeriodSeconds": 30})))
            .await?;
        // Five seconds: beyond the three that a deleted pod serves as if nothing were, so it ends after SIGTERM.
        let answer = get(test, "hello", "/stream?chunks=51&interval_ms=100").await?;
        let pod = pods(test, "hello").await?.into_iter().next().context("an answer without a pod")?;
        test.kubectl(&["delete", "pod", &pod.name_any(), "--wait=false"], "").await?;
        let text = body(answer).await?;
        anyhow::ensure!(text.lines().count() == 51, "{text}");
        resting_again(test).await
    })
    .await;
}

async fn resting_again(test: &Context) -> anyhow::Result<()> {
    resting(test, "hello").await?;
    let response = get(test, "hello", "/").await?;
    anyhow::ensure!(is_cold(&response), "{response:?}");
    body(response).await.map(drop)
}

/// What Knative's conformance tests want to find, as they say it: directories, what is none, and what must not be there.
const DIRECTORIES: [&str; 3] = ["/dev/fd", "/proc/self/fd", "/tmp"];
const FILES: [&str; 14] = [
    "/dev/full",
    "/dev/null",
    "/dev/ptmx",
    "/dev/random",
    "/dev/stderr",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
    "/etc/resolv.conf",
    "/proc/self/fd/0",
    "/proc/self/fd/1",
    "/proc/self/fd/2",
];

#[tokio::test(flavor = "multi_thread")]
async fn knatives_own_program_finds_what_it_looks_for() {
    run("contract_knative", Needs::Cluster, async |test| {
        let limits = json!({"limits": {"memory": "128Mi", "cpu": "1"}});
        let spec = json!({"image": knative_image(), "resources": limits});
        deploy_resting(test, &unchanged(spec)).await?;
        let answer = get(test, "hello", "/path?query").await?;
        anyhow::ensure!(is_cold(&answer), "{answer:?}");
        let found: Value = serde_json::from_str(&body(answer).await?)?;
        let (request, host) = (&found["request"], &found["host"]);
        let name = format!("hello.{}", test.namespace);
        anyhow::ensure!(request["host"] == name.as_str() && request["uri"] == "/path?query", "{request}");
        for header in ["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto"] {
            anyhow::ensure!(request["headers"][header].is_array(), "no {header}: {request}");
        }
        let environment = &host["envs"];
        let named = ["K_SERVICE", "K_CONFIGURATION"].iter().all(|variable| environment[variable] == "hello");
        let revision = environment["K_REVISION"].as_str().is_some_and(|it| it.starts_with("hello-"));
        anyhow::ensure!(named && revision && environment["PORT"] == "8080", "{environment}");
        anyhow::ensure!(host["stdin"] == json!({"eof": true}), "{}", host["stdin"]);
        anyhow::ensure!(
            host["user"]["uid"] == 65532 && host["user"]["cwd"]["error"] == "",
            "{}",
            host["user"]
        );
        let (files, access) = (&host["files"], &host["fileaccess"]);
        for (path, is_directory) in
            DIRECTORIES.map(|it| (it, true)).into_iter().chain(FILES.map(|it| (it, false)))
        {
            anyhow::ensure!(files[path]["isDir"] == is_directory, "{path}: {}", files[path]);
            let errors = ["read_error", "write_error"].map(|kind| &access[path][kind]);
            anyhow::ensure!(errors.iter().all(|error| error.is_null()), "{path}: {}", access[path]);
        }
        anyhow::ensure!(files["/tmp"]["mode"] == "rwxrwxrwx", "{}", files["/tmp"]);
        anyhow::ensure!(files["/dev/console"]["error"].is_string(), "a terminal: {}", files["/dev/console"]);
        let memory = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        let limit = |cgroup: &Value| {
            memory.iter().any(|file| cgroup["name"] == *file)
                && cgroup["value"] == "134217728"
                && cgroup["readOnly"] == true
        };
        anyhow::ensure!(
            host["cgroups"].as_array().is_some_and(|all| all.iter().any(limit)),
            "{}",
            host["cgroups"]
        );
        Ok(())
    })
    .await;
}
