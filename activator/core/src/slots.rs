//! Slots of one revision with a limit, when there are several activators: one owns them, the others ask it for each.
//!
//! A state machine for one revision in one activator, without I/O. Whoever owns counts the exchanges of all: it owns only once
//! each of the others has said `Released` to it, which nobody says to two at a time. Without other activators it owns at once.
//! Which pods an activator can use, it decides itself; the owner only counts.

mod counts;
mod fence;
mod links;
mod messages;
mod peer;

pub(crate) use fence::Fence;
pub use links::{LinkEffect, LinkId, Links, Member, PeerId};
pub(crate) use links::{Neighbours, View};

use catnap_wire::message::{PodUid, RevisionId};
use catnap_wire::peer::SlotMessage;
use counts::Counts;
use peer::{Peer, Rank};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Sent away by the one that seemed to be the owner: ask again after this time. Views of the members agree soon.
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// An owner gives up slots that nobody has used for this long, so that all may forget the revision.
const KEPT_UNUSED: Duration = Duration::from_secs(60);

/// A message about the slots, and the link that it goes out on.
pub(crate) type Outgoing = (LinkId, SlotMessage);

/// What this activator is to the slots.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    /// Nobody asked, and nothing was asked for.
    Idle,
    /// It wants to own, and waits for the others to release.
    Claiming,
    /// It counts the exchanges of all; until the fence lapses.
    Owner { lapses: u64 },
    /// It takes slots from another one.
    Following(Following),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Following {
    of: PeerId,
    turn: u64,
    /// It was said on the link that there is now.
    told: bool,
    /// Slots asked for and not granted yet.
    asked: u32,
    /// Pods that the owner knows to be usable here.
    usable: BTreeSet<PodUid>,
    /// These are the ones that are: with every slot that is asked for, only this is looked at.
    usable_told: bool,
}

/// The state machine.
#[derive(Debug)]
pub(crate) struct Slots {
    own: Rank,
    revision: RevisionId,
    /// Most exchanges with one pod; 0 while it is not known, and nothing is granted.
    limit: u32,
    fence: Arc<Fence>,
    peers: BTreeMap<PeerId, Peer>,
    role: Role,
    turns: u64,
    /// Requests that wait here for a slot.
    demand: u32,
    /// Pods that this activator can use.
    usable: BTreeSet<PodUid>,
    counts: Counts,
    /// While some pods are drained, those that are not.
    kept: Option<BTreeSet<PodUid>>,
    /// Pods that are granted only when no other one has room.
    avoided: BTreeSet<PodUid>,
    ask_again_at: Option<Duration>,
    /// It follows somebody whom another one named, and not its own view.
    sent_on: bool,
    unused_since: Option<Duration>,
    /// A grant came too late to count on: none is asked for until there is contact again.
    stopped: bool,
    outgoing: Vec<Outgoing>,
}

impl Slots {
    /// The slots of a revision in the activator `own`. `open` are the exchanges that it opened while it was the only activator:
    /// it owns the slots for as long as no other one asks for them. `turn` is larger than in any earlier state of the revision.
    pub(crate) fn new(
        revision: RevisionId,
        own: &PodUid,
        limit: u32,
        open: &[(PodUid, u32)],
        fence: Arc<Fence>,
        turn: u64,
    ) -> Self {
        let mut counts = Counts::default();
        for (uid, count) in open {
            (0..*count).for_each(|_| counts.opened(uid));
        }
        let lapses = fence.lapses();
        Self {
            own: Rank::new(&revision, own, true),
            revision,
            limit,
            fence,
            peers: BTreeMap::new(),
            role: if open.is_empty() { Role::Idle } else { Role::Owner { lapses } },
            turns: turn,
            demand: 0,
            usable: BTreeSet::new(),
            counts,
            kept: None,
            avoided: BTreeSet::new(),
            ask_again_at: None,
            sent_on: false,
            unused_since: None,
            stopped: false,
            outgoing: Vec::new(),
        }
    }

    /// The revision's limit is known.
    pub(crate) fn set_limit(&mut self, limit: u32) {
        // One that does not know it has heard it from another one, perhaps.
        if limit > 0 {
            self.limit = limit;
        }
    }

    /// Exchanges may be opened here without asking, up to the limit together with those of [`others`](Self::others).
    pub(crate) fn owns(&self, now: Duration) -> bool {
        matches!(self.role, Role::Owner { lapses } if self.fence.open(now) == Some(lapses))
    }

