//! One stream, the same at both ends: frames out of a queue, and frames in as events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use catnap_activator_core::PeerId;
use catnap_runtime::CancellationToken;
use catnap_wire::peer::PeerFrame;
use catnap_wire::peers_proto as proto;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::{OUTGOING_FRAMES, Outgoing, PeerError, PeerEvent};

/// Where events go, and which number the next stream has.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    events: mpsc::Sender<PeerEvent>,
    count: Arc<AtomicU64>,
}

impl Streams {
    pub(crate) fn new(events: mpsc::Sender<PeerEvent>) -> Self {
        Self { events, count: Arc::default() }
    }

    /// A stream that is about to be: the frames to send on it, and what to do once it is open.
    pub(super) fn prepare(
        &self,
        peer: PeerId,
    ) -> (impl Stream<Item = proto::PeerFrame> + Send + 'static, Opened) {
        let (frames, queued) = mpsc::channel(OUTGOING_FRAMES);
        let ended = CancellationToken::new();
        let stream = self.count.fetch_add(1, Ordering::Relaxed);
        let outgoing = Outgoing { frames, _ended: ended.clone().drop_guard() };
        let encoded = futures::stream::unfold(queued, |mut queued| async {
            let frame = queued.recv().await?;
            Some((proto::PeerFrame::from(&frame), queued))
        });
        (encoded, Opened { stream, peer, outgoing, ended, events: self.events.clone() })
    }
}

/// One end of a stream.
pub(super) struct Opened {
    stream: u64,
    peer: PeerId,
    outgoing: Outgoing,
    ended: CancellationToken,
    events: mpsc::Sender<PeerEvent>,
}

impl Opened {
    /// Hands on what the other one says until either ends the stream.
    pub(super) async fn run(self, incoming: Streaming<proto::PeerFrame>) -> Result<(), PeerError> {
        let Self { stream, peer, outgoing, ended, events } = self;
        let name = peer.to_string();
        // Nobody listens any more when the process is on its way out.
        let connected = PeerEvent::Connected { stream, peer, outgoing };
        if events.send(connected).await.is_err() {
            return Ok(());
        }
        let read = ended.run_until_cancelled(read(stream, &name, &events, incoming)).await;
        let _ = events.send(PeerEvent::Lost { stream }).await;
        read.unwrap_or(Ok(()))
    }
}

async fn read(
    stream: u64,
    peer: &str,
    events: &mpsc::Sender<PeerEvent>,
    mut incoming: Streaming<proto::PeerFrame>,
) -> Result<(), PeerError> {
    loop {
        let message = incoming.message().await;
        let message =
            message.map_err(|status| PeerError::Ended { peer: peer.to_owned(), source: Box::new(status) })?;
        let Some(message) = message else { return Ok(()) };
        let frame = PeerFrame::try_from(message)
            .map_err(|source| PeerError::Malformed { peer: peer.to_owned(), source })?;
        if events.send(PeerEvent::Frame { stream, frame }).await.is_err() {
            return Ok(());
        }
    }
}

/// What tonic wants of a response.
pub(super) fn answers(
    frames: impl Stream<Item = proto::PeerFrame> + Send + 'static,
) -> futures::stream::BoxStream<'static, Result<proto::PeerFrame, tonic::Status>> {
    frames.map(Ok).boxed()
}
