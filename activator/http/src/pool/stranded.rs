//! HTTP/2 streams that are open at a pod although nobody waits for them any more, and that cannot be reset: the codec gives up
//! no stream whose response has begun while its upload waits for the pod's window.
//!
//! Their connection takes no more streams, and is reset when it has no others: a pod that reads nothing ends nobody else's.

use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::Slot;
use tokio::time::Instant;

use super::Connections;
use crate::request_body::Watched;
use crate::upstream::{Connected, Link};

/// What an upload may take to break off once its client has left.
const BREAKING_OFF: Duration = Duration::from_secs(1);

/// One such stream.
#[derive(Debug)]
pub(super) struct Stranded {
    upload: Watched,
    connection: Arc<Connected>,
    since: Instant,
    /// The pod has the exchange until its stream ends.
    _slot: Option<Slot>,
}

impl Stranded {
    pub(super) fn new(link: &Link, upload: Watched, slot: Option<Slot>) -> Self {
        Self { upload, connection: Arc::clone(link.connected()), since: Instant::now(), _slot: slot }
    }
}

impl Connections {
    /// Ends connections that have no other streams. Gives the streams that are over.
    pub(super) fn end_stranded(&mut self, now: Instant) -> Vec<Stranded> {
        let Self { stranded, shared, .. } = self;
        for stream in stranded.iter().filter(|stream| now - stream.since >= BREAKING_OFF) {
            if !stream.upload.is_over() {
                shared.retain(|idle| !Arc::ptr_eq(idle.link.connected(), &stream.connection));
                if stream.connection.uses() == 0 {
                    stream.connection.socket.reset();
                }
            }
        }
        stranded.extract_if(.., |stream| stream.upload.is_over()).collect()
    }
}
