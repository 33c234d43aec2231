//! A connection that switched to another protocol: bytes move both ways until both sides ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split};

use crate::io::{Io, Stream};
use crate::lease::Lease;
use crate::observe::Outcome;
use crate::progress::Stage;
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
            moved = move_bytes(client, pod) => {
                progress.count_response(moved);
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

/// Gives the bytes that went to the client.
async fn move_bytes(client: impl AsyncRead + AsyncWrite, pod: impl AsyncRead + AsyncWrite) -> u64 {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_pod, mut to_pod) = split(pod);
    let mut moved = 0;
    {
        let up = async {
            let _ = copy(&mut from_client, &mut to_pod).await;
            let _ = to_pod.shutdown().await;
        };
        let down = async {
            moved = copy(&mut from_pod, &mut to_client).await.unwrap_or(0);
            let _ = to_client.shutdown().await;
        };
        let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
        tokio::select! {
            () = up.as_mut() => { let _ = tokio::time::timeout(HALF_CLOSED, down).await; }
            () = down.as_mut() => { let _ = tokio::time::timeout(HALF_CLOSED, up).await; }
        }
    }
    moved
}
