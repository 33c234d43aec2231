//! Eight minutes of three functions of a recorded trace, with real pods: every request is answered, and replicas follow.
//!
//! A minute takes six seconds here, so there are ten times as many requests at once; each takes what is recorded as the
//! median. `bench/data/README.md` says where the trace comes from and under which licence.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use catnap_autoscaler_core::replay::{Replay, Second};
use catnap_autoscaler_core::{History, Observation, Policy, Settings, Stage, decide};
use catnap_e2e::fixture::{Context, Needs, Resolver, run};
use catnap_e2e::functions::{body, deploy_resting, hello, resting, url};
use futures::future::try_join_all;
use serde_json::json;
use tokio::time::sleep_until;

use crate::asked::{Asked, asked_during};

const TRACE: &str = include_str!("../../../bench/data/azure100.csv");
/// Lines of the trace, and requests at once in one replica: 36 requests of 3 s in one minute; some 75 of 2 ms in every fifth;
/// and some 550 of 0.8 s in each. So a single pod of the last two can follow what waits while the others start.
const LINES: [(usize, u32); 3] = [(60, 6), (61, 20), (62, 40)];
const MINUTES: std::ops::Range<usize> = 129..137;
const MINUTE: Duration = Duration::from_secs(6);
/// Minutes without a request after which a function has gone to zero: its idle time of one second, the handshake, and pods
/// that have ended.
const REST: usize = 4;
/// Longest wait for an answer.
const LONGEST: Duration = Duration::from_secs(60);

/// One function of the trace.
struct Recorded {
    name: String,
    /// Requests at once in one replica.
    capacity: u32,
    milliseconds: String,
    /// Requests in each minute.
    minutes: Vec<u32>,
}

/// One request, from when it was sent to when it was answered, as time since the beginning.
#[derive(Clone, Copy)]
struct Span {
    from: Duration,
    to: Duration,
}

impl Recorded {
    fn of_line((number, capacity): (usize, u32)) -> anyhow::Result<Self> {
        let line = TRACE.lines().nth(number - 1).context("no such line")?;
        let columns: Vec<&str> = line.split(',').collect();
        let [_trigger, _megabytes, _, _, _, median, .., minutes] = columns.as_slice() else {
            anyhow::bail!("too few columns: {line}")
        };
        let mut counts: Vec<u32> = Vec::new();
        for word in minutes.split(' ') {
            let (count, repeated) = word.split_once('*').unwrap_or((word, "1"));
            counts.extend(std::iter::repeat_n(count.parse::<u32>()?, repeated.parse::<usize>()?));
        }
        let minutes = counts.get(MINUTES).context("too few minutes")?.to_vec();
        Ok(Self { name: format!("line-{number}"), capacity, milliseconds: (*median).to_owned(), minutes })
    }

    /// When each request is sent: spread evenly over its minute.
    fn arrivals(&self) -> impl Iterator<Item = Duration> {
        (0..)
            .zip(&self.minutes)
            .flat_map(|(minute, count)| (0..*count).map(move |turn| MINUTE * minute + MINUTE * turn / *count))
    }

    /// How often there is a request after the function has gone to zero.
    fn wakes(&self) -> usize {
        let quiet = |minutes: &[u32]| minutes.iter().all(|count| *count == 0);
        let first = |minute: &usize| quiet(&self.minutes[minute.saturating_sub(REST)..*minute]);
        (0..self.minutes.len()).filter(|minute| self.minutes[*minute] > 0 && first(minute)).count()
    }

    async fn play(
        &self,
        test: &Context,
        client: &reqwest::Client,
        begin: Instant,
    ) -> anyhow::Result<Vec<Span>> {
        let url = url(test, &self.name, &format!("/sleep?ms={}", self.milliseconds));
        let each = self.arrivals().map(|at| {
            let url = &url;
            async move {
                sleep_until((begin + at).into()).await;
                let from = begin.elapsed();
                let answer = async { body(client.get(url).send().await?).await };
                answer.await.with_context(|| format!("the request of {} at {at:?}", self.name))?;
                Ok(Span { from, to: begin.elapsed() })
            }
        });
        try_join_all(each).await
    }
}

/// Most requests at once.
fn peak(spans: &[Span]) -> u32 {
    let mut changes: Vec<(Duration, i32)> =
        spans.iter().flat_map(|span| [(span.from, 1), (span.to, -1)]).collect();
    changes.sort_unstable();
    let mut now = 0;
    let counts = changes.into_iter().map(|(_, change)| {
        now += change;
        now
    });
    u32::try_from(counts.max().unwrap_or_default()).unwrap_or_default()
}

/// The most replicas that anything may ask for when so many requests are there at once.
fn most(policy: &Policy, requests: u32) -> u32 {
    let load = f64::from(requests);
    let seen = Observation {
        // Headroom is for when these are ready.
        ready: requests.div_ceil(policy.total()),
        stable: load,
        panic: load,
        held: requests.into(),
        pressed: requests.into(),
        busy: true,
        ..Observation::default()
    };
    let settings = Settings::default();
    decide(policy, Stage::Routed, &settings, History::default(), &seen, Duration::ZERO).1.desired
}

