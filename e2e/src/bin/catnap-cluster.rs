//! `catnap-cluster`: starts, shows and ends a real Kubernetes cluster on this machine.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::Context as _;
use catnap_e2e::cluster::{Cluster, Error, Options, Programs, guard};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(about = "A real Kubernetes cluster on this machine", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cluster that lives on after this command.
    Up(Up),
    /// End the cluster and remove everything but its logs.
    Down,
    /// Print the shell lines that set KUBECONFIG and PATH for it.
    Env,
    /// Print what runs; the exit code is 1 if something does not.
    Status,
    /// Import the images of OCI archives into every node.
    Import {
        /// The archives.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Build its programs without starting it.
    Build,
    /// Wait for the end of standard input, then end the cluster: started by the launcher, not by hand.
    #[command(hide = true)]
    Guard {
        /// The cluster's id.
        id: String,
    },
}

#[derive(Args)]
struct Up {
    /// Number of nodes, 1 to 3.
    #[arg(long, env = "CATNAP_CLUSTER_NODES", default_value_t = 2)]
    nodes: usize,
    /// Do not run a DNS server in the cluster.
    #[arg(long, env = "CATNAP_CLUSTER_NO_COREDNS")]
    no_coredns: bool,
    /// Run kwok too, which pretends nodes that have the label `type=kwok`, and the pods on them.
    #[arg(long, env = "CATNAP_CLUSTER_KWOK")]
    kwok: bool,
    /// Where to keep data and logs.
    #[arg(long, env = "CATNAP_CLUSTER_DIRECTORY", default_value = "/var/lib/catnap-cluster")]
    directory: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Up(up) => start(up).await,
        Command::Down => stop(),
        Command::Env => environment(),
        Command::Status => status(),
        Command::Import { archives } => import(&archives),
        Command::Build => Programs::build().map(drop).map_err(Into::into),
        Command::Guard { id } => guard(&id).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn start(Up { nodes, no_coredns, kwok, directory }: Up) -> anyhow::Result<()> {
    let since = Instant::now();
    let guardian = Some(std::env::current_exe().context("finding this program")?);
    let options = Options { nodes, coredns: !no_coredns, kwok, directory, guardian };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let result = tokio::select! {
        result = Cluster::start(options) => result,
        // Leaving the branch drops what was started so far, and that removes it.
        _ = interrupt.recv() => anyhow::bail!("interrupted; everything is removed again"),
        _ = terminate.recv() => anyhow::bail!("terminated; everything is removed again"),
    };
    match result {
        Ok(cluster) => {
            say(&format!("{nodes} node(s) up after {:.1} s", since.elapsed().as_secs_f64()));
            say(&format!("export KUBECONFIG={}", cluster.kubeconfig().display()));
            cluster.keep()?;
            Ok(())
        }
        // Idempotent: what was asked for is there.
        Err(error @ Error::AlreadyThere { nodes: there, .. }) if there == nodes => {
            say(&error.to_string());
            status()
        }
        Err(error) => Err(error.into()),
    }
}

fn stop() -> anyhow::Result<()> {
    say(if Cluster::stop_any()? { "the cluster is gone" } else { "no cluster was there" });
    Ok(())
}

fn environment() -> anyhow::Result<()> {
    let cluster = Cluster::attach()?;
    let mut out = std::io::stdout();
    writeln!(out, "export KUBECONFIG={}", cluster.kubeconfig().display())?;
    writeln!(out, "export PATH={}:$PATH", cluster.program_directory().display())?;
    Ok(())
}

fn status() -> anyhow::Result<()> {
    let cluster = Cluster::attach()?;
    let mut missing = Vec::new();
    let mut out = std::io::stdout();
    for component in cluster.components()? {
        if let Some(process) = component.process()? {
            let state = if process.is_paused() { "paused" } else { "running" };
            writeln!(out, "{:<26} {state} ({})", component.name(), process.id)?;
        } else {
            writeln!(out, "{:<26} not running", component.name())?;
            missing.push(component.name().to_owned());
        }
    }
    anyhow::ensure!(missing.is_empty(), "not running: {}", missing.join(", "));
    Ok(())
}

fn import(archives: &[PathBuf]) -> anyhow::Result<()> {
    let cluster = Cluster::attach()?;
    for archive in archives {
        let archive: &Path = archive;
        cluster.import_image(
            &archive.canonicalize().with_context(|| format!("reading {}", archive.display()))?,
        )?;
    }
    Ok(())
}

/// To standard error, which may be closed.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
