//! What a cold start costs beyond what Kubernetes itself costs.
//!
//! Interleaves one cold request to a Function with the floor: a Deployment with the same pod template, scaled from 0 to 1 by
//! hand, whose pod is found by a watch and then asked until its port answers; and with a Service of Knative where that is
//! wanted. All times end with the first byte at the client.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use kube::Client;
use serde_json::Value;

use crate::cluster::floor::{self, Floor};
use crate::cluster::function::ColdFunction;
use crate::cluster::knative::{self, KnativeService, RESTS_SOON};
use crate::cluster::{ClusterArgs, PeerArgs, in_namespace};
use crate::report::{Report, Row};
use crate::rounds::Rounds;
use crate::statistics::quantile;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct ColdArgs {
    /// Counted samples of each kind.
    #[arg(long, default_value_t = 40)]
    samples: usize,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    peers: PeerArgs,
}

/// Largest ratio of the medians.
const MEDIAN_BAR: f64 = 1.05;
/// Largest ratio of the 99th percentiles.
const TAIL_BAR: f64 = 1.20;
/// Largest ratio of the medians to Knative's.
const KNATIVE_BAR: f64 = 0.35;

/// Runs the benchmark and returns its report.
pub(crate) async fn run(client: Client, arguments: ColdArgs) -> anyhow::Result<Report> {
    if arguments.samples == 0 {
        bail!("--samples must be at least 1");
    }
    let namespace = &arguments.cluster.namespace;
    let Measured { mut rounds, phases } =
        in_namespace(&client, namespace, Box::pin(measure(&client, &arguments))).await?;

    let thrown_away = rounds.keep_steady("floor")?;
    let beside_knative = arguments.peers.knative.is_some();
    let mut rows = Vec::new();
    for (which, share, bar) in [("p50", 0.5, MEDIAN_BAR), ("p99", 0.99, TAIL_BAR)] {
        let (ours, floor) = (rounds.quantile("ours", share)?, rounds.quantile("floor", share)?);
        let what = format!("cold request {which}");
        let mut row = Row::against(what, "ms", ours, floor, ours / floor, bar);
        if beside_knative {
            row.peers.insert(knative::NAME.into(), rounds.quantile(knative::NAME, share)?);
        }
        rows.push(row);
    }
    let paired = rounds.ratio("ours", "floor")?;
    let mut row = Row::plain("median of paired ratios", "x", paired.median);
    row.hold(paired, MEDIAN_BAR);
    rows.push(row);
    if beside_knative {
        let paired = rounds.ratio("ours", knative::NAME)?;
        let mut row = Row::plain("median of paired ratios to Knative", "x", paired.median);
        row.hold(paired, KNATIVE_BAR);
        rows.push(row);
    }
    for (phase, durations) in phases {
        let median = quantile(&durations, 0.5).context("a phase without a sample")?;
        rows.push(Row::plain(format!("phase {phase} p50"), "ms", median));
    }
    rows.push(Row::plain("rounds counted", "", rounds.count() as f64));
    rows.push(Row::plain("rounds thrown away", "", thrown_away as f64));
    Report::new("cold", rows)
}

struct Measured {
    rounds: Rounds,
    /// Milliseconds of each phase that the activator reports.
    phases: BTreeMap<String, Vec<f64>>,
}

async fn measure(client: &Client, arguments: &ColdArgs) -> anyhow::Result<Measured> {
    let ColdArgs { samples, cluster, peers } = arguments;
    let function = ColdFunction::apply(client, cluster, "hello", &Value::Null).await?;
    let floor = Floor::like(client, &cluster.namespace, "floor", &function.deployment().await?).await?;
    let knative = match peers.knative {
        Some(activator) => {
            Some(KnativeService::apply(client, cluster, activator, "hello", None, RESTS_SOON).await?)
        }
        None => None,
    };
    let mut measured = Measured { rounds: Rounds::default(), phases: BTreeMap::new() };
    // The first round warms up the machine (page cache, connections) and is not counted.
    for round in 0..=*samples {
        // Nothing of a peer is there while another is measured.
        if let Some(service) = &knative {
            service.rest().await?;
        }
        function.rest().await?;
        let (ours, phases) = function.request("/").await?;
        function.rest().await?;
        let bare = floor::wake(&[&floor], 1, "/").await?.into_iter().max().unwrap_or_default();
        floor.rest().await?;
        let mut times = BTreeMap::from([("ours", milliseconds(ours)), ("floor", milliseconds(bare))]);
        if let Some(service) = &knative {
            times.insert(knative::NAME, milliseconds(service.request("/").await?));
        }
        let said: Vec<String> = times.iter().map(|(name, time)| format!("{name} {time:.1} ms")).collect();
        eprintln!("round {round}: {}", said.join(", "));
        if round > 0 {
            measured.rounds.push(times);
            for (phase, duration) in phases {
                measured.phases.entry(phase).or_default().push(duration);
            }
        }
    }
    Ok(measured)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
