//! What a person types, from the first deployment of a Function to its end.

use catnap_e2e::fixture::{Context, Needs, Resolver, eventually, run};
use serde_json::{Value, json};

use catnap_e2e::functions::{PATIENCE, body, deploy_resting, examples_image, get, hello};

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

#[tokio::test(flavor = "multi_thread")]
async fn one_request_is_sent_and_its_cold_start_is_told() {
    run("invoked", Needs::Cluster, async |test| {
        deploy_resting(test, &hello("hello", json!({}))).await?;
        // What a program writes to standard error is in the error of one that fails.
        let cold = catnap(test, "invoke hello -i --path /nowhere").await;
        let cold = format!("{:#}", cold.expect_err("404 is a good end"));
        says(
            &cold,
            &["HTTP/1.1 404 Not Found after ", "\ncold start ", " ms: wake ", ", schedule ", ", ready "],
        )?;
        says(&cold, &["error: function/hello answered 404 Not Found"])?;

        let warm = catnap(test, "invoke function/hello").await?;
        anyhow::ensure!(warm.starts_with("Hello from hello-"), "{warm}");
        let echoed = catnap(test, "invoke hello --path /echo -d text").await?;
        anyhow::ensure!(echoed == "text", "{echoed}");

        let address = Resolver::new(test.client.clone()).activator().await?;
        let near = catnap(test, &format!("invoke hello --address http://{address}")).await?;
        anyhow::ensure!(near.starts_with("Hello from hello-"), "{near}");

        let nobody = catnap(test, "invoke hello -H Host:nobody.example").await;
        let nobody = format!("{:#}", nobody.expect_err("a host that nobody has was answered"));
        says(&nobody, &["No function has this host (UnknownHost)", "try: `catnap describe hello`"])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_is_found_to_be_well() {
    run("checked", Needs::Cluster, async |test| {
        // Other tests have a pod of Catnap's made anew now and then.
        let page = eventually("the check is passed", PATIENCE, async || {
            catnap(test, "install check -o json").await.map(Some)
        });
        let page: Value = serde_json::from_str(&page.await?)?;
        anyhow::ensure!(page["installed"] == true, "{page:#}");
        for check in ["Kubernetes", "APIs", "your rights", "definition of Function", "admission policies"] {
            let rows = page["checks"].as_array().map_or(&[][..], Vec::as_slice);
            let row = rows.iter().find(|row| row["check"] == check);
            anyhow::ensure!(row.is_some_and(|row| row["state"] == "ok"), "{check}: {page:#}");
        }
        let elsewhere = catnap(test, &format!("install check --system-namespace {}", test.namespace)).await;
        let elsewhere = format!("{:#}", elsewhere.expect_err("Catnap was found where it is not"));
        says(&elsewhere, &["Catnap is not installed in namespace", "has what it needs"])
    })
    .await;
}
