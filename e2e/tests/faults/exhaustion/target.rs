//! The function as its callers reach it, over connections that are made by hand: how each of them ended is seen as it was.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Resolver};
use catnap_e2e::functions::PATIENCE;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Why an activator that has too much of anything sends a request away.
pub(super) const OVERLOADED: &str = "ProcessOverloaded";
/// Connections of a storm that are being made at the same time.
const AT_ONCE: usize = 100;

/// Whom requests are sent to.
pub(super) struct Target {
    activator: SocketAddr,
    host: String,
}

/// A request on its way.
pub(super) struct Sent {
    stream: TcpStream,
    /// How the answer of the function ends.
    expected: String,
}

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// The whole answer of the function.
    Served,
    /// 503 by Catnap, with its reason.
    Shed(String),
    /// Anything else, such as nothing at all.
    Wrong(String),
}

/// Answered by the function after this time.
pub(super) fn path(after: Duration) -> String {
    format!("/sleep?ms={}", after.as_millis())
}

impl Target {
    /// The function `hello` of the test.
    pub(super) async fn of(test: &Context) -> anyhow::Result<Self> {
        let activator = Resolver::new(test.client.clone()).activator().await?;
        Ok(Self { activator, host: format!("hello.{}", test.namespace) })
    }

    async fn connect(&self) -> anyhow::Result<TcpStream> {
        let connected = timeout(PATIENCE, TcpStream::connect(self.activator)).await;
        connected.context("the connection is neither taken nor refused")?.context("connecting")
    }

    /// Sends a request that the function answers after this time.
    pub(super) async fn send(&self, after: Duration) -> anyhow::Result<Sent> {
        let mut stream = self.connect().await?;
        let (path, host) = (path(after), &self.host);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        // Whoever is sent away may be told before it has asked, and nobody may be there any more to hear it.
        let _ = stream.write_all(request.as_bytes()).await;
        Ok(Sent { stream, expected: format!("\r\n\r\nslept {} ms\n", after.as_millis()) })
    }

    /// Sends many, each before the connection of the next one is made: an activator without room may close one that has not
    /// said anything yet.
    pub(super) async fn send_many(&self, count: usize, after: Duration) -> anyhow::Result<Vec<Sent>> {
        let mut sent = Vec::with_capacity(count);
        for _ in 0..count {
            sent.push(self.send(after).await?);
        }
        Ok(sent)
    }

    /// Connections that say nothing, until they are dropped.
    pub(super) async fn storm(&self, count: usize) -> anyhow::Result<Vec<TcpStream>> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the own limit of descriptors")?;
        stream::iter(0..count).map(|_| self.connect()).buffer_unordered(AT_ONCE).try_collect().await
    }
}

impl Sent {
    /// Waits for the end of the connection.
    pub(super) async fn came(mut self) -> Came {
        let mut answer = Vec::new();
        let reading = async {
            // What came before a reset counts.
            while matches!(self.stream.read_buf(&mut answer).await, Ok(1..)) {}
        };
        let in_time = timeout(PATIENCE, reading).await.is_ok();
        let text = String::from_utf8_lossy(&answer);
        let reason = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("catnap-reason").then(|| value.trim().to_owned())
        });
        match reason {
            Some(reason) if text.starts_with("HTTP/1.1 503 ") => Came::Shed(reason),
            None if text.starts_with("HTTP/1.1 200 ") && text.ends_with(&self.expected) => Came::Served,
            _ if in_time => Came::Wrong(text.into_owned()),
            _ => Came::Wrong(format!("no end after {PATIENCE:?}: {text}")),
        }
    }
}
