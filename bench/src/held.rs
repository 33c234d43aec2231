//! Memory of connections that do nothing and of requests that are held, and that none of them is lost or overtaken when a pod
//! comes.
//!
//! The floor is a server on hyper alone, which keeps the same connections and never answers.

mod connections;
pub(crate) mod streams;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{Instant, sleep, timeout};

use self::streams::Streams;
use crate::report::{Report, Row};
use crate::subject::activator::{Activator, Function, Place, fetch};
use crate::subject::{Subject, backend, bare};

/// Both subjects run here.
const SUBJECT: usize = 1;
const BACKEND: usize = 0;
/// KiB that an idle connection may take.
const IDLE_BAR: f64 = 12.0;
/// KiB that a held request may take, on a connection of its own or on a stream.
const HELD_BAR: f64 = 24.0;
/// Longest wait for anything.
const SOON: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct HeldArgs {
    /// The activator's program, of the release profile.
    #[arg(long, default_value = "target/release/catnap-activator")]
    activator: PathBuf,
    /// Connections that do nothing.
    #[arg(long, default_value_t = 8_000)]
    idle: usize,
    /// Requests that are held, each on a connection of its own.
    #[arg(long, default_value_t = 1_000)]
    held: usize,
    /// Connections of HTTP/2, with 125 requests held on each.
    #[arg(long, default_value_t = 160)]
    connections: usize,
    /// Of these, those whose requests are let through one by one to see their order.
    #[arg(long, default_value_t = 16)]
    ordered: usize,
}

/// Runs the benchmark and returns its report.
pub(crate) async fn run(arguments: HeldArgs) -> anyhow::Result<Report> {
    let HeldArgs { activator, idle, held, connections, ordered } = arguments;
    if [idle, held, connections, ordered].contains(&0) {
        bail!("--idle, --held, --connections and --ordered must be at least 1");
    }
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("too few descriptors")?;
    let directory = tempfile::tempdir().context("no directory for configuration files")?;
    let place = Place { core: SUBJECT, program: &activator, directory: directory.path() };
    let mut rows = vec![idle_row(place, idle).await?];
    rows.extend(on_connections(place, held).await?);
    rows.extend(on_streams(place, connections).await?);
    rows.extend(in_order(place, ordered).await?);
    let cores = format!("the function on core {BACKEND}, what is measured on core {SUBJECT}");
    Ok(Report::new("held", rows)?.pinned(cores))
}

async fn idle_row(place: Place<'_>, count: usize) -> anyhow::Result<Row> {
    let backend = backend::start(BACKEND, 100).await?;
    let ours = Activator::start(place, &[Function::at(backend.address)]).await?;
    let floor = bare::start(SUBJECT).await?;
    let ours = connections::idle_cost(&ours.subject, count).await?;
    Ok(row("idle connection", ours, connections::idle_cost(&floor, count).await?, IDLE_BAR))
}

async fn on_connections(place: Place<'_>, count: usize) -> anyhow::Result<Vec<Row>> {
    let backend = backend::start(BACKEND, 100).await?;
    let function = Function { cold: true, ..Function::at(backend.address) };
    let ours = Activator::start(place, &[function]).await?;
    let floor = bare::start(SUBJECT).await?;
    let (callers, cost) = connections::hold(&ours.subject, count, async || ours.held().await).await?;
    let (_kept, floor_cost) = connections::hold(&floor, count, async || held_by(&floor).await).await?;
    ours.settled().await?;
    let released = Instant::now();
    ours.add_pod(&function);
    let answered = timeout(SOON, connections::answers(callers)).await;
    let answered = answered.context("not all held requests were answered")?;
    Ok(vec![
        row("held request", cost, floor_cost, HELD_BAR),
        Row::none("held requests lost", count - answered),
        Row::plain("from the pod to the last answer", "ms", milliseconds(released)),
    ])
}

