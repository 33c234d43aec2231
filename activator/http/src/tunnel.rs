//! A connection that switched to another protocol: bytes move both ways until both sides ended.

use std::sync::Arc;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split};

use crate::http1::Stream;
use crate::lease::Lease;
use crate::observe::Outcome;
use crate::progress::Stage;
use crate::record::Record;

/// How long one direction goes on after the other one ended.
const HALF_CLOSED: Duration = Duration::from_secs(60);

/// Moves bytes until the tunnel ends. It is one exchange for its whole life.
pub(crate) async fn run(client: OnUpgrade, pod: Stream, lease: Lease, mut record: Record) {
    let progress = Arc::clone(&record.progress);
    progress.enter(Stage::Stream);
    let carrying = async {
        match client.await {
            Ok(client) => {
                progress.count_response(move_bytes(TokioIo::new(client), pod).await);
                Outcome::Answered
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no tunnel");
                Outcome::ClientLeft
            }
        }
    };
    record.outcome = tokio::select! {
        outcome = carrying => {
            lease.end_tunnel();
            outcome
        }
        expiry = progress.expired() => {
            drop(lease);
            Outcome::TimedOut(expiry.reason())
        }
    };
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
