//! HTTP/2 streams whose upload is not over, although nobody here waits for their response any more.
//!
//! A pod that ended its response may want the rest. Where the client has left the stream is to be reset, but the codec resets none
//! whose response has begun while its upload waits for the pod's window. Then its connection takes no more streams, and is reset
//! when it has no others: a pod that reads nothing ends nobody else's exchange. What the codec took of an upload to its end, and
//! still has, is not among them.

use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::Slot;
use foldhash::{HashMap, HashMapExt};
use tokio::time::Instant;

use super::Connections;
use crate::request_body::Watched;
use crate::upstream::{Connected, Link};

/// What an upload may take to break off once its client has left.
const BREAKING_OFF: Duration = Duration::from_secs(1);

/// One such stream.
#[derive(Debug)]
pub(crate) struct Unfinished {
    link: Link,
    upload: Watched,
    /// When it should be over; `None` for as long as the pod likes.
    until: Option<Instant>,
    /// Taken until the stream is over.
    _slot: Option<Slot>,
}

impl Unfinished {
    /// The pod ended its response, and may go on reading `until` then.
    pub(crate) fn wanted(link: Link, upload: Watched, until: Option<Instant>) -> Self {
        Self { link, upload, until, _slot: None }
    }

    /// The client left before the end. `slot`: what the pod has open counts until its stream is over.
    pub(crate) fn abandoned(link: Link, upload: Watched, slot: Option<Slot>) -> Self {
        Self { link, upload, until: Some(Instant::now() + BREAKING_OFF), _slot: slot }
    }

    fn is_stuck(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Connections {
    /// Takes out the streams that are over.
    pub(super) fn take_finished(&mut self) -> Vec<Unfinished> {
        self.unfinished.extract_if(.., |stream| stream.upload.is_over()).collect()
    }

    /// Ends connections on which every stream is stuck.
    pub(super) fn end_stuck(&mut self, now: Instant) {
        let mut stuck: HashMap<*const Connected, usize> = HashMap::new();
        for stream in self.unfinished.iter().filter(|stream| stream.is_stuck(now)) {
            *stuck.entry(Arc::as_ptr(stream.link.connected())).or_default() += 1;
        }
        self.shared.retain(|idle| !stuck.contains_key(&Arc::as_ptr(idle.link.connected())));
        for stream in &self.unfinished {
            let connection = stream.link.connected();
            if stuck.get(&Arc::as_ptr(connection)) == Some(&connection.uses()) {
                connection.socket.reset();
            }
        }
    }
}
