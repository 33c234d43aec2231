//! An edit makes a revision that proves itself, takes all traffic and lets the old one retire.

use std::time::Duration;

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, Needs, eventually, run, within};
use futures::future::try_join;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::time::Instant;

use catnap_e2e::functions::{
    PATIENCE, apply, body, condition, condition_is, deploy, deployments, get, hello, name_of,
};

fn marked(value: &str) -> Value {
    // A second in which it may go back, so that nobody waits a minute for the old one to leave.
    hello("hello", json!({"env": [{"name": "MARK", "value": value}], "rollout": {"interval": "1s"}}))
}

fn ready_revision(function: &Function) -> String {
    function.status.as_ref().and_then(|status| status.latest_ready_revision.clone()).unwrap_or_default()
}

/// What an edit changes takes effect within a second, and activators hear of it a moment after this test: only the answer of
/// another revision to a question that was put later than that is wrong.
async fn answers_within_a_second(test: &Context, mark: &str) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        let asked = since.elapsed();
        let answer = body(get(test, "hello", "/env").await?).await?;
        if answer.contains(&format!("MARK={mark}\n")) {
            return Ok(());
        }
        anyhow::ensure!(asked < Duration::from_secs(1), "no {mark} when asked after {asked:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_takes_all_traffic_and_the_old_revision_retires() {
    run("an_edit", Needs::Cluster, async |test| {
        let first = ready_revision(&deploy(test, &marked("one")).await?);
        anyhow::ensure!(body(get(test, "hello", "/env").await?).await?.contains("MARK=one"));
        let second = ready_revision(&deploy(test, &marked("two")).await?);
        anyhow::ensure!(first != second, "the edit made no revision");
        answers_within_a_second(test, "two").await?;
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
        answers_within_a_second(test, "one").await
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

/// Waits until the revision with this mark answers.
async fn answers(test: &Context, mark: &str) -> anyhow::Result<()> {
    eventually(&format!("{mark} answers"), PATIENCE, async || {
        let environment = body(get(test, "hello", "/env").await?).await?;
        Ok(environment.contains(&format!("MARK={mark}\n")).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_have_the_names_that_they_are_given_and_history_its_limit() {
    run("revision_names", Needs::Cluster, async |test| {
        let manifest = |mark: &str, name: &str, traffic: Value| {
            let mut manifest = marked(mark);
            manifest["spec"]["revisionName"] = json!(name);
            manifest["spec"]["revisionHistoryLimit"] = json!(1);
            manifest["spec"]["traffic"] = traffic;
            manifest
        };
        for (mark, name) in [("one", "first"), ("two", "second"), ("three", "third")] {
            let ready = ready_revision(&deploy(test, &manifest(mark, name, json!([]))).await?);
            anyhow::ensure!(ready == name, "{name} is called {ready}");
        }
        eventually("the oldest record is gone", PATIENCE, async || {
            let records = test.api::<ControllerRevision>().list(&ListParams::default()).await?.items;
            let mut names: Vec<_> = records.into_iter().filter_map(|record| record.metadata.name).collect();
            names.sort();
            Ok((names == ["second", "third"]).then_some(()))
        })
        .await?;

        let second = json!([{"revision": "second"}]);
        deploy(test, &manifest("three", "third", second.clone())).await?;
        answers(test, "two").await?;

        // A name stands for one content.
        apply(test, &manifest("four", "third", second)).await?;
        let function = within(PATIENCE, &test.api::<Function>(), "hello", |function| {
            condition(function, "Ready")
                .is_some_and(|(status, reason, _)| (status, reason) == ("False", "RevisionNameTaken"))
        })
        .await?;
        let (_, _, message) = condition(&function, "Stalled").context("no Stalled")?;
        anyhow::ensure!(message.contains("third"), "{message}");
        answers(test, "two").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unproven_revision_gives_back_what_it_took_when_its_first_wake_fails() {
    run("unproven", Needs::Cluster, async |test| {
        let first = ready_revision(&deploy(test, &marked("one")).await?);
        let mut broken = marked("two");
        broken["spec"]["image"] = json!("catnap.invalid/nothing:1");
        broken["spec"]["scale"]["initial"] = json!(0);
        apply(test, &broken).await?;
        let unproven = |function: &Function| {
            let is_ready = condition(function, "Ready");
            is_ready.is_some_and(|(status, reason, _)| (status, reason) == ("True", "Unproven"))
        };
        let share = |function: &Function| {
            let shares = function.status.iter().flat_map(|status| &status.traffic);
            shares.filter(|share| share.revision == first).map(|share| share.percent).sum::<i32>()
        };
        let function = within(PATIENCE, &test.api::<Function>(), "hello", unproven).await?;
        anyhow::ensure!(share(&function) == 0, "it takes everything at once: {:?}", function.status);

        // Whoever wakes it may hear why it does not come up, or be answered by the one before.
        let response = get(test, "hello", "/").await?;
        let reason = response.headers().get("catnap-reason").cloned();
        let told = response.status() == 503 && reason.is_some_and(|reason| reason == "ImagePullFailed");
        anyhow::ensure!(told || response.status() == 200, "{response:?}");
        let function =
            within(PATIENCE, &test.api::<Function>(), "hello", |function| share(function) == 100).await?;
        let (status, reason, _) = condition(&function, "RevisionReady").context("no RevisionReady")?;
        anyhow::ensure!((status, reason) == ("False", "ImagePullFailed"), "{status} {reason}");
        answers(test, "one").await?;

        // It is tried again when somebody asks for that.
        eventually("nothing of it is left", PATIENCE, async || {
            let left = deployments(test, "hello").await?.into_iter().filter_map(|it| it.metadata.name);
            Ok((left.collect::<Vec<_>>() == [first.clone()]).then_some(()))
        })
        .await?;
        test.kubectl(&["annotate", "function", "hello", "catnap.dev/retry=1"], "").await?;
        let function = within(PATIENCE, &test.api::<Function>(), "hello", unproven).await?;
        let retry = function.status.as_ref().and_then(|status| status.retry.as_deref());
        anyhow::ensure!(retry == Some("1") && share(&function) == 0, "{:?}", function.status);
        Ok(())
    })
    .await;
}
