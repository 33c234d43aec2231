//! Activators end under mixed traffic: told to, one after the other, which loses nothing, also under TLS and when all of Catnap
//! is upgraded; and killed, which loses what was in flight there and nothing else.

mod edge;
mod http1;
mod http2;
mod journal;
mod paths;
mod previous;
mod traffic;
mod tunnel;
mod upgrade;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, SYSTEM_NAMESPACE, Sink, eventually, run_with, within};
use catnap_e2e::functions::{PATIENCE, catnap_pods, deploy, hello};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};
use nix::sys::signal::{Signal, kill};
use serde_json::json;
use tokio::time::interval;

use crate::activators::{is_ready, process_of};
use journal::{Event, Journal, Kind};
use paths::connections_of;
use traffic::{COLD, Traffic, WARM};

/// What the callers together must get through, however many of them wait for a new connection.
const LEAST_RATE: f64 = 500.0;
/// And in each single second: callers catch up, which must not hide that nobody was answered for a while.
const LEAST_IN_A_SECOND: usize = 250;
/// What is in flight at an activator that is told to stop gets this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// A response that still goes on this long after the restart began took it through the drain.
const LONG: Duration = Duration::from_secs(5);
/// A caller whose activator was killed has an answer over another connection after this long.
const GOES_ON: Duration = Duration::from_secs(1);
/// Between two looks at what connections there are.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A value of the chart.
fn drain() -> String {
    format!("activator.drainTimeoutSeconds={}", DRAIN_TIMEOUT.as_secs())
}

/// Runs a test with two activators and traffic.
async fn beside_traffic(name: &str, test: impl AsyncFnOnce(&Context, Traffic, &Sink) -> anyhow::Result<()>) {
    run_with(name, &["activator.replicas=2", &drain()], async |context| with_traffic(context, test).await)
        .await;
}

/// Makes the functions that the traffic calls, and runs a test once it flows.
async fn with_traffic(
    context: &Context,
    test: impl AsyncFnOnce(&Context, Traffic, &Sink) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let sink = context.sink().await?;
    let env = json!([{"name": "SINK_URL", "value": sink.url()}]);
    // Two pods, always: what is tried here is not how it grows.
    let warm = hello(WARM, json!({"env": env, "scale": {"min": 2, "max": 2}}));
    let cold = COLD.map(|name| hello(name, json!({"env": env})));
    try_join_all([warm].iter().chain(&cold).map(|function| deploy(context, function))).await?;
    let traffic = Traffic::start(context).await?;
    eventually("the traffic flows", PATIENCE, async || {
        let journal = &traffic.shared.journal;
        let cold = journal.count(|_, _, event| matches!(event, Event::Cold));
        let answered = journal.count(|_, _, event| matches!(event, Event::Answered { .. }));
        Ok((answered > 2_000 && cold >= COLD.len()).then_some(()))
    })
    .await?;
    test(context, traffic, &sink).await
}

/// A line for people, with the test's output.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Restarts the activators, and waits until those that were there are gone; when it began.
async fn restart_activators(test: &Context) -> anyhow::Result<Instant> {
    let old = catnap_pods(test, "activator").await?;
    let restarted = Instant::now();
    let system = ["--namespace", SYSTEM_NAMESPACE];
    let restart = ["rollout", "restart", "deployment/catnap-activator"];
    test.kubectl(&[&restart[..], &system].concat(), "").await?;
    let pods: Api<Pod> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
    for pod in &old {
        let name = pod.name_any();
        eventually(&format!("{name} has drained and is gone"), PATIENCE, async || {
            Ok(pods.get_metadata_opt(&name).await?.is_none().then_some(()))
        })
        .await?;
    }
    Ok(restarted)
}

/// Fails unless every caller of some kinds met an activator that went between two moments, in the way that its protocol has for it.
fn all_met_one_that_went(
    journal: &Journal,
    kinds: &[(Kind, usize)],
    from: Instant,
    until: Instant,
) -> anyhow::Result<()> {
    for (kind, callers) in kinds {
        let met = journal.callers(|at, caller, event| {
            let went = match kind {
                Kind::KeepAlive => matches!(event, Event::Closed),
                Kind::Http2 => matches!(event, Event::GoAway),
                Kind::Endless | Kind::WebSocket => matches!(event, Event::Fin { .. }),
                Kind::Cold => matches!(event, Event::Cold),
                Kind::NewConnections | Kind::Streaming => false,
            };
            caller.kind == *kind && went && (from..until).contains(&at)
        });
        anyhow::ensure!(met.len() == *callers, "{kind:?}: only {met:?} met what they should");
    }
    Ok(())
}

/// Fails unless a response was in flight when something began, and came to its end long after.
fn some_were_in_flight(journal: &Journal, begin: Instant) -> anyhow::Result<()> {
    let spanning = journal.count(|at, caller, event| {
        let long = matches!(caller.kind, Kind::Streaming | Kind::Http2);
        long && matches!(event, Event::Answered { sent } if *sent < begin && at > begin + LONG)
    });
    anyhow::ensure!(spanning > 0, "no long response was in flight");
    Ok(())
}

/// Requests a second between two moments.
fn rate(journal: &Journal, from: Instant, until: Instant) -> f64 {
    journal.answered(from, until) as f64 / (until - from).as_secs_f64()
}

/// What the callers together got through between two moments.
struct Got {
    /// Requests a second.
    rate: f64,
    /// Requests in the whole second in which they were the fewest.
    least: usize,
}

