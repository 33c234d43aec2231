//! `catnap delete`: removes Functions and waits until nothing of them runs any more.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::pin;

use catnap_crds::Duration;
use futures::TryStreamExt;
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::cluster::{self, ClusterError};
use crate::connection::call::{Act, CallError, FUNCTIONS};
use crate::connection::{Connection, ConnectionArguments};
use crate::exit::{Exit, Failure};
use crate::functions::{Found, Functions};
use crate::terminal::Terminal;
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
    /// The cluster does not give or take it.
    #[error(transparent)]
    Cluster {
        /// Why.
        source: ClusterError,
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
        source: Box<CallError>,
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
}

/// Deletes them.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), DeleteError> {
    let connection = cluster::connect(&arguments.connection).await.map_err(in_cluster)?;
    delete(&arguments, &connection, terminal).await
}

async fn delete(
    arguments: &Arguments,
    connection: &Connection,
    terminal: &mut Terminal,
) -> Result<(), DeleteError> {
    let functions = Functions::new(connection);
    // All are looked up before one is deleted: a mistyped name deletes nothing.
    let names: BTreeSet<_> = arguments.names.iter().collect();
    let found = try_join_all(names.into_iter().map(|name| functions.get(name))).await.map_err(refused)?;
    if terminal.asks() && !arguments.yes {
        let question: Vec<_> = found.iter().map(what_goes).collect();
        if !terminal.confirm(&format!("{}\nDelete?", question.join("\n"))) {
            return Err(DeleteError::Declined);
        }
    }
    let deadline = Instant::now() + arguments.timeout.get();
    let mut going = Vec::new();
    // All are deleted before one is waited for: one that takes long keeps the others from nothing.
    for one in &found {
        let deployments = deployments(arguments, connection, one, terminal).await?;
        functions.delete(one).await.map_err(refused)?;
        // Also where something goes wrong after this one.
        terminal.progress(&format!("function/{} is being deleted", one.name()));
        going.push((one, deployments));
    }
    for (one, deployments) in going {
        let name = one.name();
        if arguments.wait {
            terminal.progress(&format!("waiting until nothing of {name} is left"));
            wait_for(arguments, connection, (one, deployments.as_slice()), deadline).await?;
        }
        cluster::write(terminal, &format!("function/{name} deleted\n")).map_err(in_cluster)?;
    }
    Ok(())
}

fn in_cluster(source: ClusterError) -> DeleteError {
    DeleteError::Cluster { source }
}

fn refused(source: CallError) -> DeleteError {
    in_cluster(ClusterError::Call { source })
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

/// The Deployments that will go with it, if it is waited for them.
async fn deployments(
    arguments: &Arguments,
    connection: &Connection,
    found: &Found,
    terminal: &mut Terminal,
) -> Result<Vec<Deployment>, DeleteError> {
    let Some(function) = found.function.as_ref().filter(|_| arguments.wait) else { return Ok(Vec::new()) };
    match revisions::children(connection, function, "deployments.apps").await {
        // Who may delete a Function need not see what it is made of.
        Err(error) if error.is_forbidden() => {
            terminal.note(&format!("{error}: only function/{} itself is waited for.", found.name()));
            Ok(Vec::new())
        }
        deployments => deployments.map_err(refused),
    }
}

/// Until the Function and its Deployments are gone.
async fn wait_for(
    arguments: &Arguments,
    connection: &Connection,
    (found, deployments): (&Found, &[Deployment]),
    deadline: Instant,
) -> Result<(), DeleteError> {
    let name = found.name();
    let waiting = async {
        let functions = Functions::new(connection).api();
        gone(connection, functions, FUNCTIONS, name, found.object.metadata.uid.as_deref()).await?;
        let api: Api<Deployment> = Api::namespaced(connection.client.clone(), &connection.namespace);
        for Deployment { metadata, .. } in deployments {
            let name = metadata.name.as_deref().unwrap_or_default();
            gone(connection, api.clone(), "deployments.apps", name, metadata.uid.as_deref()).await?;
        }
        Ok::<(), CallError>(())
    };
    match tokio::time::timeout_at(deadline, waiting).await {
        Ok(gone) => {
            gone.map_err(|source| DeleteError::Watch { name: name.to_owned(), source: Box::new(source) })
        }
        Err(_) => Err(DeleteError::TimeOver {
            name: name.to_owned(),
            namespace: connection.namespace.clone(),
            timeout: arguments.timeout,
        }),
    }
}

/// Until there is no object of that name, or another one; a watch that breaks is tried again.
async fn gone<K>(
    connection: &Connection,
    api: Api<K>,
    resource: &'static str,
    name: &str,
    uid: Option<&str>,
) -> Result<(), CallError>
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut states = pin!(watch_object(api, name).default_backoff());
    loop {
        match states.try_next().await {
            Ok(Some(Some(object))) if object.meta().uid.as_deref() == uid => {}
            Ok(_) => return Ok(()),
            Err(error) => {
                let act = Act::on("watch", resource, &connection.namespace, name);
                if let Some(refused) = connection.refused(act, &error) {
                    return Err(refused);
                }
            }
        }
    }
}

impl Failure for DeleteError {
    fn inner(&self) -> Option<&dyn Failure> {
        match self {
            Self::Cluster { source } => Some(source),
            Self::Watch { source, .. } => Some(&**source),
            Self::Declined | Self::TimeOver { .. } => None,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::TimeOver { .. } => Exit::TimeOver,
            other => other.inner().map_or(Exit::Failed, Failure::exit),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::TimeOver { name, namespace, .. } => Some(format!(
                "`kubectl get deployments,pods -l catnap.dev/function={name} --namespace {namespace}` shows what is left"
            )),
            other => other.inner().and_then(Failure::advice),
        }
    }
}

#[cfg(test)]
mod tests;
