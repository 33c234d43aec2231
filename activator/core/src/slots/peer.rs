//! One of the other activators, as the slots of one revision know it.

use super::LinkId;
use crate::members;
use catnap_wire::message::{PodUid, RevisionId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Who has the better right to own: everybody comes to the same order, by rendezvous hashing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// It is neither on its way out nor draining: comes before any that is.
    pub(super) candidate: bool,
    weight: (u64, PodUid),
}

impl Rank {
    pub(super) fn new(revision: &RevisionId, pod: &PodUid, candidate: bool) -> Self {
        Self { candidate, weight: members::weight(revision, pod) }
    }

    /// As both sides see it, whatever each knows of the other's end.
    pub(super) fn outweighs(&self, other: &Self) -> bool {
        self.weight > other.weight
    }
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) rank: Rank,
    pub(super) link: Option<LinkId>,
    /// Nobody owns against its will.
    pub(super) counts: bool,
    /// It said on this link that it wants to own.
    pub(super) claims: bool,
    /// It was asked on this link to release, and did not answer yet.
    pub(super) asked: bool,
    /// It released to this activator.
    pub(super) follower: Option<Follower>,
}

/// What an owner knows of one that takes slots from it.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) turn: u64,
    /// It said so on the link that there is now. If not, only what it had open still counts.
    pub(super) current: bool,
    pub(super) open: BTreeMap<PodUid, u32>,
    pub(super) usable: BTreeSet<PodUid>,
    /// When each slot was asked for that is not granted yet.
    pub(super) waiting: VecDeque<Duration>,
}

impl Peer {
    pub(super) fn new(rank: Rank) -> Self {
        Self { rank, link: None, counts: true, claims: false, asked: false, follower: None }
    }

    /// It takes slots from this activator, and from no other one.
    pub(super) fn follows(&self) -> bool {
        self.follower.as_ref().is_some_and(|follower| follower.current)
    }

    /// Whether it is to be asked to release; remembers that it was.
    pub(super) fn ask(&mut self) -> bool {
        let ask = self.counts && self.link.is_some() && !self.asked && !self.follows();
        self.asked |= ask;
        ask
    }

    /// The link is another one. Returns the pods that it does not want from now on.
    pub(super) fn relinked(&mut self) -> BTreeSet<PodUid> {
        (self.claims, self.asked) = (false, false);
        let Some(follower) = &mut self.follower else { return BTreeSet::new() };
        follower.current = false;
        follower.waiting.clear();
        std::mem::take(&mut follower.usable)
    }

    pub(super) fn waits(&self) -> bool {
        self.waits_since().is_some()
    }

    /// When it asked for the slot that it gets next.
    pub(super) fn waits_since(&self) -> Option<Duration> {
        self.follower.as_ref()?.waiting.front().copied()
    }

    /// Counts one more exchange of it. Returns its turn.
    pub(super) fn grant(&mut self, pod: &PodUid) -> Option<u64> {
        let follower = self.follower.as_mut()?;
        follower.waiting.pop_front()?;
        *follower.open.entry(PodUid::clone(pod)).or_default() += 1;
        Some(follower.turn)
    }
}
