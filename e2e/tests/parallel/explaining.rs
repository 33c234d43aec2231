//! Why there are so many replicas: `catnap explain` for whoever runs Catnap, Events for whoever owns the Function.

use std::time::Duration;

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Needs, eventually, run};
use futures::future::try_join_all;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::{Value, json};

use catnap_e2e::functions::{PATIENCE, body, deploy_resting, get, hello, resting};

/// What `catnap explain` prints of a function, by way of the API server.
async fn explained(test: &Context, name: &str, more: &[&str]) -> anyhow::Result<String> {
    let function = format!("function/{name}");
    let mut arguments = vec!["explain", &function, "--namespace", &test.namespace];
    arguments.extend(more);
    test.catnap(&arguments).await
}

fn says(text: &str, parts: &[&str]) -> anyhow::Result<()> {
    for part in parts {
        anyhow::ensure!(text.contains(part), "no `{part}` in:\n{text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_current_decision_is_explained_with_its_inputs_and_the_last_changes() {
    run("explain", Needs::Cluster, async |test| {
        let spec = json!({"concurrency": {"limit": 2}, "scale": {"max": 2}});
        deploy_resting(test, &hello("hello", spec)).await?;
        let cold = explained(test, "hello", &[]).await?;
        says(&cold, &[": 0 replicas, stage Routed, gate Zero\n", "  needs 0, bound by Resting, decided "])?;
        says(&cold, &["    at zero and nothing held: 0\n", "    0 ready; 0 held without a pod"])?;
        says(&cold, &["  changes, the latest first:\n", " s ago from 1 to 0: ", "idle time has passed: 0"])?;

        // Six at once of two each, and two replicas at most.
        let load =
            try_join_all((0..6).map(|_| async { body(get(test, "hello", "/sleep?ms=12000").await?).await }));
        let look = eventually("the explanation says that scale.max binds", PATIENCE, async || {
            let text = explained(test, "hello", &[]).await?;
            Ok((text.contains("bound by Max") && text.contains("2 ready")).then_some(text))
        });
        let (warm, json) = {
            let both = async {
                let warm = look.await?;
                anyhow::Ok((warm, explained(test, "hello", &["--output", "json"]).await?))
            };
            let (answers, both) = tokio::join!(load, both);
            anyhow::ensure!(answers?.len() == 6);
            both?
        };
        says(&warm, &[": 2 replicas, stage Routed, gate Up\n", "    not above scale.max: 2\n", "  from:\n"])?;
        says(&warm, &["    Concurrency ", " (stable window), ", "1.40 a replica, of 2\n", "    busy\n"])?;
        says(&warm, &[" s ago from 0 to ", "held without a usable pod"])?;

        let revisions: Value = serde_json::from_str(&json).context("what --output json prints")?;
        let [revision] = revisions.as_array().map_or(&[][..], Vec::as_slice) else {
            anyhow::bail!("not one revision: {json}")
        };
        anyhow::ensure!(
            revision["decision"]["rule"] == "Max" && revision["decision"]["atMax"] == true,
            "{json}"
        );
        anyhow::ensure!(revision["inputs"]["total"] == 2 && revision["inputs"]["busy"] == true, "{json}");
        anyhow::ensure!(revision["changes"][0]["to"] == 2, "{json}");

        let nobody = format!("{:#}", explained(test, "nobody", &[]).await.expect_err("nobody was explained"));
        says(&nobody, &["the autoscaler knows no revision of function/nobody in namespace"])
    })
    .await;
}

/// Notes of the Events of one reason that the autoscaler told of a Function.
async fn notes(test: &Context, name: &str, reason: &str) -> anyhow::Result<Vec<String>> {
    let events = test.api::<Event>().list(&ListParams::default()).await?.items;
    let told = events.into_iter().filter(|event| {
        event.reporting_controller.as_deref() == Some("catnap.dev/autoscaler")
            && event.reason.as_deref() == Some(reason)
            && event.regarding.as_ref().is_some_and(|function| {
                function.kind.as_deref() == Some("Function") && function.name.as_deref() == Some(name)
            })
    });
    Ok(told.filter_map(|event| event.note).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_scaled_is_told_in_events_at_most_once_a_minute_of_each_kind() {
    run("events", Needs::Cluster, async |test| {
        deploy_resting(test, &hello("hello", json!({}))).await?;
        let wakes = 3;
        for _ in 0..wakes {
            body(get(test, "hello", "/").await?).await?;
            resting(test, "hello").await?;
        }
        let first = eventually("an Event of the first wake", PATIENCE, async || {
            Ok(notes(test, "hello", "Woken").await?.into_iter().next())
        })
        .await?;
        says(&first, &[" to 1 replicas: ", "1 requests held without a usable pod"])?;
        // The first at once, and the others in one at the end of the minute.
        let all = eventually("an Event of the other wakes", Duration::from_secs(100), async || {
            let all = notes(test, "hello", "Woken").await?;
            Ok((all.len() > 1).then_some(all))
        })
        .await?;
        let counted = format!("(the last of {} within a minute)", wakes - 1);
        anyhow::ensure!(all.len() == 2 && all.iter().any(|note| note.ends_with(&counted)), "{all:#?}");
        let zeros = eventually("an Event of the other zeros", PATIENCE, async || {
            let zeros = notes(test, "hello", "ScaledToZero").await?;
            Ok((zeros.len() > 1).then_some(zeros))
        })
        .await?;
        anyhow::ensure!(zeros.len() == 2, "{zeros:#?}");
        for note in zeros {
            says(&note, &[" from 1 to no replicas: ", "idle time has passed: 0"])?;
        }
        Ok(())
    })
    .await;
}
