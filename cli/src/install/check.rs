//! `catnap install check`: what a cluster lacks for Catnap, and whether an installation is well; a row for each, and what to do.
//!
//! What the API server says is read first ([`read`]), then judged without it ([`cluster`], [`parts`], [`definition`]), so that
//! each judgement can be tried on its own.

mod cluster;
mod definition;
mod finding;
mod functions;
mod parts;
mod read;

use crate::cluster::ClusterError;
use crate::connection::{Connection, ConnectionArguments};
use crate::exit::{Exit, Failure};
use crate::name;
use crate::output::PageFormat;
use crate::terminal::Terminal;
use finding::{Finding, Page, State};
use read::Facts;

/// What installs it, for whoever has the chart.
const INSTALL: &str = "helm install catnap charts/catnap --create-namespace --wait --namespace";

/// Flags of `catnap install check`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// Namespace that Catnap is, or is to be, installed in; --namespace says whose Functions are counted instead of all.
    #[arg(long, value_name = "NAMESPACE", default_value = "catnap-system", value_parser = name::namespace)]
    pub(crate) system_namespace: String,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: PageFormat,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// What keeps the check from being passed, or from being made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    /// The cluster cannot be asked, or what it says not be shown.
    #[error(transparent)]
    Cluster {
        /// Why.
        source: ClusterError,
    },
    /// Checks that are not passed.
    #[error("{failed} of {all} checks are not passed")]
    Failed {
        /// How many are not.
        failed: usize,
        /// How many there are.
        all: usize,
    },
    /// A cluster that Catnap can be installed in, and is not.
    #[error("Catnap is not installed in namespace {system}; this cluster has what it needs")]
    NotInstalled {
        /// Where it was looked for.
        system: String,
    },
}

/// Checks, and shows what was found.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), CheckError> {
    let connection = crate::cluster::connect(&arguments.connection).await.map_err(failed)?;
    Box::pin(check(&arguments, &connection, terminal)).await
}

fn failed(source: ClusterError) -> CheckError {
    CheckError::Cluster { source }
}

async fn check(
    arguments: &Arguments,
    connection: &Connection,
    terminal: &mut Terminal,
) -> Result<(), CheckError> {
    let system = &arguments.system_namespace;
    let of = arguments.connection.namespace.as_deref();
    let facts = Box::pin(read::facts(connection, system, of)).await;
    let facts = facts.map_err(|source| ClusterError::Call { source }).map_err(failed)?;
    let look = terminal.look();
    let page = page(&facts, system, look.now);
    let text = match arguments.output.notation() {
        Some(notation) => {
            notation.text(&page).map_err(|source| ClusterError::Notation { source }).map_err(failed)?
        }
        None => page.text(look),
    };
    crate::cluster::write(terminal, &text).map_err(failed)?;
    match page.failed() {
        0 if page.installed => Ok(()),
        0 => Err(CheckError::NotInstalled { system: system.clone() }),
        failed => Err(CheckError::Failed { failed, all: page.checks.len() }),
    }
}

/// All that there is to say of what was read.
fn page(facts: &Facts, system: &str, now: jiff::Timestamp) -> Page {
    let installed = parts::are_there(facts);
    let mut checks = cluster::findings(facts);
    checks.push(cluster::rights(facts, installed));
    checks.extend(cluster::namespace(facts, system));
    checks.push(definition::finding(facts, installed));
    if installed {
        checks.extend(parts::findings(facts, system, now));
        checks.push(functions::finding(facts));
    } else {
        checks.push(absent(facts, system));
    }
    Page { installed, checks }
}

/// Says where else it is, if it is anywhere.
fn absent(facts: &Facts, system: &str) -> Finding {
    let elsewhere = facts.elsewhere.as_deref().filter(|namespace| *namespace != system);
    let finding = Finding::new("installation", State::Absent, format!("Catnap is not in namespace {system}"));
    match elsewhere {
        Some(namespace) => finding.advised(format!(
            "`catnap install check --system-namespace {namespace}`: there it is; two in one cluster would fight"
        )),
        None => finding.advised(format!("`{INSTALL} {system}`")),
    }
}

impl Failure for CheckError {
    fn inner(&self) -> Option<&dyn Failure> {
        match self {
            Self::Cluster { source } => Some(source),
            // What was found says what to do.
            Self::Failed { .. } | Self::NotInstalled { .. } => None,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NotInstalled { .. } => Exit::NotFound,
            _ => self.inner().map_or(Exit::Failed, Failure::exit),
        }
    }
}

#[cfg(test)]
mod tests;
