//! `catnap`: what a person types. Needed by nothing in a cluster.

mod activators;
mod age;
mod cluster;
mod completion;
mod connection;
mod debug_state;
mod delete;
mod deploy;
mod describe;
mod dev;
mod exit;
mod explain;
#[cfg(test)]
mod fixtures;
mod forward;
mod functions;
mod get;
#[cfg(test)]
mod help;
mod inside;
mod install;
mod invoke;
mod logs;
mod name;
mod output;
mod pods;
mod reach;
mod readiness;
mod revisions;
mod rollback;
mod settle;
mod table;
mod terminal;
mod traffic;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser};

use exit::{Exit, Failure};
use terminal::Terminal;

/// Functions that cost nothing while nobody calls them.
#[derive(Debug, Parser)]
#[command(name = "catnap", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a script that makes a shell complete the words of this command line.
    Completion(completion::Arguments),
    /// Print what may follow these words; `kubectl_complete-catnap` asks it.
    #[command(hide = true)]
    CompleteWords {
        /// The words so far, the last of them as far as it is written.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Remove Functions, and wait until nothing of them runs any more.
    Delete(delete::Arguments),
    /// Make or change a Function, from a manifest or from flags, and wait until it serves.
    Deploy(deploy::Arguments),
    /// Show all that is known of one Function on one page.
    Describe(describe::Arguments),
    /// Run a Function on this machine, without a cluster: it rests at zero, wakes, grows and rests again.
    Dev(dev::Arguments),
    /// Tell why a Function has the replicas it has: the current decision, what it was made from, and the last changes.
    Explain(explain::Arguments),
    /// List Functions, or the revisions of one.
    Get(get::Arguments),
    /// Look after the installation of Catnap in a cluster.
    Install(install::Arguments),
    /// Send one request to a Function, and tell what it waited for.
    Invoke(invoke::Arguments),
    /// Show what the containers of a Function have written.
    Logs(logs::Arguments),
    /// Turn manifests of something else into Functions.
    Migrate(catnap_cli::migrate::Arguments),
    /// Tell whether activators answer at an address; `helm test` asks that.
    #[command(hide = true)]
    Reach(reach::Arguments),
    /// Decide a recorded or made-up series of averages or seconds with a policy, one JSON object a line.
    Replay(catnap_cli::replay::Arguments),
    /// Give all requests to an earlier revision.
    Rollback(rollback::Arguments),
    /// Show or change which revisions take how much of the requests.
    Traffic(traffic::Arguments),
    /// End the process groups named on standard input once it closes; `catnap dev` starts it for itself.
    #[command(hide = true)]
    Reap {
        /// Seconds between SIGTERM and SIGKILL.
        grace_seconds: u64,
    },
}

fn main() -> ExitCode {
    // The client of the API server needs one; there is none before this.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut terminal = Terminal::of_process();
    let result = match arguments().command {
        Command::Completion(arguments) => {
            completion::run(arguments, Arguments::command(), &mut terminal).map_err(boxed)
        }
        Command::CompleteWords { words } => {
            completion::answer(&words, Arguments::command(), &mut terminal).map_err(boxed)
        }
        Command::Delete(arguments) => in_cluster(delete::run(arguments, &mut terminal)),
        Command::Deploy(arguments) => in_cluster(deploy::run(arguments, &mut terminal)),
        Command::Describe(arguments) => in_cluster(describe::run(arguments, &mut terminal)),
        Command::Dev(arguments) => in_runtime(dev::run(arguments)).map_err(other),
        Command::Explain(arguments) => in_cluster(explain::run(arguments, &mut terminal)),
        Command::Get(arguments) => in_cluster(get::run(arguments, &mut terminal)),
        Command::Install(arguments) => in_cluster(install::run(arguments, &mut terminal)),
        Command::Invoke(arguments) => in_cluster(invoke::run(arguments, &mut terminal)),
        Command::Logs(arguments) => in_cluster(logs::run(arguments, &mut terminal)),
        Command::Migrate(arguments) => {
            catnap_cli::migrate::run(&arguments).map_err(|error| other(error.into()))
        }
        Command::Reach(arguments) => in_cluster(reach::run(arguments, &mut terminal)),
        Command::Replay(arguments) => {
            catnap_cli::replay::run(&arguments).map_err(|error| other(error.into()))
        }
        Command::Rollback(arguments) => in_cluster(rollback::run(arguments, &mut terminal)),
        Command::Traffic(arguments) => in_cluster(traffic::run(arguments, &mut terminal)),
        Command::Reap { grace_seconds } => {
            dev::reaper::run(std::io::stdin().lock(), Duration::from_secs(grace_seconds));
            Ok(())
        }
    };
    let exit = match result {
        Ok(()) => Exit::Done,
        Err(failure) => {
            exit::report(failure.as_ref(), &mut std::io::stderr());
            failure.exit()
        }
    };
    ExitCode::from(exit as u8)
}

fn arguments() -> Arguments {
    let matches = named(std::env::args_os().next().as_deref()).get_matches();
    Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The command line; as a plugin of kubectl it is called what people type.
fn named(called: Option<&OsStr>) -> clap::Command {
    let called = called.map(Path::new).and_then(Path::file_name);
    let command = Arguments::command();
    if called == Some(OsStr::new("kubectl-catnap")) {
        return command.name("kubectl catnap").bin_name("kubectl catnap");
    }
    command
}

/// An error of a command that has one exit code for all.
#[derive(Debug, thiserror::Error)]
#[error("{source:#}")]
struct OtherError {
    source: anyhow::Error,
}

impl Failure for OtherError {}

fn other(source: anyhow::Error) -> Box<dyn Failure> {
    boxed(OtherError { source })
}

fn boxed(error: impl Failure + 'static) -> Box<dyn Failure> {
    Box::new(error)
}

fn in_cluster<E: Failure + 'static>(
    work: impl Future<Output = Result<(), E>>,
) -> Result<(), Box<dyn Failure>> {
    let failed = |error: E| -> Box<dyn Failure> { Box::new(error) };
    in_runtime(async { Ok(work.await) }).map_err(other)?.map_err(failed)
}

fn in_runtime<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }

    /// They become parts of the path that the API server, or the autoscaler, is asked for.
    #[test]
    fn names_that_would_lead_elsewhere_are_refused() {
        let parsed = |words: &str| Arguments::try_parse_from(words.split(' ')).map(drop);
        for command in
            ["describe hello", "explain hello", "explain function/hello", "install check", "invoke hello"]
                .map(|it| format!("catnap {it}"))
        {
            assert!(parsed(&format!("{command} --system-namespace catnap-system")).is_ok(), "{command}");
            for namespace in ["../kube-system", "a/b", "A", "a?b"] {
                let refused = parsed(&format!("{command} --system-namespace {namespace}"));
                assert!(refused.is_err(), "{command} in {namespace}");
            }
        }
        assert!(parsed("catnap explain function/hello&function=other/hello").is_err());
    }

    #[test]
    fn as_a_plugin_it_is_called_what_people_type() {
        assert_eq!(
            named(Some(OsStr::new("/usr/local/bin/kubectl-catnap"))).get_bin_name(),
            Some("kubectl catnap")
        );
        assert_eq!(named(Some(OsStr::new("/usr/local/bin/catnap"))).get_name(), "catnap");
        assert_eq!(named(None).get_name(), "catnap");
    }
}
