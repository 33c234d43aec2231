//! `catnap delete`: removes Functions and waits until nothing of them runs any more.

use catnap_crds::Duration;
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, DeleteParams, DynamicObject, Preconditions};
use kube::runtime::wait::{await_condition, conditions};

use crate::connection::call::{Act, CallError};
use crate::connection::{Connection, ConnectionArguments, ConnectionError};
use crate::exit::{Exit, Failure};
use crate::functions::{Found, Functions};
use crate::terminal::{Terminal, WriteError};
use crate::{name, revisions};

/// Flags of `catnap delete`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Functions, as NAME or function/NAME.
    #[arg(value_name = "NAME", value_parser = name::function, required = true)]
    pub(crate) names: Vec<String>,
    /// Do not ask, on a terminal either.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Whether to wait until the Functions and their Deployments are gone.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) wait: bool,
    /// Longest wait for that.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Why not everything is gone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeleteError {
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
    /// Whoever was asked said no.
    #[error("nothing was deleted")]
    Declined,
    /// It cannot be seen whether they are gone.
    #[error("function/{name} was deleted, but what is left of it cannot be watched")]
    Watch {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: kube::runtime::wait::Error,
    },
    /// They are still there.
    #[error("function/{name} was deleted, but something of it is still there after {timeout}")]
    TimeOver {
        /// Its name.
        name: String,
        /// Where.
        namespace: String,
        /// How long they had.
        timeout: Duration,
    },
    /// Nobody reads it.
    #[error(transparent)]
    Write {
        /// Why.
        source: WriteError,
    },
}

/// Deletes them.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), DeleteError> {
    let connection = arguments.connection.clone().connect().await;
    let connection = connection.map_err(|source| DeleteError::Connect { source })?;
    delete(&arguments, &connection, terminal).await
}

async fn delete(
    arguments: &Arguments,
    connection: &Connection,
    terminal: &mut Terminal,
) -> Result<(), DeleteError> {
    let functions = Functions::new(connection);
    // All are looked up before one is deleted: a mistyped name deletes nothing.
    let found = try_join_all(arguments.names.iter().map(|name| functions.get(name))).await;
    let found = found.map_err(|source| DeleteError::Call { source })?;
    if terminal.asks() && !arguments.yes {
        let question: Vec<_> = found.iter().map(what_goes).collect();
        if !terminal.confirm(&format!("{}\nDelete?", question.join("\n"))) {
            return Err(DeleteError::Declined);
        }
    }
    for one in &found {
        delete_one(arguments, connection, &functions, one, terminal).await?;
        let said = terminal.write(&format!("function/{} deleted\n", one.name()));
        said.map_err(|source| DeleteError::Write { source })?;
    }
    Ok(())
}

/// What a person should know before it is gone.
fn what_goes(found: &Found) -> String {
    let status = found.function.as_ref().and_then(|function| function.status.clone()).unwrap_or_default();
    let hosts = status.hosts.iter().filter(|host| host.accepted).map(|host| host.host.clone());
    let names: Vec<_> = status.url.into_iter().chain(hosts).collect();
    let names = if names.is_empty() { "no address yet".to_owned() } else { names.join(", ") };
    let (name, namespace, replicas) = (found.name(), found.namespace(), status.replicas);
    format!("function/{name} in namespace {namespace}: {names}; {replicas} replicas, every revision")
}

async fn delete_one(
    arguments: &Arguments,
    connection: &Connection,
    functions: &Functions,
    found: &Found,
    terminal: &mut Terminal,
) -> Result<(), DeleteError> {
    let name = found.name();
    let deployments = deployments(arguments, connection, found).await?;
    // The one that was looked at, and not another that was made since under its name.
    let preconditions = Preconditions { uid: found.object.metadata.uid.clone(), resource_version: None };
    let parameters = DeleteParams::background().preconditions(preconditions);
    let act = Act::on_function("delete", &connection.namespace, name);
    let deleted = connection.call(act, functions.api().delete(name, &parameters)).await;
    deleted.map_err(|source| DeleteError::Call { source })?;
    if !arguments.wait {
        return Ok(());
    }
    terminal.progress(&format!("waiting until nothing of {name} is left"));
    let waiting = wait_for(connection, functions.api(), found, &deployments);
    match tokio::time::timeout(arguments.timeout.get(), waiting).await {
        Ok(gone) => gone.map_err(|source| DeleteError::Watch { name: name.to_owned(), source }),
        Err(_) => Err(DeleteError::TimeOver {
            name: name.to_owned(),
            namespace: connection.namespace.clone(),
            timeout: arguments.timeout,
        }),
    }
}

/// The Deployments that will go with it, if it is waited for them.
async fn deployments(
    arguments: &Arguments,
    connection: &Connection,
    found: &Found,
) -> Result<Vec<Deployment>, DeleteError> {
    match &found.function {
        Some(function) if arguments.wait => revisions::children(connection, function, "deployments.apps")
            .await
            .map_err(|source| DeleteError::Call { source }),
        _ => Ok(Vec::new()),
    }
}

async fn wait_for(
    connection: &Connection,
    functions: Api<DynamicObject>,
    found: &Found,
    deployments: &[Deployment],
) -> Result<(), kube::runtime::wait::Error> {
    let uid = found.object.metadata.uid.as_deref().unwrap_or_default();
    await_condition(functions, found.name(), conditions::is_deleted(uid)).await?;
    let api: Api<Deployment> = Api::namespaced(connection.client.clone(), &connection.namespace);
    for deployment in deployments {
        let metadata = &deployment.metadata;
        let (name, uid) = (metadata.name.as_deref(), metadata.uid.as_deref());
        let gone = conditions::is_deleted(uid.unwrap_or_default());
        await_condition(api.clone(), name.unwrap_or_default(), gone).await?;
    }
    Ok(())
}

impl Failure for DeleteError {
    fn exit(&self) -> Exit {
        match self {
            Self::Connect { source } => source.exit(),
            Self::Call { source } => source.exit(),
            Self::Write { source } => source.exit(),
            Self::TimeOver { .. } => Exit::TimeOver,
            Self::Declined | Self::Watch { .. } => Exit::Failed,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Connect { source } => source.advice(),
            Self::Call { source } => source.advice(),
            Self::TimeOver { name, namespace, .. } => Some(format!(
                "`kubectl get deployments,pods -l catnap.dev/function={name} --namespace {namespace}` shows what is left"
            )),
            Self::Declined | Self::Watch { .. } | Self::Write { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
