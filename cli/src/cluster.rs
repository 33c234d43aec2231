//! What every command about a cluster begins with, and what goes wrong in the same way in all of them.

use catnap_crds::Function;

use crate::connection::call::CallError;
use crate::connection::{Connection, ConnectionArguments, ConnectionError};
use crate::exit::Failure;
use crate::functions::{Found, Functions, UnreadableError};
use crate::output::NotationError;
use crate::terminal::{Terminal, WriteError};

/// Why the cluster cannot be asked, does not give or take something, or its answer cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// No cluster.
    #[error(transparent)]
    Connect {
        /// Why.
        source: ConnectionError,
    },
    /// The API server does not give or take it.
    #[error(transparent)]
    Call {
        /// Why.
        source: CallError,
    },
    /// A Function that cannot be read.
    #[error(transparent)]
    Unreadable {
        /// Why.
        source: UnreadableError,
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

/// The cluster that the command line says.
pub(crate) async fn connect(arguments: &ConnectionArguments) -> Result<Connection, ClusterError> {
    arguments.clone().connect().await.map_err(|source| ClusterError::Connect { source })
}

/// A Function as it came, and as it is understood.
pub(crate) async fn read(connection: &Connection, name: &str) -> Result<(Found, Function), ClusterError> {
    let found = Functions::new(connection).get(name).await;
    let found = found.map_err(|source| ClusterError::Call { source })?;
    let function = found.understood().map_err(|source| ClusterError::Unreadable { source })?.clone();
    Ok((found, function))
}

/// Writes what was asked for.
pub(crate) fn write(terminal: &mut Terminal, text: &str) -> Result<(), ClusterError> {
    terminal.write(text).map_err(|source| ClusterError::Write { source })
}

impl Failure for ClusterError {
    fn inner(&self) -> Option<&dyn Failure> {
        match self {
            Self::Connect { source } => Some(source),
            Self::Call { source } => Some(source),
            Self::Unreadable { source } => Some(source),
            Self::Notation { source } => Some(source),
            Self::Write { source } => Some(source),
        }
    }
}
