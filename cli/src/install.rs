//! `catnap install`: what concerns the installation of Catnap in a cluster. Installing itself is Helm's.

mod check;

use check::CheckError;

use crate::terminal::Terminal;

/// Flags of `catnap install`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Tell what the cluster lacks for Catnap, and whether an installation is well.
    Check(check::Arguments),
}

/// Does what is asked.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), CheckError> {
    let Command::Check(arguments) = arguments.command;
    check::run(arguments, terminal).await
}
