//! `catnap dev`: a Function on this machine, with local processes as replicas.
//!
//! The activator, its HTTP side and the autoscaler are the ones that run in a cluster; only their surroundings are played:
//! calls for the stream, [`fleet`] for Deployment, ReplicaSet and kubelet. One revision, routed from the start.

mod admin;
mod changes;
mod fleet;
mod output;
mod program;
pub(crate) mod reaper;
mod rebuild;
mod replica;
mod session;
mod view;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use catnap_cli::manifest;
use catnap_crds::Function;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use admin::Admin;
use changes::Changes;
use output::Output;
use reaper::Reaper;
use rebuild::{Build, Watch};
use session::{Ending, Session};
use view::State;

/// What a build gets to end in when `catnap dev` itself was killed.
const BUILD_GRACE: std::time::Duration = std::time::Duration::from_secs(2);

/// Flags of `catnap dev`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Manifest of the Function. Its command is run in the manifest's folder, with a PORT to listen on.
    #[arg(short = 'f', long = "filename", value_name = "MANIFEST")]
    pub(crate) filename: PathBuf,
    /// Where to listen. As there is only one function, it answers to every host name.
    #[arg(long, env = "CATNAP_DEV_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Where `catnap explain --autoscaler` is answered [default: a free port of this machine].
    #[arg(long, env = "CATNAP_DEV_ADMIN", default_value = "127.0.0.1:0", hide_default_value = true)]
    pub(crate) admin: SocketAddr,
    /// Shell command that builds the function, run in the manifest's folder: before the start, and with --watch after a change.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) build: Option<String>,
    /// Build and start the function anew when a file changes; a change of the manifest itself takes a new `catnap dev`.
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Folder whose files are watched, with those below it; the manifest's when left out.
    #[arg(long, value_name = "FOLDER", requires = "watch")]
    pub(crate) watch_folder: Option<PathBuf>,
}

/// Runs the Function until Ctrl-C.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { filename, listen, admin, build, watch, watch_folder } = arguments;
    let function = manifest::read(&filename)?;
    let manifest = full(&filename)?;
    // Replicas are started from there.
    let folder = manifest.parent().unwrap_or(Path::new("/")).to_owned();
    let ending = Ending::default();
    end_on_signals(&ending)?;
    let stop = ending.stop.clone();
    let output = Arc::new(Output::standard(stop.clone()));
    let watched = watch_folder.unwrap_or_else(|| folder.clone());
    // Of a folder that is not there nothing ever changes.
    anyhow::ensure!(!watch || watched.is_dir(), "--watch-folder: {} is no folder", watched.display());
    let reaper = build.is_some().then(|| Reaper::start(BUILD_GRACE)).transpose()?.map(Arc::new);
    let build = build.zip(reaper.clone()).map(|(command, reaper)| {
        let (folder, output, stop) = (folder.clone(), Arc::clone(&output), stop.clone());
        Build { command, folder, output, stop, reaper }
    });
    if let Some(build) = &build {
        build.run().await?;
    }
    // Before anything is started: whatever changes from here on is news.
    let seen = watch.then(|| changes::look(&watched)).transpose()?;
    let admin = Admin::listen(admin).await?;
    let session = Session::start(&function, &folder, listen, Arc::clone(&output), ending)?;
    greet(&output, &function, session.address(), admin.address());
    let over = CancellationToken::new();
    let view = tokio::spawn(show(Arc::clone(&output), session.state(), over.clone()));
    let (renew, renewed) = mpsc::unbounded_channel();
    let watching = seen.map(|seen| {
        let changes = Changes::new(seen);
        let watch = Watch { folder: watched, manifest, changes, build, output: Arc::clone(&output), stop };
        tokio::spawn(watch.run(renew))
    });
    session.run(admin, renewed).await;
    if let Some(watching) = watching {
        watching.await.context("the watch of the files ended badly")?;
    }
    if let Some(reaper) = reaper {
        reaper.finish().await;
    }
    over.cancel();
    view.await.context("the view ended badly")?;
    output.line("stopped; nothing is left running");
    Ok(())
}

fn greet(output: &Output, function: &Function, address: SocketAddr, admin: SocketAddr) {
    let name = function.metadata.name.as_deref().unwrap_or_default();
    let namespace = function.metadata.namespace.as_deref().unwrap_or("default");
    output.line(&format!(
        "{name} listens on http://{address} (also as {name}.{namespace}); try: curl {address}"
    ));
    if function.spec.pod_template().is_some() {
        output.line("spec.podTemplate is for pods: no volume, sidecar, probe or limit of it is used here");
    }
    output.line(&format!(
        "why it has its replicas: catnap explain function/{name} --namespace {namespace} --autoscaler http://{admin}"
    ));
}

/// Where the manifest is, without links.
fn full(manifest: &Path) -> anyhow::Result<PathBuf> {
    manifest.canonicalize().with_context(|| format!("cannot find {}", manifest.display()))
}

/// The first signal ends in an orderly way, the second at once.
fn end_on_signals(ending: &Ending) -> anyhow::Result<()> {
    let mut signals = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        signals.push(signal(kind).context("cannot listen for signals")?);
    }
    let ending = ending.clone();
    tokio::spawn(async move {
        loop {
            let any = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
            futures::future::select_all(any).await;
            if ending.stop.is_cancelled() {
                ending.kill.cancel();
            }
            ending.stop.cancel();
        }
    });
    Ok(())
}

/// Keeps the line of state up to date; where it cannot be redrawn, only changes of replicas are worth a line.
async fn show(output: Arc<Output>, mut state: watch::Receiver<State>, over: CancellationToken) {
    const REDRAW_EVERY: std::time::Duration = std::time::Duration::from_millis(100);
    let terminal = output.is_terminal();
    let mut shown: Option<State> = None;
    while !over.is_cancelled() {
        let now = state.borrow_and_update().clone();
        if terminal || shown.as_ref().is_none_or(|shown| now.differs(shown)) {
            output.status(&now.to_string());
            shown = Some(now);
        }
        tokio::select! {
            changed = state.changed() => {
                if changed.is_err() {
                    break;
                }
            }
            () = over.cancelled() => break,
        }
        if terminal {
            tokio::time::sleep(REDRAW_EVERY).await;
        }
    }
    output.end_status();
}
