//! `status`: what the operator reports, and what the activators route by. Nothing that changes per request is in it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Protocol;

/// What Catnap made of the Function.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunctionStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Address inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The revision that the current spec forms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_created_revision: Option<String>,
    /// The youngest revision that proved itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_ready_revision: Option<String>,
    /// Replicas of all routed revisions.
    #[serde(default)]
    pub replicas: i32,
    /// Every revision that has, or may have, replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub revisions: Vec<RevisionStatus>,
    /// Where requests go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub traffic: Vec<TrafficStatus>,
    /// Ready, RevisionReady, RoutesReady, Active, Reconciling and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A revision that has, or may have, replicas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// Name of the revision, its Deployment and its ControllerRevision.
    pub name: String,
    /// Where its containers listen.
    pub port: i32,
    /// What they speak.
    pub protocol: Protocol,
    /// Path of the readiness check; empty for a TCP connect.
    #[serde(default)]
    pub readiness_path: String,
    /// Most requests at once in one replica; 0 for no limit.
    #[serde(default)]
    pub concurrency_limit: i32,
    /// Where it is in its life.
    pub state: RevisionState,
    /// What the image's name stood for when its replicas were started.
    #[serde(default, rename = "imageIDs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub image_ids: Vec<String>,
}

/// Where a revision is in its life. What is in none of them is history and has no replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RevisionState {
    /// New: takes traffic when as many replicas as `scale.initial` says are ready.
    Proving,
    /// Takes traffic.
    Routed,
    /// Takes none any more, or failed its proof: on its way to no replicas.
    Retiring,
}

/// One share of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficStatus {
    /// The revision that gets it.
    pub revision: String,
    /// How much.
    pub percent: i32,
    /// Whether it follows the latest ready revision.
    #[serde(default)]
    pub latest: bool,
}
