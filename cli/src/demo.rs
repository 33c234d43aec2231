//! `catnap demo`: a script of requests against a local run, with the times they took. Ends with an error when something does
//! not hold, so that it is a check as much as a show.

mod client;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use catnap_crds::{Concurrency, Function};
use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::dev::{self, Ending, Output, Session, State};
use crate::manifest;

/// Requests one after the other on a warm function.
const WARM: usize = 20;
/// Requests at once, and how long each keeps its replica busy.
const BURST: usize = 40;
const BURST_PATH: &str = "/sleep?ms=300";
/// Requests at once in one replica during the demonstration, so that the burst needs several.
const LIMIT: i32 = 5;
/// No request for this long: back to zero. Short, so that nobody has to wait for the show's end.
const IDLE: Duration = Duration::from_secs(3);
const WINDOW: Duration = Duration::from_secs(6);
/// Longest that any step may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Flags of `catnap demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Manifest of the example function.
    #[arg(short = 'f', long = "filename", value_name = "MANIFEST", default_value = "examples/hello/function.yaml")]
    filename: PathBuf,
}

/// One line of the table.
struct Row {
    step: &'static str,
    took: Duration,
    what: String,
}

/// Runs the script.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut function = manifest::read(&arguments.filename)?;
    shorten(&mut function);
    let folder = dev::folder_of(&arguments.filename)?;
    let ending = Ending::default();
    dev::end_on_signals(&ending)?;
    let output = Arc::new(Output::standard(ending.stop.clone()));
    output.line(&format!(
        "demonstration: concurrency.limit {LIMIT}, scale.idle.after {IDLE:?} and scale.window {WINDOW:?} instead of the manifest's"
    ));
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let session = Session::start(&function, &folder, listen, Arc::clone(&output), ending.clone())?;
    let (address, state) = (session.address(), session.state());
    let view = tokio::spawn(dev::show(Arc::clone(&output), session.state(), ending.stop.clone()));
    let session = tokio::spawn(session.run());
    let result = tokio::select! {
        result = script(address, state) => result,
        () = ending.stop.cancelled() => Err(anyhow::anyhow!("interrupted")),
    };
    ending.stop.cancel();
    session.await.context("the session ended badly")?;
    view.await.context("the view ended badly")?;
    print_table(&output, &result?);
    Ok(())
}

fn shorten(function: &mut Function) {
    let spec = &mut function.spec;
    spec.concurrency = Some(Concurrency { limit: Some(LIMIT) });
    spec.scale.target = 0;
    spec.scale.min = 0;
    spec.scale.idle.after = IDLE.into();
    spec.scale.window = WINDOW.into();
    spec.scale.panic.window = WINDOW.into();
}

async fn script(address: SocketAddr, mut state: watch::Receiver<State>) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut row = |step, took, what: String| rows.push(Row { step, took, what });
    let cold = get(address, "/").await?;
    row("cold", cold, "the first request, from no replica at all".to_owned());

    let mut warm = Vec::new();
    for _ in 0..WARM {
        warm.push(get(address, "/").await?);
    }
    warm.sort_unstable();
    let median = warm[WARM / 2];
    ensure!(median < cold, "a warm request took {median:?}, the cold one {cold:?}");
    row("warm", median, format!("median of {WARM} requests"));

    let began = Instant::now();
    let (most, answered) = tokio::join!(
        most_replicas(state.clone(), began),
        async {
            let answers = join_all((0..BURST).map(|_| get(address, BURST_PATH))).await;
            answers.into_iter().collect::<Result<Vec<_>, _>>()
        }
    );
    let answered = answered?;
    ensure!(most > 1, "{BURST} requests at once were served by {most} replica");
    let slowest = answered.iter().max().copied().unwrap_or_default();
    row("burst", slowest, format!("the slowest of {BURST} at once that take 300 ms each, on {most} replicas"));

    let ended = Instant::now();
    let zero = timeout(PATIENCE, state.wait_for(|state| state.replicas == 0 && state.wanted == 0)).await;
    zero.context("it did not go back to zero")?.context("the session ended")?;
    row("zero", ended.elapsed(), format!("without a request, of which {IDLE:?} are scale.idle.after"));

    let again = get(address, "/").await?;
    row("cold", again, "the first request after that".to_owned());
    Ok(rows)
}

/// The most replicas that were ready at once, looked for during as long as a burst can take at least.
async fn most_replicas(mut state: watch::Receiver<State>, began: Instant) -> usize {
    let mut most = 0;
    // All of the burst fits in one replica only if it takes this long.
    let length = Duration::from_millis(300) * u32::try_from(BURST).unwrap_or(1) / LIMIT.unsigned_abs();
    while let Some(left) = length.checked_sub(began.elapsed()) {
        most = most.max(state.borrow_and_update().ready);
        if !matches!(timeout(left, state.changed()).await, Ok(Ok(()))) {
            break;
        }
    }
    most
}

/// The time that a request took which was answered well.
async fn get(address: SocketAddr, path: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let status = timeout(PATIENCE, client::get(address, path)).await;
    let status = status.with_context(|| format!("no answer to GET {path} within {PATIENCE:?}"))??;
    if status != 200 {
        bail!("GET {path} was answered with {status}");
    }
    Ok(began.elapsed())
}

fn print_table(output: &Output, rows: &[Row]) {
    output.line("");
    output.line("step          time   what");
    for Row { step, took, what } in rows {
        output.line(&format!("{step:<6} {:>8.1} ms   {what}", took.as_secs_f64() * 1000.0));
    }
}
