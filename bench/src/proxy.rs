//! CPU that a proxied request costs: Catnap beside nginx and `HAProxy`, in turns, in front of the same small backend.
//!
//! The yardstick is what that backend itself spends on a request when it is called directly, in a slot of its own of each
//! round: it moves with the machine as the others do. Callers and backend share one core, the proxies have the other.

mod calls;
mod shape;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use self::shape::{Load, Shape};
use crate::report::{Report, Row};
use crate::rounds::Rounds;
use crate::subject::activator::{Activator, Function, Place};
use crate::subject::{Subject, Wire, backend, grpc, peers, process};

/// Callers and backend run here.
const CALLERS: usize = 0;
/// The proxy runs here.
const PROXY: usize = 1;
/// Largest CPU a request, in that of nginx.
const NGINX_BAR: f64 = 1.0;
/// Most system calls a request, where they are counted.
const CALLS_BAR: f64 = 4.3;
/// Of a function whose slots are counted; more than ever are under way.
const LIMIT: u32 = 1_000;
/// Not counted, at the beginning of a slot.
const WARM_UP: Duration = Duration::from_millis(300);

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct ProxyArgs {
    /// The activator's program, of the release profile.
    #[arg(long, default_value = "target/release/catnap-activator")]
    activator: PathBuf,
    /// Counted rounds.
    #[arg(long, default_value_t = 6)]
    rounds: usize,
    /// Seconds of each slot of a round.
    #[arg(long, default_value_t = 1.0)]
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
    let directory = directory.path();
    let place = Place { core: PROXY, program: &activator, directory };
    let mut rows = Vec::new();
    let mut thrown_away = 0;
    for shape in Shape::ALL {
        let wires = shape.wires;
        let backend = match wires.pod {
            Wire::Http1 => backend::start(CALLERS, shape.body_bytes).await?,
            Wire::Http2 => grpc::start(CALLERS, shape.body_bytes).await?,
        };
        let upstream = backend.address;
        let function = Function { wire: wires.pod, ..Function::at(upstream) };
        let catnap = Activator::start(place, &[function]).await?;
        let nginx = peers::nginx(PROXY, wires, upstream, directory).await?;
        let haproxy = peers::haproxy(PROXY, wires, upstream, directory).await?;
        let subjects = [&backend, &catnap.subject, &nginx, &haproxy];
        let (of_shape, thrown) = measure(shape, &subjects, "nginx", rounds, slot).await?;
        rows.extend(of_shape);
        thrown_away += thrown;
        if shape.calls_counted {
            rows.push(calls_row(shape, &subjects, slot, directory).await?);
        }
    }
    let (two_hops, thrown) = two_hops(place, rounds, slot).await?;
    rows.extend(two_hops);
    rows.push(Row::plain("rounds thrown away", "", (thrown_away + thrown) as f64));
    let cores = format!("callers and the function on core {CALLERS}, the proxy on core {PROXY}");
    Ok(Report::new("proxy", rows)?.pinned(cores))
}

/// A function with a limit, called at the activator that does not own its slots: CPU of both activators.
async fn two_hops(place: Place<'_>, rounds: usize, slot: Duration) -> anyhow::Result<(Vec<Row>, usize)> {
    let shape = Shape::plain("limit, slots owned elsewhere, 32 connections");
    let backend = backend::start(CALLERS, shape.body_bytes).await?;
    let function = Function { limit: LIMIT, ..Function::at(backend.address) };
    let catnap = Activator::start_two(place, function).await?;
    let mut alone = Activator::start(place, &[function]).await?;
    alone.subject.name = "own slots";
    let nginx = peers::nginx(PROXY, shape.wires, backend.address, place.directory).await?;
    let twice = peers::nginx_twice(PROXY, backend.address, place.directory).await?;
    let subjects = [&backend, &catnap.subject, &alone.subject, &nginx, &twice];
    measure(shape, &subjects, "nginx twice", rounds, slot).await
}

