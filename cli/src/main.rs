//! `catnap`: what a person types. Needed by nothing in a cluster.

mod dev;
mod explain;
mod replay;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Functions that cost nothing while nobody calls them.
#[derive(Debug, Parser)]
#[command(name = "catnap", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run a Function on this machine, without a cluster: it rests at zero, wakes, grows and rests again.
    Dev(dev::Arguments),
    /// Tell why a Function has the replicas it has: the current decision, what it was made from, and the last changes.
    Explain(explain::Arguments),
    /// Decide a recorded or made-up series of averages or seconds with a policy, one JSON object a line.
    Replay(replay::Arguments),
    /// End the process groups named on standard input once it closes; `catnap dev` starts it for itself.
    #[command(hide = true)]
    Reap {
        /// Seconds between SIGTERM and SIGKILL.
        grace_seconds: u64,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Dev(arguments) => in_runtime(dev::run(arguments)),
        Command::Explain(arguments) => {
            in_runtime(async { explain::run(arguments).await.map_err(anyhow::Error::from) })
        }
        Command::Replay(arguments) => replay::run(&arguments).map_err(anyhow::Error::from),
        Command::Reap { grace_seconds } => {
            dev::reaper::run(std::io::stdin().lock(), Duration::from_secs(grace_seconds));
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write;
            // A closed standard error leaves nobody to tell.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn in_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
