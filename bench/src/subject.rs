//! What benchmarks without a cluster measure: a server in a process of its own, in front of a small backend or alone.

pub(crate) mod activator;
mod api;
pub(crate) mod backend;
pub(crate) mod bare;
pub(crate) mod grpc;
pub(crate) mod peers;
pub(crate) mod process;
pub(crate) mod tracer;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context;

use self::process::Process;

/// Longest time from the start of a process until it listens: under valgrind it is slow.
const STARTED: Duration = Duration::from_secs(60);

/// Something that answers HTTP, and the processes that do it.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) processes: Vec<Process>,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Http1,
    /// By prior knowledge.
    Http2,
}

impl Subject {
    /// CPU time of all its processes so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        self.processes.iter().map(Process::cpu).sum()
    }

    /// Memory of all its processes that is resident now, in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        self.processes.iter().map(Process::resident).sum()
    }
}

/// An address of this machine that nobody listens on.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    listener.local_addr().context("no free port")
}

/// Waits until somebody listens there.
async fn answers(address: SocketAddr) -> anyhow::Result<()> {
    let connected = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(STARTED, connected)
        .await
        .with_context(|| format!("nothing listens on {address} after {STARTED:?}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Waits until a server that was started in a thread listens.
    pub(crate) async fn listening(serve: impl FnOnce(SocketAddr) + Send + 'static) -> SocketAddr {
        let address = free_address().unwrap();
        std::thread::spawn(move || serve(address));
        answers(address).await.unwrap();
        address
    }

    /// A server on hyper alone in this process.
    pub(crate) async fn bare_here() -> SocketAddr {
        listening(|listen| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(bare::serve(&bare::BareArgs { listen })).unwrap();
        })
        .await
    }
}
