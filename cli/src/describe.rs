//! `catnap describe`: all that is known of one Function on one page.

mod cold_starts;
mod events;
mod page;
mod pods;
mod read;
mod text;

use crate::cluster::{self, ClusterError};
use crate::connection::{Connection, ConnectionArguments};
use crate::name;
use crate::output::PageFormat;
use crate::terminal::Terminal;

/// Flags of `catnap describe`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// The Function, as NAME or function/NAME.
    #[arg(value_name = "NAME", value_parser = name::function)]
    pub(crate) name: String,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: PageFormat,
    /// Namespace that Catnap is installed in: its autoscaler is asked for decisions, its activators for cold starts.
    #[arg(long, value_name = "NAMESPACE", default_value = "catnap-system", value_parser = name::namespace)]
    pub(crate) system_namespace: String,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Shows the page.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), ClusterError> {
    let connection = cluster::connect(&arguments.connection).await?;
    Box::pin(show(&arguments, &connection, terminal)).await
}

async fn show(
    arguments: &Arguments,
    connection: &Connection,
    terminal: &mut Terminal,
) -> Result<(), ClusterError> {
    let (_, function) = cluster::read(connection, &arguments.name).await?;
    let page = Box::pin(read::page(connection, &function, &arguments.system_namespace)).await;
    let text = match arguments.output.notation() {
        Some(notation) => notation.text(&page).map_err(|source| ClusterError::Notation { source })?,
        None => text::text(&page, terminal.look()),
    };
    cluster::write(terminal, &text)
}

#[cfg(test)]
mod tests;
