//! `catnap rollback`: gives all requests to an earlier revision.

use catnap_crds::Function;

use crate::cluster::{self, ClusterError};
use crate::connection::{Connection, ConnectionArguments};
use crate::exit::{Exit, Failure};
use crate::name;
use crate::revisions::{self, Revision};
use crate::settle::SettleArguments;
use crate::terminal::{Terminal, printable};
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
    /// The cluster does not give or take it.
    #[error(transparent)]
    Cluster {
        /// Why.
        source: ClusterError,
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
}

/// Goes back.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), RollbackError> {
    let connection = cluster::connect(&arguments.connection).await.map_err(in_cluster)?;
    rollback(&arguments, &connection, terminal).await
}

async fn rollback(
    arguments: &Arguments,
    connection: &Connection,
    terminal: &mut Terminal,
) -> Result<(), RollbackError> {
    let name = &arguments.name;
    let (found, function) = cluster::read(connection, name).await.map_err(in_cluster)?;
    let history = revisions::read(connection, &function).await;
    let history = history.map_err(|source| in_cluster(ClusterError::Call { source }))?;
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
    // The revision's name is what the status says.
    cluster::write(terminal, &printable(&said)).map_err(in_cluster)
}

fn in_cluster(source: ClusterError) -> RollbackError {
    RollbackError::Cluster { source }
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
    fn inner(&self) -> Option<&dyn Failure> {
        match self {
            Self::Cluster { source } => Some(source),
            Self::Plan { source } => Some(source),
            Self::Traffic { source } => Some(source),
            Self::Nothing { .. } => None,
        }
    }

    fn exit(&self) -> Exit {
        self.inner().map_or(Exit::NotFound, Failure::exit)
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Nothing { name } => Some(format!("`catnap get {name} --revisions` lists them")),
            other => other.inner().and_then(Failure::advice),
        }
    }
}

#[cfg(test)]
mod tests;
