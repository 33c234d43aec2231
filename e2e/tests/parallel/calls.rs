//! Requests of every kind wake a resting function and come through unharmed.

use std::time::Duration;

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Needs, Resolver, eventually, run};
use catnap_example_grpc::proto::{HelloRequest, HellosRequest, greeter_client::GreeterClient};
use serde_json::json;

use catnap_e2e::functions::{
    body, channel, deploy, deploy_resting, get, greeter, hello, is_cold, pods, resting, url,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_request_is_answered_and_the_function_rests_again() {
    run("a_cold_request_is_answered", Needs::Cluster, async |test| {
        deploy_resting(test, &hello("hello", json!({}))).await?;
        let response = get(test, "hello", "/").await?;
        anyhow::ensure!(is_cold(&response), "no cold start in {:?}", response.headers());
        let timing = response.headers()["server-timing"].to_str()?.to_owned();
        for phase in ["queue;dur=", "wake;dur=", "schedule;dur=", "start;dur=", "ready;dur="] {
            anyhow::ensure!(timing.contains(phase), "no {phase} in {timing}");
        }
        anyhow::ensure!(body(response).await?.starts_with("Hello from hello-"));
        let warm = get(test, "hello", "/").await?;
        anyhow::ensure!(!is_cold(&warm), "a warm request says that it was cold");
        body(warm).await?;
        resting(test, "hello").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_comes_through_a_cold_start_intact() {
    run("a_large_body", Needs::Cluster, async |test| {
        deploy_resting(test, &hello("hello", json!({}))).await?;
        let sent: Vec<u8> =
            (0..10_000_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let request = test.http.http1.post(url(test, "hello", "/echo")).body(sent.clone());
        let response = request.send().await?;
        anyhow::ensure!(response.status() == 200 && is_cold(&response), "{response:?}");
        let received = response.bytes().await?;
        anyhow::ensure!(received == sent, "{} bytes came back, not the {} sent", received.len(), sent.len());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h2c_with_prior_knowledge_wakes_an_http1_function() {
    run("h2c_wakes", Needs::Cluster, async |test| {
        deploy_resting(test, &hello("hello", json!({}))).await?;
        let response = test.http.h2c.get(url(test, "hello", "/")).send().await?;
        anyhow::ensure!(response.version() == reqwest::Version::HTTP_2 && is_cold(&response), "{response:?}");
        body(response).await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_call_and_a_stream_wake_a_function() {
    run("grpc_wakes", Needs::Cluster, async |test| {
        deploy_resting(test, &greeter("greeter", json!({}))).await?;
        let mut client = GreeterClient::new(channel(test, "greeter").await?);
        let reply = client.say_hello(HelloRequest { name: "Ada".into() }).await?.into_inner();
        anyhow::ensure!(reply.message.contains("Ada"), "{reply:?}");
        let refused =
            client.say_hello(HelloRequest { name: "fail".into() }).await.err().context("not refused")?;
        anyhow::ensure!(refused.code() == tonic::Code::FailedPrecondition, "{refused:?}");

        resting(test, "greeter").await?;
        let request = HellosRequest { name: "Ada".into(), count: 5, interval_ms: 300 };
        let mut stream = client.say_hellos(request).await?.into_inner();
        let mut count = 0;
        while stream.message().await?.is_some() {
            count += 1;
        }
        anyhow::ensure!(count == 5, "{count} of 5 messages came");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_keeps_its_function_awake_until_it_ends() {
    run("a_stream_keeps_its_function_awake", Needs::Cluster, async |test| {
        deploy_resting(test, &hello("hello", json!({}))).await?;
        // Eight seconds: longer than the idle time and the windows together.
        let text = body(get(test, "hello", "/stream?chunks=9&interval_ms=1000").await?).await?;
        anyhow::ensure!(text.lines().count() == 9, "{text}");
        resting(test, "hello").await
    })
    .await;
}

/// Sends requests that leave long before a pod can have started, until one of them was held: that wakes the function.
async fn leave_until_woken(test: &Context) -> anyhow::Result<()> {
    let nobody = format!("nobody.{}", test.namespace);
    let mut woken = Ok(());
    for number in 0..3 {
        // Leaves a connection that the next request takes: its time is for being held.
        let opening = test.http.http1.get(url(test, "hello", "/")).header("host", &nobody).send().await?;
        anyhow::ensure!(opening.status() == 404, "{opening:?}");
        opening.bytes().await?;

        let address = url(test, "hello", &format!("/record?id=left-{number}"));
        let leaving = test.http.http1.post(address).timeout(Duration::from_millis(60));
        let error = leaving.send().await.err().context("answered before a pod can have started")?;
        anyhow::ensure!(error.is_timeout(), "{error:?}");
        woken = eventually("the function was woken all the same", Duration::from_secs(3), async || {
            Ok((!pods(test, "hello").await?.is_empty()).then_some(()))
        })
        .await;
        if woken.is_ok() {
            break;
        }
    }
    woken
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_while_held_is_never_served() {
    run("a_client_that_leaves", Needs::Launcher, async |test| {
        let sink = test.sink().await?;
        let env = json!([{"name": "SINK_URL", "value": sink.url()}]);
        deploy_resting(test, &hello("hello", json!({"env": env}))).await?;
        leave_until_woken(test).await?;
        let staying = test.http.http1.post(url(test, "hello", "/record?id=stayed")).send().await?;
        body(staying).await?;
        sink.expect_each_once(["stayed".to_owned()]).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_no_function_are_404_with_a_reason() {
    run("unknown_hosts", Needs::Cluster, async |test| {
        let response = get(test, "nobody", "/").await?;
        anyhow::ensure!(response.status() == 404, "{response:?}");
        anyhow::ensure!(response.headers()["catnap-reason"] == "UnknownHost", "{response:?}");
        anyhow::ensure!(response.headers()["content-type"] == "application/problem+json", "{response:?}");
        let problem: serde_json::Value = serde_json::from_str(&response.text().await?)?;
        anyhow::ensure!(problem["status"] == 404 && problem["reason"] == "UnknownHost", "{problem}");
        let bare = test.http.http1.get("http://hello/").send().await?;
        let text = bare.text().await?;
        anyhow::ensure!(text.contains("hello.<namespace>"), "{text}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_found_by_its_name_in_the_cluster() {
    run("found_by_name", Needs::Launcher, async |test| {
        deploy(test, &hello("hello", json!({}))).await?;
        let activator = Resolver::new(test.client.clone()).activator().await?;
        let name = format!("hello.{}.svc.cluster.local", test.namespace);
        eventually("the name resolves to the activators", Duration::from_secs(40), async || {
            Ok((resolve(&name).await? == activator.ip()).then_some(()))
        })
        .await
    })
    .await;
}

/// Asks the cluster's DNS server for an A record (RFC 1035 section 4); the last four bytes of the answer are its address.
async fn resolve(name: &str) -> anyhow::Result<std::net::IpAddr> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len())?);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await?;
    socket.connect(("10.96.0.10", 53)).await?;
    socket.send(&query).await?;
    let mut answer = [0; 512];
    let length = tokio::time::timeout(Duration::from_secs(2), socket.recv(&mut answer)).await??;
    anyhow::ensure!(answer[3].trailing_zeros() >= 4 && answer[7] > 0, "{name} has no address");
    let address: [u8; 4] = answer[length - 4..length].try_into()?;
    Ok(address.into())
}
