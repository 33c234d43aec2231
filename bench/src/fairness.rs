//! What others do to the callers of one function: its p99 alone, while another function is flooded, and while hundreds of slow
//! clients hang on.
//!
//! Alone and disturbed take turns. The yardstick are the same callers when they call the function directly while Catnap is disturbed:
//! what the machine alone does to them. Callers, floods and pods share one core, the proxies have the other. Floods and slow
//! clients stand back behind the callers there, and no slow client keeps in step with another.

mod slow;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use crate::load::{Arrivals, OpenLoop, get};
use crate::report::{Report, Row};
use crate::rounds::Rounds;
use crate::subject::activator::{Activator, Function, Place, host};
use crate::subject::peers::{self, Behind};
use crate::subject::{Subject, backend, bare, process};

use self::slow::SlowClients;

/// Callers, floods and pods run here.
const CALLERS: usize = 0;
/// The proxy runs here.
const PROXY: usize = 1;
/// Largest p99 of the callers, in that when they are alone.
const BAR: f64 = 1.2;
/// Keep-alive connections of the callers.
const CONNECTIONS: usize = 64;
/// Requests of the flooded function that wait; one more is under way and never ends.
const QUEUE: u32 = 100;
/// Not counted, at the beginning of a slot; by then the queue is full.
const WARM_UP: Duration = Duration::from_millis(500);
/// Longest wait for the last answers of a slot.
const PATIENCE: Duration = Duration::from_secs(5);
const YARDSTICK: &str = "direct";

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct FairnessArgs {
    /// The activator's program, of the release profile.
    #[arg(long, default_value = "target/release/catnap-activator")]
    activator: PathBuf,
    /// Counted rounds.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of each slot of a round.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Requests a second of the callers.
    #[arg(long, default_value_t = 3_000.0)]
    rate: f64,
    /// Requests a second of the flood. Beyond 80 percent of a worker nothing is promised.
    #[arg(long, default_value_t = 10_000.0)]
    flood_rate: f64,
    /// Connections of the flood.
    #[arg(long, default_value_t = 512)]
    flood_connections: usize,
    /// Slow clients of each of four kinds.
    #[arg(long, default_value_t = 100)]
    slow: usize,
}

/// What is done to the callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    Flood,
    SlowClients,
}

/// Where callers, flood and slow clients go.
struct Target<'a> {
    callers: &'a Subject,
    disturbed: &'a Subject,
}

/// Runs the benchmark and returns its report.
pub(crate) async fn run(arguments: FairnessArgs) -> anyhow::Result<Report> {
    if arguments.rounds == 0 || !(0.1..=60.0).contains(&arguments.seconds) {
        bail!("--rounds must be at least 1 and --seconds between 0.1 and 60");
    }
    if !(arguments.rate > 0.0 && arguments.flood_rate > 0.0) {
        bail!("--rate and --flood-rate must be more than 0");
    }
    process::pin_this_thread(CALLERS)?;
    let directory = tempfile::tempdir().context("no directory for configuration files")?;
    let mut direct = backend::start(CALLERS, 100).await?;
    direct.name = YARDSTICK;
    let pod = bare::start(CALLERS).await?;
    let place = Place { core: PROXY, program: &arguments.activator, directory: directory.path() };
    let flooded = Function { name: "flooded", limit: 1, queue: QUEUE, ..Function::at(pod.address) };
    let slow = Function { name: "slow", ..Function::at(pod.address) };
    let catnap = Activator::start(place, &[Function::at(direct.address), flooded, slow]).await?;
    let nginx = nginx(&direct, &pod, directory.path()).await?;
    let targets = [
        Target { callers: &direct, disturbed: &catnap.subject },
        Target { callers: &catnap.subject, disturbed: &catnap.subject },
        Target { callers: &nginx, disturbed: &nginx },
    ];
    let flood = format!("{} requests a second for a full function", arguments.flood_rate);
    let slow_clients = format!("{} slow clients", 4 * arguments.slow);
    let mut rows = measure(&targets, Disturbance::Flood, &arguments).await?.rows(&flood)?;
    rows.extend(measure(&targets, Disturbance::SlowClients, &arguments).await?.rows(&slow_clients)?);
    let cores = format!("callers and the functions on core {CALLERS}, the proxy on core {PROXY}");
    Ok(Report::new("fairness", rows)?.pinned(cores))
}

/// nginx with the same functions and the same bounds.
async fn nginx(direct: &Subject, pod: &Subject, directory: &Path) -> anyhow::Result<Subject> {
    let behind = |function: &str, upstream, at_once| Behind { host: host(function), upstream, at_once };
    let behind = [
        behind("bench", direct.address, None),
        behind("flooded", pod.address, Some(QUEUE + 1)),
        behind("slow", pod.address, None),
    ];
    peers::nginx_of(PROXY, peers::PLAIN, &behind, directory).await
}

/// What became of the callers in one slot.
struct Turn {
    /// Microseconds.
    p99: f64,
    /// Requests that were not answered with success.
    failed: usize,
    /// Percent of a core that the proxy took.
    busy: f64,
}

/// A slot alone, and the one after it.
struct Pair {
    alone: Turn,
    disturbed: Turn,
}

/// What was measured of one disturbance.
#[derive(Default)]
struct Measured {
    alone: Rounds,
    disturbed: Rounds,
    ratios: Rounds,
    busy_alone: Rounds,
    busy: Rounds,
    /// Requests of Catnap's callers that were not answered with success.
    failed: usize,
}

