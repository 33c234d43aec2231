//! One attempt to see whether a pod answers: a TCP connection, or a GET of its readiness path.

use std::io;
use std::time::Duration;

use catnap_activator_core::Probe;
use http::StatusCode;
use http::header::{HeaderMap, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use tokio::net::TcpStream;

use crate::head::Head;
use crate::request_body::RequestBody;
use crate::upstream::{ConnectError, Link, SendError};

/// Why a pod does not answer yet.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No answer within the probe's timeout.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// Nothing listens on the port.
    #[error("the port does not answer")]
    Connect(#[source] io::Error),
    /// The server does not speak the function's protocol.
    #[error("no HTTP connection")]
    Handshake(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The readiness path is none.
    #[error("`{0}` is no path")]
    Path(String),
    /// The server gave no response.
    #[error("no response")]
    NoResponse(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server says that it is not ready.
    #[error("the readiness path answered {0}")]
    NotReady(StatusCode),
}

/// Tries a pod once. The connection is closed again.
pub async fn probe(probe: &Probe) -> Result<(), ProbeError> {
    let attempt = async {
        if probe.path.is_empty() {
            return TcpStream::connect(probe.address).await.map(drop).map_err(ProbeError::Connect);
        }
        let mut link =
            Link::connect(probe.address, probe.protocol, probe.timeout).await.map_err(not_connected)?;
        let response = link
            .send(&head(probe)?, RequestBody::empty())
            .await
            .map_err(|SendError { source, .. }| ProbeError::NoResponse(Box::new(source)))?;
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            Ok(())
        } else {
            Err(ProbeError::NotReady(status))
        }
    };
    tokio::time::timeout(probe.timeout, attempt).await.unwrap_or(Err(ProbeError::TimedOut(probe.timeout)))
}

fn not_connected(error: ConnectError) -> ProbeError {
    ProbeError::Handshake(Box::new(error))
}

fn head(probe: &Probe) -> Result<Head, ProbeError> {
    let bad = || ProbeError::Path(probe.path.to_string());
    let path: PathAndQuery = probe.path.parse().map_err(|_| bad())?;
    let host = HeaderValue::try_from(probe.address.to_string()).map_err(|_| bad())?;
    let headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static("catnap-probe"))]);
    Ok(Head::get(path, host, headers))
}