    /// As [`owns`](Self::owns), for a request that comes: nobody has to be asked when there is nobody else.
    pub(crate) fn owns_or_claims(&mut self, now: Duration) -> bool {
        if !self.owns(now) && self.peers.values().all(|peer| !peer.counts) {
            let demand = std::mem::replace(&mut self.demand, 1);
            self.advance(now);
            self.demand = demand;
        }
        self.owns(now)
    }

    /// Exchanges of the other activators with this pod.
    pub(crate) fn others(&self, uid: &PodUid) -> u32 {
        self.counts.others(uid)
    }

    /// Pods of which that count has changed since the last call.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<PodUid> {
        self.counts.take_changed()
    }

    /// What is to be sent since the last call, in order.
    pub(crate) fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }

    /// An exchange was opened: as owner, or by a grant.
    pub(crate) fn opened(&mut self, uid: &PodUid) {
        self.counts.opened(uid);
    }

    /// An exchange ended.
    pub(crate) fn closed(&mut self, uid: &PodUid) {
        self.counts.closed(uid);
        self.give_back(uid);
    }

    /// A slot was granted that cannot be used.
    pub(crate) fn refuse(&mut self, uid: &PodUid) {
        self.give_back(uid);
        self.ask();
    }

    fn give_back(&mut self, uid: &PodUid) {
        if let Role::Following(following) = &self.role
            && following.told
        {
            let of = following.of.clone();
            self.send(&of, SlotMessage::Release { pod: PodUid::clone(uid) });
        }
    }

    /// Requests that wait here for a slot.
    pub(crate) fn set_demand(&mut self, waiting: usize, now: Duration) {
        self.demand = u32::try_from(waiting).unwrap_or(u32::MAX).min(catnap_wire::peer::MAX_SLOTS);
        self.advance(now);
        self.ask();
    }

    /// Pods that this activator can use.
    pub(crate) fn set_usable(&mut self, usable: BTreeSet<PodUid>) {
        self.usable = usable;
        if let Role::Following(following) = &mut self.role {
            following.usable_told = false;
        }
        self.ask();
    }

    /// Pods that are about to go are granted to nobody else, or only when no other one has room.
    pub(crate) fn set_leaving(&mut self, kept: Option<&BTreeSet<PodUid>>, avoided: &BTreeSet<PodUid>) {
        if self.kept.as_ref() != kept {
            self.kept = kept.cloned();
        }
        if self.avoided != *avoided {
            self.avoided.clone_from(avoided);
        }
    }

    /// What is known of the other activators now.
    pub(crate) fn set_view(&mut self, view: &View, now: Duration) {
        self.own.candidate = !view.leaving;
        self.stopped &= self.fence.open(now).is_none();
        let gone: Vec<PeerId> = {
            let known = |id: &PeerId| view.peers.iter().any(|peer| peer.id == *id);
            self.peers.keys().filter(|id| !known(id)).cloned().collect()
        };
        for id in gone {
            self.drop_follower(&id);
            self.peers.remove(&id);
            self.lose(&id);
        }
        for seen in &view.peers {
            let rank = Rank::new(&self.revision, &seen.id.pod, seen.candidate);
            let peer = self.peers.entry(seen.id.clone()).or_insert_with(|| Peer::new(rank));
            peer.rank.candidate = seen.candidate;
            peer.counts = seen.counts;
            if peer.link != seen.link {
                peer.link = seen.link;
                self.relink(&seen.id);
            }
            if !seen.counts {
                self.lose(&seen.id);
            }
        }
        self.advance(now);
        self.ask();
    }

    /// Does what is due. Returns when there is more to do.
    pub(crate) fn tick(&mut self, now: Duration) -> Option<Duration> {
        self.stopped &= self.fence.open(now).is_none();
        self.advance(now);
        self.ask();
        let used = self.demand > 0 || !self.counts.is_empty() || self.peers.values().any(Peer::waits);
        let owner = matches!(self.role, Role::Owner { .. }) && !self.peers.is_empty();
        if used || !owner {
            self.unused_since = None;
        } else if now >= *self.unused_since.get_or_insert(now) + KEPT_UNUSED {
            self.unused_since = None;
            self.give_up(None);
            self.role = Role::Idle;
        }
        self.due()
    }

    /// When there is something to do that time alone brings.
    pub(crate) fn due(&self) -> Option<Duration> {
        let unused = self.unused_since.map(|since| since + KEPT_UNUSED);
        let asking = self.ask_again_at.filter(|_| self.role == Role::Idle && self.demand > 0);
        unused.into_iter().chain(asking).min()
    }

    /// Nothing would be lost by forgetting it all.
    pub(crate) fn can_be_forgotten(&self) -> bool {
        let nobody = self.peers.is_empty() && self.outgoing.is_empty();
        (self.role == Role::Idle || nobody) && self.demand == 0 && self.counts.is_empty()
    }

    /// Time changes nothing here until something else happens.
    pub(crate) fn at_rest(&self) -> bool {
        let owner = matches!(self.role, Role::Owner { .. }) && !self.peers.is_empty();
        self.demand == 0 && !owner
    }

    /// It is the owner, or was until the fence lapsed.
    pub(crate) fn is_owner(&self) -> bool {
        matches!(self.role, Role::Owner { .. })
    }

    /// For people.
    pub(crate) fn role_name(&self) -> &'static str {
        match self.role {
            Role::Idle => "idle",
            Role::Claiming => "claiming",
            Role::Owner { .. } => "owner",
            Role::Following(_) => "following",
        }
    }

    /// Grants to those of the others that asked until `before`, in the order in which they did, as long as there is room.
    pub(crate) fn serve(&mut self, before: Duration, now: Duration) {
        while self.owns(now) {
            let waiting = self.peers.iter().filter_map(|(id, peer)| Some((peer.waits_since()?, id)));
            let mut heads: Vec<_> = waiting.filter(|(since, _)| *since <= before).collect();
            heads.sort();
            let granted = heads.into_iter().find_map(|(_, id)| {
                let usable = &self.peers.get(id)?.follower.as_ref()?.usable;
                let open = |pod: &PodUid| {
                    usable.contains(pod) && self.kept.as_ref().is_none_or(|kept| kept.contains(pod))
                };
                let preferred = |pod: &PodUid| open(pod) && !self.avoided.contains(pod);
                let pod = self.counts.choose(self.limit, preferred);
                Some((id.clone(), pod.or_else(|| self.counts.choose(self.limit, open))?))
            });
            let Some((id, pod)) = granted else { return };
            let Some(turn) = self.peers.get_mut(&id).and_then(|peer| peer.grant(&pod)) else { return };
            self.counts.add(&pod, 1);
            self.send(&id, SlotMessage::Grant { turn, pod });
        }
    }

    /// Whoever this activator follows does not answer any more.
    fn lose(&mut self, id: &PeerId) {
        if matches!(&self.role, Role::Following(following) if following.of == *id) {
            self.role = Role::Idle;
        }
    }

    /// The link to this one is another one now, or gone: what was said on the old one may not have arrived.
    fn relink(&mut self, id: &PeerId) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        for pod in peer.relinked() {
            self.counts.unwanted(&pod);
        }
        if let Role::Following(following) = &mut self.role
            && following.of == *id
        {
            following.told = false;
            self.release();
        }
    }

    /// Takes the next step, if there is one, until the next one needs the others.
    fn advance(&mut self, now: Duration) {
        if let Role::Owner { lapses } = self.role
            && self.fence.open(now) != Some(lapses)
        {
            self.role = Role::Claiming;
        }
        if self.role == Role::Idle {
            if let Some(claimer) = self.best(|peer| peer.claims && peer.link.is_some()) {
                self.follow(claimer);
            } else if self.demand > 0 && self.ask_again_at.is_none_or(|at| now >= at) {
                self.sent_on = false;
                self.role = Role::Claiming;
            }
        }
        let better = match self.role {
            Role::Claiming => self.better(),
            // One that drains hands over to whoever can take it; nobody else does before being asked to.
            Role::Owner { .. } if !self.own.candidate => {
                self.better().filter(|id| self.peers.get(id).is_some_and(|peer| peer.link.is_some()))
            }
            _ => None,
        };
        if let Some(better) = better {
            self.yield_to(better);
        }
        if self.role == Role::Claiming {
            self.claim(now);
        }
    }

    fn claim(&mut self, now: Duration) {
        let peers = self.peers.iter_mut();
        let ask: Vec<PeerId> = peers.filter_map(|(id, peer)| peer.ask().then(|| id.clone())).collect();
        for id in &ask {
            self.send(id, SlotMessage::Claim);
        }
        let all_released = self.peers.values().all(|peer| !peer.counts || peer.follows());
        if all_released && let Some(lapses) = self.fence.open(now) {
            self.role = Role::Owner { lapses };
        }
    }

    /// Follows `id` instead of owning, or of wanting to.
    fn yield_to(&mut self, id: PeerId) {
        self.give_up(Some(&id));
        self.follow(id);
    }

    /// Sets everybody free that released to this activator, or was asked to.
    fn give_up(&mut self, instead: Option<&PeerId>) {
        let instead = instead.map(|id| PodUid::clone(&id.pod));
        let ids: Vec<PeerId> = self.peers.keys().cloned().collect();
        for id in ids {
            let follower = self.drop_follower(&id);
            let asked = self.peers.get_mut(&id).is_some_and(|peer| std::mem::take(&mut peer.asked));
            if let Some(turn) = follower {
                self.send(&id, SlotMessage::NotMine { turn, instead: instead.clone() });
            } else if asked {
                self.send(&id, SlotMessage::Unclaim);
            }
        }
    }

    fn follow(&mut self, of: PeerId) {
        self.turns += 1;
        self.role = Role::Following(Following {
            of,
            turn: self.turns,
            told: false,
            asked: 0,
            usable: BTreeSet::new(),
            usable_told: false,
        });
        self.ask_again_at = None;
        self.release();
    }

    /// Tells whom it follows, if there is a link to it.
    fn release(&mut self) {
        let Role::Following(following) = &mut self.role else { return };
        let Some(owner) = self.peers.get_mut(&following.of).filter(|peer| peer.link.is_some()) else {
            return;
        };
        // This answers it.
        owner.claims = false;
        // After each other: grants for an earlier turn are void from here on.
        self.turns += 1;
        following.turn = self.turns;
        (following.told, following.asked) = (true, 0);
        following.usable.clear();
        following.usable_told = false;
        let (of, turn) = (following.of.clone(), following.turn);
        let open = self.counts.own();
        self.send(&of, SlotMessage::Released { turn, limit: self.limit, open });
        self.ask();
    }

    /// Tells the owner how many slots are wanted, and with which pods.
    fn ask(&mut self) {
        let Role::Following(following) = &mut self.role else { return };
        if !following.told || self.stopped || self.demand == 0 && following.asked == 0 {
            return;
        }
        let (before, after) = (std::mem::replace(&mut following.asked, self.demand), self.demand);
        if before == after && following.usable_told {
            return;
        }
        let of = following.of.clone();
        if !std::mem::replace(&mut following.usable_told, true) {
            let added: Vec<_> = self.usable.difference(&following.usable).cloned().collect();
            let removed: Vec<_> = following.usable.difference(&self.usable).cloned().collect();
            if !added.is_empty() || !removed.is_empty() {
                following.usable.clone_from(&self.usable);
                self.send(&of, SlotMessage::Usable { added, removed });
            }
        }
        if after > before {
            self.send(&of, SlotMessage::Acquire { count: after - before });
        } else if after < before {
            self.send(&of, SlotMessage::Withdraw { count: before - after });
        }
    }

    /// Forgets what one that follows has open and asked for. Returns its turn when it has to be told.
    fn drop_follower(&mut self, id: &PeerId) -> Option<u64> {
        let follower = self.peers.get_mut(id)?.follower.take()?;
        for (pod, open) in &follower.open {
            self.counts.subtract(pod, *open);
        }
        for pod in &follower.usable {
            self.counts.unwanted(pod);
        }
        follower.current.then_some(follower.turn)
    }

    /// The one with the best right to own, if it is not this activator.
    fn better(&self) -> Option<PeerId> {
        self.best(|peer| peer.counts && peer.rank > self.own)
    }

    fn best(&self, of: impl Fn(&Peer) -> bool) -> Option<PeerId> {
        let peers = self.peers.iter().filter(|(_, peer)| of(peer));
        peers.max_by(|(_, one), (_, other)| one.rank.cmp(&other.rank)).map(|(id, _)| id.clone())
    }

    fn send(&mut self, to: &PeerId, message: SlotMessage) {
        if let Some(link) = self.peers.get(to).and_then(|peer| peer.link) {
            self.outgoing.push((link, message));
        }
    }
}

#[cfg(test)]
mod tests;
