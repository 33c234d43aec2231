//! An edit makes a revision that proves itself, takes all traffic and lets the old one retire.

use std::time::Duration;

use catnap_crds::Function;
use catnap_e2e::fixture::{Needs, eventually, run, within};
use futures::future::try_join;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::ListParams;
use serde_json::json;

use catnap_e2e::functions::{PATIENCE, apply, body, condition_is, deploy, deployments, get, hello, name_of};

fn marked(value: &str) -> serde_json::Value {
    // A second in which it may go back, so that nobody waits a minute for the old one to leave.
    hello("hello", json!({"env": [{"name": "MARK", "value": value}], "rollout": {"interval": "1s"}}))
}

fn ready_revision(function: &Function) -> String {
    function.status.as_ref().and_then(|status| status.latest_ready_revision.clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_takes_all_traffic_and_the_old_revision_retires() {
    run("an_edit", Needs::Cluster, async |test| {
        let first = ready_revision(&deploy(test, &marked("one")).await?);
        anyhow::ensure!(body(get(test, "hello", "/env").await?).await?.contains("MARK=one"));
        let second = ready_revision(&deploy(test, &marked("two")).await?);
        anyhow::ensure!(first != second, "the edit made no revision");
        // What an edit changes takes effect within a second: activators hear of it a moment after this test.
        eventually("the second revision answers", Duration::from_secs(1), async || {
            let answer = body(get(test, "hello", "/env").await?).await?;
            Ok(answer.contains("MARK=two").then_some(()))
        })
        .await?;
        eventually("the old revision's Deployment is gone", PATIENCE, async || {
            let left = deployments(test, "hello").await?;
            let names: Vec<_> = left.into_iter().filter_map(|deployment| deployment.metadata.name).collect();
            Ok((names == [second.clone()]).then_some(()))
        })
        .await?;
        let records = test.api::<ControllerRevision>().list(&ListParams::default()).await?.items;
        anyhow::ensure!(records.len() == 2, "{} records, not the two revisions", records.len());

        let back = ready_revision(&deploy(test, &marked("one")).await?);
        anyhow::ensure!(back == first, "going back made {back}, not {first} again");
        eventually("the first revision answers again", Duration::from_secs(1), async || {
            let answer = body(get(test, "hello", "/env").await?).await?;
            Ok(answer.contains("MARK=one").then_some(()))
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_a_revision_takes_over() {
    run("take_over", Needs::Cluster, async |test| {
        deploy(test, &marked("one")).await?;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let load = async {
            let mut count = 0;
            while !*stopped.borrow() {
                body(get(test, "hello", "/sleep?ms=20").await?).await?;
                count += 1;
            }
            Ok(count)
        };
        let edits = async {
            for value in ["two", "three"] {
                deploy(test, &marked(value)).await?;
            }
            eventually("one revision is left", PATIENCE, async || {
                Ok((deployments(test, "hello").await?.len() == 1).then_some(()))
            })
            .await?;
            stop.send_replace(true);
            anyhow::Ok(())
        };
        let (count, ()) = try_join(load, edits).await?;
        anyhow::ensure!(count > 20, "only {count} requests were sent meanwhile");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_scale_makes_no_revision() {
    run("changing_scale", Needs::Cluster, async |test| {
        let before = deploy(test, &marked("one")).await?;
        let mut manifest = marked("one");
        manifest["spec"]["scale"]["max"] = json!(7);
        manifest["spec"]["timeouts"] = json!({"activation": "20s"});
        manifest["spec"]["queue"] = json!({"maxRequests": 5});
        apply(test, &manifest).await?;
        let after = within(PATIENCE, &test.api::<Function>(), &name_of(&before), |function| {
            condition_is(function, "Ready", "True")
                && function.metadata.generation > before.metadata.generation
        })
        .await?;
        anyhow::ensure!(ready_revision(&before) == ready_revision(&after));
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_the_same_name_starts_anew() {
    run("same_name", Needs::Cluster, async |test| {
        deploy(test, &marked("one")).await?;
        test.kubectl(&["delete", "function", "hello", "--wait=true", "--timeout=60s"], "").await?;
        deploy(test, &marked("two")).await?;
        anyhow::ensure!(body(get(test, "hello", "/env").await?).await?.contains("MARK=two"));
        Ok(())
    })
    .await;
}
