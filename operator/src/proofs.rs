//! How many new revisions prove themselves at once, in the whole cluster: whoever comes too late waits, the oldest Function
//! first.
//!
//! Who is at it is read from the Functions' statuses as they are watched, so that a new leader knows it too.

use std::collections::{BTreeMap, BTreeSet};

use catnap_crds::{Function, RevisionState};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
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
        if state.granted.contains_key(&key) || state.proving.contains(&key) {
            return true;
        }
        let place = (created(function), key.clone());
        state.waiting.insert(place.clone());
        let free = self.limit.saturating_sub(state.occupied());
        if !state.waiting.iter().take(free).any(|waiting| *waiting == place) {
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
        if is_proving(function) {
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
        let free = self.limit.saturating_sub(state.occupied());
        for (_, FunctionKey { namespace, name }) in state.waiting.iter().take(free) {
            let what = ObjectRef::new(name).within(namespace);
            // Nobody listens only while the process ends.
            let _ = self.touch.send(Touch { what, when: When::Now });
        }
    }
}

impl State {
    fn occupied(&self) -> usize {
        self.proving.len() + self.granted.keys().filter(|key| !self.proving.contains(*key)).count()
    }
}

/// One that is stalled may go on trying, but keeps nobody waiting.
fn is_proving(function: &Function) -> bool {
    let Some(status) = &function.status else { return false };
    let stalled = |condition: &Condition| condition.type_ == "Stalled" && condition.status == "True";
    status.revisions.iter().any(|revision| revision.state == RevisionState::Proving)
        && !status.conditions.iter().any(stalled)
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

    fn with_state(name: &str, state: &str, stalled: &str) -> Function {
        let status = json!({
            "revisions": [{"name": "r", "port": 1, "protocol": "HTTP1", "state": state}],
            "conditions": [{"type": "Stalled", "status": stalled, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        });
        function(name, 1, 2, &status)
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
        proofs.observe(&with_state("first", "Proving", "False"));
        assert_eq!(touched(&mut receiver), [""; 0]);
        proofs.observe(&with_state("first", "Routed", "False"));
        assert_eq!(touched(&mut receiver), ["old"]);
        assert!(!proofs.may_begin(&fresh("young", 9)), "not its turn");
        assert!(proofs.may_begin(&fresh("old", 2)));
    }

    #[test]
    fn a_stalled_proof_gives_its_place_back() {
        let (proofs, mut receiver) = proofs(1);
        proofs.observe(&with_state("broken", "Proving", "False"));
        assert!(!proofs.may_begin(&fresh("next", 1)));
        proofs.observe(&with_state("broken", "Proving", "True"));
        assert_eq!(touched(&mut receiver), ["next"]);
        assert!(proofs.may_begin(&fresh("next", 1)));
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
