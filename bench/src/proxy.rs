//! CPU that a proxied request costs: Catnap beside nginx and `HAProxy`, in turns, in front of the same small backend.
//!
//! The yardstick is what that backend itself spends on a request when it is called directly, in a slot of its own of each
//! round: it moves with the machine as the others do. Callers and backend share one core, the proxy has the other.

mod load;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use self::load::{Load, Shape};
use crate::report::{Report, Row};
use crate::statistics::quantile;
use crate::subject::{Subject, activator, backend, peers, process};

/// Callers and backend run here.
const CALLERS: usize = 0;
/// The proxy runs here.
const PROXY: usize = 1;
/// Largest CPU a request, in that of nginx.
const NGINX_BAR: f64 = 1.0;
/// Not counted, at the beginning of a slot.
const WARM_UP: Duration = Duration::from_millis(300);

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct ProxyArgs {
    /// The activator's program, of the release profile.
    #[arg(long, default_value = "target/release/catnap-activator")]
    activator: PathBuf,
    /// Counted rounds.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of each slot of a round.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
}

/// Runs the benchmark and returns its report.
pub(crate) async fn run(arguments: ProxyArgs) -> anyhow::Result<Report> {
    let ProxyArgs { activator, rounds, seconds } = arguments;
    if rounds == 0 || !(0.1..=60.0).contains(&seconds) {
        bail!("--rounds must be at least 1 and --seconds between 0.1 and 60");
    }
    let slot = Duration::from_secs_f64(seconds);
    process::pin_this_thread(CALLERS)?;
    let directory = tempfile::tempdir().context("no directory for configuration files")?;
    let mut rows = Vec::new();
    for shape in Shape::ALL {
        let backend = backend::start(CALLERS, shape.body_bytes()).await?;
        let upstream = backend.address;
        let catnap = activator::start(PROXY, &activator, upstream, false, directory.path()).await?;
        let nginx = peers::nginx(PROXY, upstream, directory.path()).await?;
        let haproxy = peers::haproxy(PROXY, upstream, directory.path()).await?;
        let subjects = [&backend, &catnap.subject, &nginx, &haproxy];
        rows.extend(measure(shape, &subjects, rounds, slot).await?);
    }
    Report::new("proxy", rows)
}

/// CPU a request of every subject, one inner list a round.
async fn measure(
    shape: Shape,
    subjects: &[&Subject],
    rounds: usize,
    slot: Duration,
) -> anyhow::Result<Vec<Row>> {
    let mut costs: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let mut rates: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    // The first round warms up caches, pools and branch predictors.
    for round in 0..=rounds {
        for subject in subjects {
            let (cost, rate) = turn(shape, subject, slot).await?;
            if round > 0 {
                costs.entry(subject.name).or_default().push(cost);
                rates.entry(subject.name).or_default().push(rate);
            }
        }
        eprintln!("{}: round {round} of {rounds}", shape.name());
    }
    let median = |of: &[f64]| quantile(of, 0.5).context("no round was counted");
    let [direct, ours] = ["backend", "catnap"].map(|name| costs[name].as_slice());
    let units = paired(ours, direct)?;
    let mut row = Row::plain(format!("{}: CPU a request, ratio to nginx", shape.name()), "µs", median(ours)?);
    row.floor = Some(median(direct)?);
    for peer in ["nginx", "haproxy"] {
        row.peers.insert(peer.to_owned(), median(&costs[peer])?);
    }
    row.ratio = Some(paired(ours, &costs["nginx"])?);
    row.bar = Some(NGINX_BAR);
    row.holds = row.ratio.map(|ratio| ratio <= NGINX_BAR);
    let mut in_yardsticks = Row::plain(format!("{}: in yardsticks", shape.name()), "x", units);
    for peer in ["nginx", "haproxy"] {
        in_yardsticks.peers.insert(peer.to_owned(), paired(&costs[peer], direct)?);
    }
    let mut rate = Row::plain(format!("{}: requests a second", shape.name()), "", median(&rates["catnap"])?);
    for peer in ["nginx", "haproxy"] {
        rate.peers.insert(peer.to_owned(), median(&rates[peer])?);
    }
    Ok(vec![row, in_yardsticks, rate])
}

/// Median of the ratios within a round.
fn paired(left: &[f64], right: &[f64]) -> anyhow::Result<f64> {
    let ratios: Vec<f64> = left.iter().zip(right).map(|(left, right)| left / right).collect();
    quantile(&ratios, 0.5).context("no round was counted")
}

/// Microseconds of CPU a request, and requests a second.
async fn turn(shape: Shape, subject: &Subject, slot: Duration) -> anyhow::Result<(f64, f64)> {
    let address = subject.address;
    let load = tokio::task::spawn_blocking(move || -> anyhow::Result<Load> {
        let mut load = Load::connect(address, shape)?;
        load.run(WARM_UP)?;
        Ok(load)
    });
    let mut load = load.await?.with_context(|| format!("calling {}", subject.name))?;
    let before = subject.process.cpu()?;
    let (answered, took) = tokio::task::spawn_blocking(move || load.run(slot)).await??;
    let spent = subject.process.cpu()?.saturating_sub(before);
    if answered == 0 {
        bail!("{} answered nothing", subject.name);
    }
    Ok((spent.as_secs_f64() * 1e6 / answered as f64, answered as f64 / took.as_secs_f64()))
}
