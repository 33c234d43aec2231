//! What became of our writes where it is not what we wrote: a webhook adds a container, the API server writes a value in
//! its own way. Without this memory such an object would be written again at every look, for nothing.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use catnap_operator_core::stated_about;
use parking_lot::Mutex;
use serde_json::Value;

/// Objects remembered at most. Beyond that all are forgotten, which costs each of them one more write.
const MOST: usize = 10_000;

/// For objects that differ from what was stated about them: what was stated, and what the API server made of that. An
/// object that is in both as it was then has nothing to gain from another write.
#[derive(Debug, Default)]
pub(crate) struct Settled(Mutex<HashMap<String, Prints>>);

/// Hashes of what was stated and of what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prints {
    desired: u64,
    live: u64,
}

impl Settled {
    /// Whether the object with this UID is still what the last write of `desired` became.
    pub(crate) fn holds(&self, uid: &str, desired: &Value, live: &Value) -> bool {
        self.0.lock().get(uid) == Some(&Prints::of(desired, live))
    }

    /// Remembers that writing `desired` gave `written`.
    pub(crate) fn remember(&self, uid: &str, desired: &Value, written: &Value) {
        let prints = Prints::of(desired, written);
        let mut known = self.0.lock();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(uid.to_owned(), prints);
    }
}

impl Prints {
    fn of(desired: &Value, live: &Value) -> Self {
        Self { desired: print(&stated_about(desired, desired)), live: print(&stated_about(desired, live)) }
    }
}

fn print(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_same_pair_is_settled() {
        let settled = Settled::default();
        let (desired, live) = (json!({"spec": {"a": 1}}), json!({"spec": {"a": 1, "b": 2, "replicas": 3}}));
        assert!(!settled.holds("u", &desired, &live));
        settled.remember("u", &desired, &live);
        assert!(settled.holds("u", &desired, &live));
        assert!(
            settled.holds("u", &desired, &json!({"spec": {"a": 1, "b": 2}})),
            "replicas are nobody's here"
        );
        assert!(!settled.holds("u", &json!({"spec": {"a": 2}}), &live));
        assert!(!settled.holds("u", &desired, &json!({"spec": {"a": 1, "b": 3}})));
        assert!(!settled.holds("v", &desired, &live));
    }

    #[test]
    fn the_memory_is_bounded() {
        let settled = Settled::default();
        for index in 0..=MOST {
            settled.remember(&index.to_string(), &json!({}), &json!({}));
        }
        assert!(settled.0.lock().len() <= MOST);
        assert!(settled.holds(&MOST.to_string(), &json!({}), &json!({})));
    }
}
