//! The examples by their own manifests: they become Ready, rest, wake and do what their first lines say.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Needs, run};
use futures::future::try_join_all;
use serde_json::json;

use catnap_e2e::functions::{
    body, examples_image, get, is_cold, name_of, nginx_image, pods, ready, resting, url,
};

/// How much longer than the start of its program a request may wait for what Catnap does.
const AFTER_A_START: Duration = Duration::from_secs(2);

/// The length of a phase in `Server-Timing`.
fn phase(timing: &str, name: &str) -> anyhow::Result<Duration> {
    let mut metrics = timing.split(',').filter_map(|metric| metric.trim().split_once(";dur="));
    let found = metrics.find(|(found, _)| *found == name);
    let (_, milliseconds) = found.with_context(|| format!("no {name} in {timing}"))?;
    Ok(Duration::from_secs_f64(milliseconds.parse::<f64>()? / 1000.0))
}

/// Applies an example's manifest, and waits until the function rests. It rests sooner than by default, as those of other
/// tests do.
async fn deploy_example(test: &Context, name: &str, manifest: &str) -> anyhow::Result<()> {
    let manifest = manifest.replace("catnap-examples:dev", &examples_image());
    let manifest = manifest.replace("catnap-example-nginx:dev", &nginx_image());
    test.kubectl(&["apply", "--filename", "-"], &manifest).await?;
    let function = ready(test, name).await?;
    let scale = json!({"window": "6s", "panic": {"window": "6s"}, "idle": {"after": "1s"}});
    let patch = json!({"spec": {"scale": scale}}).to_string();
    test.kubectl(&["patch", "function", &name_of(&function), "--type=merge", "--patch", &patch], "").await?;
    resting(test, name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_that_nobody_changed_wakes_serves_and_ends_gracefully() {
    run("nginx", Needs::Cluster, async |test| {
        let manifest = include_str!("../../../examples/nginx/function.yaml");
        deploy_example(test, "nginx", manifest).await?;
        let response = get(test, "nginx", "/").await?;
        anyhow::ensure!(is_cold(&response), "{response:?}");
        let server = response.headers().get("server").and_then(|value| value.to_str().ok());
        anyhow::ensure!(server.is_some_and(|server| server.starts_with("nginx/")), "{response:?}");
        let page = body(response).await?;
        anyhow::ensure!(page.contains("Welcome to nginx!"), "{page}");

        // Six seconds of response. Its pod is deleted meanwhile: nginx is told to end three seconds later.
        let slow = get(test, "nginx", "/slow/").await?;
        let found = pods(test, "nginx").await?.into_iter().next().context("a response without a pod")?;
        let name = found.metadata.name.unwrap_or_default();
        test.kubectl(&["delete", "pod", &name, "--wait=false"], "").await?;
        let text = body(slow).await?;
        anyhow::ensure!(text == page, "{} of {} bytes came", text.len(), page.len());
        resting(test, "nginx").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_a_function_that_starts_slowly() {
    run("slow_start", Needs::Cluster, async |test| {
        let manifest = include_str!("../../../examples/slow-start/function.yaml");
        deploy_example(test, "slow-start", manifest).await?;
        let sent = Instant::now();
        let response = get(test, "slow-start", "/").await?;
        let took = sent.elapsed();
        anyhow::ensure!(is_cold(&response), "{response:?}");
        let timing = response.headers()["server-timing"].to_str()?.to_owned();
        let text = body(response).await?;
        let started = text.strip_prefix("Started after ").and_then(|text| text.strip_suffix(" ms\n"));
        let started = Duration::from_millis(started.with_context(|| text.clone())?.parse()?);
        anyhow::ensure!(started >= Duration::from_secs(3), "it started after {started:?}");
        anyhow::ensure!(took >= started, "{took:?} for a start of {started:?}");
        // Scheduling, the sandbox and the container take what the machine has left for them.
        let mut of_catnap = Duration::ZERO;
        for name in ["wake", "ready", "queue"] {
            of_catnap += phase(&timing, name)?;
        }
        anyhow::ensure!(of_catnap < started + AFTER_A_START, "started after {started:?}: {timing}");
        resting(test, "slow-start").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_takes_one_request_at_a_time_never_meets_two() {
    run("one_at_a_time", Needs::Cluster, async |test| {
        let manifest = include_str!("../../../examples/hello/one-at-a-time.yaml");
        deploy_example(test, "one-at-a-time", manifest).await?;
        try_join_all((0..8).map(async |_| {
            let response = test.http.http1.get(url(test, "one-at-a-time", "/sleep?ms=300")).send().await?;
            // The function answers 500 when it meets two.
            body(response).await
        }))
        .await?;
        Ok(())
    })
    .await;
}
