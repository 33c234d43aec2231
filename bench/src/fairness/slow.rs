//! Clients that take their time: over their heads, over their uploads, over reading, and over asking for anything at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::load::get;
use crate::subject::{bare, process};

/// Between two pieces of anything.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for all connections.
const SOON: Duration = Duration::from_secs(5);
const SETTLING: Duration = Duration::from_secs(1);
/// What a reader's kernel keeps for it, so that the proxy has to.
const RECEIVE_BUFFER: u32 = 4 * 1024;

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A byte of its head at a time.
    Head,
    /// A few bytes of an upload at a time.
    Upload,
    /// A few bytes of a large response at a time.
    Reader,
    /// Nothing after its connection.
    Idle,
}

/// Slow clients, for as long as they are not stopped: on a thread that stands back behind the callers.
pub(super) struct SlowClients {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<()>>,
    count: usize,
    there: Arc<AtomicUsize>,
}

impl SlowClients {
    /// `count` of each kind; returns when all have begun. Who is cut off comes back.
    pub(super) async fn start(address: SocketAddr, host: &str, count: usize) -> anyhow::Result<Self> {
        let there = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = oneshot::channel();
        let (host, counted) = (host.to_owned(), Arc::clone(&there));
        let thread = std::thread::spawn(move || {
            process::stand_back()?;
            let runtime = Builder::new_current_thread().enable_all().build().context("no runtime")?;
            runtime.block_on(async {
                let mut clients = all(address, &host, count, &counted);
                // Nobody stops them: the benchmark failed.
                let _ = stopped.await;
                clients.shutdown().await;
            });
            Ok(())
        });
        let count = 4 * count;
        let begun = async {
            while there.load(Relaxed) < count {
                sleep(PAUSE).await;
            }
        };
        timeout(SOON, begun).await.context("the slow clients cannot connect")?;
        // Buffers are full, pods have answered.
        sleep(SETTLING).await;
        Ok(Self { stop, thread, count, there })
    }

    /// Ends them. An error when fewer than nine in ten hung on at that moment: then nothing was disturbed.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let there = self.there.load(Relaxed);
        drop(self.stop);
        let ended = tokio::task::spawn_blocking(|| self.thread.join()).await?;
        ended.map_err(|_| anyhow!("the slow clients broke off"))??;
        if there * 10 < self.count * 9 {
            bail!("only {there} of {} slow clients hung on", self.count);
        }
        Ok(())
    }
}

/// All of them, evenly spread over the time between two of their pieces: they know nothing of each other.
fn all(address: SocketAddr, host: &str, count: usize, there: &Arc<AtomicUsize>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    let kinds = [Kind::Head, Kind::Upload, Kind::Reader, Kind::Idle];
    let everybody = (0..count).flat_map(|_| kinds).zip(0_u32..);
    let total = u32::try_from(4 * count).unwrap_or(u32::MAX).max(1);
    for (kind, number) in everybody {
        let (host, there) = (host.to_owned(), Arc::clone(there));
        clients.spawn(async move {
            sleep(PAUSE * number / total).await;
            loop {
                if let Ok(stream) = connect(address, kind).await {
                    there.fetch_add(1, Relaxed);
                    // However it ends, the next one comes.
                    let _ = hang_on(stream, &host, kind).await;
                    there.fetch_sub(1, Relaxed);
                }
                sleep(PAUSE).await;
            }
        });
    }
    clients
}

async fn connect(address: SocketAddr, kind: Kind) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4().context("no socket")?;
    if matches!(kind, Kind::Reader) {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    socket.connect(address).await.context("cannot connect")
}

/// Returns when the other side had enough.
async fn hang_on(mut stream: TcpStream, host: &str, kind: Kind) -> anyhow::Result<()> {
    match kind {
        Kind::Head => {
            stream.write_all(b"GET / HTTP/1.1\r\nx-slow: ").await?;
            loop {
                sleep(PAUSE).await;
                stream.write_all(b"x").await?;
            }
        }
        Kind::Upload => {
            let head =
                format!("POST {} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 10000000\r\n\r\n", bare::HOLD);
            stream.write_all(head.as_bytes()).await?;
            loop {
                sleep(PAUSE).await;
                stream.write_all(&[b'x'; 100]).await?;
            }
        }
        Kind::Reader => {
            stream.write_all(&get(host, bare::LARGE)).await?;
            let mut buffer = [0; 256];
            while stream.read(&mut buffer).await? > 0 {
                sleep(PAUSE).await;
            }
            Ok(())
        }
        Kind::Idle => {
            // Nobody has anything to say to it.
            stream.read_u8().await.context("the connection was closed")?;
            bail!("an answer to nothing")
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::subject::tests::bare_here;

    #[tokio::test]
    async fn slow_clients_hang_on_to_a_server_that_lets_them() {
        let slow = SlowClients::start(bare_here().await, "slow.default", 2).await.unwrap();
        slow.stop().await.unwrap();
    }

    #[tokio::test]
    async fn slow_clients_that_were_sent_away_are_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                kept.push(stream);
            }
        });
        let slow = SlowClients::start(address, "slow.default", 2).await.unwrap();
        server.abort();
        while slow.there.load(Relaxed) > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(slow.stop().await.is_err());
    }
}
