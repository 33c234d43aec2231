//! `catnap invoke`: sends one request to a Function, wherever this runs, and tells what it waited for.
//!
//! Without an address the request goes through the API server to an activator, as `kubectl port-forward` would.

mod exchange;
mod request;
mod target;
mod timing;

use std::io;

use catnap_activator_core::Reason;
use catnap_crds::Duration;
use hyper::header::HOST;
use hyper::{Method, StatusCode, Uri};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cluster::ClusterError;
use crate::connection::call::{CallError, Said};
use crate::connection::{Connection, ConnectionArguments};
use crate::exit::{Exit, Failure};
use crate::functions::Functions;
use crate::terminal::Terminal;
use crate::{cluster, explain, forward, name};
use exchange::{Told, exchange};
use request::{DataError, Header};

/// Port of an activator for clients in the cluster.
const PORT: u16 = 8080;

/// Flags of `catnap invoke`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The Function, as NAME or function/NAME.
    #[arg(value_name = "NAME", value_parser = name::function)]
    pub(crate) name: String,
    /// Body of the request: the text itself, @FILE, or - for standard input.
    #[arg(short, long)]
    pub(crate) data: Option<String>,
    /// Method; when left out GET, or POST with a body.
    #[arg(short = 'X', long, value_parser = request::method)]
    pub(crate) method: Option<Method>,
    /// Header, as 'NAME: VALUE'; may be given several times. One named Host chooses another of the Function's hosts.
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = request::header)]
    pub(crate) headers: Vec<Header>,
    /// Path and query.
    #[arg(long, default_value = "/", value_parser = request::path)]
    pub(crate) path: Uri,
    /// Longest wait for the whole answer, such as 30s.
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    pub(crate) timeout: Duration,
    /// Tell status, time, phases and headers on standard error; without it a terminal is told the first three.
    #[arg(short, long)]
    pub(crate) include: bool,
    /// Where an activator can be reached, such as `http://127.0.0.1:8080`; without it one is asked through the API server.
    #[arg(long, value_name = "URL", value_parser = explain::authority)]
    pub(crate) address: Option<String>,
    /// Namespace that Catnap is installed in.
    #[arg(long, value_name = "NAMESPACE", default_value = "catnap-system", value_parser = name::namespace)]
    pub(crate) system_namespace: String,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Why there is no answer, or none of the good ones.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvokeError {
    /// The cluster cannot be asked, or nobody reads the answer.
    #[error(transparent)]
    Cluster {
        /// Why.
        source: ClusterError,
    },
    /// The API server gives no way to an activator.
    #[error(transparent)]
    Reach {
        /// Why.
        source: CallError,
    },
    /// The body of the request cannot be read.
    #[error(transparent)]
    Data {
        /// Why.
        source: DataError,
    },
    /// Nobody has given it an address.
    #[error("function/{name} in namespace {namespace} has no address yet")]
    NoAddress {
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// Nobody to send it to.
    #[error("no activator is ready in namespace {system}")]
    NoActivator {
        /// Where Catnap is meant to be.
        system: String,
    },
    /// Nobody listens there.
    #[error("cannot connect to an activator at {address}")]
    Address {
        /// Where.
        address: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The parts make no request.
    #[error("these flags make no request")]
    Request {
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke, or what came over it is no HTTP.
    #[error("the exchange with the activator broke off")]
    Exchange {
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No end of the answer in time.
    #[error("function/{name} has not answered within {} s", patience.as_secs_f64())]
    Late {
        /// Its name.
        name: String,
        /// How long it had.
        patience: std::time::Duration,
    },
    /// Catnap answered in the function's place.
    #[error("function/{name} did not answer ({status}): {title} ({reason})")]
    Refused {
        /// Its name.
        name: String,
        /// Catnap's name for why.
        reason: String,
        /// The same, if this build knows it.
        known: Option<Reason>,
        /// What that means.
        title: &'static str,
        /// Of the answer.
        status: StatusCode,
        /// What was wrong with this one request.
        source: Option<Said>,
    },
    /// The function says that it cannot.
    #[error("function/{name} answered {status}")]
    Answered {
        /// Its name.
        name: String,
        /// Of the answer.
        status: StatusCode,
    },
}

/// Sends the request, and writes the body of its answer to standard output.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), InvokeError> {
    let connection = cluster::connect(&arguments.connection).await;
    let connection = connection.map_err(|source| InvokeError::Cluster { source })?;
    let invoked = Box::pin(invoke(&arguments, &connection, io::stdin(), terminal)).await;
    terminal.clear_progress();
    invoked
}

async fn invoke(
    arguments: &Arguments,
    connection: &Connection,
    input: impl io::Read,
    terminal: &mut Terminal,
) -> Result<(), InvokeError> {
    let name = &arguments.name;
    let found = Functions::new(connection).get(name).await.map_err(|source| ClusterError::Call { source });
    let found = found.map_err(|source| InvokeError::Cluster { source })?;
    let namespace = &connection.namespace;
    let no_address = || InvokeError::NoAddress { name: name.clone(), namespace: namespace.clone() };
    let host = target::host(&found);
    if host.is_none() && !arguments.headers.iter().any(|Header(name, _)| *name == HOST) {
        return Err(no_address());
    }
    let body = arguments.data.as_deref().map(|data| request::body(data, input)).transpose();
    let body = body.map_err(|source| InvokeError::Data { source })?;
    let request = request::request(arguments, host.as_deref().unwrap_or_default(), body);
    let request = request.map_err(|source| InvokeError::Request { source })?;
    let told = Told { summary: arguments.include || terminal.is_watched(), headers: arguments.include };
    if terminal.is_watched() {
        terminal.progress(&format!("waiting for function/{name}"));
    }
    let patience = arguments.timeout.get();
    let late = |_| InvokeError::Late { name: name.clone(), patience };
    if let Some(address) = &arguments.address {
        let connecting = timeout(connection.patience, TcpStream::connect(address)).await;
        let connected = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let failed = |source| InvokeError::Address { address: address.clone(), source };
        let exchanging = exchange(connected.map_err(failed)?, request, name, told, terminal);
        return timeout(patience, exchanging).await.map_err(late)?;
    }
    let system = &arguments.system_namespace;
    let no_way = |source| InvokeError::Reach { source };
    let pod = target::activator(connection, system).await.map_err(no_way)?;
    let pod = pod.ok_or_else(|| InvokeError::NoActivator { system: system.clone() })?;
    let stream = Box::pin(forward::to_pod(connection, system, &pod, PORT)).await;
    let stream = stream.map_err(no_way)?;
    let no_stream = || InvokeError::Exchange { source: "no stream to its pod was opened".into() };
    let exchanging = exchange(stream.ok_or_else(no_stream)?, request, name, told, terminal);
    timeout(patience, exchanging).await.map_err(late)?
}

impl Failure for InvokeError {
    fn exit(&self) -> Exit {
        match self {
            Self::Cluster { source } => source.exit(),
            Self::Reach { source } => source.exit(),
            Self::Address { .. } | Self::NoActivator { .. } | Self::Exchange { .. } => Exit::Unreachable,
            Self::Late { .. } => Exit::TimeOver,
            Self::Refused { known, .. } => exit_of(*known),
            Self::Data { .. } | Self::NoAddress { .. } | Self::Request { .. } | Self::Answered { .. } => {
                Exit::Failed
            }
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Cluster { source } => source.advice(),
            // Who writes functions seldom has rights where Catnap is.
            Self::Reach { source } if source.is_forbidden() => Some(
                "--address, where an activator can be reached; or a role that lets you list pods and create pods/portforward there"
                    .to_owned(),
            ),
            Self::Reach { source } => source.advice(),
            Self::NoAddress { name, namespace } => {
                Some(format!("`catnap describe {name} --namespace {namespace}` tells what it waits for"))
            }
            Self::NoActivator { .. } => Some(
                "`catnap install check`; --system-namespace says where Catnap is, --address where an activator is"
                    .to_owned(),
            ),
            Self::Late { .. } => Some("a longer --timeout".to_owned()),
            Self::Refused { name, known, .. } => {
                let describe = format!("`catnap describe {name}` tells more");
                Some(match known.and_then(Reason::retry_after) {
                    Some(wait) => format!("again in {} s; {describe}", wait.as_secs()),
                    None => describe,
                })
            }
            _ => None,
        }
    }
}

/// What a refusal means for a script.
fn exit_of(reason: Option<Reason>) -> Exit {
    match reason {
        Some(Reason::UnknownHost | Reason::Deleted) => Exit::NotFound,
        Some(Reason::ActivationTimeout | Reason::FirstByteTimeout | Reason::RequestTimeout) => Exit::TimeOver,
        Some(
            Reason::ImagePullFailed
            | Reason::CrashLoop
            | Reason::Unschedulable
            | Reason::QuotaExceeded
            | Reason::Stalled,
        ) => Exit::Stalled,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests;