impl Got {
    /// Fails when it is less than so many requests a second, or than `least` in one of them.
    fn ensure(&self, rate: f64, least: usize) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.rate >= rate && self.least >= least,
            "only {:.0} requests a second, and {} in one",
            self.rate,
            self.least
        );
        Ok(())
    }
}

/// What they got through between two moments; says it, with all that happened.
fn got_through(journal: &Journal, from: Instant, until: Instant) -> Got {
    let rate = rate(journal, from, until);
    let least = journal.least_in_a_second(from, until);
    let took = until - from;
    say(&format!("{rate:.0} requests a second, at least {least}, for {took:?}; {}", journal.summary()));
    Got { rate, least }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_mixed_traffic_loses_nothing() {
    beside_traffic("mixed_rolling_restart", async |test, traffic, sink| {
        let restarted = restart_activators(test).await?;
        let gone = Instant::now();
        let shared = traffic.stop().await?;
        let journal = &shared.journal;
        let got = got_through(journal, restarted, gone);

        // Only a tunnel that nobody ends is ended for its client, by a FIN and after all the time that there is.
        journal.nothing_bad_but(|at, event| {
            matches!(event, Event::Fin { .. }) && at >= restarted + DRAIN_TIMEOUT
        })?;
        all_met_one_that_went(journal, &traffic::TOLD, restarted, Instant::now())?;
        some_were_in_flight(journal, restarted)?;
        let recorded = shared.recorded.lock().clone();
        sink.expect_each_once(recorded).await?;
        got.ensure(LEAST_RATE, LEAST_IN_A_SECOND)
    })
    .await;
}

/// What "others go on within 1 s" means here. A killed activator's address refuses connections at once, for its pod stays; the
/// Service leads new connections there until kubelet, the API server and kube-proxy have all noticed, which is seconds. So a
/// caller that was refused a connection opens another one at once, as HTTP clients do, and each that lost a request or a
/// connection, or was refused one, must have an answer to something that it asked after the kill within a second of the kill.
/// Requests to functions at zero are left out of that: a cold start has a time of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_activator_loses_only_what_was_in_flight_there() {
    beside_traffic("mixed_kill", async |test, traffic, sink| {
        let victim = catnap_pods(test, "activator").await?.into_iter().next().context("no activator")?;
        let address = victim.status.as_ref().and_then(|status| status.pod_ip.as_deref());
        let address: IpAddr = address.context("an activator without an address")?.parse()?;
        let process = process_of(&victim)?;
        let killed = Instant::now();
        kill(process, Signal::SIGKILL)?;
        // At once and again: of connections that broke it is not known for long, and until the process is gone the kernel takes
        // further ones for it.
        let mut connections = BTreeSet::new();
        let mut looks = interval(LOOK_EVERY);
        while killed.elapsed() < GOES_ON {
            looks.tick().await;
            connections.extend(connections_of(traffic.shared.activator).await?);
        }
        let journal = &traffic.shared.journal;
        let name = victim.name_any();
        let api: Api<Pod> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
        within(PATIENCE, &api, &name, |pod| {
            let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
            is_ready(pod) && containers.into_iter().any(|container| container.restart_count > 0)
        })
        .await?;
        let restarted = Instant::now();
        eventually("functions at zero wake again", PATIENCE, async || {
            let woken = journal.callers(|at, _, event| at > restarted && matches!(event, Event::Cold)).len();
            Ok((woken == COLD.len()).then_some(()))
        })
        .await?;
        let ended = Instant::now();
        let shared = traffic.stop().await?;
        let journal = &shared.journal;
        let rate = rate(journal, killed, ended);
        let interrupted = journal.callers(|at, _, event| at >= killed && event.interrupts());
        let went_on = journal.first_answers_after(killed);
        let slowest = interrupted
            .iter()
            .filter(|caller| caller.kind != Kind::Cold)
            .map(|caller| (went_on.get(caller).copied().unwrap_or(Duration::MAX), *caller))
            .max();
        let refused = journal.last(|event| matches!(event, Event::Refused)).map(|at| at - killed);
        say(&format!(
            "{rate:.0} requests a second for {:?}; slowest to go on: {slowest:?}; last refused after {refused:?}; {}",
            ended - killed,
            journal.summary()
        ));

        let there = |local: &SocketAddr| connections.contains(&(local.port(), address));
        journal.nothing_bad_but(|at, event| match event {
            Event::Refused => at >= killed,
            Event::Lost { local, .. } | Event::Fin { local } => {
                there(local) && at >= killed && at < killed + GOES_ON
            }
            _ => false,
        })?;
        let lost = journal.count(|_, _, event| matches!(event, Event::Lost { .. }));
        anyhow::ensure!(lost > 0, "nobody noticed the kill");
        anyhow::ensure!(slowest.is_some_and(|(after, _)| after < GOES_ON), "slowest to go on: {slowest:?}");
        // What was lost may have been served once, or not.
        let reports = sink.reports().await;
        let answered = shared.recorded.lock();
        let missing: Vec<_> = answered.iter().filter(|id| !reports.contains_key(*id)).collect();
        let doubled: Vec<_> = reports.iter().filter(|(_, times)| **times > 1).collect();
        anyhow::ensure!(missing.is_empty() && doubled.is_empty(), "missing {missing:?}, doubled {doubled:?}");
        anyhow::ensure!(rate >= LEAST_RATE, "only {rate:.0} requests a second");
        Ok(())
    })
    .await;
}