async fn on_streams(place: Place<'_>, connections: usize) -> anyhow::Result<Vec<Row>> {
    let backend = backend::start(BACKEND, 100).await?;
    let function = Function { cold: true, ..Function::at(backend.address) };
    let ours = Activator::start(place, &[function]).await?;
    let floor = bare::start(SUBJECT).await?;
    let mut cost = [0.0; 2];
    let mut held = Vec::new();
    for (subject, cost) in [&ours.subject, &floor].into_iter().zip(&mut cost) {
        // What the first connection makes once is not a request's.
        let mut first = Streams::default();
        first.send(subject.address, bare::HOLD, 1).await?;
        let before = subject.resident()?;
        let mut streams = Streams::default();
        for _ in 0..connections {
            streams.send(subject.address, bare::HOLD, streams::EACH).await?;
        }
        let count = streams.len();
        let now = async || if subject.name == floor.name { held_by(&floor).await } else { ours.held().await };
        until_held(count + first.len(), now).await?;
        *cost = kibibytes_each(before, subject, count)?;
        held.push((first, streams));
    }
    let [cost, floor_cost] = cost;
    let (first, streams) = held.swap_remove(0);
    let count = first.len() + streams.len();
    ours.settled().await?;
    let (released, overflows) = (Instant::now(), backlog_overflows()?);
    ours.add_pod(&function);
    let answers = timeout(SOON, async { [first.answers().await, streams.answers().await].concat() }).await;
    let answers = answers.context("not all held streams were answered")?;
    let took = milliseconds(released);
    Ok(vec![
        row(
            &format!("held stream, {} on each of {connections} connections", streams::EACH),
            cost,
            floor_cost,
            HELD_BAR,
        ),
        Row::none("held streams lost", count - answers.iter().flatten().count()),
        Row::plain("from the pod to the last answer of a stream", "ms", took),
        Row::plain(
            "connections that met a full backlog at the pod",
            "",
            (backlog_overflows()? - overflows) as f64,
        ),
    ])
}

/// The pod takes one request at a time, so the order in which requests come to it is the order in which they were let through.
async fn in_order(place: Place<'_>, connections: usize) -> anyhow::Result<Vec<Row>> {
    let backend = bare::start(BACKEND).await?;
    let function = Function { cold: true, limit: 1, ..Function::at(backend.address) };
    let ours = Activator::start(place, &[function]).await?;
    let mut streams = Streams::default();
    for _ in 0..connections {
        streams.send(ours.subject.address, bare::TURN, streams::EACH).await?;
        // Before the next ones are sent, these have their places.
        until_held(streams.len(), async || ours.held().await).await?;
    }
    let count = streams.len();
    ours.settled().await?;
    let released = Instant::now();
    ours.add_pod(&function);
    let answers = timeout(SOON, streams.answers()).await.context("not all were let through one by one")?;
    let took = milliseconds(released);
    Ok(vec![
        Row::none("held streams lost, one by one", count - answers.iter().flatten().count()),
        Row::none("held streams that overtook another", streams::overtakers(&answers)),
        Row::plain("a held stream, one by one", "ms", took / count as f64),
    ])
}

fn row(what: &str, ours: f64, floor: f64, bar: f64) -> Row {
    let mut row = Row::plain(what, "KiB", ours);
    row.floor = Some(floor);
    row.ratio = Some(ours / floor);
    row.bar = Some(bar);
    row.holds = Some(ours <= bar);
    row
}

/// Requests that the floor never answers.
async fn held_by(floor: &Subject) -> anyhow::Result<usize> {
    fetch(floor.address, "bench", bare::COUNT).await?.trim().parse().context("no count")
}

/// Waits until this many are held.
async fn until_held(count: usize, held: impl AsyncFn() -> anyhow::Result<usize>) -> anyhow::Result<()> {
    let all = async {
        while held().await? < count {
            sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    timeout(SOON, all).await.context("not all requests are held")?
}

/// Connections of this machine that were dropped because a listener had no place for them, to be tried again by their kernel a
/// second later.
fn backlog_overflows() -> anyhow::Result<u64> {
    let path = "/proc/net/netstat";
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = lines.next().zip(lines.next()).with_context(|| format!("{path} has no TcpExt"))?;
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let (_, overflows) = pairs.find(|(name, _)| *name == "ListenOverflows").context("no ListenOverflows")?;
    overflows.parse().context("ListenOverflows is no number")
}

fn kibibytes_each(before: u64, subject: &Subject, count: usize) -> anyhow::Result<f64> {
    Ok(subject.resident()?.saturating_sub(before) as f64 / 1024.0 / count as f64)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}
