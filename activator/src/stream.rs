//! The stream to the leading autoscaler: found by the Lease, its certificate pinned, proved with this pod's token.
//!
//! Connects again whenever the stream ends or the Lease names another leader. What the frames mean is the core's matter.

use std::path::{Path, PathBuf};
use std::time::Duration;

use catnap_runtime::backoff::GrowingDelay;
use catnap_runtime::channel::{self, ChannelError};
use catnap_runtime::leader::{Leader, replaced};
use catnap_runtime::{Causes, failpoint};
use catnap_wire::codec::DecodeError;
use catnap_wire::limits::MAX_FRAME_BYTES;
use catnap_wire::proto::measurements_client::MeasurementsClient;
use catnap_wire::{ActivatorFrame, LeaderFrame, proto};
use futures::{Stream, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tonic::{Request, Status, Streaming};
use tracing::{info, warn};

/// Longest time for the connection, its handshake and the leader's check of who we are.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Until a new leader is found this activator wakes alone, so it is looked for often.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// Frames that may wait for the network; the control loop gives a stream up that is further behind. Every second has a frame of
/// buckets and one of pods for each revision with requests: enough for 10,000 of them, and 5 MB when none is read.
const OUTGOING_FRAMES: usize = 32_768;

/// What happens on the stream, in order.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// The leader let us in.
    Connected {
        /// Which of the Leases that there were it leads by.
        lease: u64,
        /// Frames go in here.
        outgoing: mpsc::Sender<ActivatorFrame>,
    },
    /// The leader said something.
    Frame(LeaderFrame),
    /// The stream ended. Frames sent since may or may not have arrived.
    Lost,
}

/// Why there is no stream, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The leader cannot be reached, or there is no token to show.
    #[error("no connection to {holder}")]
    Connect {
        /// The leader.
        holder: String,
        /// What is in the way.
        #[source]
        source: ChannelError,
    },
    /// The leader did not answer in time.
    #[error("{holder} did not answer within {CONNECT_TIMEOUT:?}")]
    Timeout {
        /// The leader.
        holder: String,
    },
    /// The leader did not let us in, or ended the stream with an error.
    #[error("{holder} ended the stream")]
    Ended {
        /// The leader.
        holder: String,
        /// What it said.
        #[source]
        source: Box<Status>,
    },
    /// The leader sent something malformed.
    #[error("{holder} sent a frame that is refused")]
    Malformed {
        /// The leader.
        holder: String,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
}

/// Keeps a stream to whoever leads, for ever; ends when nobody listens to `events` or the Lease is no longer followed.
pub(crate) async fn keep_connected(
    mut leader: watch::Receiver<Option<Leader>>,
    token_file: PathBuf,
    events: mpsc::Sender<StreamEvent>,
) {
    let mut delay = GrowingDelay::new(FIRST_RETRY, LAST_RETRY);
    loop {
        let current = match leader.wait_for(Option::is_some).await {
            Ok(found) => found.clone(),
            Err(_) => return,
        };
        let Some(current) = current else { continue };
        leader.mark_unchanged();
        let attempt = timeout(CONNECT_TIMEOUT, Connection::open(&current, &token_file));
        let opened = tokio::select! {
            opened = attempt => opened.unwrap_or_else(|_| Err(StreamError::Timeout { holder: current.holder.clone() })),
            () = replaced(&mut leader, &current) => continue,
        };
        let ended = match opened {
            Ok(connection) => {
                info!(holder = current.holder, "connected to the leading autoscaler");
                let ended = tokio::select! {
                    ended = connection.run(&current, &events, &mut delay) => ended,
                    () = replaced(&mut leader, &current) => Ok(()),
                };
                if events.send(StreamEvent::Lost).await.is_err() {
                    return;
                }
                ended
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => info!(holder = current.holder, "the stream to the autoscaler ended"),
            Err(error) => warn!(error = %Causes(&error), "no stream to the autoscaler"),
        }
        // A leader that crashed is still in the Lease for some seconds; another one is tried at once.
        tokio::select! {
            () = tokio::time::sleep(delay.delay()) => {}
            () = replaced(&mut leader, &current) => delay.start_over(),
        }
    }
}

struct Connection {
    outgoing: mpsc::Sender<ActivatorFrame>,
    incoming: Streaming<proto::LeaderFrame>,
}

impl Connection {
    async fn open(leader: &Leader, token_file: &Path) -> Result<Self, StreamError> {
        let holder = || leader.holder.clone();
        let failed = |source| StreamError::Connect { holder: holder(), source };
        let authorization = channel::authorization(token_file).await.map_err(failed)?;
        let channel = channel::open(leader).await.map_err(failed)?;
        let (outgoing, frames) = mpsc::channel(OUTGOING_FRAMES);
        let mut request = Request::new(encoded(frames));
        request.metadata_mut().insert("authorization", authorization);
        let mut client = MeasurementsClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES);
        let response = client.connect(request).await;
        let response =
            response.map_err(|status| StreamError::Ended { holder: holder(), source: Box::new(status) })?;
        Ok(Self { outgoing, incoming: response.into_inner() })
    }

    /// Hands on what the leader says until it ends the stream. Only a leader that took the Hello counts as a success: one that
    /// refuses it would be asked for ever without a pause.
    async fn run(
        self,
        leader: &Leader,
        events: &mpsc::Sender<StreamEvent>,
        delay: &mut GrowingDelay,
    ) -> Result<(), StreamError> {
        let Self { outgoing, mut incoming } = self;
        let holder = || leader.holder.clone();
        let gone = outgoing.downgrade();
        let connected = StreamEvent::Connected { lease: leader.lease, outgoing };
        if events.send(connected).await.is_err() {
            return Ok(());
        }
        loop {
            let message = incoming.message().await;
            let message = message
                .map_err(|status| StreamError::Ended { holder: holder(), source: Box::new(status) })?;
            let Some(message) = message else { return Ok(()) };
            let frame = LeaderFrame::try_from(message)
                .map_err(|source| StreamError::Malformed { holder: holder(), source })?;
            if matches!(&frame, LeaderFrame::Welcome(welcome) if !welcome.more) {
                delay.start_over();
            }
            // The control loop lets go of the sender when it gives the stream up.
            if gone.upgrade().is_none() || events.send(StreamEvent::Frame(frame)).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// The frames as messages. After an Ack was handed to the network it stops at the fail point `ack-sent`.
fn encoded(frames: mpsc::Receiver<ActivatorFrame>) -> impl Stream<Item = proto::ActivatorFrame> {
    futures::stream::unfold((frames, false), |(mut frames, ack_sent)| async move {
        if ack_sent {
            failpoint::reach("ack-sent").await;
        }
        let frame = frames.recv().await?;
        let is_ack = matches!(frame, ActivatorFrame::Ack { .. });
        Some((proto::ActivatorFrame::from(&frame), (frames, is_ack)))
    })
    .boxed()
}

#[cfg(test)]
mod tests;
