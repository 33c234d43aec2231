//! How many new revisions prove themselves at once, in the whole cluster: whoever comes too late waits. Next is one of the
//! namespace in which the fewest are at it, the oldest Function first: no tenant keeps the others waiting.
//!
//! Who is at it is read from the Functions' statuses as they are watched, so that a new leader knows it too.

use std::collections::{BTreeMap, BTreeSet};

use catnap_crds::Function;
use catnap_operator_core::is_proving;
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    cache::FunctionKey,
    touches::{Touch, When},
    watch::GuardedFunction,
};

/// The proofs that are under way and those that wait.
#[derive(Debug)]
pub(crate) struct Proofs {
    limit: usize,
    touch: UnboundedSender<Touch<ObjectRef<GuardedFunction>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Functions whose status says that a revision proves itself.
    proving: BTreeSet<FunctionKey>,
    /// Functions that may prove one, with the resourceVersion of when they were told so: their status says it next.
    granted: BTreeMap<FunctionKey, Option<String>>,
    /// Functions that wait, by the time of their creation.
    waiting: BTreeSet<(i64, FunctionKey)>,
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
        if state.granted.get(&key).is_some_and(|version| *version != function.resource_version()) {
            state.granted.remove(&key);
        }
        if function.status.as_ref().is_some_and(is_proving) {
            state.proving.insert(key);
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
            state.proving.remove(&key),
        ];
        if left.contains(&true) {
            self.call_next(&state);
        }
    }

    /// After a new list of all Functions: whatever `exists` denies went unseen.
    pub(crate) fn retain(&self, exists: impl Fn(&FunctionKey) -> bool) {
        let mut state = self.state.lock();
        state.proving.retain(&exists);
        state.granted.retain(|key, _| exists(key));
        state.waiting.retain(|(_, key)| exists(key));
        self.call_next(&state);
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
        let granted = self.granted.keys().filter(|key| !self.proving.contains(*key));
        self.proving.iter().chain(granted).filter(move |key| Some(*key) != except)
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
mod tests {
    use serde_json::{Value, json};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    type Touched = UnboundedReceiver<Touch<ObjectRef<GuardedFunction>>>;

    fn proofs(limit: u32) -> (Proofs, Touched) {
        let (sender, receiver) = unbounded_channel();
        (Proofs::new(limit, sender), receiver)
    }

    /// A Function that was created at this second, at this resourceVersion.
    fn function(name: &str, created: u32, version: u32, status: &Value) -> Function {
        serde_json::from_value(json!({
            "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
            "metadata": {
                "name": name, "namespace": "n", "resourceVersion": version.to_string(),
                "creationTimestamp": format!("2026-01-01T00:00:{created:02}Z"),
            },
            "spec": {"image": "i"}, "status": status,
        }))
        .unwrap()
    }

    fn fresh(name: &str, created: u32) -> Function {
        function(name, created, 1, &json!({}))
    }

    /// `reason` is of the condition `RevisionReady`.
    fn with_state(name: &str, state: &str, reason: &str) -> Function {
        let status = if reason == "Ready" { "True" } else { "Unknown" };
        let condition = |type_: &str, status: &str, reason: &str| json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let status = json!({
            "latestCreatedRevision": "r",
            "revisions": [{"name": "r", "port": 1, "protocol": "HTTP1", "state": state}],
            "conditions": [
                condition("RevisionReady", status, reason),
                condition("RoutesReady", "False", "RevisionMissing"),
                condition("Stalled", "True", "RevisionMissing"),
            ],
        });
        function(name, 1, 2, &status)
    }

    fn of(namespace: &str, mut function: Function) -> Function {
        function.metadata.namespace = Some(namespace.to_owned());
        function
    }

    fn touched(receiver: &mut Touched) -> Vec<String> {
        std::iter::from_fn(|| receiver.try_recv().ok()).map(|touch| touch.what.name).collect()
    }

    #[test]
    fn the_oldest_that_waits_is_next() {
        let (proofs, mut receiver) = proofs(1);
        assert!(proofs.may_begin(&fresh("first", 5)));
        assert!(proofs.may_begin(&fresh("first", 5)), "asking again changes nothing");
        assert!(!proofs.may_begin(&fresh("young", 9)));
        assert!(!proofs.may_begin(&fresh("old", 2)));
        proofs.observe(&with_state("first", "Proving", "Proving"));
        assert_eq!(touched(&mut receiver), [""; 0]);
        proofs.observe(&with_state("first", "Routed", "Ready"));
        assert_eq!(touched(&mut receiver), ["old"]);
        assert!(!proofs.may_begin(&fresh("young", 9)), "not its turn");
        assert!(proofs.may_begin(&fresh("old", 2)));
    }

    #[test]
    fn a_proof_that_fails_gives_its_place_back_and_a_function_stalled_by_something_else_keeps_it() {
        let (proofs, mut receiver) = proofs(1);
        proofs.observe(&with_state("broken", "Proving", "Proving"));
        assert!(!proofs.may_begin(&fresh("next", 1)), "it is stalled, but by no fault of the revision");
        proofs.observe(&with_state("broken", "Proving", "Unschedulable"));
        assert_eq!(touched(&mut receiver), ["next"]);
        assert!(proofs.may_begin(&fresh("next", 1)));
        assert!(
            !proofs.may_begin(&with_state("broken", "Proving", "Unschedulable")),
            "an edit waits in turn"
        );
    }

    #[test]
    fn a_namespace_does_not_keep_another_waiting() {
        let (proofs, mut receiver) = proofs(3);
        for number in 0..3 {
            assert!(proofs.may_begin(&of("a", fresh(&format!("a{number}"), 1))));
        }
        for number in 3..5 {
            assert!(!proofs.may_begin(&of("a", fresh(&format!("a{number}"), 2))));
        }
        for name in ["b0", "b1"] {
            assert!(!proofs.may_begin(&of("b", fresh(name, 9))));
        }
        assert!(!proofs.may_begin(&of("c", fresh("c0", 10))));
        // As many as there are places, whichever of them comes first.
        proofs.forget(&of("a", fresh("a0", 1)));
        proofs.forget(&of("a", fresh("a1", 1)));
        assert_eq!(touched(&mut receiver), ["b0", "b0", "c0"]);
        assert!(proofs.may_begin(&of("c", fresh("c0", 10))));
        for (namespace, name, created) in [("a", "a3", 2), ("b", "b1", 9)] {
            assert!(!proofs.may_begin(&of(namespace, fresh(name, created))));
        }
        assert!(proofs.may_begin(&of("b", fresh("b0", 9))));
        assert_eq!(proofs.count(), (3, 3));
        // Now there is one of each, and the oldest Function is first.
        proofs.forget(&of("a", fresh("a2", 1)));
        assert_eq!(touched(&mut receiver), ["a3"]);
    }

    #[test]
    fn who_begins_again_and_again_gives_its_place_to_those_who_wait() {
        let (proofs, mut receiver) = proofs(2);
        for name in ["a0", "a1"] {
            proofs.observe(&of("a", with_state(name, "Proving", "Proving")));
        }
        assert!(proofs.may_begin(&of("a", with_state("a0", "Proving", "Proving"))), "nobody waits");
        proofs.observe(&of("a", function("a0", 1, 3, &json!(with_state("a0", "Proving", "Proving").status))));
        assert!(!proofs.may_begin(&of("b", fresh("b", 9))));
        assert!(
            !proofs.may_begin(&of("a", with_state("a0", "Proving", "Proving"))),
            "its namespace has another"
        );
        // Its status tells that it began none.
        proofs.observe(&of("a", with_state("a0", "Routed", "WaitingForProof")));
        assert_eq!(touched(&mut receiver), ["b"]);
        assert!(proofs.may_begin(&of("b", fresh("b", 9))));
    }

    #[test]
    fn a_place_that_was_not_used_is_the_next_ones() {
        let (proofs, mut receiver) = proofs(1);
        assert!(proofs.may_begin(&fresh("a", 1)));
        assert!(!proofs.may_begin(&fresh("b", 2)));
        proofs.not_begun(&fresh("a", 1));
        assert_eq!(touched(&mut receiver), ["b"]);
    }

    #[test]
    fn who_is_gone_occupies_nothing_and_waits_for_nothing() {
        let (proofs, mut receiver) = proofs(1);
        assert!(proofs.may_begin(&fresh("a", 1)));
        for (name, created) in [("b", 2), ("c", 3)] {
            assert!(!proofs.may_begin(&fresh(name, created)));
        }
        proofs.forget(&fresh("b", 2));
        proofs.forget(&fresh("a", 1));
        assert_eq!(touched(&mut receiver), ["c"]);
        assert!(proofs.may_begin(&fresh("c", 3)));
        assert!(!proofs.may_begin(&fresh("d", 4)));
        proofs.retain(|key| key.name == "d");
        assert_eq!(touched(&mut receiver), ["d"]);
    }

    #[test]
    fn a_status_that_was_not_written_keeps_no_place() {
        let (proofs, _receiver) = proofs(1);
        assert!(proofs.may_begin(&fresh("a", 1)));
        // An edit came first: the next look at it asks again.
        proofs.observe(&function("a", 1, 2, &json!({})));
        assert!(proofs.may_begin(&fresh("b", 2)));
    }
}
