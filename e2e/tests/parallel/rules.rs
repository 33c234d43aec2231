//! The rules of `spec.scale` as a real API server checks them: every bound from both sides, all errors together, and the
//! defaults that it fills in.

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Needs, run};
use serde_json::{Value, json};

use catnap_e2e::functions::examples_image;

fn manifest(scale: &Value) -> Value {
    json!({
        "apiVersion": "catnap.dev/v1alpha1", "kind": "Function", "metadata": {"name": "hello"},
        "spec": {"image": examples_image(), "scale": scale},
    })
}

/// What the API server would store, or what it says instead.
async fn checked(test: &Context, scale: &Value) -> anyhow::Result<Value> {
    let arguments = ["create", "--dry-run=server", "--output=json", "--filename=-"];
    let stored = test.kubectl(&arguments, &manifest(scale).to_string()).await?;
    serde_json::from_str(&stored).context("what kubectl printed")
}

fn schedule(field: &str, value: impl Into<Value>) -> Value {
    let mut schedule =
        json!({"cron": "0 7 * * 1-5", "timeZone": "Europe/Paris", "duration": "12h", "min": 2});
    schedule[field] = value.into();
    json!({"schedules": [schedule]})
}

fn schedules(count: usize) -> Value {
    json!({"schedules": vec![json!({"cron": "0 7 * * *", "duration": "1h", "min": 1}); count]})
}

const WINDOW: &str = "scale.window must be between 6s and 1h";
const PANIC_WINDOW: &str = "scale.panic.window must be at least 1s and at most scale.window";
const AFTER: &str = "scale.idle.after must be between 1s and 24h";
const DOWN_DELAY: &str = "scale.downDelay must be between 0s and 1h";
const CRON: &str = "scale.schedules[].cron must have five fields, such as 0 7 * * 1-5";
const ZONE: &str = "scale.schedules[].timeZone must be the name of a time zone, such as Europe/Paris";
const DURATION: &str = "scale.schedules[].duration must be between 1m and 168h";

/// What is refused, and what the refusal says.
fn refused() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"min": -1}), "spec.scale.min"),
        (json!({"min": 10_001, "max": 10_000}), "spec.scale.min"),
        (json!({"max": 0}), "spec.scale.max"),
        (json!({"max": 10_001}), "spec.scale.max"),
        (json!({"min": 3, "max": 2}), "scale.min must be at most scale.max"),
        (json!({"initial": -1}), "spec.scale.initial"),
        (json!({"initial": 3, "max": 2}), "scale.initial must be at most scale.max"),
        (json!({"wake": 0}), "spec.scale.wake"),
        (json!({"wake": 3, "max": 2}), "scale.wake must be at most scale.max"),
        (json!({"metric": "concurrency"}), "spec.scale.metric"),
        (json!({"target": -1}), "spec.scale.target"),
        (json!({"target": 1_000_001}), "spec.scale.target"),
        (json!({"utilization": 0}), "spec.scale.utilization"),
        (json!({"utilization": 101}), "spec.scale.utilization"),
        (json!({"window": "5999ms", "panic": {"window": "1s"}}), WINDOW),
        (json!({"window": "1h1ms"}), WINDOW),
        (json!({"window": "-6s"}), "spec.scale.window"),
        (json!({"panic": {"window": "999ms"}}), PANIC_WINDOW),
        (
            json!({"window": "6s", "panic": {"window": "7s"}}),
            "scale.panic.window must be at most scale.window",
        ),
        (json!({"panic": {"threshold": 109}}), "spec.scale.panic.threshold"),
        (json!({"panic": {"threshold": 1001}}), "spec.scale.panic.threshold"),
        (json!({"downDelay": "1h1ms"}), DOWN_DELAY),
        (json!({"idle": {"after": "999ms"}}), AFTER),
        (json!({"idle": {"after": "24h1ms"}}), AFTER),
        (json!({"idle": {"policy": "Guessed"}}), "spec.scale.idle.policy"),
        (json!({"idle": {"budget": 0}}), "spec.scale.idle.budget"),
        (json!({"idle": {"budget": 101}}), "spec.scale.idle.budget"),
        (schedule("cron", "0 7 * *"), CRON),
        (schedule("cron", "0 7 * * 1-5 2026"), CRON),
        (schedule("cron", "0  7 * * 1-5"), CRON),
        (schedule("cron", "@daily"), CRON),
        (schedule("timeZone", "Europe/"), ZONE),
        (schedule("timeZone", "+01:00"), ZONE),
        (schedule("timeZone", ""), ZONE),
        (schedule("duration", "59999ms"), DURATION),
        (schedule("duration", "168h1ms"), DURATION),
        (schedule("min", 0), "spec.scale.schedules[0].min"),
        (schedule("min", 10_001), "spec.scale.schedules[0].min"),
        (schedule("name", "x".repeat(64)), "spec.scale.schedules[0].name"),
        (json!({"schedules": [{"duration": "1h", "min": 1}]}), "spec.scale.schedules[0].cron"),
        (schedules(17), "spec.scale.schedules"),
    ]
}

