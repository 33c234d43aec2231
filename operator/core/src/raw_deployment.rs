//! A Deployment whose spec stays as it was written, by a person or by the API server: fields that this build's types do
//! not know are neither lost on the way to the cluster nor overlooked on the way back.

use std::borrow::Cow;

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A Deployment with its spec as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawDeployment {
    #[serde(default = "api_version", skip_deserializing)]
    api_version: Cow<'static, str>,
    #[serde(default = "kind", skip_deserializing)]
    kind: Cow<'static, str>,
    /// Metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// `spec`, whatever is in it.
    #[serde(default)]
    pub spec: Value,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<DeploymentStatus>,
}

fn api_version() -> Cow<'static, str> {
    Deployment::api_version(&())
}

fn kind() -> Cow<'static, str> {
    Deployment::kind(&())
}

impl Default for RawDeployment {
    fn default() -> Self {
        Self::new(ObjectMeta::default(), Value::Null)
    }
}

impl RawDeployment {
    /// One that nobody has stored yet.
    pub fn new(metadata: ObjectMeta, spec: Value) -> Self {
        Self { api_version: api_version(), kind: kind(), metadata, spec, status: None }
    }

    /// `spec.replicas`, which is 1 where it is not said.
    pub fn replicas(&self) -> i32 {
        let replicas = self.spec.get("replicas").and_then(Value::as_i64);
        replicas.and_then(|replicas| i32::try_from(replicas).ok()).unwrap_or(1)
    }

    /// The same with this `spec.replicas`.
    #[must_use]
    pub fn with_replicas(mut self, replicas: i32) -> Self {
        if let Value::Object(spec) = &mut self.spec {
            spec.insert("replicas".to_owned(), json!(replicas));
        }
        self
    }
}

impl Resource for RawDeployment {
    type DynamicType = ();
    type Scope = <Deployment as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        Deployment::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Deployment::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Deployment::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Deployment::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_types_do_not_know_is_kept() {
        let written = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello"},
            "spec": {"replicas": 3, "template": {"spec": {"somethingNew": {"deep": [1, null, {}]}}}},
            "status": {"replicas": 2},
        });
        let read: RawDeployment = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(read.replicas(), 3);
        assert_eq!(serde_json::to_value(&read).unwrap(), written);
    }

    #[test]
    fn an_item_of_a_list_says_no_kind_and_has_one() {
        let read: RawDeployment = serde_json::from_value(json!({"metadata": {}, "spec": {}})).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap()["kind"], "Deployment");
        assert_eq!(read.replicas(), 1);
        assert_eq!(read.with_replicas(0).replicas(), 0);
    }
}
