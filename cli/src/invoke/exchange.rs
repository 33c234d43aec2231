//! One request and its answer on a stream: the head told on standard error, the body written as it comes.

use std::time::Duration;

use bytes::Bytes;
use catnap_activator_core::Reason;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::InvokeError;
use super::timing::Waited;
use crate::cluster::ClusterError;
use crate::connection::call::Said;
use crate::terminal::Terminal;

/// The header by which Catnap says that it answers in the function's place.
const REASON: &str = "catnap-reason";
/// Most that is read of such an answer.
const MAX_PROBLEM: usize = 64 << 10;

/// What is told beside the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Status, time and phases.
    pub(super) summary: bool,
    /// The headers of the answer too.
    pub(super) headers: bool,
}

/// Sends it, and writes what comes.
pub(super) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    name: &str,
    told: Told,
    terminal: &mut Terminal,
) -> Result<(), InvokeError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| InvokeError::Exchange { source };
    let begun = Instant::now();
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.into()))?;
    // Its errors are those of the request.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| failed(error.into()))?;
    for line in head(&response, begun.elapsed(), told) {
        terminal.note(&line);
    }
    if let Some(reason) = response.headers().get(REASON) {
        let reason = String::from_utf8_lossy(reason.as_bytes()).into_owned();
        return Err(refused(name, reason, response).await);
    }
    let status = response.status();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(error.into()))?;
        if let Some(data) = frame.data_ref() {
            let written = terminal.write_bytes(data).map_err(|source| ClusterError::Write { source });
            written.map_err(|source| InvokeError::Cluster { source })?;
        }
    }
    if status.is_client_error() || status.is_server_error() {
        return Err(InvokeError::Answered { name: name.to_owned(), status });
    }
    Ok(())
}

/// What a person wants to know of an answer before its body.
fn head(response: &Response<Incoming>, took: Duration, told: Told) -> Vec<String> {
    let mut lines = Vec::new();
    if told.summary {
        let milliseconds = took.as_secs_f64() * 1000.0;
        lines.push(format!("{:?} {} after {milliseconds:.0} ms", response.version(), response.status()));
        lines.extend(Waited::of(response.headers()).map(|waited| waited.line()));
    }
    if told.headers {
        let headers = response.headers().iter();
        lines.extend(
            headers.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))),
        );
    }
    lines
}

/// The error that Catnap's own answer is: what the reason means, and what the answer says of this one request.
async fn refused(name: &str, reason: String, response: Response<Incoming>) -> InvokeError {
    let status = response.status();
    let problem = Limited::new(response.into_body(), MAX_PROBLEM).collect().await;
    // The reason alone is worth more than what went wrong while the rest was read.
    let problem = problem.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let problem: Value = serde_json::from_slice(&problem).unwrap_or_default();
    let detail = problem.get("detail").and_then(Value::as_str).map(|detail| Said(detail.to_owned()));
    let known = Reason::from_name(&reason);
    let title = known.map_or("for a reason that this catnap does not know", Reason::title);
    InvokeError::Refused { name: name.to_owned(), known, reason, title, status, source: detail }
}
