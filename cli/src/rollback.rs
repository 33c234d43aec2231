//! `catnap rollback`: gives all requests to an earlier revision.

use catnap_crds::Function;

use crate::connection::call::CallError;
use crate::connection::{Connection, ConnectionArguments, ConnectionError};
use crate::exit::{Exit, Failure};
use crate::functions::Functions;
use crate::name;
use crate::revisions::{self, Revision};
use crate::settle::SettleArguments;
use crate::terminal::{Terminal, WriteError};
use crate::traffic::{self, PlanError, TrafficError};

/// Flags of `catnap rollback`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The Function, as NAME or function/NAME.
    #[arg(value_name = "NAME", value_parser = name::function)]
    pub(crate) name: String,
    /// Revision to go back to, or the beginning of its name; when left out the one before the one that takes most requests, and
    /// during a rollout the one that it comes from.
    #[arg(long, value_name = "REVISION")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) settle: SettleArguments,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Why it stays as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RollbackError {
    /// No cluster.
    #[error(transparent)]
    Connect {
        /// Why.
        source: ConnectionError,
    },
    /// The API server does not give it.
    #[error(transparent)]
    Call {
        /// Why.
        source: CallError,
    },
    /// A Function that this build does not understand.
    #[error("function/{name} has fields that this catnap cannot read: it is older than the cluster's")]
    Unreadable {
        /// Its name.
        name: String,
    },
    /// Nothing came before.
    #[error("function/{name} has no earlier revision to go back to")]
    Nothing {
        /// Its name.
        name: String,
    },
    /// No such revision.
    #[error(transparent)]
    Plan {
        /// Why.
        source: PlanError,
    },
    /// Requests do not go there.
    #[error(transparent)]
    Traffic {
        /// Why.
        source: TrafficError,
    },
    /// Nobody reads it.
    #[error(transparent)]
    Write {
        /// Why.
        source: WriteError,
    },
}

/// Goes back.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), RollbackError> {
    let connection = arguments.connection.clone().connect().await;
    let connection = connection.map_err(|source| RollbackError::Connect { source })?;
    rollback(&arguments, &connection, terminal).await
}

async fn rollback(
    arguments: &Arguments,
    connection: &Connection,
    terminal: &mut Terminal,
) -> Result<(), RollbackError> {
    let name = &arguments.name;
    let failed = |source| RollbackError::Call { source };
    let found = Functions::new(connection).get(name).await.map_err(failed)?;
    let unreadable = || RollbackError::Unreadable { name: name.clone() };
    let function = found.function.clone().ok_or_else(unreadable)?;
    let history = revisions::read(connection, &function).await.map_err(failed)?;
    let to = match &arguments.to {
        Some(wanted) => {
            let known: Vec<_> = history.iter().map(|revision| revision.name.as_str()).collect();
            traffic::revision(wanted, &known).map_err(|source| RollbackError::Plan { source })?
        }
        None => before(&function, &history).ok_or_else(|| RollbackError::Nothing { name: name.clone() })?,
    };
    let targets = &function.spec.traffic;
    let given = traffic::give_all(connection, &found, targets, &to, arguments.settle, terminal).await;
    given.map_err(|source| RollbackError::Traffic { source })?;
    let said = format!(
        "function/{name}: all requests go to {to}, whatever is deployed; `catnap traffic {name} --latest` ends that\n"
    );
    terminal.write(&said).map_err(|source| RollbackError::Write { source })
}

/// What the rollout comes from, or else the revision before the one that takes most requests; `history` begins with the
/// latest.
fn before(function: &Function, history: &[Revision]) -> Option<String> {
    let rollout = function.status.as_ref().and_then(|status| status.rollout.as_ref());
    if let Some(rollout) = rollout {
        return Some(rollout.from.clone());
    }
    let main =
        history.iter().filter(|revision| revision.percent > 0).max_by_key(|revision| revision.percent)?;
    history.iter().find(|revision| revision.number < main.number).map(|revision| revision.name.clone())
}

impl Failure for RollbackError {
    fn exit(&self) -> Exit {
        match self {
            Self::Nothing { .. } => Exit::NotFound,
            other => other.inner().map_or(Exit::Failed, Failure::exit),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Nothing { name } => Some(format!("`catnap get {name} --revisions` lists them")),
            other => other.inner().and_then(Failure::advice),
        }
    }
}

impl RollbackError {
    fn inner(&self) -> Option<&dyn Failure> {
        match self {
            Self::Connect { source } => Some(source),
            Self::Call { source } => Some(source),
            Self::Plan { source } => Some(source),
            Self::Traffic { source } => Some(source),
            Self::Write { source } => Some(source),
            Self::Unreadable { .. } | Self::Nothing { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
