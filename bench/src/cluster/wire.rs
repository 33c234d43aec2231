//! One plain HTTP/1.1 request, timed to the first byte of the response: no client library between the socket and the clock.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Longest time for a whole request.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A response head and when its first byte came.
pub(crate) struct Answer {
    pub(crate) first_byte: Instant,
    pub(crate) head: String,
}

/// Sends a GET on a connected socket and reads the whole response, which must be a 200.
pub(crate) async fn get(mut stream: TcpStream, host: &str, path: &str) -> anyhow::Result<Answer> {
    let exchange = async {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.context("cannot send the request")?;
        let mut response = Vec::new();
        let mut buffer = [0; 4096];
        let mut first_byte = None;
        loop {
            let read = stream.read(&mut buffer).await.context("cannot read the response")?;
            let now = Instant::now();
            if read == 0 {
                break;
            }
            first_byte.get_or_insert(now);
            response.extend_from_slice(&buffer[..read]);
        }
        let head = String::from_utf8_lossy(&response).into_owned();
        let first_byte = first_byte.context("the connection closed without a response")?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("expected a 200, got: {}", head.lines().next().unwrap_or_default());
        }
        Ok(Answer { first_byte, head })
    };
    timeout(LIMIT, exchange).await.context("no response in time")?
}

/// Connects, or says that nothing listens there yet.
pub(crate) async fn connect(address: SocketAddr, limit: Duration) -> Option<TcpStream> {
    let stream = timeout(limit, TcpStream::connect(address)).await.ok()?.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// The phases in a response head's `Server-Timing`, in milliseconds.
pub(crate) fn phases(head: &str) -> Vec<(String, f64)> {
    let lines = head.lines().take_while(|line| !line.is_empty());
    let values = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("server-timing"));
    values
        .flat_map(|(_, value)| value.split(','))
        .filter_map(|metric| {
            let (name, duration) = metric.split_once(";dur=")?;
            Some((name.trim().to_owned(), duration.trim().parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::phases;

    #[test]
    fn phases_are_read_from_the_head_alone() {
        let head = "HTTP/1.1 200 OK\r\nServer-Timing: catnap;desc=cold, queue;dur=0.2, wake;dur=9.5\r\n\r\nServer-Timing: body;dur=1";
        assert_eq!(phases(head), [("queue".to_owned(), 0.2), ("wake".to_owned(), 9.5)]);
    }
}
