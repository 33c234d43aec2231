//! The other activators come, answer, fall silent and go; and what they say goes to the revision that it is about.

use super::{Activator, Control};
use crate::process::Command;
use crate::shared::ByName;
use crate::slots::{LinkEffect, LinkId, Member, Neighbours, PeerId};
use catnap_wire::peer::{PeerFrame, SlotMessage};
use std::sync::Arc;
use std::time::Duration;

impl Activator {
    /// All other activators that can be talked to, and whether the pod of this one was there and is not any more, whenever any
    /// of it changes. Before the first request, if there are others.
    pub fn set_peers(&self, members: &[Member], own_gone: bool) {
        let mut control = self.control.lock();
        control.links.set_members(members, own_gone, self.process.now());
        self.view_changed(&mut control);
        // Contact is looked after by ticks.
        self.process.send(Command::Tick);
    }

    /// There is a stream to this one, in the stead of an earlier one. `None`: nobody knows it (any more), so it is to be ended.
    pub fn peer_connected(&self, id: &PeerId) -> Option<LinkId> {
        let mut control = self.control.lock();
        let link = control.links.connected(id, self.process.now());
        self.view_changed(&mut control);
        link
    }

    /// The stream is gone.
    pub fn peer_lost(&self, link: LinkId) {
        let mut control = self.control.lock();
        if control.links.lost(link, self.process.now()) {
            self.view_changed(&mut control);
        }
    }

    /// Another activator said something on this stream.
    pub fn peer_frame(&self, link: LinkId, frame: PeerFrame) {
        let mut control = self.control.lock();
        let Some(from) = control.links.peer(link) else { return };
        let changed = control.links.heard(link, &frame, self.process.now());
        self.carry_out_links(&mut control);
        if changed {
            self.view_changed(&mut control);
        }
        let PeerFrame::Slots { revision, message } = frame else { return };
        // Only these two begin something.
        let begins = matches!(message, SlotMessage::Claim | SlotMessage::Released { .. });
        let shared = match control.revisions.get(&revision) {
            Some(ByName(known)) => Arc::clone(known),
            None if begins => self.revision(&mut control, &revision),
            None => return,
        };
        drop(control);
        shared.with(|machine, now, effects| machine.peer_says(&from, message, now, effects));
    }

    /// This activator ends: the last thing that the others hear, after everything else.
    pub fn end_peers(&self) {
        let mut control = self.control.lock();
        control.links.end();
        self.carry_out_links(&mut control);
    }

    /// From now on it owns no slots, if anybody else can.
    pub(super) fn leave_peers(&self) {
        let mut control = self.control.lock();
        control.links.leave();
        self.view_changed(&mut control);
    }

    /// Does what is due; returns when more is.
    pub(super) fn tick_links(&self, control: &mut Control) -> Option<Duration> {
        let (next, changed) = control.links.tick(self.process.now());
        self.carry_out_links(control);
        if changed {
            self.view_changed(control);
        }
        next
    }

    fn carry_out_links(&self, control: &mut Control) {
        for effect in control.links.take_effects() {
            self.process.send(match effect {
                LinkEffect::Send(link, frame) => Command::SendPeer { link, frame },
                LinkEffect::Close(link) => Command::ClosePeer { link },
            });
        }
    }

    fn view_changed(&self, control: &mut Control) {
        self.carry_out_links(control);
        let view = control.links.view();
        if view.peers.is_empty() && self.process.neighbours().is_none() {
            return;
        }
        let neighbours = Arc::new(Neighbours {
            own: Arc::clone(&self.process.settings.pod_uid),
            fence: Arc::clone(control.links.fence()),
            view,
        });
        self.process.set_neighbours(&neighbours);
        for ByName(shared) in &control.revisions {
            shared.set_neighbours(&neighbours);
        }
    }
}
