//! Activators end under mixed traffic: told to, one after the other, which loses nothing, also under TLS and when all of Catnap
//! is upgraded; and killed, which loses what was in flight there and nothing else.

mod edge;
mod http1;
mod http2;
mod journal;
mod killed;
mod paths;
mod previous;
mod throughput;
mod traffic;
mod tunnel;
mod upgrade;

use std::time::{Duration, Instant};

use catnap_e2e::fixture::{Context, SYSTEM_NAMESPACE, Sink, eventually, run_with};
use catnap_e2e::functions::{PATIENCE, catnap_pods, deploy, hello};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use journal::{Event, Journal, Kind};
use throughput::Throughput;
use traffic::{COLD, Traffic, WARM};

/// What the callers together must get through, however many of them wait for a new connection.
const LEAST_RATE: f64 = 500.0;
/// And in each single second: callers catch up, which must not hide that nobody was answered for a while.
const LEAST_IN_A_SECOND: usize = 250;
/// What is in flight at an activator that is told to stop gets this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// A response that still goes on this long after the restart began took it through the drain.
const LONG: Duration = Duration::from_secs(5);
/// A response that began less than this ago is in flight for more than `LONG` yet, if it is one of those that take 10 s and more.
const JUST_BEGAN: Duration = Duration::from_secs(1);

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
async fn restart_activators(test: &Context, journal: &Journal) -> anyhow::Result<Instant> {
    let old = catnap_pods(test, "activator").await?;
    a_long_response_began(journal).await?;
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

/// Waits until a response began that will be in flight for long. Those of all callers begin together and may end together: at many
/// moments none has much left.
async fn a_long_response_began(journal: &Journal) -> anyhow::Result<()> {
    eventually("a long response began", PATIENCE, async || {
        let now = Instant::now();
        let begun = journal.count(|at, caller, event| {
            let long = matches!(caller.kind, Kind::Streaming | Kind::Http2) && caller.number >= 2;
            long && matches!(event, Event::Began { .. }) && at + JUST_BEGAN > now
        });
        Ok((begun > 0).then_some(()))
    })
    .await
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

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_mixed_traffic_loses_nothing() {
    beside_traffic("mixed_rolling_restart", async |test, traffic, sink| {
        let restarted = restart_activators(test, &traffic.shared.journal).await?;
        let gone = Instant::now();
        let shared = traffic.stop().await?;
        let journal = &shared.journal;
        let through = Throughput::between(&shared, restarted, gone);

        // Only a tunnel that nobody ends is ended for its client, by a FIN and after all the time that there is.
        journal.nothing_bad_but(|at, event| {
            matches!(event, Event::Fin { .. }) && at >= restarted + DRAIN_TIMEOUT
        })?;
        all_met_one_that_went(journal, &traffic::TOLD, restarted, Instant::now())?;
        some_were_in_flight(journal, restarted)?;
        let recorded = shared.recorded.lock().clone();
        sink.expect_each_once(recorded).await?;
        through.ensure(LEAST_RATE, LEAST_IN_A_SECOND)
    })
    .await;
}