/// The last values on the other side.
fn accepted() -> Vec<Value> {
    vec![
        json!({"min": 10_000, "max": 10_000, "initial": 10_000, "wake": 10_000}),
        json!({"max": 1, "initial": 0, "wake": 1}),
        json!({"metric": "RequestRate", "target": 1_000_000, "utilization": 100}),
        json!({"utilization": 1, "target": 0}),
        json!({"window": "6s", "panic": {"window": "6s", "threshold": 110}}),
        json!({"window": "1h", "panic": {"window": "1s", "threshold": 1000}}),
        json!({"downDelay": "0s", "idle": {"after": "1s", "policy": "Learned", "budget": 1}}),
        json!({"downDelay": "1h", "idle": {"after": "24h", "policy": "Fixed", "budget": 100}}),
        schedule("duration", "1m"),
        schedule("duration", "168h"),
        schedule("timeZone", "America/Argentina/Buenos_Aires"),
        schedule("cron", "*/5 0-6,22 L JAN,feb 1#2"),
        schedule("min", 10_000),
        schedule("name", "x".repeat(63)),
        schedules(16),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bound_of_scale_is_checked_from_both_sides() {
    run("rules", Needs::Cluster, async |test| {
        for (scale, words) in refused() {
            let Err(refusal) = checked(test, &scale).await else { anyhow::bail!("accepted: {scale}") };
            let refusal = format!("{refusal:#}");
            anyhow::ensure!(refusal.contains("is invalid"), "{scale}: {refusal}");
            anyhow::ensure!(refusal.contains(words), "{scale}: no `{words}` in: {refusal}");
        }
        for scale in accepted() {
            checked(test, &scale).await.with_context(|| format!("refused: {scale}"))?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_errors_of_one_object_come_together() {
    run("rules_together", Needs::Cluster, async |test| {
        let scale = json!({
            "min": 3, "max": 2, "wake": 4, "window": "5s", "downDelay": "2h", "idle": {"after": "25h"},
            "schedules": [{"cron": "never", "timeZone": "?", "duration": "1s", "min": 1}],
        });
        let Err(refusal) = checked(test, &scale).await else { anyhow::bail!("accepted: {scale}") };
        let refusal = format!("{refusal:#}");
        let least = ["scale.min must be at most scale.max", "scale.wake must be at most scale.max"];
        for words in least.into_iter().chain([WINDOW, DOWN_DELAY, AFTER, CRON, ZONE, DURATION]) {
            anyhow::ensure!(refusal.contains(words), "no `{words}` in: {refusal}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_default_is_filled_in() {
    run("defaults", Needs::Cluster, async |test| {
        let everything = json!({
            "min": 0, "max": 100, "initial": 1, "wake": 1, "metric": "Concurrency", "target": 0, "utilization": 70,
            "window": "60s", "panic": {"window": "6s", "threshold": 200}, "downDelay": "0s",
            "idle": {"after": "30s", "policy": "Fixed", "budget": 50},
        });
        // Where nothing is written, and where the parts are there and empty.
        for scale in [json!({}), json!({"panic": {}, "idle": {}})] {
            let stored = checked(test, &scale).await?;
            anyhow::ensure!(stored["spec"]["scale"] == everything, "{scale} became {}", stored["spec"]["scale"]);
        }
        let scheduled = checked(test, &schedules(1)).await?;
        let expected = json!({"cron": "0 7 * * *", "timeZone": "UTC", "duration": "1h", "min": 1});
        anyhow::ensure!(scheduled["spec"]["scale"]["schedules"][0] == expected, "{scheduled}");
        Ok(())
    })
    .await;
}
