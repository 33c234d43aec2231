//! What the watches saw last, kept by the Function that the objects are labelled with.
//!
//! A reconciliation takes all children of one Function in one look; a change tells whose children it was about. Objects are kept as
//! JSON: as values, made of maps that have room for eleven entries and mostly have one, they take ten times the memory, and they are
//! looked at so seldom that reading them again costs nothing beside.

use std::{
    collections::{BTreeSet, HashMap},
    marker::PhantomData,
    sync::Arc,
};

use catnap_crds::labels;
use catnap_runtime::watch::Change;
use kube::{Resource, ResourceExt};
use parking_lot::RwLock;
use serde::{Serialize, de::DeserializeOwned};

/// Namespace and name of a Function.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FunctionKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// The labelled objects of one kind.
#[derive(Debug)]
pub(crate) struct Cache<K>(RwLock<Index<K>>);

#[derive(Debug)]
struct Index<K> {
    /// In the order of their names.
    by_function: HashMap<FunctionKey, Vec<Arc<Packed<K>>>>,
    /// Namespace and name of an object: a changed label must not leave it behind under the old one.
    function_of: HashMap<(String, String), FunctionKey>,
}

/// An object as JSON.
#[derive(Debug)]
struct Packed<K> {
    name: Box<str>,
    json: Box<[u8]>,
    object: PhantomData<fn() -> K>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self(RwLock::new(Index::default()))
    }
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self { by_function: HashMap::new(), function_of: HashMap::new() }
    }
}

impl<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned> Cache<K> {
    /// Takes a change in, and tells whose children it was about.
    pub(crate) fn observe(&self, change: Change<K>) -> BTreeSet<FunctionKey> {
        match change {
            Change::Applied(object) => self.0.write().put(&object),
            Change::Deleted(object) => self.0.write().take(&object),
            Change::Listed(all) => {
                let mut listed = Index::default();
                let mut touched = BTreeSet::new();
                for object in all {
                    touched.append(&mut listed.put(&object));
                }
                let before = std::mem::replace(&mut *self.0.write(), listed);
                touched.extend(before.by_function.into_keys());
                touched
            }
        }
    }

    /// The objects labelled with this Function, by name.
    pub(crate) fn of(&self, function: &FunctionKey) -> Vec<Arc<K>> {
        // Read without the lock: there may be very many.
        let packed = self.0.read().by_function.get(function).cloned().unwrap_or_default();
        packed.iter().filter_map(|packed| packed.unpack()).collect()
    }

    /// The Function that the object of this name is labelled with.
    pub(crate) fn function_of(&self, namespace: &str, name: &str) -> Option<FunctionKey> {
        self.0.read().function_of.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.0.read().function_of.len()
    }
}

impl<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned> Index<K> {
    fn put(&mut self, object: &K) -> BTreeSet<FunctionKey> {
        let mut touched = self.take(object);
        let Some(name) = object.labels().get(labels::FUNCTION).cloned() else { return touched };
        let namespace = object.namespace().unwrap_or_default();
        let function = FunctionKey { namespace: namespace.clone(), name };
        self.function_of.insert((namespace, object.name_any()), function.clone());
        let packed = Arc::new(Packed::of(object));
        let objects = self.by_function.entry(function.clone()).or_default();
        let place = objects.partition_point(|other| other.name < packed.name);
        // Most have one for ever.
        objects.reserve_exact(1);
        objects.insert(place, packed);
        touched.insert(function);
        touched
    }

    fn take(&mut self, object: &K) -> BTreeSet<FunctionKey> {
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        let Some(function) = self.function_of.remove(&key) else { return BTreeSet::new() };
        if let Some(objects) = self.by_function.get_mut(&function) {
            objects.retain(|other| *other.name != *key.1);
            if objects.is_empty() {
                self.by_function.remove(&function);
            }
        }
        [function].into()
    }
}

impl<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned> Packed<K> {
    fn of(object: &K) -> Self {
        // Only maps whose keys are no texts cannot be written, and no object has one.
        let json = serde_json::to_vec(object).unwrap_or_default().into_boxed_slice();
        Self { name: object.name_any().into(), json, object: PhantomData }
    }

    fn unpack(&self) -> Option<Arc<K>> {
        let read = serde_json::from_slice(&self.json);
        let kind = K::kind(&());
        read.inspect_err(
            |error| tracing::error!(%kind, name = &*self.name, %error, "cannot read what was kept"),
        )
        .ok()
        .map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    fn pod(name: &str, function: &str) -> Pod {
        let labels = json!({ labels::FUNCTION: function });
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "n", "labels": labels}}))
            .unwrap()
    }

    fn key(name: &str) -> FunctionKey {
        FunctionKey { namespace: "n".into(), name: name.into() }
    }

    fn names(cache: &Cache<Pod>, function: &str) -> Vec<String> {
        cache.of(&key(function)).iter().map(|pod| pod.name_any()).collect()
    }

    #[test]
    fn objects_are_found_by_their_function() {
        let cache = Cache::default();
        assert_eq!(cache.observe(Change::Applied(pod("a", "f"))), [key("f")].into());
        cache.observe(Change::Applied(pod("b", "f")));
        cache.observe(Change::Applied(pod("c", "g")));
        assert_eq!(names(&cache, "f"), ["a", "b"]);
        assert_eq!(cache.function_of("n", "c"), Some(key("g")));
        assert_eq!(cache.function_of("m", "c"), None);
        assert_eq!(cache.observe(Change::Deleted(pod("a", "f"))), [key("f")].into());
        assert_eq!(names(&cache, "f"), ["b"]);
    }

    #[test]
    fn a_changed_label_touches_both_functions() {
        let cache = Cache::default();
        cache.observe(Change::Applied(pod("a", "f")));
        assert_eq!(cache.observe(Change::Applied(pod("a", "g"))), [key("f"), key("g")].into());
        assert!(names(&cache, "f").is_empty());
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn a_new_list_replaces_all_and_touches_what_vanished() {
        let cache = Cache::default();
        cache.observe(Change::Applied(pod("a", "f")));
        assert_eq!(cache.observe(Change::Listed(vec![pod("b", "g")])), [key("f"), key("g")].into());
        assert!(names(&cache, "f").is_empty());
        assert_eq!(names(&cache, "g"), ["b"]);
    }
}
