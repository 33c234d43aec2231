//! Replicas follow the load: out under pressure, never above the limit in one replica, and back to zero.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Needs, eventually, run};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use catnap_e2e::functions::{PATIENCE, body, deploy, deploy_resting, get, hello, pods, replicas, resting};

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_on_a_cold_function_is_answered_within_its_limit() {
    run("a_burst", Needs::Cluster, async |test| {
        let spec = json!({
            "concurrency": {"limit": 10},
            "env": [{"name": "MAX_CONCURRENCY", "value": "10"}],
        });
        deploy_resting(test, &hello("hello", spec)).await?;
        // The function itself answers 500 when more than ten requests meet in one replica.
        let answers =
            try_join_all((0..50).map(|_| async { body(get(test, "hello", "/sleep?ms=300").await?).await }));
        anyhow::ensure!(answers.await?.len() == 50);
        // Those that wait ask for 5 replicas of 10; once all count as load, 50 at 70 % of 10 each ask for 8 at most.
        let asked = replicas(test, "hello").await?;
        anyhow::ensure!((5..=8).contains(&asked), "50 requests of 10 each, and {asked} replicas");
        resting(test, "hello").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn load_on_a_running_function_scales_it_out() {
    run("scale_out", Needs::Cluster, async |test| {
        let spec = json!({"concurrency": {"limit": 2}, "env": [{"name": "MAX_CONCURRENCY", "value": "2"}]});
        deploy(test, &hello("hello", spec)).await?;
        body(get(test, "hello", "/").await?).await?;
        let load = try_join_all((0..6).map(|_| async {
            for _ in 0..8 {
                body(get(test, "hello", "/sleep?ms=500").await?).await?;
            }
            anyhow::Ok(())
        }));
        let growth = eventually("three replicas", PATIENCE, async || {
            Ok((replicas(test, "hello").await? >= 3).then_some(()))
        });
        tokio::try_join!(load, growth)?;
        resting(test, "hello").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_replicas_become_one_under_load_and_a_stream_keeps_its_pod() {
    run("shrink", Needs::Cluster, async |test| {
        let spec = json!({
            "concurrency": {"limit": 2}, "env": [{"name": "MAX_CONCURRENCY", "value": "2"}], "scale": {"min": 4},
        });
        deploy(test, &hello("hello", spec)).await?;
        eventually("four that are ready", PATIENCE, async || Ok((living(test).await?.len() == 4).then_some(())))
            .await?;

        // Three minutes in all, if nobody ends it; its pod is the one that has a request when nothing else is sent.
        let mut stream = get(test, "hello", "/stream?chunks=1800&interval_ms=100").await?;
        anyhow::ensure!(stream.chunk().await?.is_some());
        let shrunk = AtomicBool::new(false);
        let short = async {
            let mut answered = 0;
            while !shrunk.load(Ordering::Relaxed) {
                body(get(test, "hello", "/sleep?ms=20").await?).await?;
                answered += 1;
            }
            anyhow::Ok(answered)
        };
        let streaming = async {
            let mut chunks = 1;
            while !shrunk.load(Ordering::Relaxed) {
                let chunk = stream.chunk().await.context("the stream was cut")?;
                anyhow::ensure!(chunk.is_some(), "the stream has ended after {chunks} chunks");
                chunks += 1;
            }
            anyhow::Ok(chunks)
        };
        let shrinking = async {
            // The same revision: only its scaling is another one.
            let spec = json!({
                "concurrency": {"limit": 2}, "env": [{"name": "MAX_CONCURRENCY", "value": "2"}],
                "scale": {"min": 0, "max": 1},
            });
            deploy(test, &hello("hello", spec)).await?;
            let fewer = eventually("one replica", PATIENCE, async || {
                let count = replicas(test, "hello").await?;
                anyhow::ensure!(count > 0, "nothing is left");
                Ok((count == 1 && living(test).await?.len() == 1).then_some(()))
            });
            let fewer = fewer.await;
            // The stream goes on for longer than a deleted pod would answer, on the only pod that is left.
            let survivor = living(test).await?;
            eventually("the others are gone", PATIENCE, async || {
                Ok((pods(test, "hello").await?.len() == 1).then_some(()))
            })
            .await?;
            let same = living(test).await? == survivor;
            shrunk.store(true, Ordering::Relaxed);
            fewer?;
            anyhow::ensure!(same, "{survivor:?} was replaced");
            Ok(())
        };
        let (answered, chunks, ()) = tokio::try_join!(short, streaming, shrinking)?;
        anyhow::ensure!(answered > 100 && chunks > 30, "{answered} requests, {chunks} chunks");
        eventually("the Event", PATIENCE, async || {
            let events = test.kubectl(&["get", "events", "--output", "name", "--field-selector", "reason=ScaledDown"], "").await?;
            Ok((!events.is_empty()).then_some(()))
        })
        .await?;
        Ok(())
    })
    .await;
}

/// Names of the pods that are ready and not on their way out.
async fn living(test: &Context) -> anyhow::Result<BTreeSet<String>> {
    let found = pods(test, "hello").await?.into_iter();
    let living = found.filter(|pod| pod.metadata.deletion_timestamp.is_none() && is_ready(pod));
    Ok(living.filter_map(|pod| pod.metadata.name).collect())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_never_exceed_the_maximum() {
    run("maximum", Needs::Cluster, async |test| {
        let spec = json!({"concurrency": {"limit": 1}, "scale": {"max": 2}});
        deploy_resting(test, &hello("hello", spec)).await?;
        let load =
            try_join_all((0..12).map(|_| async { body(get(test, "hello", "/sleep?ms=400").await?).await }));
        load.await?;
        anyhow::ensure!(replicas(test, "hello").await? == 2, "12 requests at once on at most 2 replicas");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minimum_is_kept_without_requests() {
    run("minimum", Needs::Cluster, async |test| {
        deploy(test, &hello("hello", json!({"scale": {"min": 2}}))).await?;
        anyhow::ensure!(replicas(test, "hello").await? == 2);
        // Lifting the floor makes no revision; only then may it rest.
        let lifted = hello("hello", json!({"scale": {"min": 0}}));
        deploy(test, &lifted).await?;
        resting(test, "hello").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_with_a_reason() {
    run("a_full_queue", Needs::Cluster, async |test| {
        let spec = json!({"queue": {"maxRequests": 3}, "concurrency": {"limit": 1}, "scale": {"max": 1}});
        deploy_resting(test, &hello("hello", spec)).await?;
        let answers = try_join_all((0..10).map(|_| get(test, "hello", "/sleep?ms=200"))).await?;
        let refused: Vec<_> = answers.iter().filter(|response| response.status() == 503).collect();
        anyhow::ensure!(!refused.is_empty() && refused.len() < 10, "{} of 10 refused", refused.len());
        for response in refused {
            anyhow::ensure!(response.headers()["catnap-reason"] == "QueueFull", "{response:?}");
            anyhow::ensure!(response.headers().contains_key("retry-after"), "{response:?}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_with_its_activation_time() {
    run("activation_timeout", Needs::Cluster, async |test| {
        let spec = json!({
            "concurrency": {"limit": 1}, "scale": {"max": 1}, "timeouts": {"activation": "2s"},
        });
        deploy(test, &hello("hello", spec)).await?;
        let (busy, late) = tokio::join!(get(test, "hello", "/sleep?ms=6000"), async {
            eventually("the first request is in flight", Duration::from_secs(20), async || {
                let text = get(test, "hello", "/").await?;
                Ok((text.status() == 503).then_some(text))
            })
            .await
        });
        body(busy?).await?;
        let late = late?;
        anyhow::ensure!(late.headers()["catnap-reason"] == "ActivationTimeout", "{late:?}");
        Ok(())
    })
    .await;
}
