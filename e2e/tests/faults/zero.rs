//! Requests around the moment of going to zero: none lost, none served twice.

use std::{pin::pin, time::Duration};

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Forward, Needs, Resolver, Sink, eventually, run, run_with};
use futures::{TryStreamExt as _, future::try_join_all};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::api::{ListParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep_until},
};

use catnap_e2e::functions::{
    PATIENCE, apply, body, catnap_pods, deploy, deploy_resting, get, held, hello, is_cold, resting, url,
};
use catnap_e2e::lateness::{Lateness, less_than};

/// Functions that go to zero side by side.
const FUNCTIONS: usize = 10;
/// Offsets that each of them tries.
const OFFSETS: usize = 20;
/// Between two offsets; together they span what follows.
const STEP: Duration = Duration::from_millis(11);
/// From the end of the last request to the first offset. Idle time of one second counts from the end of the second of the
/// last request, and is looked at once a second: zero comes 1 to 3 s after the last request.
const FIRST: Duration = Duration::from_millis(900);
/// From the first of many requests on a cold function to the replicas for all of them.
const ASKED_WITHIN: Duration = Duration::from_millis(50);
/// Requests that came before the zero, and that came after it, at least: the offsets were around it.
const EACH_SIDE: usize = 20;

fn recording(name: &str, sink: &Sink) -> Value {
    hello(name, json!({"env": [{"name": "SINK_URL", "value": sink.url()}]}))
}

/// Has the function record the id; whether it was cold.
async fn record(test: &Context, name: &str, id: &str) -> anyhow::Result<bool> {
    let request = test.http.http1.post(url(test, name, &format!("/record?id={id}")));
    let response = request.send().await.with_context(|| format!("sending {id}"))?;
    let cold = is_cold(&response);
    body(response).await.with_context(|| format!("recording {id}"))?;
    Ok(cold)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_around_the_moment_of_going_to_zero_are_served_once() {
    run("around_zero", Needs::Launcher, async |test| {
        let sink = test.sink().await?;
        let each = (0..FUNCTIONS).map(|function| {
            let sink = &sink;
            async move {
                let name = format!("hello-{function}");
                deploy(test, &recording(&name, sink)).await?;
                let (mut ids, mut after_zero) = (Vec::new(), 0);
                for round in 0..OFFSETS {
                    let offset = STEP * u32::try_from(round * FUNCTIONS + function)?;
                    let [last, next] = ["last", "next"].map(|step| format!("{name}-{round}-{step}"));
                    record(test, &name, &last).await?;
                    // The offset is what is tested, not a wait for something.
                    sleep_until(Instant::now() + FIRST + offset).await;
                    after_zero += usize::from(record(test, &name, &next).await?);
                    ids.extend([last, next]);
                }
                anyhow::Ok((ids, after_zero))
            }
        });
        let (ids, after_zero): (Vec<_>, Vec<_>) = try_join_all(each).await?.into_iter().unzip();
        anyhow::ensure!(ids.iter().flatten().count() == 2 * FUNCTIONS * OFFSETS);
        let after_zero: usize = after_zero.into_iter().sum();
        let before_zero = FUNCTIONS * OFFSETS - after_zero;
        anyhow::ensure!(
            before_zero >= EACH_SIDE && after_zero >= EACH_SIDE,
            "{before_zero} requests before the zero and {after_zero} after it"
        );
        sink.expect_each_once(ids.into_iter().flatten()).await
    })
    .await;
}

/// A fail point of one part of Catnap; that part has one pod.
struct FailPoint<'a> {
    test: &'a Context,
    name: &'static str,
    admin: Forward,
}

impl<'a> FailPoint<'a> {
    async fn pause(test: &'a Context, component: &str, name: &'static str) -> anyhow::Result<Self> {
        let pods = catnap_pods(test, component).await?;
        let pod = pods.first().filter(|_| pods.len() == 1).with_context(|| format!("{} pods", pods.len()))?;
        let point = Self { test, name, admin: Forward::to(test, pod).await? };
        point.set("pause").await?;
        Ok(point)
    }

    fn url(&self) -> String {
        self.admin.url(&format!("/debug/failpoints/{}", self.name))
    }

    async fn set(&self, action: &'static str) -> anyhow::Result<()> {
        let request = self.test.http.plain.put(self.url()).body(action);
        request.send().await?.error_for_status().context("is this a build with fail points?")?;
        Ok(())
    }

