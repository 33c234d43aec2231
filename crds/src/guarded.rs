//! An object of the API server that may be one that cannot be read, so that the list or the watch with it in it still can.
//!
//! kube's own `DeserializeGuard` takes an object apart before it guards anything: one that is nested deeper than the 128
//! levels that `serde_json` follows fails the whole answer, and everybody who may write a field without a schema can write
//! such a one. Here what is nested too deep is skipped, and the rest of the object is read.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::{DeserializeOwned, DeserializeSeed};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use self::levels::Levels;

mod levels;

/// Levels of an object that are read; a text stands for what is deeper. No field that Kubernetes knows is nested half as
/// deep, so what the text stands for is in none, and whoever uses it finds it of a wrong kind.
pub const LEVELS: usize = 64;

/// An object without its `managedFields`, or whose it would have been and why it cannot be read.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, Unreadable>);

/// An object that cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the object cannot be read")]
pub struct Unreadable {
    /// Its metadata; empty where not even these can be read.
    pub metadata: ObjectMeta,
    /// Why not.
    #[source]
    pub source: Arc<serde_json::Error>,
}

/// Whether something in `object`, which was read as a [`Guarded`] is, was nested too deep to be read.
pub fn is_cut(object: &Value) -> bool {
    Levels(LEVELS).has_skipped(object)
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Levels(LEVELS).deserialize(deserializer)?;
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            // Often larger than the rest, and used by nobody.
            metadata.remove("managedFields");
        }
        Ok(Self(K::deserialize(&object).map_err(|error| {
            let metadata = object.get("metadata").and_then(|metadata| ObjectMeta::deserialize(metadata).ok());
            Unreadable { metadata: metadata.unwrap_or_default(), source: Arc::new(error) }
        })))
    }
}

impl<K: Resource + Default> Guarded<K> {
    /// The object, or one that has the metadata and nothing else.
    pub fn into_outline(self) -> K {
        self.0.unwrap_or_else(|Unreadable { metadata, .. }| {
            let mut outline = K::default();
            *outline.meta_mut() = metadata;
            outline
        })
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|unreadable| &mut unreadable.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests;
