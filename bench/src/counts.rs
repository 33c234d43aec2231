//! What a request costs in counts that do not move with the machine: system calls, allocations, copies, instructions. No
//! benchmark: a count above its bound is a failure, so that counts are only ever lowered.
//!
//! The activator runs as it is released, in front of the small backend; strace, callgrind and DHAT count while requests go through.

mod bounds;
mod callers;
mod callgrind;
mod copies;
pub(crate) mod pieces;
mod valgrind;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use self::bounds::{BOUNDS, Bound};
use self::callers::Callers;
use self::copies::Copied;
use crate::subject::activator::{Activator, Function, Place};
use crate::subject::backend;
use crate::subject::tracer::Tracer;

/// Callers and backend run here.
const CALLERS: usize = 0;
/// The activator runs here.
const ACTIVATOR: usize = 1;
/// Of a response.
const BODY_BYTES: usize = 100;
/// Of one whose copies are counted: copied once more it would show. It has room in a caller's buffer.
const COPIED_BODY_BYTES: usize = 32 * 1024;
/// Connections that are opened and pooled are not counted, nor is what is made once.
const WARM_UP: usize = 100;
/// So many that what happens once a second does not show.
const REQUESTS: usize = 3_200;
/// Fields of a second kind of request, which show what each one costs.
const FIELDS: usize = 16;

/// What to count.
#[derive(Debug, clap::Args)]
pub(crate) struct CountsArgs {
    /// The activator's program, of the profile that images are built with: the bounds are those of its compiler options.
    #[arg(long, default_value = "target/image/catnap-activator")]
    activator: PathBuf,
}

/// Counts everything and holds it against the bounds.
pub(crate) async fn run(arguments: &CountsArgs) -> anyhow::Result<()> {
    let directory = tempfile::tempdir().context("no directory for configuration files")?;
    let program = std::path::absolute(&arguments.activator).context("no path of the activator")?;
    let backend = backend::start(CALLERS, BODY_BYTES).await?;
    let mut counts = system_calls(&program, backend.address, directory.path()).await?;
    counts.extend(whole_requests(&program, backend.address, directory.path()).await?);
    counts.extend(what_is_copied(&program, directory.path()).await?);
    counts.extend(pieces::all(directory.path())?);
    judge(&counts)
}

/// The activator in front of `upstream`, and the number of its process.
async fn start(program: &Path, upstream: SocketAddr, directory: &Path) -> anyhow::Result<(Activator, u32)> {
    let place = Place { core: ACTIVATOR, program, directory };
    let started = Activator::start(place, &[Function::at(upstream)]).await?;
    let process = started.subject.processes.first().context("no process")?.id();
    Ok((started, process))
}

async fn system_calls(
    program: &Path,
    upstream: SocketAddr,
    directory: &Path,
) -> anyhow::Result<Vec<(&'static str, f64)>> {
    let (started, process) = start(program, upstream, directory).await?;
    let address = started.subject.address;
    let directory = directory.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut counts = Vec::new();
        for (what, connections) in [(bounds::SYSTEM_CALLS_1, 1), (bounds::SYSTEM_CALLS_32, 32)] {
            let mut callers = Callers::connect(address, connections, 0)?;
            callers.rounds(WARM_UP)?;
            let counting = Tracer::attach(process, &directory)?;
            callers.rounds(REQUESTS / connections)?;
            counts.push((what, counting.detach()? as f64 / REQUESTS as f64));
        }
        Ok(counts)
    })
    .await?
}

async fn whole_requests(
    program: &Path,
    upstream: SocketAddr,
    directory: &Path,
) -> anyhow::Result<Vec<(&'static str, f64)>> {
    let wrapped = callgrind::wrap(program, directory)?;
    let (started, process) = start(&wrapped, upstream, directory).await?;
    let address = started.subject.address;
    let directory = directory.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut each = Vec::new();
        let mut counting = callgrind::Counting::of(process, &directory);
        for fields in [0, FIELDS] {
            let mut callers = Callers::connect(address, 1, fields)?;
            callers.rounds(WARM_UP)?;
            counting.begin()?;
            callers.rounds(REQUESTS)?;
            each.push(counting.end()?);
        }
        let [few, many] = each[..] else { bail!("two kinds of request") };
        let requests = REQUESTS as f64;
        Ok(vec![
            (bounds::ALLOCATIONS, few.allocations as f64 / requests),
            (bounds::INSTRUCTIONS, few.instructions as f64 / requests),
            (
                bounds::INSTRUCTIONS_FIELD,
                (many.instructions as f64 - few.instructions as f64) / requests / FIELDS as f64,
            ),
        ])
    })
    .await?
}

/// From the start of a process to its end: a second one that serves more requests tells what those cost.
async fn what_is_copied(program: &Path, directory: &Path) -> anyhow::Result<Vec<(&'static str, f64)>> {
    let backend = backend::start(CALLERS, COPIED_BODY_BYTES).await?;
    let wrapped = copies::wrap(program, directory)?;
    let mut runs = Vec::new();
    for requests in [WARM_UP, WARM_UP + REQUESTS] {
        let (started, process) = start(&wrapped, backend.address, directory).await?;
        let address = started.subject.address;
        let directory = directory.to_owned();
        let copied = tokio::task::spawn_blocking(move || {
            Callers::connect(address, 1, 0)?.rounds(requests)?;
            copies::end(process, &directory)
        });
        runs.push(copied.await??);
    }
    let [few, many] = runs[..] else { bail!("two runs") };
    let each = |of: fn(Copied) -> u64| of(many).saturating_sub(of(few)) as f64 / REQUESTS as f64;
    Ok(vec![(bounds::COPIES, each(|copied| copied.copies)), (bounds::COPIED, each(|copied| copied.bytes))])
}

/// Below this share of its bound a count is more likely to have missed what it counts: another allocator, other names.
const LEAST: f64 = 0.5;

/// Prints the counts. An error: one is above its bound, or too far below it to be believed.
fn judge(counts: &[(&'static str, f64)]) -> anyhow::Result<()> {
    let mut above = Vec::new();
    let mut missed = Vec::new();
    println!("{:<58} {:>10} {:>10}", "a request", "count", "bound");
    for Bound { what, most } in BOUNDS {
        let counted = counts.iter().find(|(counted, _)| counted == what).map(|(_, count)| *count);
        let count = counted.with_context(|| format!("nothing counts {what}"))?;
        let remark = match () {
            () if count > *most => {
                above.push(format!("{what}: {count:.2}, at most {most}"));
                "  TOO MANY"
            }
            () if count < *most * LEAST => {
                missed.push(format!("{what}: {count:.2} beside {most}"));
                "  TOO FEW"
            }
            () if count < *most * 0.9 => "  the bound can be lowered",
            () => "",
        };
        println!("{what:<58} {count:>10.2} {most:>10}{remark}");
    }
    if !missed.is_empty() {
        bail!(
            "counted less than half of a bound: {}. Either what is counted goes by another name now, or the bound has to be \
             lowered",
            missed.join("; ")
        );
    }
    if above.is_empty() {
        return Ok(());
    }
    bail!(
        "counts rose: {}. Find what costs more (`valgrind --tool=callgrind`, `strace -f`) and take it out again; a count that \
         has to rise needs a reason beside its bound in bench/src/counts/bounds.rs",
        above.join("; ")
    )
}
