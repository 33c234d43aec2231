//! Memory of connections that do nothing and of requests that are held, and that none of them is lost when a pod comes.
//!
//! The floor is a server on hyper alone, which keeps the same connections and never answers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::report::{Report, Row};
use crate::subject::process::Process;
use crate::subject::{activator, backend, bare};

/// Both subjects run here.
const SUBJECT: usize = 1;
const BACKEND: usize = 0;
/// KiB that an idle connection may take.
const IDLE_BAR: f64 = 12.0;
/// KiB that a held request may take on a connection of its own.
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
}

/// Runs the benchmark and returns its report.
pub(crate) async fn run(arguments: HeldArgs) -> anyhow::Result<Report> {
    let HeldArgs { activator: program, idle, held } = arguments;
    if idle == 0 || held == 0 {
        bail!("--idle and --held must be at least 1");
    }
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("too few descriptors")?;
    let directory = tempfile::tempdir().context("no directory for configuration files")?;
    let backend = backend::start(BACKEND, 100).await?;
    let catnap = || activator::start(SUBJECT, &program, backend.address, true, directory.path());

    let mut rows = Vec::new();
    let (ours, floor) = {
        let (ours, floor) = (catnap().await?.subject, bare::start(SUBJECT).await?);
        (
            idle_cost(ours.address, &ours.process, idle).await?,
            idle_cost(floor.address, &floor.process, idle).await?,
        )
    };
    rows.push(row("idle connection", ours, floor, IDLE_BAR));

    let ours = catnap().await?;
    let floor = bare::start(SUBJECT).await?;
    let (callers, ours_cost) = hold(ours.subject.address, &ours.subject.process, held, async || {
        let metrics = text(ours.admin, "/metrics").await?;
        let value =
            metrics.lines().find_map(|line| line.strip_prefix("catnap_activator_held{")?.rsplit(' ').next());
        Ok(value.and_then(|value| value.parse().ok()).unwrap_or(0))
    })
    .await?;
    let (_kept, floor_cost) = hold(floor.address, &floor.process, held, async || {
        let count = text(floor.address, bare::COUNT).await?;
        count.trim().parse().context("no count")
    })
    .await?;
    rows.push(row("held request", ours_cost, floor_cost, HELD_BAR));

    let released = Instant::now();
    ours.add_pod(backend.address);
    let answered = timeout(SOON, answers(callers)).await.context("not all held requests were answered")?;
    let took = released.elapsed();
    let mut lost = Row::plain("held requests lost", "", (held - answered) as f64);
    lost.bar = Some(0.0);
    lost.holds = Some(answered == held);
    rows.push(lost);
    rows.push(Row::plain("from the pod to the last answer", "ms", took.as_secs_f64() * 1_000.0));
    Report::new("held", rows)
}

fn row(what: &str, ours: f64, floor: f64, bar: f64) -> Row {
    let mut row = Row::plain(what, "KiB", ours);
    row.floor = Some(floor);
    row.ratio = Some(ours / floor);
    row.bar = Some(bar);
    row.holds = Some(ours <= bar);
    row
}

/// KiB of each of these connections, which had one request each.
async fn idle_cost(address: SocketAddr, process: &Process, count: usize) -> anyhow::Result<f64> {
    let before = process.resident()?;
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.write_all(request("nobody.default", "/").as_bytes()).await?;
        head(&mut stream).await?;
        connections.push(stream);
    }
    kibibytes_each(before, process, count)
}

/// Requests that nobody answers yet, and the KiB of each.
async fn hold(
    address: SocketAddr,
    process: &Process,
    count: usize,
    held: impl AsyncFn() -> anyhow::Result<usize>,
) -> anyhow::Result<(Vec<TcpStream>, f64)> {
    // What the first request makes once is not a request's.
    let mut first = TcpStream::connect(address).await.context("cannot connect")?;
    first.write_all(request("nobody.default", "/").as_bytes()).await?;
    head(&mut first).await?;
    let before = process.resident()?;
    let mut callers = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.write_all(request("bench.default", bare::HOLD).as_bytes()).await?;
        callers.push(stream);
    }
    let all = async {
        while held().await? < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(SOON, all).await.context("not all requests are held")??;
    let cost = kibibytes_each(before, process, count)?;
    Ok((callers, cost))
}

fn kibibytes_each(before: u64, process: &Process, count: usize) -> anyhow::Result<f64> {
    Ok(process.resident()?.saturating_sub(before) as f64 / 1024.0 / count as f64)
}

/// How many of them get an answer that is a success.
async fn answers(callers: Vec<TcpStream>) -> usize {
    let mut waiting = JoinSet::new();
    for mut stream in callers {
        waiting
            .spawn(async move { head(&mut stream).await.is_ok_and(|head| head.starts_with("HTTP/1.1 200")) });
    }
    let mut answered = 0;
    while let Some(success) = waiting.join_next().await {
        answered += usize::from(success.unwrap_or(false));
    }
    answered
}

fn request(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: catnap-bench\r\n\r\n")
}

/// The head of a response, and what came with it.
async fn head(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut read = Vec::new();
    while !read.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut read).await? == 0 {
            bail!("the connection was closed");
        }
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}

/// The body of a page.
async fn text(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await.context("cannot connect")?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await.context("cannot read a page")?;
    let (_, body) = page.split_once("\r\n\r\n").context("no response")?;
    Ok(body.to_owned())
}
