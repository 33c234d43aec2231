//! A limit that several activators keep together: what a revision asks of its slots, and tells them.
//!
//! Without a limit, or without other activators, there is nothing here to be asked.

use super::{Effects, Revision};
use crate::pod::PodKey;
use crate::slots::{Neighbours, Outgoing, PeerId, Slots};
use catnap_wire::message::PodUid;
use catnap_wire::peer::SlotMessage;
use std::sync::Arc;
use std::time::Duration;

impl<W> Revision<W> {
    /// Takes part in what activators share, from its beginning.
    pub(crate) fn join(&mut self, neighbours: Option<Arc<Neighbours>>, now: Duration) {
        self.neighbours = neighbours;
        self.share_slots(now);
    }

    /// What is known of the other activators now.
    pub(crate) fn set_neighbours(
        &mut self,
        neighbours: &Arc<Neighbours>,
        now: Duration,
        out: &mut Effects<W>,
    ) {
        self.neighbours = Some(Arc::clone(neighbours));
        if let Some(slots) = &mut self.slots {
            slots.set_view(&neighbours.view, now);
        }
        self.share_slots(now);
        if self.slots.is_some() {
            self.count_elsewhere();
            self.release(now, out);
        }
    }

    /// Another activator says something about the slots.
    pub(crate) fn peer_says(
        &mut self,
        from: &PeerId,
        message: SlotMessage,
        now: Duration,
        out: &mut Effects<W>,
    ) {
        let limit = self.route.policy.limit;
        // One that hears of the revision before it knows its limit takes part nonetheless.
        self.make_slots(limit, now);
        let Some(slots) = &mut self.slots else { return };
        if let Some(pod) = slots.message(from, message, now) {
            let key = self.capacity.usable_by_uid(&pod);
            if !key.is_some_and(|key| self.grant_head(key, now, out))
                && let Some(slots) = &mut self.slots
            {
                slots.refuse(&pod);
            }
        }
        self.count_elsewhere();
        self.release(now, out);
    }

    /// What is to be said to the others since the last call, in order.
    pub(crate) fn take_outgoing(&mut self) -> Vec<Outgoing> {
        self.slots.as_mut().map(|slots| slots.take_outgoing()).unwrap_or_default()
    }

    /// Makes its slots shared, if they have to be.
    pub(super) fn share_slots(&mut self, now: Duration) {
        let limit = self.route.policy.limit;
        if limit > 0 {
            self.make_slots(limit, now);
        }
    }

    fn make_slots(&mut self, limit: u32, now: Duration) {
        if let Some(slots) = &mut self.slots {
            slots.set_limit(limit);
            return;
        }
        let Some(neighbours) =
            self.neighbours.as_ref().filter(|neighbours| !neighbours.view.peers.is_empty())
        else {
            return;
        };
        let states = self.capacity.pods().filter(|(_, state)| state.in_flight > 0);
        let open: Vec<(PodUid, u32)> =
            states.map(|(_, state)| (Arc::clone(&state.pod.uid), state.in_flight)).collect();
        let fence = Arc::clone(&neighbours.fence);
        // Turns are far fewer than nanoseconds, so a later state of the revision begins with a larger one.
        let turn = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let mut slots = Slots::new(self.id.clone(), &neighbours.own, limit, &open, fence, turn);
        slots.set_leaving(self.gate.kept(), self.gate.avoided());
        slots.set_usable(self.capacity.usable_uids());
        slots.set_view(&neighbours.view, now);
        self.slots = Some(Box::new(slots));
        self.tell_demand(now);
    }

    /// An exchange may be opened without asking anybody, if a pod has room.
    pub(super) fn may_dispatch(&mut self, now: Duration) -> bool {
        self.slots.as_mut().is_none_or(|slots| slots.owns_or_claims(now))
    }

    /// Held requests that may be about to be granted a slot: all that come in where another activator owns the slots are held
    /// until it answers, and must not be refused for that while pods have room.
    pub(super) fn slots_to_come(&self) -> usize {
        if self.slots.as_ref().is_none_or(|slots| slots.is_owner()) {
            return 0;
        }
        let limit = usize::try_from(self.route.policy.limit).unwrap_or(usize::MAX);
        let own = usize::try_from(self.capacity.in_flight()).unwrap_or(usize::MAX);
        self.capacity.usable().saturating_mul(limit).saturating_sub(own)
    }

    pub(super) fn take(&mut self, key: PodKey) {
        self.capacity.take(key);
        if let Some(slots) = &mut self.slots
            && let Some(state) = self.capacity.get(key)
        {
            slots.opened(&state.pod.uid);
        }
    }

    pub(super) fn give(&mut self, key: PodKey) {
        if let Some(slots) = &mut self.slots
            && let Some(state) = self.capacity.get(key)
        {
            slots.closed(&state.pod.uid);
        }
        self.capacity.give(key);
    }

    /// Grants to the others that asked until `before`.
    pub(super) fn serve_others(&mut self, before: Duration, now: Duration) {
        if let Some(slots) = &mut self.slots {
            slots.serve(before, now);
            self.count_elsewhere();
        }
    }

    pub(super) fn tell_demand(&mut self, now: Duration) {
        if let Some(slots) = &mut self.slots {
            slots.set_demand(self.queue.len(), now);
            self.count_elsewhere();
        }
    }

    pub(super) fn tell_usable(&mut self) {
        let Some(slots) = &mut self.slots else { return };
        slots.set_leaving(self.gate.kept(), self.gate.avoided());
        slots.set_usable(self.capacity.usable_uids());
    }

    /// Pods that the watch shows for the first time may be in use by others.
    pub(super) fn count_new_elsewhere(&mut self) {
        if let Some(slots) = &self.slots {
            for state in self.capacity.states_mut() {
                state.elsewhere = slots.others(&state.pod.uid);
            }
        }
    }

    fn count_elsewhere(&mut self) {
        let Some(slots) = &mut self.slots else { return };
        for uid in slots.take_changed() {
            self.capacity.set_elsewhere(&uid, slots.others(&uid));
        }
    }
}
