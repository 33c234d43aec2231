//! What a cold start costs beyond what Kubernetes itself costs.
//!
//! Interleaves one cold request to a Function with the floor: a Deployment with the same pod template, scaled from 0 to 1 by
//! hand, whose pod is found by a watch and then asked until its port answers. Both times end with the first byte at the client.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use kube::Client;
use serde_json::Value;

use crate::cluster::floor::{self, Floor};
use crate::cluster::function::ColdFunction;
use crate::cluster::{ClusterArgs, in_namespace};
use crate::report::{Report, Row};
use crate::statistics::{median_ratio, quantile, steady};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct ColdArgs {
    /// Counted samples of each kind.
    #[arg(long, default_value_t = 40)]
    samples: usize,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Largest ratio of the medians.
const MEDIAN_BAR: f64 = 1.05;
/// Largest ratio of the 99th percentiles.
const TAIL_BAR: f64 = 1.20;

/// Runs the benchmark and returns its report.
pub(crate) async fn run(client: Client, arguments: ColdArgs) -> anyhow::Result<Report> {
    let ColdArgs { samples, cluster } = arguments;
    if samples == 0 {
        bail!("--samples must be at least 1");
    }
    let rounds =
        in_namespace(&client, &cluster.namespace, Box::pin(measure(&client, &cluster, samples))).await?;

    let pairs: Vec<(f64, f64)> = rounds.iter().map(|round| (round.ours, round.floor)).collect();
    let (kept, thrown_away) = steady(&pairs);
    let (ours, floor): (Vec<f64>, Vec<f64>) = kept.iter().copied().unzip();
    let of = |samples: &[f64], share| quantile(samples, share).context("no round was steady");
    let (p50, floor_p50) = (of(&ours, 0.5)?, of(&floor, 0.5)?);
    let (p99, floor_p99) = (of(&ours, 0.99)?, of(&floor, 0.99)?);
    let mut rows = vec![
        Row::against("cold request p50", "ms", p50, floor_p50, p50 / floor_p50, MEDIAN_BAR),
        Row::against("cold request p99", "ms", p99, floor_p99, p99 / floor_p99, TAIL_BAR),
    ];
    let mut paired =
        Row::plain("median of paired ratios", "x", median_ratio(&kept).context("no round was steady")?);
    paired.bar = Some(MEDIAN_BAR);
    paired.holds = Some(paired.ours <= MEDIAN_BAR);
    rows.push(paired);
    let mut phases: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (phase, milliseconds) in rounds.iter().flat_map(|round| &round.phases) {
        phases.entry(phase).or_default().push(*milliseconds);
    }
    for (phase, durations) in phases {
        rows.push(Row::plain(format!("phase {phase} p50"), "ms", of(&durations, 0.5)?));
    }
    rows.push(Row::plain("rounds counted", "", kept.len() as f64));
    rows.push(Row::plain("rounds thrown away", "", thrown_away as f64));
    Report::new("cold", rows)
}

struct Round {
    ours: f64,
    floor: f64,
    phases: Vec<(String, f64)>,
}

async fn measure(client: &Client, cluster: &ClusterArgs, samples: usize) -> anyhow::Result<Vec<Round>> {
    let function = ColdFunction::apply(client, cluster, "hello", &Value::Null).await?;
    let floor = Floor::like(client, &cluster.namespace, "floor", &function.deployment().await?).await?;
    let mut rounds = Vec::with_capacity(samples);
    // The first round warms up the machine (page cache, connections) and is not counted.
    for round in 0..=samples {
        function.rest().await?;
        let (ours, phases) = function.request("/").await?;
        function.rest().await?;
        let bare = floor::wake(&[&floor], 1, "/").await?.into_iter().max().unwrap_or_default();
        floor.rest().await?;
        let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
        eprintln!("round {round}: ours {:.1} ms, floor {:.1} ms", milliseconds(ours), milliseconds(bare));
        if round > 0 {
            rounds.push(Round { ours: milliseconds(ours), floor: milliseconds(bare), phases });
        }
    }
    Ok(rounds)
}
