//! Streams that this activator opens: to those whose pods have the larger UIDs, again whenever one ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use catnap_runtime::backoff::GrowingDelay;
use catnap_runtime::tls::SelfMade;
use catnap_runtime::{CancellationToken, Causes, channel};
use catnap_wire::PodUid;
use catnap_wire::limits::MAX_PEER_FRAME_BYTES;
use catnap_wire::peers_proto as proto;
use catnap_wire::peers_proto::peers_client::PeersClient;
use tokio::time::{sleep, timeout};
use tokio_util::sync::DropGuard;
use tonic::Streaming;
use tonic::transport::Channel;
use tracing::{debug, info};

use super::PeerError;
use super::directory::{KnownPeer, KnownPeers};
use super::stream::{Opened, Streams};

/// Longest time for the connection and its handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// One that just started knows this activator a moment later; and slots wait for it, so it is tried often.
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_millis(500);

/// Keeps a stream to each of them, for ever.
pub(crate) async fn keep_connected(
    own: PodUid,
    certificate: Arc<SelfMade>,
    mut known: KnownPeers,
    streams: Streams,
) {
    // Given up when it is dropped.
    let mut dialing: HashMap<KnownPeer, DropGuard> = HashMap::new();
    loop {
        let peers = known.latest();
        dialing.retain(|peer, _| peers.contains(peer));
        for peer in peers.iter().filter(|peer| own < peer.id.pod) {
            dialing.entry(peer.clone()).or_insert_with(|| {
                let given_up = CancellationToken::new();
                let (certificate, streams) = (Arc::clone(&certificate), streams.clone());
                tokio::spawn(keep_connected_to(peer.clone(), certificate, streams, given_up.clone()));
                given_up.drop_guard()
            });
        }
        if known.changed().await.is_err() {
            return;
        }
    }
}

/// A stream that is open is not cut off when it is given up: whoever was told of it is told of its end, and brings it about.
async fn keep_connected_to(
    peer: KnownPeer,
    certificate: Arc<SelfMade>,
    streams: Streams,
    given_up: CancellationToken,
) {
    let mut delay = GrowingDelay::new(FIRST_RETRY, LAST_RETRY);
    loop {
        let Some(connected) = given_up.run_until_cancelled(connect(&peer, &certificate, &streams)).await
        else {
            return;
        };
        let ended = match connected {
            Ok((opened, incoming)) => {
                info!(peer = %peer.id, "connected to another activator");
                delay.start_over();
                opened.run(incoming).await
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => info!(peer = %peer.id, "the stream to another activator ended"),
            Err(error) => debug!(peer = %peer.id, error = %Causes(&error), "no stream to another activator"),
        }
        if given_up.run_until_cancelled(sleep(delay.delay())).await.is_none() {
            return;
        }
    }
}

async fn connect(
    peer: &KnownPeer,
    certificate: &SelfMade,
    streams: &Streams,
) -> Result<(Opened, Streaming<proto::PeerFrame>), PeerError> {
    let name = || peer.id.to_string();
    let (frames, opened) = streams.prepare(peer.id.clone());
    let opening = async {
        let channel = open_channel(peer, certificate).await?;
        let mut client = PeersClient::new(channel).max_decoding_message_size(MAX_PEER_FRAME_BYTES);
        let response = client.connect(frames).await;
        response.map_err(|status| PeerError::Ended { peer: name(), source: Box::new(status) })
    };
    let response =
        timeout(CONNECT_TIMEOUT, opening).await.map_err(|_| PeerError::Timeout { peer: name() })??;
    Ok((opened, response.into_inner()))
}

async fn open_channel(peer: &KnownPeer, certificate: &SelfMade) -> Result<Channel, PeerError> {
    let tls = certificate
        .mutual_client_config(peer.fingerprint, &[b"h2"])
        .map_err(|source| PeerError::Configure { source })?;
    let connected = channel::connect(peer.address, tls).await;
    connected.map_err(|source| PeerError::Connect { peer: peer.id.to_string(), source })
}
