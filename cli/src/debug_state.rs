//! What a process of Catnap tells of a Function at `/debug/state`, asked over a stream that somebody else opened.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Largest answer: some KiB for each revision that is told of, and more than a process ever tells of.
const MAX_BYTES: usize = 64 << 20;

/// Asks the admin server at the other end of `stream`: status and body of its answer.
pub(crate) async fn ask_state(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    namespace: &str,
    function: &str,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its errors are those of the request.
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("/debug/state?function={namespace}/{function}"))
        .header(HOST, host)
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_BYTES).collect().await?.to_bytes();
    connection.abort();
    Ok((status, body))
}