async fn measure(
    targets: &[Target<'_>],
    disturbance: Disturbance,
    arguments: &FairnessArgs,
) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    // The first round warms up caches and pools.
    for round in 0..=arguments.rounds {
        let mut pairs = BTreeMap::new();
        for target in targets {
            let alone = turn(target, None, arguments, round).await?;
            let disturbed = turn(target, Some(disturbance), arguments, round).await?;
            pairs.insert(target.callers.name, Pair { alone, disturbed });
        }
        if round > 0 {
            measured.push(&pairs);
        }
        eprintln!("{disturbance:?}: round {round} of {}", arguments.rounds);
    }
    Ok(measured)
}

impl Measured {
    fn push(&mut self, round: &BTreeMap<&'static str, Pair>) {
        let of = |figure: fn(&Pair) -> f64| round.iter().map(|(name, pair)| (*name, figure(pair))).collect();
        self.alone.push(of(|pair| pair.alone.p99));
        self.disturbed.push(of(|pair| pair.disturbed.p99));
        self.ratios.push(of(|pair| pair.disturbed.p99 / pair.alone.p99));
        self.busy_alone.push(of(|pair| pair.alone.busy));
        self.busy.push(of(|pair| pair.disturbed.busy));
        self.failed += round.get("catnap").map_or(0, |pair| pair.alone.failed + pair.disturbed.failed);
    }

    fn rows(mut self, what: &str) -> anyhow::Result<Vec<Row>> {
        // In these the machine disturbed the callers by itself.
        let thrown_away = self.ratios.keep_steady(YARDSTICK)?;
        let title = format!("{what}: p99 of others, ratio to alone");
        let mut p99 = Row::plain(title, "µs", self.disturbed.median("catnap")?);
        p99.floor = Some(self.disturbed.median(YARDSTICK)?);
        p99.peers.insert("alone".to_owned(), self.alone.median("catnap")?);
        p99.peers.insert("nginx".to_owned(), self.disturbed.median("nginx")?);
        p99.hold(self.ratios.ratios("catnap")?, BAR);
        let mut ratio = Row::plain(format!("{what}: ratio to alone"), "x", self.ratios.median("catnap")?);
        ratio.floor = Some(self.ratios.median(YARDSTICK)?);
        ratio.peers.insert("nginx".to_owned(), self.ratios.median("nginx")?);
        let mut busy = Row::plain(format!("{what}: the worker is busy"), "%", self.busy.median("catnap")?);
        busy.peers.insert("alone".to_owned(), self.busy_alone.median("catnap")?);
        busy.peers.insert("nginx".to_owned(), self.busy.median("nginx")?);
        let failed = Row::none(format!("{what}: others' requests not answered with 200"), self.failed);
        let thrown_away = Row::plain(format!("{what}: rounds thrown away"), "", thrown_away as f64);
        Ok(vec![p99, ratio, busy, failed, thrown_away])
    }
}

async fn turn(
    target: &Target<'_>,
    disturbance: Option<Disturbance>,
    arguments: &FairnessArgs,
    round: usize,
) -> anyhow::Result<Turn> {
    let address = target.disturbed.address;
    let slot = Duration::from_secs_f64(arguments.seconds);
    let seed = u64::try_from(round)?;
    let flood = (disturbance == Some(Disturbance::Flood)).then(|| {
        let arrivals = Arrivals {
            rate: arguments.flood_rate,
            // Longer than the callers.
            length: WARM_UP + slot,
            // What waits is not answered.
            patience: Duration::ZERO,
            seed: seed + 1_000_000,
        };
        let connections = arguments.flood_connections;
        std::thread::spawn(move || {
            // The callers share its core, and must not wait for it there: only in the proxy.
            process::stand_back()?;
            OpenLoop::connect(address, connections, get(&host("flooded"), bare::HOLD))?.run(arrivals)
        })
    });
    let slow_clients = if disturbance == Some(Disturbance::SlowClients) {
        Some(SlowClients::start(address, &host("slow"), arguments.slow).await?)
    } else {
        None
    };
    let (callers, rate) = (target.callers.address, arguments.rate);
    let warmed = tokio::task::spawn_blocking(move || {
        let mut load = OpenLoop::connect(callers, CONNECTIONS, get(&host("bench"), "/some/path"))?;
        load.run(Arrivals { rate, length: WARM_UP, patience: PATIENCE, seed })?;
        anyhow::Ok(load)
    });
    let mut load = warmed.await?.with_context(|| format!("calling {}", target.callers.name))?;
    let (started, before) = (Instant::now(), target.disturbed.cpu()?);
    let running = tokio::task::spawn_blocking(move || {
        load.run(Arrivals { rate, length: slot, patience: PATIENCE, seed: seed + 1_000 })
    });
    let outcome = running.await?.with_context(|| format!("calling {}", target.callers.name))?;
    let spent = target.disturbed.cpu()?.saturating_sub(before);
    let busy = spent.as_secs_f64() / started.elapsed().as_secs_f64() * 100.0;
    if let Some(flood) = flood {
        let ended = tokio::task::spawn_blocking(move || flood.join()).await?;
        let flood = ended.map_err(|_| anyhow!("the flood broke off"))?.context("flooding")?;
        if flood.refused == 0 {
            bail!("the flooded function never refused a request: it was not full");
        }
    }
    if let Some(slow_clients) = slow_clients {
        slow_clients.stop().await?;
    }
    Ok(Turn { p99: outcome.latency(0.99)?, failed: outcome.refused + outcome.lost, busy })
}