    async fn reached(&self) -> anyhow::Result<()> {
        eventually("the fail point is reached", PATIENCE, async || {
            let answer = self.test.http.plain.get(self.url()).send().await?.error_for_status()?;
            let status: Value = serde_json::from_str(&answer.text().await?)?;
            Ok((status["waiting"].as_u64().unwrap_or(0) > 0).then_some(()))
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_release_has_no_fail_points() {
    run("no_fail_points", Needs::Launcher, async |test| {
        for component in ["operator", "activator", "autoscaler"] {
            for pod in catnap_pods(test, component).await? {
                let admin = Forward::to(test, &pod).await?;
                let known = test.http.plain.get(admin.url("/debug/state")).send().await?;
                anyhow::ensure!(known.status() == 200, "{component}: {known:?}");
                let asked = test.http.plain.get(admin.url("/debug/failpoints/put-sent")).send().await?;
                anyhow::ensure!(asked.status() == 404, "{component}: {asked:?}");
            }
        }
        Ok(())
    })
    .await;
}

/// What a request meets that is sent while the step is held up.
#[derive(Clone, Copy, PartialEq)]
enum Meets {
    /// The old pod, which stays, or a new one.
    Either,
    /// The zero, which is written whatever comes.
    Zero,
}

async fn pinned(name: &str, component: &'static str, point: &'static str, meets: Meets) {
    run_with(name, &["image.tag=failpoints"], async |test| {
        let sink = test.sink().await?;
        let goes_to_zero = recording("hello", &sink);
        // Not before the step is held up, however long that takes.
        let mut stays = goes_to_zero.clone();
        stays["spec"]["scale"]["min"] = json!(1);
        deploy(test, &stays).await?;
        let paused = FailPoint::pause(test, component, point).await?;
        record(test, "hello", "before").await?;
        apply(test, &goes_to_zero).await?;
        paused.reached().await?;
        // Sent while the step is held up, and again right after it went on.
        let during = record(test, "hello", "during");
        let after = async {
            eventually("the request is held or answered", PATIENCE, async || {
                let there = held(test, "hello").await? > 0 || sink.reports().await.contains_key("during");
                Ok(there.then_some(()))
            })
            .await?;
            paused.set("continue").await?;
            record(test, "hello", "after").await
        };
        let (cold, _) = tokio::try_join!(during, after)?;
        anyhow::ensure!(cold || meets == Meets::Either, "the zero was not written");
        resting(test, "hello").await?;
        anyhow::ensure!(record(test, "hello", "cold").await?);
        // The next test's fail point is not for this one's function.
        resting(test, "hello").await?;
        sink.expect_each_once(["before", "during", "after", "cold"].map(str::to_owned)).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_while_idle_was_sent_is_served_once() {
    pinned("pinned_idle_sent", "autoscaler", "idle-sent", Meets::Either).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_while_the_ack_was_sent_is_served_once() {
    pinned("pinned_ack_sent", "activator", "ack-sent", Meets::Either).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_while_the_put_was_sent_is_served_once() {
    pinned("pinned_put_sent", "autoscaler", "put-sent", Meets::Zero).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_while_the_put_was_answered_is_served_once() {
    pinned("pinned_put_answered", "autoscaler", "put-answered", Meets::Zero).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_when_the_pod_was_deleted_is_served_once() {
    run("pinned_pod_deleted", Needs::Launcher, async |test| {
        let sink = test.sink().await?;
        deploy(test, &recording("hello", &sink)).await?;
        let pods = test.api::<Pod>();
        let version = pods.list(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
        let mut events = Box::pin(pods.watch(&WatchParams::default().timeout(120), &version).await?);
        loop {
            let event = events.try_next().await?.context("the watch ended")?;
            if matches!(&event, WatchEvent::Modified(pod) if pod.metadata.deletion_timestamp.is_some()) {
                break;
            }
        }
        anyhow::ensure!(record(test, "hello", "deleted").await?, "served by a pod that was deleted");
        sink.expect_each_once(["deleted".to_owned()]).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_on_a_cold_function_ask_for_five_replicas_at_once() {
    run("fifty_at_once", Needs::Launcher, async |test| {
        deploy_resting(test, &hello("hello", json!({"concurrency": {"limit": 10}}))).await?;
        Lateness::watch()?
            .measured("fifty at once", async |_| {
                resting(test, "hello").await?;
                let (first, took) = fifty_at_once(test).await?;
                let what = "replicas for fifty requests";
                Ok(less_than(ASKED_WITHIN, first.into_std(), took, what))
            })
            .await?;
        body(get(test, "hello", "/").await?).await.map(drop)
    })
    .await;
}

/// Sends fifty requests to a function at zero: when, and how long it took until replicas for all of them were asked for.
async fn fifty_at_once(test: &Context) -> anyhow::Result<(Instant, Duration)> {
    // What a client needs to open fifty connections and to encode fifty requests is not Catnap's.
    let activator = Resolver::new(test.client.clone()).activator().await?;
    let mut streams = try_join_all((0..50).map(|_| TcpStream::connect(activator))).await?;
    let host = format!("hello.{}", test.namespace);
    let request = format!("GET /sleep?ms=500 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    // Looking again and again would take time from those that are measured.
    let deployments = test.api::<Deployment>();
    let version = deployments.list(&ListParams::default()).await?.metadata.resource_version;
    let watch = WatchParams::default().timeout(60);
    let mut events = pin!(deployments.watch(&watch, &version.unwrap_or_default()).await?);
    let first = Instant::now();
    let requests = async {
        for stream in &mut streams {
            stream.write_all(request.as_bytes()).await?;
        }
        try_join_all(streams.iter_mut().map(async |stream| {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            anyhow::ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            anyhow::Ok(())
        }))
        .await
    };
    let asked = async {
        let mut counts = Vec::new();
        while let Some(event) = events.try_next().await? {
            if let WatchEvent::Modified(deployment) = event {
                let count = deployment.spec.and_then(|spec| spec.replicas).unwrap_or_default();
                counts.push(count);
                if count >= 5 {
                    return anyhow::Ok((first.elapsed(), counts));
                }
            }
        }
        anyhow::bail!("replicas were {counts:?} when the watch ended")
    };
    let (_, (took, counts)) = futures::try_join!(requests, asked)?;
    anyhow::ensure!(counts.last() == Some(&5), "{counts:?}");
    Ok((first, took))
}
