//! Connections of HTTP/1.1 that do nothing, or have a request that is held.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::load::get;
use crate::subject::{Subject, bare};

/// KiB of each of these connections, which had one request each.
pub(super) async fn idle_cost(subject: &Subject, count: usize) -> anyhow::Result<f64> {
    let before = subject.resident()?;
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(asked_once(subject.address).await?);
    }
    super::kibibytes_each(before, subject, count)
}

/// Requests that nobody answers yet, each on a connection of its own, and the KiB of each.
pub(super) async fn hold(
    subject: &Subject,
    count: usize,
    held: impl AsyncFn() -> anyhow::Result<usize>,
) -> anyhow::Result<(Vec<TcpStream>, f64)> {
    // What the first request makes once is not a request's.
    let _first = asked_once(subject.address).await?;
    let before = subject.resident()?;
    let mut callers = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(subject.address).await.context("cannot connect")?;
        stream.write_all(&get("bench.default", bare::HOLD)).await?;
        callers.push(stream);
    }
    super::until_held(count, held).await?;
    let cost = super::kibibytes_each(before, subject, count)?;
    Ok((callers, cost))
}

/// How many of them get an answer that is a success.
pub(super) async fn answers(callers: Vec<TcpStream>) -> usize {
    let mut waiting = JoinSet::new();
    for mut stream in callers {
        waiting
            .spawn(async move { head(&mut stream).await.is_ok_and(|head| head.starts_with("HTTP/1.1 200")) });
    }
    let mut answered = 0;
    while let Some(success) = waiting.join_next().await {
        answered += usize::from(success.unwrap_or(false));
    }
    answered
}

/// A connection after a request for nobody.
async fn asked_once(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await.context("cannot connect")?;
    stream.write_all(&get("nobody.default", "/")).await?;
    head(&mut stream).await?;
    Ok(stream)
}

async fn head(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut read = Vec::new();
    while !read.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut read).await? == 0 {
            bail!("the connection was closed");
        }
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}
