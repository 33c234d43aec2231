//! Streams and the core's links put together: the control loop's part in talking to the other activators.

use std::collections::HashMap;
use std::sync::Arc;

use catnap_activator_core::{Activator, LinkId};
use catnap_runtime::watch::Change;
use catnap_wire::peer::PeerFrame;
use tracing::warn;

use super::directory::Directory;
use super::lease::Advertisement;
use super::{Outgoing, PeerEvent};
use crate::members::Members;

/// All streams that there are.
pub(crate) struct PeerLinks {
    activator: Arc<Activator>,
    directory: Directory,
    links: HashMap<u64, LinkId>,
    outgoing: HashMap<LinkId, Outgoing>,
    ended: bool,
}

impl PeerLinks {
    pub(crate) fn new(activator: Arc<Activator>, directory: Directory) -> Self {
        Self { activator, directory, links: HashMap::new(), outgoing: HashMap::new(), ended: false }
    }

    /// Takes in what the watch of Leases saw.
    pub(crate) fn leases_changed(&mut self, change: Change<Advertisement>, pods: &Members) {
        self.directory.leases_changed(change);
        self.pods_changed(pods);
    }

    /// Activators' pods are others now.
    pub(crate) fn pods_changed(&mut self, pods: &Members) {
        let members = self.directory.members(pods);
        self.activator.set_peers(&members, self.directory.own_pod_gone());
    }

    /// Takes in what happened on a stream. One that is not wanted ends by being dropped.
    pub(crate) fn stream_changed(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Connected { stream, peer, outgoing } => {
                if self.ended {
                    return;
                }
                if let Some(link) = self.activator.peer_connected(&peer) {
                    self.links.insert(stream, link);
                    self.outgoing.insert(link, outgoing);
                }
            }
            PeerEvent::Frame { stream, frame } => {
                if let Some(link) = self.links.get(&stream) {
                    self.activator.peer_frame(*link, frame);
                }
            }
            PeerEvent::Lost { stream } => {
                if let Some(link) = self.links.remove(&stream) {
                    self.outgoing.remove(&link);
                    self.activator.peer_lost(link);
                }
            }
        }
    }

    /// Sends, if the link is still there.
    pub(crate) fn send(&mut self, link: LinkId, frame: PeerFrame) {
        let Some(outgoing) = self.outgoing.get(&link) else { return };
        // One that does not read must not make this process keep frames without bound. All is said again on the next stream.
        if outgoing.frames.try_send(frame).is_err() {
            warn!("another activator does not take what is sent: ending the stream");
            self.outgoing.remove(&link);
            self.activator.peer_lost(link);
        }
    }

    /// Ends a stream that the core has given up.
    pub(crate) fn close(&mut self, link: LinkId) {
        self.outgoing.remove(&link);
    }

    /// Says good-bye to all; they hang up.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.activator.end_peers();
    }

    /// Good-bye was said, and all have hung up.
    pub(crate) fn is_over(&self) -> bool {
        self.ended && self.links.is_empty()
    }
}
