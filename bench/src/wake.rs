//! How fast requests become writes of `/scale`: one alone, a thousand in the same moment, and fifty a second for a minute.
//!
//! API server and etcd are real, pods pretended by kwok. A real activator holds the requests until their callers leave, for
//! pretended pods answer nothing. The floor are the same writes by one client that knows what to write, about Deployments that
//! no process of Catnap watches; as an administrator's its calls wait for no seat at the API server.

mod node;
mod observer;
mod paced;
mod subjects;

use std::time::Duration;

use anyhow::{Context, bail};
use kube::Client;

use crate::cluster::{ClusterArgs, in_namespace};
use crate::report::{Report, Row};
use crate::rounds::Rounds;
use crate::statistics::quantile;
use paced::{Pace, Paced, paced};
use subjects::{Subjects, Written};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct WakeArgs {
    /// Functions, and Deployments of the floor.
    #[arg(long, default_value_t = 1_000)]
    functions: usize,
    /// Single wakes, while nothing else happens.
    #[arg(long, default_value_t = 100)]
    samples: usize,
    /// Counted rounds in which all are woken at once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Wakes a second.
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// For how long.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Calls of the floor's client at once: as many as the autoscaler makes.
    #[arg(long, default_value_t = 32)]
    writers: usize,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Most milliseconds from a request to the accepted write, for 99 of 100 single wakes.
const SINGLE_BAR: f64 = 10.0;
/// Largest ratio of the times until all are written.
const ALL_BAR: f64 = 1.20;

/// What was measured.
struct Outcome {
    single: Single,
    median: Rounds,
    slowest: Rounds,
    paced: Paced,
    paced_floor: Paced,
    lost: usize,
    alone: usize,
}

/// Milliseconds of single writes.
#[derive(Default)]
struct Single {
    ours: Vec<f64>,
    floor: Vec<f64>,
}

/// Runs the benchmark and returns its report.
pub(crate) async fn run(client: Client, arguments: WakeArgs) -> anyhow::Result<Report> {
    if arguments.samples == 0 || arguments.rounds == 0 || arguments.functions == 0 {
        bail!("--functions, --samples and --rounds must be at least 1");
    }
    let measuring = Box::pin(measure(&client, &arguments));
    let in_namespace = in_namespace(&client, &arguments.cluster.namespace, measuring);
    let outcome = node::pretending(&client, Box::pin(in_namespace)).await?;
    Report::new("wake", outcome.rows(&arguments)?)
}

async fn measure(client: &Client, arguments: &WakeArgs) -> anyhow::Result<Outcome> {
    let WakeArgs { functions, samples, rounds, rate, seconds, writers, cluster } = arguments;
    let subjects = Subjects::prepare(client, cluster, *functions, *writers).await?;
    eprintln!("{functions} Functions and as many Deployments rest");
    let (mut single, mut lost, mut alone) = (Single::default(), 0, 0);
    // The first warms up connections and caches and is not counted, and so the first round below.
    for sample in 0..=*samples {
        let number = sample % functions;
        let ours = subjects.wake(number).await?;
        subjects.quiet().await?;
        let floor = subjects.write(number).await?.context("a write of the floor was not seen")?;
        subjects.lower(number).await?;
        subjects.quiet().await?;
        lost += usize::from(ours.is_none());
        let Some(ours) = ours.filter(|_| sample > 0) else { continue };
        alone += usize::from(ours.alone);
        single.ours.push(milliseconds(ours.after));
        single.floor.push(milliseconds(floor.after));
    }
    subjects.stay_for_all().await?;
    subjects.quiet().await?;
    let (mut medians, mut maxima) = (Rounds::default(), Rounds::default());
    for round in 0..=*rounds {
        let ours = subjects.wake_all().await?;
        subjects.quiet().await?;
        let floor = subjects.write_all().await?;
        subjects.lower_all().await?;
        subjects.quiet().await?;
        let times = |written: &[Option<Written>]| -> Vec<f64> {
            written.iter().flatten().map(|written| milliseconds(written.after)).collect()
        };
        lost += ours.iter().filter(|written| written.is_none()).count();
        alone += ours.iter().flatten().filter(|written| written.alone).count();
        let (ours, floor) = (times(&ours), times(&floor));
        let pair = |share| anyhow::Ok([("ours", of(&ours, share)?), ("floor", of(&floor, share)?)]);
        let (median, slowest) = (pair(0.5)?, pair(1.0)?);
        eprintln!("round {round}: p50 {median:.0?} ms, last {slowest:.0?} ms");
        if round > 0 {
            medians.push(median.into());
            maxima.push(slowest.into());
        }
    }
    subjects.stay_for_each().await?;
    subjects.quiet().await?;
    let pace = Pace { rate: *rate, seconds: *seconds };
    let rests = |number| subjects.function_rests(number);
    let paced_ours = paced(pace, *functions, rests, |number| subjects.wake(number)).await?;
    subjects.quiet().await?;
    let rests = |number| subjects.floor_rests(number);
    let paced_floor = paced(pace, *functions, rests, |number| subjects.write_and_lower(number)).await?;
    lost += paced_ours.lost;
    alone += paced_ours.written.iter().filter(|written| written.alone).count();
    Ok(Outcome { single, median: medians, slowest: maxima, paced: paced_ours, paced_floor, lost, alone })
}

impl Outcome {
    fn rows(mut self, arguments: &WakeArgs) -> anyhow::Result<Vec<Row>> {
        let WakeArgs { functions, rate, rounds, .. } = arguments;
        let mut rows = Vec::new();
        for (share, name, bar) in [(0.5, "p50", None), (0.99, "p99", Some(SINGLE_BAR))] {
            let what = format!("one wake, request to write seen, {name}");
            let (ours, floor) = (of(&self.single.ours, share)?, of(&self.single.floor, share)?);
            let mut row = Row { floor: Some(floor), ..Row::plain(what, "ms", ours) };
            (row.bar, row.holds) = (bar, bar.map(|bar| ours <= bar));
            rows.push(row);
        }
        let thrown_away = self.slowest.keep_steady("floor")?;
        let row = |what: String, rounds: &Rounds, bar: f64| {
            let (ours, floor) = (rounds.median("ours")?, rounds.median("floor")?);
            anyhow::Ok(Row::against(what, "ms", ours, floor, rounds.ratio("ours", "floor")?, bar))
        };
        rows.push(row(format!("{functions} at once, last write seen"), &self.slowest, ALL_BAR)?);
        let median = row(format!("{functions} at once, p50"), &self.median, ALL_BAR)?;
        rows.push(Row { bar: None, holds: None, ..median });
        let times = |paced: &Paced| -> Vec<f64> {
            paced.written.iter().map(|written| milliseconds(written.after)).collect()
        };
        let (ours, floor) = (times(&self.paced), times(&self.paced_floor));
        for (share, name) in [(0.5, "p50"), (0.99, "p99")] {
            let row = Row::plain(format!("{rate} a second, {name}"), "ms", of(&ours, share)?);
            rows.push(Row { floor: Some(of(&floor, share)?), ..row });
        }
        let mut counted = Row::plain(format!("{rate} a second, wakes"), "", ours.len() as f64);
        counted.floor = Some(floor.len() as f64);
        rows.push(counted);
        let skipped = self.paced.skipped as f64;
        let mut skipped = Row::plain(format!("{rate} a second, moments when nothing rested"), "", skipped);
        skipped.floor = Some(self.paced_floor.skipped as f64);
        rows.push(skipped);
        rows.push(Row::none("wakes without a write within a minute", self.lost));
        rows.push(Row::plain("written by the activator itself", "", self.alone as f64));
        rows.push(Row::plain("rounds", "", *rounds as f64));
        rows.push(Row::plain("rounds thrown away", "", thrown_away as f64));
        Ok(rows)
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn of(milliseconds: &[f64], share: f64) -> anyhow::Result<f64> {
    quantile(milliseconds, share).context("nothing was measured")
}
