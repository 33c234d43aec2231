//! Who has which host: one book for the whole cluster, kept by the operator that leads.
//!
//! A host that was given stays until it is given up. Of those who ask for a free one, who says in its status that it had it
//! comes first, then the oldest, then the first by namespace and name. A wildcard and a name that it stands for count as the
//! same host between namespaces; inside one they may be two Functions', and the longer name is the one that is served.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Bound,
};

use k8s_openapi::jiff::Timestamp;

use super::Host;

/// A Function that asks for hosts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claimant {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A host that a Function asks for and may claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The host.
    pub host: Host,
    /// Whether the Function's status says that it has it.
    pub had: bool,
}

/// What the book says of a Function and a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// The Function has it.
    Has,
    /// Another one has it, or a wildcard around it, or a name below it.
    Taken {
        /// What the other one has.
        host: Host,
        /// Who it is.
        by: Claimant,
    },
    /// The Function did not ask, or nothing was [settled](Book::settle) since.
    Unsettled,
}

/// All claims, and who has what.
#[derive(Clone, Debug, Default)]
pub struct Book {
    asking: BTreeMap<Claimant, Asking>,
    held: BTreeMap<Host, Claimant>,
    waiting: BTreeMap<Host, Queue>,
    /// Hosts that were given up since the last time that all was settled.
    given_up: BTreeSet<Host>,
    /// Those who began to wait since then.
    new: BTreeSet<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Asking {
    uid: String,
    created: Timestamp,
    wishes: Vec<Wish>,
}

/// A place in the queue of those who wait; the order of its fields is the order of the queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    had_not: bool,
    created: Timestamp,
    claimant: Claimant,
    host: Host,
}

/// What stands in the way.
type Holding = (Host, Claimant);

/// Who waits, and for what.
type Queue = BTreeMap<Place, Option<Holding>>;

impl Book {
    /// Notes what a Function asks for now. Hosts that it no longer asks for, or that a Function of another UID had under its
    /// name, are free.
    pub fn observe(&mut self, claimant: &Claimant, uid: &str, created: Timestamp, wishes: Vec<Wish>) {
        let asking = Asking { uid: uid.to_owned(), created, wishes };
        if self.asking.get(claimant) == Some(&asking) {
            return;
        }
        let keeps =
            |before: &str, host: &Host| before == uid && asking.wishes.iter().any(|it| it.host == *host);
        let mut waited = self.take_out(claimant, keeps);
        for wish in &asking.wishes {
            if self.held.get(&wish.host) != Some(claimant) {
                let place = asking.place(claimant, wish);
                let obstacle = waited.remove(&place).flatten();
                self.new.insert(place.clone());
                self.waiting.entry(wish.host.clone()).or_default().insert(place, obstacle);
            }
        }
        self.asking.insert(claimant.clone(), asking);
    }

    /// Whether the Function of this UID was observed.
    pub fn knows(&self, claimant: &Claimant, uid: &str) -> bool {
        self.asking.get(claimant).is_some_and(|asking| asking.uid == uid)
    }

    /// Everybody who was observed.
    pub fn claimants(&self) -> impl Iterator<Item = &Claimant> {
        self.asking.keys()
    }

    /// A Function is gone: its hosts are free.
    pub fn forget(&mut self, claimant: &Claimant) {
        self.take_out(claimant, |_, _| false);
    }

    /// Gives the free hosts to those who ask; returns the Functions for whom something changed, that is who were given a
    /// host, or are refused one for another reason than before.
    pub fn settle(&mut self) -> BTreeSet<Claimant> {
        let mut changed = BTreeSet::new();
        let mut refused = Vec::new();
        for (place, known) in self.unsettled() {
            if self.obstacle(&place.host, &place.claimant).is_some() {
                refused.push((place, known));
            } else {
                changed.insert(place.claimant.clone());
                self.held.insert(place.host, place.claimant);
            }
        }
        // Only now is it known what everybody has.
        for (place, known) in refused {
            let obstacle = self.obstacle(&place.host, &place.claimant);
            if obstacle != known {
                changed.insert(place.claimant.clone());
            }
            self.waiting.entry(place.host.clone()).or_default().insert(place, obstacle);
        }
        changed
    }

