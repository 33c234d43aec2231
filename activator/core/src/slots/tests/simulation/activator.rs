//! One simulated activator: the slots of one revision, contact with the others, and just enough of a revision around them.

use crate::slots::{LinkEffect, LinkId, Links, Member, Outgoing, PeerId, Slots};
use catnap_wire::message::{PodUid, RevisionId};
use catnap_wire::peer::{PeerFrame, SlotMessage};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn revision() -> RevisionId {
    RevisionId { namespace: "a".into(), name: "hello-1".into(), function_uid: "u".into() }
}

/// An exchange that is open.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) number: u64,
    pub(super) pod: PodUid,
}

/// The activator.
#[derive(Debug)]
pub(super) struct Activator {
    pub(super) id: PeerId,
    pub(super) alive: bool,
    pub(super) stopped_until: Duration,
    pub(super) leaving: bool,
    /// Its pod object is gone, it is not.
    pub(super) expelled: bool,
    pub(super) links: Links,
    pub(super) slots: Slots,
    pub(super) waiting: VecDeque<Duration>,
    pub(super) open: Vec<Exchange>,
    pub(super) usable: BTreeSet<PodUid>,
    /// Which connection each link is.
    pub(super) connections: HashMap<LinkId, usize>,
    pub(super) ticks_at: Duration,
    pub(super) limit: u32,
    pub(super) numbers: u64,
    /// Exchanges that began since they were taken last.
    pub(super) begun: Vec<u64>,
}

impl Activator {
    pub(super) fn new(id: PeerId, limit: u32, open: &[(PodUid, u32)], now: Duration) -> Self {
        let links = Links::default();
        let slots = Slots::new(revision(), &id.pod, limit, open, Arc::clone(links.fence()), 0);
        Self {
            id,
            alive: true,
            stopped_until: Duration::ZERO,
            leaving: false,
            expelled: false,
            links,
            slots,
            waiting: VecDeque::new(),
            open: Vec::new(),
            usable: BTreeSet::new(),
            connections: HashMap::new(),
            ticks_at: now,
            limit,
            numbers: 0,
            begun: Vec::new(),
        }
    }

    pub(super) fn runs(&self, now: Duration) -> bool {
        self.alive && now >= self.stopped_until
    }

    /// It is there, and its requests are to be served.
    pub(super) fn serves(&self) -> bool {
        self.alive && !self.expelled
    }

    pub(super) fn set_members(&mut self, members: &[Member], now: Duration) {
        let others: Vec<Member> =
            members.iter().filter(|member| member.id.pod != self.id.pod).cloned().collect();
        let own_gone = others.len() == members.len();
        self.links.set_members(&others, own_gone, now);
        self.view_changed(now);
    }

    pub(super) fn view_changed(&mut self, now: Duration) {
        let view = self.links.view();
        self.slots.set_view(&view, now);
        self.release(now);
    }

    pub(super) fn set_pods(&mut self, pods: BTreeSet<PodUid>, now: Duration) {
        self.usable = pods;
        self.release(now);
    }

    pub(super) fn tick(&mut self, now: Duration) {
        let (next, changed) = self.links.tick(now);
        if changed {
            self.view_changed(now);
        }
        let due = self.slots.tick(now);
        self.release(now);
        let soonest = [next, due].into_iter().flatten().min().unwrap_or(Duration::MAX);
        self.ticks_at = soonest.clamp(now + Duration::from_millis(1), now + Duration::from_secs(1));
    }

    pub(super) fn arrive(&mut self, now: Duration) {
        if self.waiting.is_empty()
            && self.slots.owns_or_claims(now)
            && let Some(pod) = self.choose()
        {
            return self.begin(pod);
        }
        self.waiting.push_back(now);
        self.release(now);
    }

    pub(super) fn end(&mut self, number: u64, now: Duration) {
        let Some(index) = self.open.iter().position(|exchange| exchange.number == number) else { return };
        let exchange = self.open.remove(index);
        self.slots.closed(&exchange.pod);
        self.release(now);
    }

    pub(super) fn frame(&mut self, link: LinkId, frame: PeerFrame, now: Duration) {
        let Some(peer) = self.links.peer(link) else { return };
        let changed = self.links.heard(link, &frame, now);
        if changed {
            self.view_changed(now);
        }
        let PeerFrame::Slots { message, .. } = frame else { return };
        if let Some(pod) = self.slots.message(&peer, message, now) {
            if self.usable.contains(&pod) && self.waiting.pop_front().is_some() {
                self.begin(pod);
            } else {
                self.slots.refuse(&pod);
            }
        }
        self.release(now);
    }

    pub(super) fn take_frames(&mut self) -> Vec<LinkEffect> {
        let slots: Vec<Outgoing> = self.slots.take_outgoing();
        let mut effects = self.links.take_effects();
        let about = |message: SlotMessage| PeerFrame::Slots { revision: revision(), message };
        effects.extend(slots.into_iter().map(|(link, message)| LinkEffect::Send(link, about(message))));
        effects
    }

    fn begin(&mut self, pod: PodUid) {
        self.slots.opened(&pod);
        self.numbers += 1;
        self.open.push(Exchange { number: self.numbers, pod });
        self.begun.push(self.numbers);
    }

    fn choose(&self) -> Option<PodUid> {
        let mut own: BTreeMap<&PodUid, u32> = BTreeMap::new();
        for exchange in &self.open {
            *own.entry(&exchange.pod).or_default() += 1;
        }
        let load = |pod: &&PodUid| own.get(*pod).copied().unwrap_or(0) + self.slots.others(pod);
        self.usable.iter().filter(|pod| load(pod) < self.limit).min_by_key(load).cloned()
    }

    /// As a revision does it: in the order of arrival, here and elsewhere.
    fn release(&mut self, now: Duration) {
        self.slots.set_usable(self.usable.clone());
        self.slots.set_demand(self.waiting.len(), now);
        while let Some(since) = self.waiting.front() {
            self.slots.serve(*since, now);
            if !self.slots.owns(now) {
                break;
            }
            let Some(pod) = self.choose() else { break };
            self.waiting.pop_front();
            self.begin(pod);
        }
        self.slots.serve(Duration::MAX, now);
        self.slots.set_demand(self.waiting.len(), now);
    }
}
