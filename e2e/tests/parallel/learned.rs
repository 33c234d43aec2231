//! A function that a timer calls, with what its pattern teaches: it rests between two calls, and a replica is asked for before the
//! next one.

use std::time::Duration;

use catnap_e2e::fixture::{Needs, eventually, run};
use catnap_e2e::functions::{PATIENCE, body, deploy_resting, get, hello, replicas};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

/// From one call to the next: long enough to rest after the fixed idle time, which counts before anything is known.
const PERIOD: Duration = Duration::from_secs(24);
const IDLE: &str = "10s";
/// Calls with four idle times between them, which have to be known; then it is time for a replica that nobody has called.
const UNKNOWN: usize = 5;
/// Calls until one has found a replica; a machine that does much else may have spoilt the first.
const MOST: u32 = 7;

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_asked_for_before_the_call_of_a_timer() {
    run("timer", Needs::Cluster, async |test| {
        let idle = json!({"after": IDLE, "policy": "Learned"});
        deploy_resting(test, &hello("hello", json!({"scale": {"idle": idle}}))).await?;
        let start = Instant::now();
        let mut ahead = Vec::new();
        for turn in 0..MOST {
            // A pattern is made of time: there is no state to wait for.
            sleep_until(start + PERIOD * turn).await;
            ahead.push(replicas(test, "hello").await? > 0);
            body(get(test, "hello", "/").await?).await?;
            if ahead.last() == Some(&true) {
                break;
            }
            eventually("it rests between two calls", PATIENCE, async || {
                Ok((replicas(test, "hello").await? == 0).then_some(()))
            })
            .await?;
            anyhow::ensure!(
                start.elapsed() < PERIOD * (turn + 1),
                "it rested only when the next one was due"
            );
        }
        let first = ahead.iter().position(|one| *one);
        anyhow::ensure!(
            first.is_some_and(|first| first >= UNKNOWN),
            "a replica was there before the calls {ahead:?}"
        );
        Ok(())
    })
    .await;
}
