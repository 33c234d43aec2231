//! How many new revisions prove themselves at once, in the whole cluster: whoever comes too late waits. Next is one of the
//! namespace in which the fewest are at it, the oldest Function first: no tenant keeps the others waiting. Nor does one whose pods
//! come and go without end: a proof that takes long goes on, and its place is free.
//!
//! Who is at it is read from the Functions' statuses as they are watched, so that a new leader knows it too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use catnap_crds::{Function, FunctionStatus, RevisionState};
use catnap_operator_core::is_proving;
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    cache::FunctionKey,
    touches::{Touch, When},
    watch::GuardedFunction,
};

/// A proof that takes longer has no place any more. Most that will not come to an end are known to fail long before.
const LONGEST: Duration = Duration::from_secs(300);
/// Places that became free by time alone are looked for this often.
const CHECK: Duration = Duration::from_secs(15);

/// The proofs that are under way and those that wait.
#[derive(Debug)]
pub(crate) struct Proofs {
    limit: usize,
    touch: UnboundedSender<Touch<ObjectRef<GuardedFunction>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Functions whose status says that a revision is at its proof.
    proving: BTreeMap<FunctionKey, Proof>,
    /// Functions that may prove one, with the resourceVersion of when they were told so: their status says it next.
    granted: BTreeMap<FunctionKey, Option<String>>,
    /// Functions that wait, by the time of their creation.
    waiting: BTreeSet<(i64, FunctionKey)>,
}

/// A proof that is under way.
#[derive(Clone, Copy, Debug)]
struct Proof {
    /// When it was first seen. One that fails now and then is no younger for that.
    since: Instant,
    /// Whether something is known to keep the revision from getting ready.
    fails: bool,
}

impl Proof {
    fn has_place(&self) -> bool {
        !self.fails && self.since.elapsed() < LONGEST
    }
}

impl Proofs {
    /// At most `limit` at once; those that wait are touched when it is their turn.
    pub(crate) fn new(limit: u32, touch: UnboundedSender<Touch<ObjectRef<GuardedFunction>>>) -> Self {
        Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            touch,
            state: Mutex::new(State::default()),
        }
    }

    /// Whether `function` may begin to prove a revision now. One that may not is touched when it may.
    pub(crate) fn may_begin(&self, function: &Function) -> bool {
        let key = key(function);
        let mut state = self.state.lock();
        if state.granted.contains_key(&key) {
            return true;
        }
        let place = (created(function), key.clone());
        state.waiting.insert(place.clone());
        // One that begins another proof before the last one's end has that one's place to give.
        if !state.next(self.limit, Some(&key)).contains(&&key) {
            return false;
        }
        state.waiting.remove(&place);
        state.granted.insert(key, function.resource_version());
        true
    }

    /// After a look that began no proof, and does not wait for one.
    pub(crate) fn not_begun(&self, function: &Function) {
        let mut state = self.state.lock();
        let key = key(function);
        let left =
            [state.waiting.remove(&(created(function), key.clone())), state.granted.remove(&key).is_some()];
        if left.contains(&true) {
            self.call_next(&state);
        }
    }

    /// Takes in a Function as the watch shows it.
    pub(crate) fn observe(&self, function: &Function) {
        if function.metadata.deletion_timestamp.is_some() {
            return self.forget(function);
        }
        let key = key(function);
        let mut state = self.state.lock();
        let before = state.occupied();
        let moved = state.granted.get(&key).is_some_and(|version| *version != function.resource_version());
        if moved {
            state.granted.remove(&key);
        }
        let at_it = |it: &&FunctionStatus| it.revisions.iter().any(|it| it.state == RevisionState::Proving);
        if let Some(status) = function.status.as_ref().filter(at_it) {
            // One that was granted has a time of its own.
            let before = state.proving.get(&key).filter(|_| !moved).map(|proof| proof.since);
            let since = before.unwrap_or_else(Instant::now);
            state.proving.insert(key, Proof { since, fails: !is_proving(status) });
        } else {
            state.proving.remove(&key);
        }
        if state.occupied() < before {
            self.call_next(&state);
        }
    }

    /// Forgets a Function that is gone.
    pub(crate) fn forget(&self, function: &Function) {
        let key = key(function);
        let mut state = self.state.lock();
        let left = [
            state.waiting.remove(&(created(function), key.clone())),
            state.granted.remove(&key).is_some(),
            state.proving.remove(&key).is_some(),
        ];
        if left.contains(&true) {
            self.call_next(&state);
        }
    }

    /// After a new list of all Functions: whatever `exists` denies went unseen.
    pub(crate) fn retain(&self, exists: impl Fn(&FunctionKey) -> bool) {
        let mut state = self.state.lock();
        state.proving.retain(|key, _| exists(key));
        state.granted.retain(|key, _| exists(key));
        state.waiting.retain(|(_, key)| exists(key));
        self.call_next(&state);
    }

    /// Calls those who wait for places that become free by time alone, for ever.
    pub(crate) async fn keep_calling(&self) {
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            check.tick().await;
            self.call_next(&self.state.lock());
        }
    }

    /// How many are at it, and how many wait.
    pub(crate) fn count(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.occupied(), state.waiting.len())
    }

    fn call_next(&self, state: &State) {
        for FunctionKey { namespace, name } in state.next(self.limit, None) {
            let what = ObjectRef::new(name).within(namespace);
            // Nobody listens only while the process ends.
            let _ = self.touch.send(Touch { what, when: When::Now });
        }
    }
}

impl State {
    fn occupied(&self) -> usize {
        self.at_it(None).count()
    }

    /// Functions that have a place, without `except`.
    fn at_it(&self, except: Option<&FunctionKey>) -> impl Iterator<Item = &FunctionKey> {
        let proving = self.proving.iter().filter(|(_, proof)| proof.has_place()).map(|(key, _)| key);
        let has_place = |key: &FunctionKey| self.proving.get(key).is_some_and(Proof::has_place);
        let granted = self.granted.keys().filter(move |key| !has_place(key));
        proving.chain(granted).filter(move |key| Some(*key) != except)
    }

    /// Those that wait and may begin, as many as there are places when `except` has none. Each of them counts in its namespace
    /// for those after it, so that it makes no difference which of them begins first.
    fn next(&self, limit: usize, except: Option<&FunctionKey>) -> Vec<&FunctionKey> {
        let free = limit.saturating_sub(self.at_it(except).count());
        if free == 0 {
            return Vec::new();
        }
        let mut of_namespace: BTreeMap<&str, usize> = BTreeMap::new();
        for key in self.at_it(except) {
            *of_namespace.entry(&key.namespace).or_default() += 1;
        }
        let mut waiting: Vec<_> = Vec::with_capacity(self.waiting.len());
        for (_, key) in &self.waiting {
            let before = of_namespace.entry(&key.namespace).or_default();
            waiting.push((*before, key));
            *before += 1;
        }
        // Stable: of one rank the oldest stay first.
        waiting.sort_by_key(|(before, _)| *before);
        waiting.into_iter().take(free).map(|(_, key)| key).collect()
    }
}

fn key(function: &Function) -> FunctionKey {
    FunctionKey { namespace: function.namespace().unwrap_or_default(), name: function.name_any() }
}

fn created(function: &Function) -> i64 {
    function.creation_timestamp().map_or(i64::MAX, |created| created.0.as_second())
}

#[cfg(test)]
mod tests;
