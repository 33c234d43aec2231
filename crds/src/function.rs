//! The Function and its spec. Fields marked "forms a revision" are kept exactly as the user wrote them (absent stays
//! absent) and have their defaults in accessors; the others get theirs from the API server.

#![expect(unreachable_pub, reason = "KubeSchema copies each struct into a function body")]

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, ResourceRequirements};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Duration, FunctionStatus, Http, Rollout, Scale, TrafficTarget, defaults};

/// What the user wants to run and how it may scale.
#[derive(Clone, Debug, Default, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "catnap.dev",
    version = "v1alpha1",
    kind = "Function",
    plural = "functions",
    shortname = "catfn",
    category = "catnap",
    namespaced,
    status = "FunctionStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A Function answers HTTP at a stable address, rests at no replicas while nobody calls it, and wakes on a request.",
    validation = Rule::new("size(self.metadata.name) <= 50 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be at most 50 characters: lower-case letters, digits and '-', starting with a letter and not ending in '-'"),
    validation = Rule::new("!has(self.spec.traffic) || self.spec.traffic.all(target, !has(target.tag) || size(target.tag) + 1 + size(self.metadata.name) <= 63)")
        .message("traffic[].tag and metadata.name must have at most 62 characters together"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.latestReadyRevision"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.scale.metric != 'Concurrency' || self.scale.target == 0 || !has(self.concurrency) || !has(self.concurrency.limit) || self.concurrency.limit == 0 || self.scale.target <= self.concurrency.limit")
    .message("scale.target must be at most concurrency.limit, or 0 for the same, unless scale.metric is RequestRate").field_path(".scale.target"))]
pub struct FunctionSpec {
    /// Image to run. Forms a revision.
    #[schemars(length(min = 1, max = 1024))]
    pub image: String,
    /// When to pull the image; empty as in Kubernetes: Always for the tag latest, else IfNotPresent. Forms a revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Replaces the image's entry point. Forms a revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Replaces the image's arguments. Forms a revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables as in a Pod; references are resolved by kubelet, never by Catnap. Forms a revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Sources of environment variables as in a Pod. Forms a revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvFromSource>,
    /// Where the container listens, also given to it as $PORT; 8080 when left out. Forms a revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// What the container speaks: HTTP1, or H2C (HTTP/2 without TLS, for gRPC); HTTP1 when left out. Forms a revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// CPU and memory as in a Pod. Forms a revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Seconds that a replica has after SIGTERM; 60 when left out. Forms a revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub termination_grace_period_seconds: Option<i32>,
    /// How to know that a replica can serve. Forms a revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Readiness>,
    /// Any fields of a Pod's template (volumes, sidecars, scheduling, security ...), applied as they are. Where they meet the
    /// fields here, those here win. Forms a revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::pod_template::schema")]
    pub pod_template: Option<Value>,
    /// How many requests one replica takes at once. Forms a revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// A name of your own for this revision, unique for its content; empty for one made from the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 61), regex(pattern = r"^([a-z]([-a-z0-9]*[a-z0-9])?)?$"))]
    pub revision_name: Option<String>,
    /// How long things may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// How many requests may wait.
    #[serde(default)]
    pub queue: Queue,
    /// How many replicas there may be, and what decides.
    #[serde(default)]
    pub scale: Scale,
    /// Under which names the function answers besides those that the cluster gives it.
    #[serde(default)]
    pub http: Http,
    /// Which revisions take requests; everything goes to the latest one that proved itself when this is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("size(self) == 0 || (size(self) == 1 && !has(self[0].percent)) || self.map(target, has(target.percent) ? target.percent : 0).sum() == 100")
        .message("traffic[].percent must add up to 100; the only entry may leave it out"))]
    #[x_kube(validation = Rule::new("self.all(target, !has(target.tag) || self.exists_one(other, has(other.tag) && other.tag == target.tag))")
        .message("traffic[].tag must be unique"))]
    pub traffic: Vec<TrafficTarget>,
    /// How a new revision takes over from the one before.
    #[serde(default)]
    pub rollout: Rollout,
    /// Revisions kept to go back to, besides those in use.
    #[serde(default = "defaults::revision_history_limit")]
    #[schemars(range(min = 0, max = 100))]
    pub revision_history_limit: i32,
}

/// When kubelet pulls an image; [`Unset`](Self::Unset) leaves it to Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)] // Kubernetes' own words.
pub enum ImagePullPolicy {
    #[serde(rename = "")]
    Unset,
    Always,
    IfNotPresent,
    Never,
}

/// What a function's container speaks on its port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)] // Said in the type's line.
pub enum Protocol {
    #[default]
    Http1,
    H2c,
}

/// How to know that a replica can serve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// Empty: the port accepts a connection. A path: HTTP GET on it answers 2xx or 3xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^(/[!-~]*)?$"))]
    pub path: Option<String>,
}

/// How many requests one replica takes at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Concurrency {
    /// Hard cap of requests at once in one replica; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub limit: Option<i32>,
}

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// Longest that a request is held while no capacity is free; then it is answered 503 with Retry-After.
    #[serde(default = "defaults::activation_timeout")]
    #[x_kube(validation = Rule::new("duration(self) > duration('0s')")
        .message("timeouts.activation must be more than 0s"))]
    pub activation: Duration,
    /// Longest from giving a request to a replica to the head of its response, then 504; 0s for no limit.
    #[serde(default)]
    pub first_byte: Duration,
    /// Longest from giving a request to a replica to the last byte of its response, then 504, or the response is broken
    /// off where it had begun; 0s for no limit. It does not end upgraded connections, text/event-stream and gRPC, except
    /// those whose client has left.
    #[serde(default = "defaults::request_timeout")]
    pub request: Duration,
    /// Longest without a byte in either direction while a request is with a replica, tunnels and streams too; then 504, or
    /// the exchange is broken off; 0s for no limit.
    #[serde(default)]
    pub inactivity: Duration,
}

/// How many requests may wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Held at once for this function in one activator; one more is answered 503 with Retry-After.
    #[serde(default = "defaults::queue_max_requests")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_requests: i32,
}

impl FunctionSpec {
    /// Where the container listens.
    pub fn port(&self) -> i32 {
        self.port.unwrap_or(8080)
    }

    /// What the container speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol.unwrap_or_default()
    }

    /// Seconds between SIGTERM and SIGKILL, as the user counts them (without the lame-duck time).
    pub fn termination_grace_period_seconds(&self) -> i32 {
        self.termination_grace_period_seconds.unwrap_or(60)
    }

    /// Path of the readiness check; empty for a TCP connect.
    pub fn readiness_path(&self) -> &str {
        self.readiness.as_ref().and_then(|readiness| readiness.path.as_deref()).unwrap_or_default()
    }

    /// Most requests at once in one replica; 0 for no limit.
    pub fn concurrency_limit(&self) -> i32 {
        self.concurrency.as_ref().and_then(|concurrency| concurrency.limit).unwrap_or_default()
    }

    /// What of the pods is not said by the other fields, where there is anything.
    pub fn pod_template(&self) -> Option<&Value> {
        self.pod_template.as_ref().filter(|template| template.as_object().is_none_or(|it| !it.is_empty()))
    }

    /// The user's own name for the revision, where there is one.
    pub fn revision_name(&self) -> Option<&str> {
        self.revision_name.as_deref().filter(|name| !name.is_empty())
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            activation: defaults::activation_timeout(),
            first_byte: Duration::default(),
            request: defaults::request_timeout(),
            inactivity: Duration::default(),
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { max_requests: defaults::queue_max_requests() }
    }
}