/// System calls a request, which hardly move: one slot each is enough.
async fn calls_row(
    shape: Shape,
    subjects: &[&Subject],
    slot: Duration,
    directory: &Path,
) -> anyhow::Result<Row> {
    let mut row = Row::plain(format!("{}: system calls a request", shape.name), "", 0.0);
    for subject in subjects {
        let calls = calls::calls_each(shape, subject, slot, directory).await?;
        match subject.name {
            "catnap" => row.ours = calls,
            "backend" => row.floor = Some(calls),
            peer => drop(row.peers.insert(peer.to_owned(), calls)),
        }
    }
    (row.bar, row.holds) = (Some(CALLS_BAR), Some(row.ours <= CALLS_BAR));
    Ok(row)
}

/// The rows of one shape, with `against` as the peer that the bar is about, and the number of rounds thrown away.
async fn measure(
    shape: Shape,
    subjects: &[&Subject],
    against: &'static str,
    rounds: usize,
    slot: Duration,
) -> anyhow::Result<(Vec<Row>, usize)> {
    let (mut costs, mut rates) = (Rounds::default(), Rounds::default());
    // The first round warms up caches, pools and branch predictors.
    for round in 0..=rounds {
        let (mut cost, mut rate) = (BTreeMap::new(), BTreeMap::new());
        for subject in subjects {
            let (of_request, a_second) = turn(shape, subject, slot).await?;
            cost.insert(subject.name, of_request);
            rate.insert(subject.name, a_second);
        }
        if round > 0 {
            costs.push(cost);
            rates.push(rate);
        }
        eprintln!("{}: round {round} of {rounds}", shape.name);
    }
    let thrown_away = costs.keep_steady("backend")?;
    let name = shape.name;
    let peers =
        || subjects.iter().map(|subject| subject.name).filter(|name| !matches!(*name, "backend" | "catnap"));
    let mut row =
        Row::plain(format!("{name}: CPU a request, ratio to {against}"), "µs", costs.median("catnap")?);
    row.floor = Some(costs.median("backend")?);
    row.hold(costs.ratio("catnap", against)?, NGINX_BAR);
    let mut in_yardsticks =
        Row::plain(format!("{name}: in yardsticks"), "x", costs.ratio("catnap", "backend")?.median);
    let mut rate = Row::plain(format!("{name}: requests a second"), "", rates.median("catnap")?);
    for peer in peers() {
        row.peers.insert(peer.to_owned(), costs.median(peer)?);
        in_yardsticks.peers.insert(peer.to_owned(), costs.ratio(peer, "backend")?.median);
        rate.peers.insert(peer.to_owned(), rates.median(peer)?);
    }
    Ok((vec![row, in_yardsticks, rate], thrown_away))
}

/// Microseconds of CPU a request, and requests a second.
async fn turn(shape: Shape, subject: &Subject, slot: Duration) -> anyhow::Result<(f64, f64)> {
    let load = warmed(shape, subject).await?;
    let before = subject.cpu()?;
    let (answered, took) = call(load, subject, slot).await?;
    let spent = subject.cpu()?.saturating_sub(before);
    Ok((spent.as_secs_f64() * 1e6 / answered as f64, answered as f64 / took.as_secs_f64()))
}

/// Callers that have been at it for a while.
async fn warmed(shape: Shape, subject: &Subject) -> anyhow::Result<Load> {
    let (address, direct) = (subject.address, subject.name == "backend");
    let load = tokio::task::spawn_blocking(move || -> anyhow::Result<Load> {
        let mut load = Load::connect(address, shape, direct)?;
        load.run(WARM_UP)?;
        Ok(load)
    });
    load.await?.with_context(|| format!("calling {}", subject.name))
}

/// Number of answers, more than none, and the time that they took.
async fn call(mut load: Load, subject: &Subject, slot: Duration) -> anyhow::Result<(usize, Duration)> {
    let measured = tokio::task::spawn_blocking(move || load.run(slot)).await?;
    let (answered, took) = measured.with_context(|| format!("calling {}", subject.name))?;
    if answered == 0 {
        bail!("{} answered nothing", subject.name);
    }
    Ok((answered, took))
}
