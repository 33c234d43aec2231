//! Replicas follow the load: out under pressure, never above the limit in one replica, and back to zero.

use std::time::Duration;

use catnap_e2e::fixture::{Needs, eventually, run};
use futures::future::try_join_all;
use serde_json::json;

use catnap_e2e::functions::{PATIENCE, body, deploy, deploy_resting, get, hello, replicas, resting};

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
