//! Just enough of an HTTP/1.1 client: one GET on a connection of its own, of which only the status matters.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The status of the answer, once all of it has arrived.
pub(super) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<u16> {
    let mut connection = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.context("cannot send the request")?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.context("the answer broke off")?;
    status(&answer).context("the answer is not HTTP/1.1")
}

fn status(answer: &[u8]) -> Option<u16> {
    let rest = answer.strip_prefix(b"HTTP/1.1 ")?;
    std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn a_status_is_read_or_refused() {
        assert_eq!(status(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), Some(503));
        for answer in [&b""[..], b"HTTP/1.1 ", b"HTTP/1.1 2x0 \r\n", b"SSH-2.0"] {
            assert_eq!(status(answer), None);
        }
    }
}
