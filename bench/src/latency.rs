//! Latency of a proxied request at fixed rates, as callers see it who do not wait for each other.
//!
//! The rates are shares of nginx's knee, which is what it answers in a closed loop at the beginning of each round: latencies compare
//! only at the same rate, and the machine's speed moves from round to round. Callers and backend share one core, the proxies have
//! the other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::load::{Arrivals, ClosedLoop, OpenLoop, Outcome, get};
use crate::report::{Report, Row};
use crate::rounds::Rounds;
use crate::subject::activator::{Activator, Function, Place};
use crate::subject::{Subject, backend, peers, process};

/// Callers and backend run here.
const CALLERS: usize = 0;
/// The proxy runs here.
const PROXY: usize = 1;
/// Shares of the knee, in percent.
const SHARES: [u32; 3] = [25, 50, 75];
/// The share that bars are about.
const BARRED: u32 = 50;
/// Quantiles, with the largest ratio to nginx.
const QUANTILES: [(&str, f64, f64); 2] = [("p50", 0.5, 1.2), ("p99", 0.99, 1.5)];
/// Under way at once while the knee is looked for.
const KNEE_CONNECTIONS: usize = 64;
const KNEE_TIME: Duration = Duration::from_millis(700);
/// Not counted, at the beginning of a slot.
const WARM_UP: Duration = Duration::from_millis(300);
/// Longest wait for the last answers of a slot.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is behind the proxies.
const YARDSTICK: &str = "direct";

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct LatencyArgs {
    /// The activator's program, of the release profile.
    #[arg(long, default_value = "target/release/catnap-activator")]
    activator: PathBuf,
    /// Counted rounds.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of each slot of a round.
    #[arg(long, default_value_t = 1.7)]
    seconds: f64,
    /// Keep-alive connections of the callers, used in turns.
    #[arg(long, default_value_t = 256)]
    connections: usize,
}

/// Runs the benchmark and returns its report.
pub(crate) async fn run(arguments: LatencyArgs) -> anyhow::Result<Report> {
    let LatencyArgs { activator, rounds, seconds, connections } = arguments;
    if rounds == 0 || connections == 0 || !(0.1..=60.0).contains(&seconds) {
        bail!("--rounds and --connections must be at least 1 and --seconds between 0.1 and 60");
    }
    process::pin_this_thread(CALLERS)?;
    let directory = tempfile::tempdir().context("no directory for configuration files")?;
    let directory = directory.path();
    let mut direct = backend::start(CALLERS, 100).await?;
    direct.name = YARDSTICK;
    let place = Place { core: PROXY, program: &activator, directory };
    let catnap = Activator::start(place, &[Function::at(direct.address)]).await?;
    let nginx = peers::nginx(PROXY, peers::PLAIN, direct.address, directory).await?;
    let haproxy = peers::haproxy(PROXY, peers::PLAIN, direct.address, directory).await?;
    let subjects = [&direct, &nginx, &catnap.subject, &haproxy];
    let measured = measure(&subjects, &nginx, rounds, Duration::from_secs_f64(seconds), connections).await?;
    let cores = format!("callers and the function on core {CALLERS}, the proxy on core {PROXY}");
    Ok(Report::new("latency", measured.rows()?)?.pinned(cores))
}

/// All figures, those of each quantile of each share apart.
#[derive(Default)]
pub(crate) struct Measured {
    latencies: BTreeMap<(u32, &'static str), Rounds>,
    knees: Rounds,
    /// How late the callers were at `BARRED`, as the p99.
    lags: Rounds,
    /// Requests of Catnap that were not answered with success.
    failed: usize,
}

pub(crate) async fn measure(
    subjects: &[&Subject],
    nginx: &Subject,
    rounds: usize,
    slot: Duration,
    connections: usize,
) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    // The first round warms up caches and pools.
    for round in 0..=rounds {
        let knee = knee(nginx, KNEE_TIME.min(slot)).await?;
        let counted = round > 0;
        if counted {
            measured.knees.push([("nginx", knee)].into());
        }
        for share in SHARES {
            let rate = knee * f64::from(share) / 100.0;
            let seed = u64::try_from(round)? * 1_000 + u64::from(share);
            let mut figures: BTreeMap<&str, BTreeMap<&'static str, f64>> = BTreeMap::new();
            let mut lags = BTreeMap::new();
            for subject in subjects {
                let arrivals = Arrivals { rate, length: slot, patience: PATIENCE, seed };
                let outcome = turn(subject, arrivals, connections).await?;
                if subject.name == "catnap" {
                    measured.failed += outcome.refused + outcome.lost;
                }
                for (name, quantile, _) in QUANTILES {
                    figures.entry(name).or_default().insert(subject.name, outcome.latency(quantile)?);
                }
                lags.insert(subject.name, outcome.lag(0.99)?);
            }
            if counted {
                for (name, figures) in
                    QUANTILES.iter().filter_map(|(name, ..)| Some((*name, figures.remove(name)?)))
                {
                    measured.latencies.entry((share, name)).or_default().push(figures);
                }
                if share == BARRED {
                    measured.lags.push(lags);
                }
            }
        }
        eprintln!("round {round} of {rounds}: knee {knee:.0} requests a second");
    }
    Ok(measured)
}

impl Measured {
    pub(crate) fn rows(mut self) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut thrown_away = 0;
        for ((share, quantile), rounds) in &mut self.latencies {
            thrown_away += rounds.keep_steady(YARDSTICK)?;
            let what = format!("{share} % of the knee: {quantile}, ratio to nginx");
            let mut row = Row::plain(what, "µs", rounds.median("catnap")?);
            row.floor = Some(rounds.median(YARDSTICK)?);
            for peer in ["nginx", "haproxy"] {
                row.peers.insert(peer.to_owned(), rounds.median(peer)?);
            }
            let ratio = rounds.ratio("catnap", "nginx")?;
            let bar = QUANTILES.iter().find(|(name, ..)| name == quantile).map(|(.., bar)| *bar);
            if let Some(bar) = bar.filter(|_| *share == BARRED) {
                row.hold(ratio, bar);
            } else {
                (row.ratio, row.spread) = (Some(ratio.median), ratio.spread);
            }
            rows.push(row);
        }
        rows.push(Row::none("requests not answered with 200", self.failed));
        rows.push(Row::plain("knee of nginx, requests a second", "", self.knees.median("nginx")?));
        let what = format!("{BARRED} % of the knee: lateness of the callers, p99");
        rows.push(Row::plain(what, "µs", self.lags.median("catnap")?));
        rows.push(Row::plain("slots thrown away", "", thrown_away as f64));
        Ok(rows)
    }
}

/// Requests a second that it answers when it has always some to answer.
async fn knee(subject: &Subject, time: Duration) -> anyhow::Result<f64> {
    let address = subject.address;
    let load = tokio::task::spawn_blocking(move || {
        ClosedLoop::connect(address, KNEE_CONNECTIONS, request())?.run(time)
    });
    let (answered, took) = load.await?.context("looking for the knee")?;
    Ok(answered as f64 / took.as_secs_f64())
}

async fn turn(subject: &Subject, arrivals: Arrivals, connections: usize) -> anyhow::Result<Outcome> {
    let address = subject.address;
    let load = tokio::task::spawn_blocking(move || {
        let mut load = OpenLoop::connect(address, connections, request())?;
        load.run(Arrivals { length: WARM_UP.min(arrivals.length), ..arrivals })?;
        load.run(arrivals)
    });
    load.await?.with_context(|| format!("calling {}", subject.name))
}

fn request() -> Vec<u8> {
    get("bench.default", "/some/path")
}
