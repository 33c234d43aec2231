//! Parts of a request's way that are counted alone, each done many times in a process of its own.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use catnap_activator_core::{
    Activator, Admission, Command, Destination, FunctionName, FunctionRoute, Listener, Pod, RevisionRoute,
    Settings, SystemClock,
};
use catnap_wire::message::{LeaderFrame, RevisionId, Term, Welcome};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{bounds, callgrind};

/// Done once more than another time by this often: the difference is free of what is done once. Each route of each table once.
const TIMES: u64 = 16_000;
/// As many activators, and Functions of each, as it takes for the seeds of their tables to even out.
const TABLES: usize = 16;
const NAMESPACES: usize = 100;
const FUNCTIONS: usize = 10;
const PODS: u16 = 3;

/// What the process of a part is told.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct PieceArgs {
    /// Which one.
    piece: Piece,
    /// How often.
    times: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Piece {
    Route,
    Slot,
    LimitedSlot,
}

/// Instructions of each part, and the allocations of one that has to do without.
pub(super) fn all(directory: &Path) -> anyhow::Result<Vec<(&'static str, f64)>> {
    let program = std::env::current_exe().context("cannot find this program")?;
    // A relative path of the output would be of no use there.
    let output = directory.to_string_lossy().into_owned();
    let mut counts = Vec::new();
    for (what, piece) in
        [(bounds::ROUTE, "route"), (bounds::SLOT, "slot"), (bounds::LIMITED_SLOT, "limited-slot")]
    {
        let count = |times: u64| {
            let times = times.to_string();
            callgrind::whole(&program, &["--output", &output, "piece", piece, &times], directory)
        };
        let (once, twice) = (count(TIMES)?, count(2 * TIMES)?);
        counts.push((what, each(once.instructions, twice.instructions)));
        if what == bounds::ROUTE {
            if once.allocations == 0 {
                bail!("no allocation is counted in a whole program: allocators go by other names now");
            }
            // What a runtime allocates now and then is none of a request's.
            let allocations = (each(once.allocations, twice.allocations) * 100.0).round() / 100.0;
            counts.push((bounds::ROUTE_ALLOCATIONS, allocations));
        }
    }
    Ok(counts)
}

/// What a part costs each time.
fn each(once: u64, twice: u64) -> f64 {
    twice.saturating_sub(once) as f64 / TIMES as f64
}

/// Does one part so many times.
pub(crate) fn run(arguments: PieceArgs) -> anyhow::Result<()> {
    let PieceArgs { piece, times } = arguments;
    let limit = if piece == Piece::LimitedSlot { 4 } else { 0 };
    match piece {
        Piece::Route => find_routes(times),
        Piece::Slot | Piece::LimitedSlot => take_slots(&Prepared::new(limit).activator, times),
    }
}

/// An activator with Functions, each of which has pods that are ready.
struct Prepared {
    activator: Arc<Activator>,
    /// The driver's end stays: nothing is to be dropped on the way.
    _commands: UnboundedReceiver<Command>,
}

impl Prepared {
    fn new(limit: u32) -> Self {
        let (activator, commands) =
            Activator::new(Settings::new(1, "activator"), Arc::new(SystemClock::start()));
        let connection = activator.leader_connected();
        let welcome = Welcome { term: Term::default(), closed: Vec::new(), more: false };
        activator.leader_frame(connection, LeaderFrame::Welcome(welcome));
        for name in names() {
            add(&activator, name, limit);
        }
        Self { activator, _commands: commands }
    }
}

/// Asks for each Function as often as for the others, of several activators: how long a search in a hash table takes depends on the
/// table's seed, and evens out over many names and tables.
fn find_routes(times: u64) -> anyhow::Result<()> {
    let hosts: Vec<String> = names().map(|name| format!("{}:80", host(&name))).collect();
    let prepared: Vec<Prepared> = (0..TABLES).map(|_| Prepared::new(0)).collect();
    // All made before: what it takes to make them is none of a route's.
    let all: Vec<_> =
        prepared.iter().flat_map(|prepared| hosts.iter().map(|host| (&*prepared.activator, host))).collect();
    for ((activator, host), _) in all.iter().cycle().zip(0..times) {
        route(activator, host)?;
    }
    Ok(())
}

fn take_slots(activator: &Activator, times: u64) -> anyhow::Result<()> {
    let name = names().next().context("no function")?;
    let function = route(activator, &host(&name))?;
    for _ in 0..times {
        match function.admit() {
            Admission::Dispatch(slot) => slot.finished(),
            other => bail!("not dispatched: {other:?}"),
        }
    }
    Ok(())
}

fn names() -> impl Iterator<Item = FunctionName> {
    (0..NAMESPACES).flat_map(|namespace| {
        (0..FUNCTIONS).map(move |number| FunctionName {
            namespace: format!("team-{namespace}").into(),
            name: format!("function-{number}").into(),
        })
    })
}

fn host(FunctionName { namespace, name }: &FunctionName) -> String {
    format!("{name}.{namespace}.svc.cluster.local")
}

fn route(activator: &Activator, host: &str) -> anyhow::Result<Destination> {
    let found = activator.route(Listener::InCluster, host);
    found.map_err(|refusal| anyhow::anyhow!("no route to {host}: {refusal:?}"))
}

fn add(activator: &Activator, name: FunctionName, limit: u32) {
    let revision: Arc<str> = format!("{}-1", name.name).into();
    let id = RevisionId {
        namespace: Arc::clone(&name.namespace),
        name: Arc::clone(&revision),
        function_uid: name.to_string().into(),
    };
    let revision = RevisionRoute { concurrency_limit: limit, ..RevisionRoute::new(revision) };
    activator.upsert_function(FunctionRoute::of_one(name, Arc::clone(&id.function_uid), revision));
    let pod = |port: u16| Pod {
        uid: format!("pod-{port}").into(),
        address: Some(([10, 0, 0, 1], port).into()),
        started: true,
        ready: true,
        requires_ready: false,
        terminating: false,
        trouble: None,
    };
    activator.set_pods(&id, (0..PODS).map(pod).collect());
}