/// The most replicas that are decided on for these requests, second by second, with the pods that were asked for by then.
fn replayed(policy: &Policy, spans: &[Span], asked: &[(Duration, u32)]) -> u32 {
    let mut replay = Replay::new(policy.clone());
    let end = spans.iter().map(|span| span.to).max().unwrap_or_default().as_secs();
    let decided = (0..=end).map(|second| {
        let (from, to) = (Duration::from_secs(second), Duration::from_secs(second + 1));
        let within = spans.iter().map(|span| span.to.min(to).saturating_sub(span.from.max(from)));
        let requests = spans.iter().filter(|span| (from..to).contains(&span.from)).count();
        let ready = asked.iter().rfind(|(at, _)| *at <= from).map_or(0, |(_, replicas)| *replicas);
        let concurrency = within.sum::<Duration>().as_secs_f64();
        let requests = u64::try_from(requests).unwrap_or(u64::MAX);
        replay.second(Second { at: to, concurrency, requests, ready }).desired
    });
    decided.max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_trace_loses_no_request_and_replicas_follow() {
    run("trace", Needs::Cluster, async |test| {
        let functions: Vec<Recorded> =
            LINES.map(Recorded::of_line).into_iter().collect::<anyhow::Result<_>>()?;
        let deployed = functions.iter().map(async |function| {
            let Recorded { name, capacity, .. } = function;
            let env = json!([{"name": "MAX_CONCURRENCY", "value": capacity.to_string()}]);
            let manifest = hello(name, json!({"concurrency": {"limit": capacity}, "env": env}));
            let deployed = deploy_resting(test, &manifest).await?;
            let spec = &deployed.spec;
            anyhow::Ok(catnap_autoscaler_api::policy(&spec.scale, spec.concurrency_limit()))
        });
        let policies = try_join_all(deployed).await?;
        // One that asks nobody for an address: hundreds of connections begin within a second.
        let activator = Resolver::new(test.client.clone()).activator().await?;
        let names = functions.iter().map(|function| format!("{}.{}", function.name, test.namespace));
        let client = reqwest::Client::builder().no_proxy().http1_only().timeout(LONGEST);
        let client = names.fold(client, |client, name| client.resolve(&name, activator)).build()?;

        let begin = Instant::now();
        let played = async {
            let played = functions.iter().map(|function| function.play(test, &client, begin));
            let played = try_join_all(played).await?;
            try_join_all(functions.iter().map(|function| resting(test, &function.name))).await?;
            anyhow::Ok(played)
        };
        let (played, asked) = Box::pin(asked_during(test, played)).await?;
        let played = played.with_context(|| format!("{asked:#?}"))?;
        for ((function, policy), spans) in functions.iter().zip(&policies).zip(&played) {
            follows(function, policy, spans, &asked, begin)?;
        }
        Ok(())
    })
    .await;
}

/// That replicas were asked for as the requests came and went.
fn follows(
    function: &Recorded,
    policy: &Policy,
    spans: &[Span],
    asked: &[Asked],
    begin: Instant,
) -> anyhow::Result<()> {
    let name = &function.name;
    anyhow::ensure!(spans.len() == function.arrivals().count());
    let asked: Vec<(Duration, u32)> = asked
        .iter()
        .filter(|asked| asked.function == *name)
        .map(|asked| (asked.at.saturating_duration_since(begin), asked.replicas))
        .collect();
    let wakes = asked.windows(2).filter(|pair| pair[0].1 == 0).count();
    let highest = asked.iter().map(|(_, replicas)| *replicas).max().unwrap_or_default();
    let (requests, bound) = (peak(spans), most(policy, peak(spans)));
    let least = replayed(policy, spans, &asked);
    let longest = spans.iter().map(|span| span.to.saturating_sub(span.from)).max().unwrap_or_default();
    println!(
        "{name}: {} requests, {requests} at once at most, the longest {longest:?}; {highest} replicas, {least} to {bound} \
         by the formula; asked for {asked:?}",
        spans.len()
    );
    anyhow::ensure!(wakes == function.wakes(), "{name} woke {wakes} times, not {}", function.wakes());
    anyhow::ensure!(
        asked.last().is_some_and(|(_, replicas)| *replicas == 0),
        "{name} rests in the end: {asked:?}"
    );
    // The activators' seconds begin elsewhere, so their averages may be those of a moment beside.
    anyhow::ensure!(highest + 1 >= least, "{name}: {highest} replicas, and {least} were needed: {asked:?}");
    anyhow::ensure!(highest <= bound, "{name}: {highest} replicas for {requests} requests: {asked:?}");
    Ok(())
}
