//! What many Functions cost that all rest: the time until one more is Ready, writes while nothing happens, memory and CPU.
//!
//! The API server is real, and pods are not needed: the Functions begin at zero. Beside each Function that is timed, one client
//! writes the objects that it becomes plainly.

mod crowd;
mod idle;
mod processes;

use std::time::Duration;

use anyhow::{Context, bail};
use kube::Client;

use crate::cluster::ClusterArgs;
use crate::cluster::function::{delete_namespace, make_namespace};
use crate::report::{Report, Row};
use crate::statistics::quantile;
use crowd::Crowd;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct ScaleArgs {
    /// How many Functions there are, from few to many.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000])]
    functions: Vec<usize>,
    /// Functions that are timed, one after the other, where so many are there.
    #[arg(long, default_value_t = 30)]
    samples: usize,
    /// For how long nothing happens.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Keep the namespace, where the cluster ends after the run: to delete ten thousand Functions takes longer than to make them.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Largest ratio of the time to Ready to that with fewer Functions.
const READY_BAR: f64 = 1.20;
/// Most MiB of a process.
const MEMORY_BAR: f64 = 100.0;
/// Most thousandths of a core of a process while nothing happens.
const CPU_BAR: f64 = 5.0;

/// Runs the benchmark and returns its report.
pub(crate) async fn run(client: Client, arguments: ScaleArgs) -> anyhow::Result<Report> {
    if arguments.samples == 0 || arguments.seconds == 0 || !arguments.functions.is_sorted() {
        bail!("--samples and --seconds must be at least 1, and --functions must rise");
    }
    processes::check()?;
    let namespace = &arguments.cluster.namespace;
    make_namespace(&client, namespace).await?;
    let outcome = Box::pin(measure(&client, &arguments)).await;
    if !arguments.keep {
        delete_namespace(&client, namespace).await?;
    }
    Report::new("scale", outcome?)
}

async fn measure(client: &Client, arguments: &ScaleArgs) -> anyhow::Result<Vec<Row>> {
    let ScaleArgs { functions, samples, seconds, cluster, .. } = arguments;
    let mut crowd = Crowd::start(client, &cluster.namespace, &cluster.image).await?;
    let mut rows = Vec::new();
    let mut before: Option<f64> = None;
    for &count in functions {
        let made = crowd.grow(count).await?;
        eprintln!(
            "{count} Functions are there; the last {} came at {:.0} a second",
            made.functions,
            made.rate()
        );
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..*samples {
            ours.push(milliseconds(crowd.time_one().await?));
            floor.push(milliseconds(crowd.time_plain().await?));
        }
        let of = |times: &[f64]| quantile(times, 0.5).context("nothing was measured");
        let (ours, floor) = (of(&ours)?, of(&floor)?);
        let mut row = Row {
            floor: Some(floor),
            ..Row::plain(format!("one more beside {count}, Ready p50"), "ms", ours)
        };
        if let Some(before) = before.replace(ours) {
            row.hold(ours / before, READY_BAR);
        }
        rows.push(row);
        rows.push(Row::plain(format!("{count}, made and Ready a second"), "", made.rate()));
        let idle = idle::watch(client, Duration::from_secs(*seconds)).await?;
        let settle = idle::SETTLE_LIMIT.as_secs();
        rows.push(Row::none(format!("{count}, kinds of writes that go on for {settle} s"), idle.endless));
        rows.push(Row::none(format!("{count}, writes in {seconds} s of rest, without Leases"), idle.writes));
        if idle.writes > 0 {
            eprintln!("written at rest: {}", idle.what);
        }
        for process in idle.processes {
            let memory = Row::plain(format!("{count}, {} resident", process.name), "MiB", process.resident);
            rows.push(at_most(memory, MEMORY_BAR));
            let cpu = Row::plain(format!("{count}, {} at rest", process.name), "mCPU", process.millicores);
            rows.push(at_most(cpu, CPU_BAR));
        }
    }
    Ok(rows)
}

/// Held against an amount.
fn at_most(row: Row, bar: f64) -> Row {
    Row { bar: Some(bar), holds: Some(row.ours <= bar), ..row }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
