//! All revisions of a leader, and when time alone may next change something in each.
//!
//! The times lie side by side: a tick passes over thousands of revisions that rest without looking at one of them, and not even
//! over their times while none is due. And each has its own turn in every second, so that thousands that are busy are not all
//! decided in the same tick.

use std::collections::HashMap;
use std::time::Duration;

use catnap_wire::RevisionId;

use crate::revision::Revision;

/// Turns in a second, as many as there are ticks.
const TURNS: usize = 50;
const TURN: Duration = Duration::from_millis(20);

/// Revisions, each at a place of its own.
#[derive(Debug, Default)]
pub(super) struct Revisions {
    places: HashMap<RevisionId, usize>,
    at: Vec<Option<Revision>>,
    /// [`Revision::due`] of each place; of an empty one never.
    due: Vec<Duration>,
    /// None of them is earlier.
    soonest: Duration,
    empty: Vec<usize>,
}

impl Revisions {
    /// None is known.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn get(&self, id: &RevisionId) -> Option<&Revision> {
        self.at.get(*self.places.get(id)?)?.as_ref()
    }

    /// All, in no order that means anything, but the same one whenever the same things happened.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Revision> {
        self.at.iter().flatten()
    }

    /// Before this, time alone changes nothing: zero while something is under way, [`Duration::MAX`] where all rest. What was told
    /// since the last tick may make it too early, never too late.
    pub(super) fn soonest(&self) -> Duration {
        self.soonest
    }

    /// Those in which something is under way: each is looked at with every tick.
    pub(super) fn under_way(&self) -> impl Iterator<Item = &Revision> {
        self.which(Duration::is_zero)
    }

    /// Those that do not rest, and then those that do.
    pub(super) fn awake_first(&self) -> impl Iterator<Item = &Revision> {
        self.which(|due| *due < Duration::MAX).chain(self.which(|due| *due == Duration::MAX))
    }

    fn which(&self, due: impl Fn(&Duration) -> bool) -> impl Iterator<Item = &Revision> {
        self.due.iter().zip(&self.at).filter(move |(at, _)| due(at)).filter_map(|(_, place)| place.as_ref())
    }

    /// One step of one revision, which is made if it is not known.
    pub(super) fn upsert(&mut self, id: &RevisionId, step: impl FnOnce(&mut Revision)) {
        if !self.places.contains_key(id) {
            let place = self.empty.pop().unwrap_or(self.at.len());
            if place == self.at.len() {
                self.at.push(None);
                self.due.push(Duration::MAX);
            }
            self.places.insert(id.clone(), place);
            self.at[place] = Some(Revision::new(id.clone(), turn(place)));
        }
        self.step(id, step);
    }

    /// One step of one revision, if it is known.
    pub(super) fn step<T>(&mut self, id: &RevisionId, step: impl FnOnce(&mut Revision) -> T) -> Option<T> {
        let place = *self.places.get(id)?;
        let revision = self.at.get_mut(place)?.as_mut()?;
        let done = step(revision);
        let due = revision.due();
        self.due[place] = due;
        self.soonest = self.soonest.min(due);
        Some(done)
    }

    /// One step of every revision.
    pub(super) fn each(&mut self, step: impl FnMut(&mut Revision)) {
        self.each_due(Duration::MAX, step);
    }

    /// One step of every revision in which time may have changed something by now.
    pub(super) fn each_due(&mut self, now: Duration, mut step: impl FnMut(&mut Revision)) {
        if now < self.soonest {
            return;
        }
        let mut soonest = Duration::MAX;
        for (due, place) in self.due.iter_mut().zip(&mut self.at) {
            if *due <= now
                && let Some(revision) = place
            {
                step(revision);
                *due = revision.due();
            }
            soonest = soonest.min(*due);
        }
        self.soonest = soonest;
    }

    pub(super) fn remove(&mut self, id: &RevisionId) {
        if let Some(place) = self.places.remove(id) {
            self.at[place] = None;
            self.due[place] = Duration::MAX;
            self.empty.push(place);
        }
    }
}

/// When in a second the turn of a place is.
fn turn(place: usize) -> Duration {
    TURN * u32::try_from(place % TURNS).unwrap_or(0)
}
