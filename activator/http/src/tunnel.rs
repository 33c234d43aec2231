//! A connection that switched to another protocol: bytes move both ways until both sides ended.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split};

use crate::io::{Io, Stream};
use crate::lease::Lease;
use crate::observe::Outcome;
use crate::progress::{Progress, Stage};
use crate::record::Record;

/// How long one direction goes on after the other one ended.
const HALF_CLOSED: Duration = Duration::from_secs(60);

/// A tunnel's side of the pod. It is one exchange for its whole life.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pod: Stream<Io>,
    lease: Lease,
    record: Record,
}

impl Tunnel {
    pub(crate) fn new(pod: Stream<Io>, lease: Lease, record: Record) -> Self {
        record.progress.enter(Stage::Stream);
        Self { pod, lease, record }
    }

    /// Moves bytes until the tunnel ends.
    pub(crate) async fn run(self, client: impl AsyncRead + AsyncWrite) {
        let Self { pod, lease, mut record } = self;
        let progress = Arc::clone(&record.progress);
        record.outcome = tokio::select! {
            () = move_bytes(client, pod, &progress) => {
                lease.end_tunnel();
                Outcome::Answered
            }
            expiry = progress.expired() => {
                drop(lease);
                Outcome::TimedOut(expiry.reason())
            }
        };
    }
}

async fn move_bytes(
    client: impl AsyncRead + AsyncWrite,
    pod: impl AsyncRead + AsyncWrite,
    progress: &Progress,
) {
    let (mut from_client, to_client) = split(client);
    let (mut from_pod, to_pod) = split(pod);
    let mut to_client = Counted { to: to_client, count: |bytes| progress.count_response(bytes as u64) };
    let mut to_pod = Counted { to: to_pod, count: |bytes| progress.count_request(bytes) };
    let up = async {
        let _ = copy(&mut from_client, &mut to_pod).await;
        let _ = to_pod.shutdown().await;
    };
    let down = async {
        let _ = copy(&mut from_pod, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    tokio::select! {
        () = up.as_mut() => { let _ = tokio::time::timeout(HALF_CLOSED, down).await; }
        () = down.as_mut() => { let _ = tokio::time::timeout(HALF_CLOSED, up).await; }
    }
}

/// Tells of each write: what moved counts also when the tunnel is cut off.
struct Counted<W, C> {
    to: W,
    count: C,
}

impl<W: AsyncWrite + Unpin, C: Fn(usize) + Unpin> AsyncWrite for Counted<W, C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.to).poll_write(context, bytes))?;
        (self.count)(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_shutdown(context)
    }
}
