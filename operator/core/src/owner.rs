//! Whose an object is. Nothing is written to an object whose controller is not this very Function.

use catnap_crds::{Function, labels, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use std::collections::BTreeMap;

/// The Function that children belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its namespace, and that of every child.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: tells it from an earlier Function of the same name.
    pub uid: String,
}

/// Whose an existing object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This Function's.
    Ours,
    /// An earlier Function's of the same name, which garbage collection will remove; or made for a tag that gives way to
    /// this Function.
    Predecessor,
    /// Somebody else's, or nobody's.
    Foreign,
}

impl Owner {
    /// `None` for a Function that the API server has not stored.
    pub fn of(function: &Function) -> Option<Self> {
        let ObjectMeta { namespace, name, uid, .. } = &function.metadata;
        Some(Self { namespace: namespace.clone()?, name: name.clone()?, uid: uid.clone()? })
    }

    /// Whose `object` is.
    pub fn ownership(&self, object: &ObjectMeta) -> Ownership {
        let controller =
            object.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        match controller {
            Some(owner) if owner.uid == self.uid => Ownership::Ours,
            Some(owner)
                if is_function(owner) && (owner.name == self.name || self.is_tag_of(owner, object)) =>
            {
                Ownership::Predecessor
            }
            _ => Ownership::Foreign,
        }
    }

    /// Whether `object` was made for a tag of another Function whose name would be this one's.
    fn is_tag_of(&self, owner: &OwnerReference, object: &ObjectMeta) -> bool {
        let tag = object.labels.as_ref().and_then(|labels| labels.get(labels::TAG));
        tag.is_some_and(|tag| names::tag_service(tag, &owner.name) == self.name)
    }

    /// Metadata of a child: name, place, labels and the owner reference by which it is found and deleted.
    pub(crate) fn child_metadata(&self, name: &str, revision: Option<&str>) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.child_labels(revision)),
            owner_references: Some(vec![OwnerReference {
                api_version: Function::api_version(&()).into_owned(),
                kind: Function::kind(&()).into_owned(),
                name: self.name.clone(),
                uid: self.uid.clone(),
                controller: Some(true),
                // Left out on purpose: blocking the owner's deletion would need a permission on its finalizers.
                block_owner_deletion: None,
            }]),
            ..ObjectMeta::default()
        }
    }

    /// The labels of every child.
    pub(crate) fn child_labels(&self, revision: Option<&str>) -> BTreeMap<String, String> {
        [
            (labels::MANAGED_BY, Some(labels::MANAGED_BY_CATNAP)),
            (labels::FUNCTION, Some(self.name.as_str())),
            (labels::REVISION, revision),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
        .collect()
    }
}

fn is_function(owner: &OwnerReference) -> bool {
    let group = owner.api_version.split('/').next().unwrap_or_default();
    owner.kind == Function::kind(&()) && group == Function::group(&())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ownership(labels: &Value, owner: &str, uid: &str) -> Ownership {
        let object: ObjectMeta = serde_json::from_value(json!({"name": "next-hello", "labels": labels, "ownerReferences": [{
            "apiVersion": "catnap.dev/v1alpha1", "kind": "Function", "name": owner, "uid": uid, "controller": true,
        }]}))
        .unwrap();
        let owner = Owner { namespace: "default".into(), name: "next-hello".into(), uid: "mine".into() };
        owner.ownership(&object)
    }

    #[test]
    fn what_was_made_for_a_tag_gives_way_to_the_function_of_its_name() {
        let tag = |tag: &str| json!({ labels::TAG: tag });
        assert_eq!(ownership(&json!({}), "next-hello", "mine"), Ownership::Ours);
        assert_eq!(ownership(&json!({}), "next-hello", "another"), Ownership::Predecessor);
        assert_eq!(ownership(&tag("next"), "hello", "another"), Ownership::Predecessor);
        assert_eq!(ownership(&tag("other"), "hello", "another"), Ownership::Foreign);
        assert_eq!(ownership(&json!({}), "hello", "another"), Ownership::Foreign);
    }
}