    /// Takes out those who are new, and those who wait for what a host that was given up stands for, or for what stands for
    /// it. For all others nothing changed: however many wait, one more costs no look at them.
    fn unsettled(&mut self) -> Queue {
        let mut unsettled = Queue::new();
        for free in std::mem::take(&mut self.given_up) {
            let mut near: Vec<_> = free.wildcards_around().collect();
            // In the order of hosts a wildcard is the first of all that it stands for.
            let from = self.waiting.range::<Host, _>((Bound::Included(&free), Bound::Unbounded));
            near.extend(from.map(|(host, _)| host).take_while(|host| host.is_within(&free)).cloned());
            unsettled.extend(near.iter().filter_map(|host| self.waiting.remove(host)).flatten());
        }
        for place in std::mem::take(&mut self.new) {
            unsettled.extend(self.leave(&place));
        }
        unsettled
    }

    fn leave(&mut self, place: &Place) -> Option<(Place, Option<Holding>)> {
        let queue = self.waiting.get_mut(&place.host)?;
        let left = queue.remove_entry(place);
        if queue.is_empty() {
            self.waiting.remove(&place.host);
        }
        left
    }

    /// Whether `claimant` has `host`.
    pub fn verdict(&self, claimant: &Claimant, host: &Host) -> ClaimState {
        if self.held.get(host) == Some(claimant) {
            return ClaimState::Has;
        }
        let asking = self.asking.get(claimant);
        let wish =
            asking.and_then(|asking| Some((asking, asking.wishes.iter().find(|wish| wish.host == *host)?)));
        let place = wish.map(|(asking, wish)| asking.place(claimant, wish));
        match place.and_then(|place| self.waiting.get(host)?.get(&place)) {
            Some(Some((host, by))) => ClaimState::Taken { host: host.clone(), by: by.clone() },
            Some(None) | None => ClaimState::Unsettled,
        }
    }

    /// Takes `claimant` out of the book, but for the hosts that it has and may `keep` under its UID; returns where it waited.
    fn take_out(&mut self, claimant: &Claimant, keep: impl Fn(&str, &Host) -> bool) -> Queue {
        let mut waited = Queue::new();
        let Some(before) = self.asking.remove(claimant) else { return waited };
        for wish in &before.wishes {
            waited.extend(self.leave(&before.place(claimant, wish)));
            if self.held.get(&wish.host) == Some(claimant) && !keep(&before.uid, &wish.host) {
                self.held.remove(&wish.host);
                self.given_up.insert(wish.host.clone());
            }
        }
        waited
    }

    /// What keeps `claimant` from having `host`.
    fn obstacle(&self, host: &Host, claimant: &Claimant) -> Option<Holding> {
        let same = self.held.get_key_value(host).filter(|(_, holder)| *holder != claimant);
        let foreign = |(_, holder): &(&Host, &Claimant)| holder.namespace != claimant.namespace;
        let around = || {
            host.wildcards_around().filter_map(|wildcard| self.held.get_key_value(&wildcard)).find(foreign)
        };
        let below = || {
            // As in `unsettled`: the first of all that it stands for.
            let from = host.is_wildcard().then_some(host)?;
            let rest = self.held.range::<Host, _>((Bound::Included(from), Bound::Unbounded));
            rest.take_while(|(held, _)| held.is_within(host)).find(foreign)
        };
        let found = same.or_else(around).or_else(below)?;
        Some((found.0.clone(), found.1.clone()))
    }
}

impl Asking {
    fn place(&self, claimant: &Claimant, wish: &Wish) -> Place {
        Place {
            had_not: !wish.had,
            created: self.created,
            claimant: claimant.clone(),
            host: wish.host.clone(),
        }
    }
}

impl fmt::Display for Claimant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests;
