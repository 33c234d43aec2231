//! The pods of a revision and the room in them: which pod takes the next request.
//!
//! With a limit the pod with the fewest exchanges; without one the better of two random ones, so that several activators
//! do not all fall upon the same pod.

use crate::gate::Gate;
use crate::pod::{Pod, PodKey, PodState};
use crate::random::Random;
use catnap_wire::message::{PodReport, PodUid};
use foldhash::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// All pods that the watch shows, and those that are gone but have exchanges open.
#[derive(Debug, Default)]
pub(crate) struct Capacity {
    pods: BTreeMap<PodKey, PodState>,
    /// Of each of `pods`.
    keys: HashMap<PodUid, PodKey>,
    next_key: u32,
    in_flight: u64,
    /// Pods that may take requests now, limits aside; those to be avoided last.
    usable: Vec<PodKey>,
    /// As many of them are not to be avoided.
    preferred: usize,
    /// The preferred ones by exchanges open; kept only with a limit.
    by_load: BTreeSet<(u32, PodKey)>,
    /// Those to be avoided, likewise: a set of their own, as there is nothing in it nearly always.
    avoided_by_load: BTreeSet<(u32, PodKey)>,
    limited: bool,
}

impl Capacity {
    /// Exchanges open, with pods that are gone too.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = (PodKey, &PodState)> {
        self.pods.iter().map(|(key, state)| (*key, state))
    }

    pub(crate) fn get(&self, key: PodKey) -> Option<&PodState> {
        self.pods.get(&key)
    }

    /// UIDs of the pods that may take requests now, limits aside.
    pub(crate) fn usable_uids(&self) -> BTreeSet<PodUid> {
        let states = self.usable.iter().filter_map(|key| self.pods.get(key));
        states.map(|state| PodUid::clone(&state.pod.uid)).collect()
    }

    /// The usable pod of this UID.
    pub(crate) fn usable_by_uid(&self, uid: &PodUid) -> Option<PodKey> {
        let key = *self.keys.get(uid)?;
        self.pods.get(&key).filter(|state| state.usable).map(|_| key)
    }

    pub(crate) fn get_mut(&mut self, key: PodKey) -> Option<&mut PodState> {
        self.pods.get_mut(&key)
    }

    pub(crate) fn by_uid(&mut self, uid: &PodUid) -> Option<&mut PodState> {
        self.pods.get_mut(self.keys.get(uid)?)
    }

    pub(crate) fn states_mut(&mut self) -> impl Iterator<Item = &mut PodState> {
        self.pods.values_mut()
    }

    /// Pods that may take requests now, limits aside.
    pub(crate) fn usable(&self) -> usize {
        self.usable.len()
    }

    /// Takes over what the watch shows; returns the pods that are gone for good.
    pub(crate) fn set(&mut self, pods: Vec<Pod>, now: Duration) -> Vec<PodUid> {
        let mut known = self.keys.clone();
        for pod in pods {
            if let Some(state) = known.remove(&pod.uid).and_then(|key| self.pods.get_mut(&key)) {
                state.update(pod, now);
            } else {
                let key = PodKey(self.next_key);
                self.keys.insert(PodUid::clone(&pod.uid), key);
                self.pods.insert(key, PodState::new(pod, now));
                self.next_key += 1;
            }
        }
        for key in known.values() {
            if let Some(state) = self.pods.get_mut(key) {
                state.gone = true;
            }
        }
        self.pods.retain(|_, state| !state.gone || state.in_flight > 0);
        self.keys.retain(|_, key| self.pods.contains_key(key));
        known.into_keys().collect()
    }

    /// Decides anew which pods may take requests; to be called after anything changed but the exchanges.
    pub(crate) fn refresh(&mut self, gate: &Gate, limit: u32) {
        self.limited = limit > 0;
        self.usable.clear();
        self.by_load.clear();
        self.avoided_by_load.clear();
        let mut avoided = Vec::new();
        for (key, state) in &mut self.pods {
            state.avoided = gate.avoided().contains(&state.pod.uid);
            state.usable = state.reachable().is_some() && gate.admits(&state.pod.uid);
            if state.usable {
                if state.avoided { &mut avoided } else { &mut self.usable }.push(*key);
                if self.limited {
                    let by_load = if state.avoided { &mut self.avoided_by_load } else { &mut self.by_load };
                    by_load.insert((state.load(), *key));
                }
            }
        }
        self.preferred = self.usable.len();
        self.usable.append(&mut avoided);
    }

    /// The pod for the next request: none has `cap` exchanges or more. `avoid` just failed: only if there is no other.
    pub(crate) fn choose(&self, cap: u32, avoid: Option<PodKey>, random: &mut Random) -> Option<PodKey> {
        if self.limited {
            return self.least_loaded(cap, avoid);
        }
        // Those to be avoided only where there is nothing else but what just failed.
        let all = self.preferred == self.usable.len()
            || self.usable.iter().take(self.preferred).all(|key| self.just_failed(*key));
        let [first, second] = match if all { self.usable.len() } else { self.preferred } {
            0 => return None,
            1 => [self.usable[0]; 2],
            count => {
                let first = random.below(count);
                let second = (first + 1 + random.below(count - 1)) % count;
                [self.usable[first], self.usable[second]]
            }
        };
        let chosen = if self.cost(first, avoid) <= self.cost(second, avoid) { first } else { second };
        if self.load(chosen) < cap && Some(chosen) != avoid {
            return Some(chosen);
        }
        // Rare: while held requests are spread, or right after a failure.
        self.usable.iter().copied().filter(|key| self.load(*key) < cap).min_by_key(|key| {
            let (failed, weight) = self.cost(*key, avoid);
            (failed, !all && self.avoided(*key), weight)
        })
    }

    /// Of those with the fewest exchanges one that did not just fail, if there is one. Of those to be avoided only where all
    /// others have no room or just failed.
    fn least_loaded(&self, cap: u32, avoid: Option<PodKey>) -> Option<PodKey> {
        let sets = [&self.by_load, &self.avoided_by_load];
        let preferred = self.least_of(&self.by_load, cap, avoid);
        let found = if self.avoided_by_load.is_empty() {
            preferred
        } else {
            let avoided = self.least_of(&self.avoided_by_load, cap, avoid);
            let failed = || self.all_failed(&self.by_load, cap);
            let instead = avoided.filter(|key| !self.just_failed(*key) && failed());
            instead.or(preferred).or(avoided)
        };
        found.or_else(|| avoid.filter(|key| sets.iter().any(|set| self.has_room(set, *key, cap))))
    }

    /// All of them with room just failed.
    fn all_failed(&self, set: &BTreeSet<(u32, PodKey)>, cap: u32) -> bool {
        set.iter().take_while(|(load, _)| *load < cap).all(|(_, key)| self.just_failed(*key))
    }

    fn least_of(&self, set: &BTreeSet<(u32, PodKey)>, cap: u32, avoid: Option<PodKey>) -> Option<PodKey> {
        let free = set.iter().copied().take_while(|(load, _)| *load < cap);
        let mut others = free.filter(|(_, key)| Some(*key) != avoid);
        let (least, first) = others.next()?;
        if self.just_failed(first) {
            let equals = others.take_while(|(load, _)| *load == least);
            return equals.map(|(_, key)| key).find(|key| !self.just_failed(*key)).or(Some(first));
        }
        Some(first)
    }

    fn has_room(&self, set: &BTreeSet<(u32, PodKey)>, key: PodKey, cap: u32) -> bool {
        let load = self.load(key);
        load < cap && set.contains(&(load, key))
    }

    /// Counts one more exchange with the pod.
    pub(crate) fn take(&mut self, key: PodKey) {
        self.change(key, |load| load + 1);
        self.in_flight += 1;
    }

    /// An exchange with the pod ended.
    pub(crate) fn give(&mut self, key: PodKey) {
        let is_over = self.change(key, |load| load.saturating_sub(1));
        self.in_flight = self.in_flight.saturating_sub(1);
        if is_over && let Some(state) = self.pods.remove(&key) {
            self.keys.remove(&state.pod.uid);
        }
    }

    /// Pods that live and are not condemned: the most that can ever be used of those known.
    pub(crate) fn living(&self, gate: &Gate) -> usize {
        self.pods.values().filter(|state| state.lives() && !gate.condemned(&state.pod.uid)).count()
    }

    /// UIDs of all pods not on their way out.
    pub(crate) fn known(&self) -> impl Iterator<Item = PodUid> + '_ {
        self.pods.values().filter(|state| state.lives()).map(|state| PodUid::clone(&state.pod.uid))
    }

    /// What the leader is told: usable ones are those that this activator could use if no gate were closed.
    pub(crate) fn reports(&self, gate: &Gate) -> Vec<PodReport> {
        self.pods
            .values()
            .filter(|state| state.lives())
            .map(|state| PodReport {
                uid: PodUid::clone(&state.pod.uid),
                usable: state.reachable().is_some() && !gate.condemned(&state.pod.uid),
                in_flight: u64::from(state.in_flight),
            })
            .collect()
    }

    /// Other activators have this many exchanges open with the pod.
    pub(crate) fn set_elsewhere(&mut self, uid: &PodUid, elsewhere: u32) {
        if let Some(key) = self.keys.get(uid).copied() {
            self.update(key, |state| state.elsewhere = elsewhere);
        }
    }

    fn change(&mut self, key: PodKey, change: impl FnOnce(u32) -> u32) -> bool {
        self.update(key, |state| state.in_flight = change(state.in_flight))
    }

    /// Whether the pod is gone, and nothing of it is left now.
    fn update(&mut self, key: PodKey, change: impl FnOnce(&mut PodState)) -> bool {
        let Some(state) = self.pods.get_mut(&key) else { return false };
        let before = state.load();
        change(state);
        let by_load = if state.avoided { &mut self.avoided_by_load } else { &mut self.by_load };
        if self.limited && by_load.remove(&(before, key)) {
            by_load.insert((state.load(), key));
        }
        state.gone && state.in_flight == 0
    }

    fn load(&self, key: PodKey) -> u32 {
        self.pods.get(&key).map_or(u32::MAX, PodState::load)
    }

    fn avoided(&self, key: PodKey) -> bool {
        self.pods.get(&key).is_some_and(|state| state.avoided)
    }

    fn just_failed(&self, key: PodKey) -> bool {
        self.pods.get(&key).is_some_and(PodState::just_failed)
    }

    /// Whether it failed this very request, and its load: a pod that just failed weighs as if it had four times as much.
    fn cost(&self, key: PodKey, avoid: Option<PodKey>) -> (bool, u64) {
        let weight = self.pods.get(&key).map_or(u64::MAX, |state| {
            (u64::from(state.load()) + 1) * if state.just_failed() { 4 } else { 1 }
        });
        (Some(key) == avoid, weight)
    }
}
