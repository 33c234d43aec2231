//! `status`: what the operator reports, and what the activators route by. Nothing that changes per request is in it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Protocol;

/// What Catnap made of the Function.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunctionStatus {
    /// The generation of the spec that this status is about; -1 until the operator has looked at the Function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = -1))]
    pub observed_generation: Option<i64>,
    /// Address inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Addresses outside the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub urls: Vec<String>,
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
    /// The revision that is taking over, while one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// What became of the hosts that it asks for: spec.http.hosts, and with visibility External the names that the
    /// installation gives it and its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["host"]))]
    pub hosts: Vec<HostStatus>,
    /// The value of the annotation catnap.dev/retry that was acted on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<String>,
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
    /// Whether only replicas that kubelet calls Ready take requests, and not each that answers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requires_ready: bool,
    /// Where it is in its life.
    pub state: RevisionState,
    /// Whether it never took a request: nothing is lost if it goes at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fresh: bool,
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
    /// How much; 0 where only its tag leads to it.
    pub percent: i32,
    /// Whether it follows the latest ready revision.
    #[serde(default)]
    pub latest: bool,
    /// Its tag, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// A revision that is taking over from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The revision that had the latest revision's share, and gets it back if the other one fails.
    pub from: String,
    /// The revision that takes over.
    pub to: String,
    /// How much of all requests it takes.
    pub percent: i32,
    /// How much it takes next, once it has the replicas for that.
    pub coming_percent: i32,
    /// How many ready replicas that needs.
    #[serde(default)]
    pub coming_replicas: i32,
    /// When it began to take that much; when it took it unproven, when its first replica became ready.
    pub stepped_at: Time,
    /// Whether it took its share before any of its replicas was ready, and none was since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
    /// Since when it wants replicas and none is ready, while it takes requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unready_since: Option<Time>,
    /// What had been counted when it began to take that much; missing until counts are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<RolloutCounts>,
}

/// Requests of the two revisions of a rollout that had ended when a step began: what is counted beyond them judges it. Numbers of
/// one operator process: another one begins anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutCounts {
    /// Requests of the revision that had the share, when the rollout began.
    pub from_ended: i64,
    /// How many of them with an error that is the revision's.
    pub from_errors: i64,
    /// Requests of the revision that takes over.
    pub to_ended: i64,
    /// How many of them with an error that is the revision's.
    pub to_errors: i64,
    /// When that was: what ends from then on is watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

/// What became of a host that the Function asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// The host.
    pub host: String,
    /// The tag in traffic that it leads to; absent for all of the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Whether requests for it come here.
    pub accepted: bool,
    /// Why not, in one word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Why not, and what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl FunctionStatus {
    /// How much of all requests `revision` takes, is about to take or may get back: its part of the ceiling and of what is woken,
    /// for [`Scale::of_part`](crate::Scale::of_part). All of them while nothing is said about it, as about one that is to be proved.
    pub fn coming_percent(&self, revision: &str) -> i32 {
        let returning = self.rollout.as_ref().filter(|rollout| rollout.from == revision);
        let back = returning.map_or(0, |rollout| rollout.percent);
        self.settled_percent(revision).saturating_add(back).min(100)
    }

    /// As [`coming_percent`](Self::coming_percent) without what may come back: its part of the floors.
    pub fn settled_percent(&self, revision: &str) -> i32 {
        let mut shares = self.traffic.iter().filter(|share| share.revision == revision).peekable();
        let rollout = self.rollout.as_ref();
        let coming = rollout.filter(|rollout| rollout.to == revision).map(|rollout| rollout.coming_percent);
        let gave_all = rollout.is_some_and(|rollout| rollout.from == revision);
        if shares.peek().is_none() && coming.is_none() {
            return if gave_all { 0 } else { 100 };
        }
        shares.map(|share| share.percent).sum::<i32>().max(coming.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_coming_percent_is_what_a_revision_has_or_is_to_get() {
        let status: FunctionStatus = serde_json::from_value(json!({
            "traffic": [
                {"revision": "old", "percent": 60}, {"revision": "new", "percent": 10, "latest": true},
                {"revision": "fixed", "percent": 20}, {"revision": "fixed", "percent": 10, "tag": "next"},
                {"revision": "tagged", "percent": 0, "tag": "old"},
            ],
            "rollout": {"from": "old", "to": "new", "percent": 10, "comingPercent": 35, "steppedAt": "2026-01-01T00:00:00Z"},
        }))
        .unwrap();
        for (revision, settled, coming) in
            [("old", 60, 70), ("new", 35, 35), ("fixed", 30, 30), ("tagged", 0, 0), ("proving", 100, 100)]
        {
            let parts = (status.settled_percent(revision), status.coming_percent(revision));
            assert_eq!(parts, (settled, coming), "{revision}");
        }
        let mut back = status;
        back.rollout.as_mut().unwrap().coming_percent = 0;
        assert_eq!(back.coming_percent("new"), 10, "what it has counts until it is taken away");
        back.traffic.remove(1);
        assert_eq!(back.coming_percent("new"), 0);
        assert_eq!(FunctionStatus::default().coming_percent("first"), 100);
    }

    #[test]
    fn what_a_revision_gave_away_may_come_back_until_the_rollout_is_over() {
        let mut status: FunctionStatus = serde_json::from_value(json!({
            "traffic": [{"revision": "new", "percent": 100, "latest": true}],
            "rollout": {"from": "old", "to": "new", "percent": 100, "comingPercent": 100, "steppedAt": "2026-01-01T00:00:00Z"},
        }))
        .unwrap();
        assert_eq!((status.settled_percent("old"), status.coming_percent("old")), (0, 100));
        status.traffic.push(TrafficStatus {
            revision: "old".into(),
            percent: 40,
            latest: false,
            tag: Some("stable".into()),
        });
        assert_eq!(status.coming_percent("old"), 100, "never more than all");
    }
}
