//! Which revision a pod was made for, as every process must judge alike.
//!
//! Labels alone prove nothing, since whoever may create pods may set them: a ReplicaSet of the revision's Deployment
//! must control the pod. Whether the Function with that UID has such a revision is for the caller to check.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::labels;

/// The revision that a pod was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodOwner<'pod> {
    /// Name of the revision, in the pod's namespace.
    pub revision: &'pod str,
    /// UID of its Function.
    pub function_uid: &'pod str,
}

impl<'pod> PodOwner<'pod> {
    /// What the labels of a pod say, if its controller is a ReplicaSet of the Deployment with the revision's name.
    pub fn of(pod: &'pod ObjectMeta) -> Option<Self> {
        let label = |name: &str| pod.labels.as_ref()?.get(name).map(String::as_str);
        let owner = Self { revision: label(labels::REVISION)?, function_uid: label(labels::FUNCTION_UID)? };
        let mut owners = pod.owner_references.iter().flatten();
        let controller = owners.find(|owner| owner.controller == Some(true))?;
        let hash = controller.name.strip_prefix(owner.revision)?.strip_prefix('-')?;
        // The Deployment controller names a ReplicaSet by the Deployment and a hash; with a `-` in the rest, it is that
        // of a Deployment with a longer name.
        let is_replica_set = controller.kind == "ReplicaSet" && controller.api_version == "apps/v1";
        (is_replica_set && !hash.is_empty() && !hash.contains('-')).then_some(owner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A pod of `hello-1`, labelled as such, with these owners.
    fn pod(owners: &Value) -> ObjectMeta {
        serde_json::from_value(json!({
            "labels": {labels::REVISION: "hello-1", labels::FUNCTION_UID: "f"}, "ownerReferences": owners,
        }))
        .unwrap()
    }

    fn controller(api_version: &str, kind: &str, name: &str) -> Value {
        json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": "u", "controller": true})
    }

    #[test]
    fn a_pod_of_a_replica_set_of_the_revision_is_the_revisions() {
        let mere_owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c"});
        let replica_set = controller("apps/v1", "ReplicaSet", "hello-1-6f7d");
        for owners in [json!([replica_set]), json!([mere_owner, replica_set])] {
            let expected = PodOwner { revision: "hello-1", function_uid: "f" };
            assert_eq!(PodOwner::of(&pod(&owners)), Some(expected), "{owners}");
        }
    }

    #[test]
    fn a_pod_that_anybody_could_have_made_is_no_revisions() {
        let mut not_controlling = controller("apps/v1", "ReplicaSet", "hello-1-6f7d");
        not_controlling["controller"] = json!(false);
        let strangers = [
            ("no owner", json!(null)),
            ("empty owners", json!([])),
            ("an owner that does not control it", json!([not_controlling])),
            ("another kind", json!([controller("apps/v1", "StatefulSet", "hello-1-6f7d")])),
            ("another API", json!([controller("example.com/v1", "ReplicaSet", "hello-1-6f7d")])),
            ("another Deployment", json!([controller("apps/v1", "ReplicaSet", "other-1-6f7d")])),
            ("a Deployment that begins alike", json!([controller("apps/v1", "ReplicaSet", "hello-12-6f7d")])),
            ("a longer name", json!([controller("apps/v1", "ReplicaSet", "hello-1-more-6f7d")])),
            ("the Deployment's own name", json!([controller("apps/v1", "ReplicaSet", "hello-1")])),
            ("no hash", json!([controller("apps/v1", "ReplicaSet", "hello-1-")])),
        ];
        for (what, owners) in strangers {
            assert_eq!(PodOwner::of(&pod(&owners)), None, "{what}");
        }
    }

    #[test]
    fn a_pod_without_a_label_is_no_revisions() {
        for label in [labels::REVISION, labels::FUNCTION_UID] {
            let mut pod = pod(&json!([controller("apps/v1", "ReplicaSet", "hello-1-6f7d")]));
            assert!(pod.labels.as_mut().unwrap().remove(label).is_some());
            assert_eq!(PodOwner::of(&pod), None, "{label}");
        }
    }
}
