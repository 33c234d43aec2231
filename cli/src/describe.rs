//! `catnap describe`: all that is known of one Function on one page.

mod events;
mod page;
mod pods;
mod read;
mod text;

use crate::connection::call::CallError;
use crate::connection::{Connection, ConnectionArguments, ConnectionError};
use crate::exit::{Exit, Failure};
use crate::functions::Functions;
use crate::name;
use crate::output::{NotationError, PageFormat};
use crate::terminal::{Terminal, WriteError};

/// Flags of `catnap describe`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// The Function, as NAME or function/NAME.
    #[arg(value_name = "NAME", value_parser = name::function)]
    pub(crate) name: String,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: PageFormat,
    /// Namespace that Catnap is installed in: its autoscaler is asked for decisions.
    #[arg(long, value_name = "NAMESPACE", default_value = "catnap-system")]
    pub(crate) system_namespace: String,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DescribeError {
    /// No cluster.
    #[error(transparent)]
    Connect {
        /// Why.
        source: ConnectionError,
    },
    /// The Function cannot be read.
    #[error(transparent)]
    Read {
        /// Why.
        source: CallError,
    },
    /// A Function that this build does not understand.
    #[error("function/{name} has fields that this catnap cannot read: it is older than the cluster's")]
    Unreadable {
        /// Its name.
        name: String,
    },
    /// Not in that form.
    #[error(transparent)]
    Notation {
        /// Why.
        source: NotationError,
    },
    /// Nobody reads it.
    #[error(transparent)]
    Write {
        /// Why.
        source: WriteError,
    },
}

/// Shows the page.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), DescribeError> {
    let connection = arguments.connection.clone().connect().await;
    let connection = connection.map_err(|source| DescribeError::Connect { source })?;
    Box::pin(show(&arguments, &connection, terminal)).await
}

async fn show(
    arguments: &Arguments,
    connection: &Connection,
    terminal: &mut Terminal,
) -> Result<(), DescribeError> {
    let found = Functions::new(connection).get(&arguments.name).await;
    let found = found.map_err(|source| DescribeError::Read { source })?;
    let unreadable = || DescribeError::Unreadable { name: arguments.name.clone() };
    let function = found.function.ok_or_else(unreadable)?;
    let page = Box::pin(read::page(connection, &function, &arguments.system_namespace)).await;
    let text = match arguments.output.notation() {
        Some(notation) => notation.text(&page).map_err(|source| DescribeError::Notation { source })?,
        None => text::text(&page, terminal.look()),
    };
    terminal.write(&text).map_err(|source| DescribeError::Write { source })
}

impl Failure for DescribeError {
    fn exit(&self) -> Exit {
        self.inner().map_or(Exit::Failed, Failure::exit)
    }

    fn advice(&self) -> Option<String> {
        self.inner().and_then(Failure::advice)
    }
}

impl DescribeError {
    fn inner(&self) -> Option<&dyn Failure> {
        match self {
            Self::Connect { source } => Some(source),
            Self::Read { source } => Some(source),
            Self::Notation { source } => Some(source),
            Self::Write { source } => Some(source),
            Self::Unreadable { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
