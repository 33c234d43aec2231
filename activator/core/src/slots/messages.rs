//! What the other activators say about the slots of a revision.

use super::peer::Follower;
use super::{ASK_AGAIN, PeerId, Role, Slots};
use catnap_wire::message::PodUid;
use catnap_wire::peer::{MAX_SLOTS, OpenExchanges, SlotMessage};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

impl Slots {
    /// Another activator says something on the link that there is to it. Returns the pod of a slot that was granted: it is to be
    /// [`opened`](Self::opened) or [`refuse`](Self::refuse)d now.
    pub(crate) fn message(&mut self, from: &PeerId, message: SlotMessage, now: Duration) -> Option<PodUid> {
        if self.peers.get(from).is_none_or(|peer| peer.link.is_none()) {
            return None;
        }
        match message {
            SlotMessage::Claim => self.claimed_by(from, true),
            SlotMessage::Unclaim => self.claimed_by(from, false),
            SlotMessage::Mine => {
                if self.role == Role::Claiming {
                    self.yield_to(from.clone());
                }
            }
            SlotMessage::Released { turn, limit, open } => self.released_by(from, turn, limit, &open),
            SlotMessage::NotMine { turn, instead } => self.sent_away(from, turn, instead.as_ref(), now),
            SlotMessage::Usable { added, removed } => self.usable_by(from, added, &removed),
            SlotMessage::Acquire { count } => self.wanted_by(from, count, now),
            SlotMessage::Withdraw { count } => self.withdrawn_by(from, count),
            SlotMessage::Grant { turn, pod } => return self.granted_by(from, turn, pod, now),
            SlotMessage::Release { pod } => self.given_back_by(from, &pod),
        }
        self.advance(now);
        self.ask();
        None
    }

    fn claimed_by(&mut self, from: &PeerId, claims: bool) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        peer.claims = claims;
        let owns = matches!(self.role, Role::Owner { .. } | Role::Claiming);
        if !claims || !owns {
            // One that follows another cannot answer before it is set free; one that is idle follows right away.
            return;
        }
        if peer.rank > self.own {
            self.yield_to(from.clone());
        } else {
            self.send(from, SlotMessage::Mine);
        }
    }

    fn released_by(&mut self, from: &PeerId, turn: u64, limit: u32, open: &[OpenExchanges]) {
        if self.limit == 0 {
            self.limit = limit;
        }
        let Some(peer) = self.peers.get(from) else { return };
        let instead = match &self.role {
            Role::Owner { .. } | Role::Claiming => None,
            // Each took the other for the owner: exactly one of them has to take it back.
            Role::Following(following) if following.of == *from && self.own.outweighs(&peer.rank) => None,
            Role::Following(following) => Some(PodUid::clone(&following.of.pod)),
            Role::Idle => self.better().map(|better| better.pod),
        };
        if instead.is_some() {
            return self.send(from, SlotMessage::NotMine { turn, instead });
        }
        if !matches!(self.role, Role::Owner { .. }) {
            self.role = Role::Claiming;
        }
        self.drop_follower(from);
        let mut follower = Follower {
            turn,
            current: true,
            open: BTreeMap::new(),
            usable: BTreeSet::new(),
            waiting: VecDeque::new(),
        };
        // One that has nothing open has nothing to give back.
        for OpenExchanges { pod, count } in open.iter().filter(|open| open.count > 0) {
            let of_pod = follower.open.entry(PodUid::clone(pod)).or_default();
            *of_pod = of_pod.saturating_add(*count);
            self.counts.add(pod, *count);
        }
        if let Some(peer) = self.peers.get_mut(from) {
            (peer.claims, peer.asked) = (false, false);
            peer.follower = Some(follower);
        }
    }

    fn sent_away(&mut self, from: &PeerId, turn: u64, instead: Option<&PodUid>, now: Duration) {
        let Role::Following(following) = &self.role else { return };
        if following.of != *from || following.turn != turn {
            return;
        }
        self.role = Role::Idle;
        let linked = self.peers.iter().filter(|(_, peer)| peer.link.is_some() && peer.counts);
        let named = linked.map(|(id, _)| id).find(|id| Some(&id.pod) == instead).cloned();
        match named {
            // Whoever names one that names another does not know either.
            Some(named) if !self.sent_on => {
                self.sent_on = true;
                self.follow(named);
            }
            _ => self.ask_again_at = Some(now + ASK_AGAIN),
        }
    }

    fn usable_by(&mut self, from: &PeerId, added: Vec<PodUid>, removed: &[PodUid]) {
        let Some(follower) = self.peers.get_mut(from).and_then(|peer| peer.follower.as_mut()) else { return };
        for pod in added {
            if follower.usable.insert(PodUid::clone(&pod)) {
                self.counts.wanted(&pod);
            }
        }
        for pod in removed {
            if follower.usable.remove(pod) {
                self.counts.unwanted(pod);
            }
        }
    }

    fn wanted_by(&mut self, from: &PeerId, count: u32, now: Duration) {
        let Some(follower) = self.peers.get_mut(from).and_then(|peer| peer.follower.as_mut()) else { return };
        let most = usize::try_from(MAX_SLOTS).unwrap_or(usize::MAX).saturating_sub(follower.waiting.len());
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(most);
        follower.waiting.extend(std::iter::repeat_n(now, count));
    }

    fn withdrawn_by(&mut self, from: &PeerId, count: u32) {
        let Some(follower) = self.peers.get_mut(from).and_then(|peer| peer.follower.as_mut()) else { return };
        let left = follower.waiting.len().saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
        follower.waiting.truncate(left);
    }

    fn granted_by(&mut self, from: &PeerId, turn: u64, pod: PodUid, now: Duration) -> Option<PodUid> {
        let Role::Following(following) = &mut self.role else { return None };
        if following.of != *from || following.turn != turn {
            return None;
        }
        following.asked = following.asked.saturating_sub(1);
        if self.fence.open(now).is_none() {
            // It may have lain here while this process did not run, and have been granted to another one since.
            self.stopped = true;
            self.give_back(&pod);
            return None;
        }
        Some(pod)
    }

    fn given_back_by(&mut self, from: &PeerId, pod: &PodUid) {
        let Some(follower) = self.peers.get_mut(from).and_then(|peer| peer.follower.as_mut()) else { return };
        let Some(open) = follower.open.get_mut(pod) else { return };
        *open -= 1;
        if *open == 0 {
            follower.open.remove(pod);
        }
        self.counts.subtract(pod, 1);
    }
}
