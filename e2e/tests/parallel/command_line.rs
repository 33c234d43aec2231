//! What a person types, from the first deployment of a Function to its end.

use catnap_e2e::fixture::{Context, Needs, run};
use serde_json::Value;

use catnap_e2e::functions::{body, examples_image, get};

async fn catnap(test: &Context, line: &str) -> anyhow::Result<String> {
    let mut arguments: Vec<_> = line.split(' ').collect();
    arguments.extend(["--namespace", &test.namespace]);
    test.catnap(&arguments).await
}

fn says(text: &str, parts: &[&str]) -> anyhow::Result<()> {
    for part in parts {
        anyhow::ensure!(text.contains(part), "no `{part}` in:\n{text}");
    }
    Ok(())
}

/// The revision that answers.
async fn answering(test: &Context) -> anyhow::Result<String> {
    let function: Value = serde_json::from_str(&catnap(test, "get hello -o json").await?)?;
    let traffic = function["status"]["traffic"].as_array().cloned().unwrap_or_default();
    anyhow::ensure!(traffic.len() == 1 && traffic[0]["percent"] == 100, "{traffic:?}");
    Ok(traffic[0]["revision"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_deployed_looked_at_taken_back_and_deleted() {
    run("typed", Needs::Cluster, async |test| {
        let url = format!("http://hello.{}", test.namespace);
        let image = examples_image();
        let said = catnap(test, &format!("deploy hello --image {image} --command hello")).await?;
        says(&said, &[&format!("function/hello is ready: {url}")])?;
        let first = answering(test).await?;
        body(get(test, "hello", "/").await?).await?;
        says(&catnap(test, "get").await?, &["NAME", "hello   yes", &url])?;

        let page = catnap(test, "describe hello").await?;
        says(
            &page,
            &[&url, "RevisionReady", "stage Routed", "RevisionCreated", &format!("{first}: 1 replicas")],
        )?;
        anyhow::ensure!(!page.contains("not known"), "{page}");
        catnap(test, "logs hello --tail all").await?;

        catnap(test, "deploy hello --env GREETING=hallo").await?;
        let second = answering(test).await?;
        anyhow::ensure!(second != first, "an edit made no revision");
        says(&catnap(test, "get hello --revisions").await?, &[&first, &second, "Routed"])?;

        let bad = catnap(test, "deploy hello --image catnap.invalid/nothing:1 --timeout 60s").await;
        let bad = format!("{:#}", bad.expect_err("an image that is missing was deployed"));
        says(&bad, &["function/hello is stalled: ImagePullFailed", &format!("{second} goes on serving")])?;
        anyhow::ensure!(answering(test).await? == second, "the revision before does not serve");

        says(&catnap(test, "rollback hello").await?, &[&format!("all requests go to {first}")])?;
        anyhow::ensure!(answering(test).await? == first);
        body(get(test, "hello", "/").await?).await?;
        let canary = format!("traffic hello {first}=90 {second}=10 --tag next={second}");
        says(&catnap(test, &canary).await?, &["90", "10", "next"])?;

        let unknown = format!("{:#}", catnap(test, "delete helo").await.expect_err("helo was deleted"));
        says(&unknown, &["there is no function/helo", "try: hello?"])?;
        says(&catnap(test, "delete hello").await?, &["function/hello deleted"])?;
        let left = test.kubectl(&["get", "deployments", "-o", "name"], "").await?;
        anyhow::ensure!(left.is_empty(), "left: {left}");
        Ok(())
    })
    .await;
}
