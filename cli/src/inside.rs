//! What the leading autoscaler thinks of a Function, and what activators know of it. They tell only from within their pods, so this
//! goes through the API server, as `kubectl port-forward` does, and needs the right to.

use std::fmt;
use std::time::Duration;

use catnap_autoscaler_api::state::{Explained, State};
use hyper::StatusCode;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::Connection;
use crate::connection::call::{Act, CallError};
use crate::debug_state::ask_state;
use crate::exit::{Exit, Failure};
use crate::forward;

/// Port of the admin server in the pod.
const ADMIN_PORT: u16 = 9090;
/// Lease of the autoscaler that leads.
const LEASE: &str = "catnap-autoscaler";

/// Why a process of Catnap cannot be asked, or says nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InsideError {
    /// The API server gives no way to it.
    #[error(transparent)]
    Reach {
        /// Why.
        source: CallError,
    },
    /// Nobody leads.
    #[error(
        "no autoscaler holds the Lease {lease} in namespace {namespace}; --system-namespace says where Catnap is"
    )]
    NoLeader {
        /// Name of the Lease.
        lease: String,
        /// Where Catnap is meant to be.
        namespace: String,
    },
    /// No answer that is HTTP.
    #[error("cannot ask {who}")]
    Ask {
        /// Who was asked.
        who: Who,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("{who} has not answered within {} s", patience.as_secs_f64())]
    Late {
        /// Who was asked.
        who: Who,
        /// How long it had.
        patience: Duration,
    },
    /// An answer that is none.
    #[error("{who} answered {status}")]
    Refused {
        /// Who was asked.
        who: Who,
        /// Of the answer.
        status: StatusCode,
    },
    /// An answer that cannot be read.
    #[error("{who} does not answer as one of this version")]
    Answer {
        /// Who was asked.
        who: Who,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// A process of Catnap that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// Which part of Catnap it is.
    part: &'static str,
    pod: String,
}

impl Who {
    fn autoscaler(pod: String) -> Self {
        Self { part: "autoscaler", pod }
    }

    /// The activator in this pod.
    pub(crate) fn activator(pod: String) -> Self {
        Self { part: "activator", pod }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the {} in pod {}", self.part, self.pod)
    }
}

/// Its revisions, each with the current decision and the last changes; `system` is the namespace that Catnap is in.
pub(crate) async fn decisions(
    connection: &Connection,
    system: &str,
    function: &str,
) -> Result<Vec<Explained>, InsideError> {
    Ok(state(connection, system, LEASE, function).await?.of(&connection.namespace, function))
}

/// What the autoscaler that holds this Lease tells of a Function of the connection's namespace.
pub(crate) async fn state(
    connection: &Connection,
    system: &str,
    lease: &str,
    function: &str,
) -> Result<State, InsideError> {
    let who = Who::autoscaler(leader(connection, system, lease).await?);
    told_by(connection, system, &who, function).await
}

/// What this process, whose pod is in the namespace `system`, tells of a Function of the connection's namespace.
pub(crate) async fn told_by<T: DeserializeOwned>(
    connection: &Connection,
    system: &str,
    who: &Who,
    function: &str,
) -> Result<T, InsideError> {
    let stream = forward::to_pod(connection, system, &who.pod, ADMIN_PORT).await;
    let stream = stream.map_err(|source| InsideError::Reach { source })?;
    let no_stream = || InsideError::Ask { who: who.clone(), source: "no stream to it was opened".into() };
    let asking = ask(stream.ok_or_else(no_stream)?, who, &connection.namespace, function);
    let late = |_| InsideError::Late { who: who.clone(), patience: connection.patience };
    tokio::time::timeout(connection.patience, asking).await.map_err(late)?
}

/// The pod whose process holds the Lease.
async fn leader(connection: &Connection, system: &str, lease: &str) -> Result<String, InsideError> {
    let leases: Api<Lease> = Api::namespaced(connection.client.clone(), system);
    let act = Act::on("get", "leases.coordination.k8s.io", system, lease);
    let nobody = || InsideError::NoLeader { lease: lease.to_owned(), namespace: system.to_owned() };
    let found = connection.call(act, leases.get(lease)).await;
    let found = found
        .map_err(|source| if source.is_not_found() { nobody() } else { InsideError::Reach { source } })?;
    let holder = found.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
    // `<pod>_<boot>`
    match holder.rsplit_once('_') {
        Some((pod, _)) if !pod.is_empty() => Ok(pod.to_owned()),
        _ => Err(nobody()),
    }
}

async fn ask<T: DeserializeOwned>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    who: &Who,
    namespace: &str,
    function: &str,
) -> Result<T, InsideError> {
    let (status, body) = ask_state(stream, "localhost", namespace, function)
        .await
        .map_err(|source| InsideError::Ask { who: who.clone(), source })?;
    if status != StatusCode::OK {
        return Err(InsideError::Refused { who: who.clone(), status });
    }
    serde_json::from_slice(&body).map_err(|source| InsideError::Answer { who: who.clone(), source })
}

impl Failure for InsideError {
    fn exit(&self) -> Exit {
        if let Self::Reach { source } = self { source.exit() } else { Exit::Failed }
    }

    fn advice(&self) -> Option<String> {
        if let Self::Reach { source } = self { source.advice() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What comes of an autoscaler that answers so.
    async fn answered(status: &str, body: &str) -> Result<State, InsideError> {
        let (near, mut far) = tokio::io::duplex(4096);
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        let answer = head + body;
        let answering = async move {
            let mut request = [0; 4096];
            let read = far.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /debug/state?function=shop/cart HTTP/1.1\r\n"));
            far.write_all(answer.as_bytes()).await.unwrap();
        };
        let who = Who::autoscaler("autoscaler-1".to_owned());
        let (answer, ()) = tokio::join!(ask(near, &who, "shop", "cart"), answering);
        answer
    }

    #[tokio::test]
    async fn an_answer_is_read_or_it_is_said_what_is_wrong_with_it() {
        assert!(answered("200 OK", r#"{"leading": true}"#).await.unwrap().leading);
        let said = answered("403 Forbidden", "").await.unwrap_err().to_string();
        assert_eq!(said, "the autoscaler in pod autoscaler-1 answered 403 Forbidden");
        assert!(matches!(answered("200 OK", "{}").await, Err(InsideError::Answer { .. })));
    }
}
