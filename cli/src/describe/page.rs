//! What stands on the page, as programs get it with `-o json`.

use catnap_autoscaler_api::state::Explained;
use catnap_crds::{Function, HostStatus, RolloutStatus, Scale};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;

use super::{cold_starts::ColdStart, cold_starts::ColdStarts, events::Happened, pods::PodLine};
use crate::readiness::Readiness;
use crate::revisions::Revision;

/// The page.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) ready: bool,
    /// The reason, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Whether somebody must act.
    pub(crate) stalled: bool,
    pub(crate) replicas: i32,
    pub(crate) urls: Vec<String>,
    pub(crate) hosts: Vec<HostStatus>,
    pub(crate) conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rollout: Option<RolloutStatus>,
    pub(crate) scale: Scale,
    /// What the autoscaler aims at in one replica, in the unit of the metric.
    pub(crate) aim: f64,
    pub(crate) revisions: Section<Vec<Revision>>,
    pub(crate) pods: Section<Vec<PodLine>>,
    pub(crate) decisions: Section<Vec<Explained>>,
    pub(crate) cold_starts: Section<Vec<ColdStart>>,
    /// Why there may be more of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cold_starts_incomplete: Option<String>,
    pub(crate) events: Section<Vec<Happened>>,
    #[serde(skip)]
    pub(crate) created: Option<Timestamp>,
}

/// A part that may not be readable while the others are.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Section<T> {
    /// What was read.
    Known(T),
    /// Why it was not.
    Unknown(String),
}

/// The parts that are read on their own.
pub(super) struct Parts {
    pub(super) revisions: Section<Vec<Revision>>,
    pub(super) pods: Section<Vec<PodLine>>,
    pub(super) decisions: Section<Vec<Explained>>,
    pub(super) cold_starts: Section<ColdStarts>,
    pub(super) events: Section<Vec<Happened>>,
}

impl Page {
    pub(super) fn new(function: &Function, parts: Parts) -> Self {
        let status = function.status.clone().unwrap_or_default();
        let Parts { revisions, pods, decisions, cold_starts, events } = parts;
        let (cold_starts, cold_starts_incomplete) = match cold_starts {
            Section::Known(ColdStarts { last, incomplete }) => (Section::Known(last), incomplete),
            Section::Unknown(why) => (Section::Unknown(why), None),
        };
        let (ready, stalled, reason) = match Readiness::of(function) {
            Readiness::Ready => (true, false, None),
            Readiness::Waiting(reason) => (false, false, Some(reason)),
            Readiness::Stalled(reason) => (false, true, Some(reason)),
        };
        Self {
            name: function.metadata.name.clone().unwrap_or_default(),
            namespace: function.metadata.namespace.clone().unwrap_or_default(),
            ready,
            reason,
            stalled,
            replicas: status.replicas,
            urls: status.url.into_iter().chain(status.urls).collect(),
            hosts: status.hosts,
            conditions: status.conditions,
            rollout: status.rollout,
            aim: catnap_autoscaler_api::policy(&function.spec.scale, function.spec.concurrency_limit())
                .goal(),
            scale: function.spec.scale.clone(),
            revisions,
            pods,
            decisions,
            cold_starts,
            cold_starts_incomplete,
            events,
            created: function.metadata.creation_timestamp.as_ref().map(|created| created.0),
        }
    }
}

impl<T> Section<T> {
    /// The value, or why there is none.
    pub(super) fn of(read: Result<T, impl std::error::Error>) -> Self {
        match read {
            Ok(value) => Self::Known(value),
            Err(error) => Self::Unknown(causes(&error)),
        }
    }
}

/// The error and its causes in one line.
pub(super) fn causes(error: &impl std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if !said.contains(&inner.to_string()) {
            said = format!("{said}: {inner}");
        }
        cause = inner.source();
    }
    said
}
