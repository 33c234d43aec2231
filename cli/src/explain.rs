//! `catnap explain`: why a Function has the replicas it has, as the leading autoscaler tells it.
//!
//! The autoscaler's debug endpoint answers only from within its pod, so this goes through the API server, or to an address that
//! somebody else forwards.

use std::time::Duration;

use bytes::Bytes;
use catnap_autoscaler_api::state::State;
use hyper::StatusCode;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::connection::{ConnectionArguments, ConnectionError};
use crate::debug_state::ask_state;
use crate::exit::{Exit, Failure};
use crate::inside::{self, InsideError};
use crate::name;
use crate::output::{NotationError, PageFormat};
use crate::terminal::{Terminal, WriteError, printable};

/// Longest wait for the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Flags of `catnap explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The Function, as NAME or function/NAME.
    #[arg(value_name = "NAME", value_parser = name::function)]
    pub(crate) function: String,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: PageFormat,
    /// Where the autoscaler's admin server can be reached, such as `http://127.0.0.1:9090`; without it the leading autoscaler is
    /// asked through the API server. With it no cluster is, and the namespace is `default` when left out.
    #[arg(long, value_name = "URL", value_parser = authority)]
    pub(crate) autoscaler: Option<String>,
    /// Namespace Catnap is installed in.
    #[arg(long, default_value = "catnap-system", value_parser = name::namespace)]
    pub(crate) system_namespace: String,
    /// Name of the Lease that the leading autoscaler holds.
    #[arg(long, default_value = "catnap-autoscaler")]
    pub(crate) lease: String,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Why nothing can be explained. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExplainError {
    /// No cluster.
    #[error(transparent)]
    Connect {
        /// Why.
        source: ConnectionError,
    },
    /// No answer of the leading autoscaler.
    #[error(transparent)]
    Inside {
        /// Why.
        source: InsideError,
    },
    /// No connection, or none that speaks HTTP.
    #[error("cannot ask the autoscaler at {authority}")]
    Ask {
        /// Where.
        authority: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("no answer from the autoscaler at {authority} within {} s", PATIENCE.as_secs())]
    Timeout {
        /// Where.
        authority: String,
    },
    /// An answer that is none.
    #[error("the autoscaler answered {status}: {text}")]
    Refused {
        /// Of the answer.
        status: StatusCode,
        /// Its beginning.
        text: String,
    },
    /// An answer that cannot be read.
    #[error("the answer is not what an autoscaler tells; is it one of this version?")]
    Answer {
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// An autoscaler that decides nothing.
    #[error("the autoscaler {which} does not lead: ask the holder of the Lease")]
    NotLeading {
        /// Where it is, or what it holds.
        which: String,
    },
    /// It knows no such Function.
    #[error("the autoscaler knows no revision of function/{function} in namespace {namespace}")]
    Unknown {
        /// Its name.
        function: String,
        /// Its namespace.
        namespace: String,
    },
    /// It cannot be written as JSON or YAML.
    #[error(transparent)]
    Notation {
        /// Why.
        source: NotationError,
    },
    /// Standard output does not take it.
    #[error(transparent)]
    Write {
        /// Why.
        source: WriteError,
    },
}

/// Explains on standard output.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), ExplainError> {
    let Arguments { function, output, autoscaler, system_namespace, lease, connection } = arguments;
    let (state, namespace, which): (State, _, _) = if let Some(authority) = autoscaler {
        let namespace = connection.namespace.unwrap_or_else(|| "default".to_owned());
        let asked = timeout(PATIENCE, ask(&authority, &namespace, &function)).await;
        let answer = asked.map_err(|_| ExplainError::Timeout { authority: authority.clone() })??;
        let state = serde_json::from_slice(&answer).map_err(|source| ExplainError::Answer { source })?;
        (state, namespace, format!("at {authority}"))
    } else {
        let connection = connection.connect().await.map_err(|source| ExplainError::Connect { source })?;
        let state = Box::pin(inside::state(&connection, &system_namespace, &lease, &function)).await;
        let state = state.map_err(|source| ExplainError::Inside { source })?;
        (state, connection.namespace, format!("that has held the Lease {lease}"))
    };
    if !state.leading {
        return Err(ExplainError::NotLeading { which });
    }
    let revisions = state.of(&namespace, &function);
    if revisions.is_empty() {
        return Err(ExplainError::Unknown { function, namespace });
    }
    let text = if let Some(notation) = output.notation() {
        notation.text(&revisions).map_err(|source| ExplainError::Notation { source })?
    } else {
        let text: String = revisions.iter().map(ToString::to_string).collect();
        printable(&text).into_owned()
    };
    terminal.write(&text).map_err(|source| ExplainError::Write { source })
}

async fn ask(authority: &str, namespace: &str, function: &str) -> Result<Bytes, ExplainError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ExplainError::Ask {
        authority: authority.to_owned(),
        source,
    };
    let stream = TcpStream::connect(authority).await.map_err(|error| failed(error.into()))?;
    let (status, body) = ask_state(stream, authority, namespace, function).await.map_err(failed)?;
    if status == StatusCode::OK {
        return Ok(body);
    }
    let text = String::from_utf8_lossy(&body).trim().chars().take(200).collect();
    Err(ExplainError::Refused { status, text })
}

/// Host and port of an `http://` URL.
pub(crate) fn authority(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    match rest.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() && !rest.contains('/') => {
            Ok(rest.to_owned())
        }
        _ => Err("write http://HOST:PORT".to_owned()),
    }
}

impl Failure for ExplainError {
    fn inner(&self) -> Option<&dyn Failure> {
        match self {
            Self::Connect { source } => Some(source),
            Self::Inside { source } => Some(source),
            Self::Notation { source } => Some(source),
            Self::Write { source } => Some(source),
            Self::Ask { .. }
            | Self::Timeout { .. }
            | Self::Refused { .. }
            | Self::Answer { .. }
            | Self::NotLeading { .. }
            | Self::Unknown { .. } => None,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Unknown { .. } => Exit::NotFound,
            Self::Ask { .. } | Self::Timeout { .. } => Exit::Unreachable,
            _ => self.inner().map_or(Exit::Failed, Failure::exit),
        }
    }

    fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::Unknown { .. } => {
                "`catnap get --all-namespaces` lists every Function; --namespace says where to look"
            }
            Self::Ask { .. } | Self::Timeout { .. } => {
                "leave --autoscaler out: the leading one is then asked through the API server; or, on this machine alone, is \
                 `catnap dev` running?"
            }
            Self::Refused { .. } | Self::Answer { .. } | Self::NotLeading { .. } => {
                "`catnap install check` tells which autoscaler leads, and of which version it is"
            }
            _ => return self.inner().and_then(Failure::advice),
        };
        Some(advice.to_owned())
    }
}

#[cfg(test)]
mod tests;
