//! The immutable record of a revision, as its ControllerRevision holds it: Deployments are rendered from it alone.

use std::collections::BTreeMap;

use catnap_crds::{FunctionSpec, Protocol, labels};
use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::runtime::RawExtension};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Owner, Problem,
    template::{Rendered, render_template},
};

/// All that a revision is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionRecord {
    /// The pod template, rendered when the revision was made. As JSON, so that nothing in it is lost that a newer cluster
    /// knows and this build does not.
    pub template: Value,
    /// Where its containers listen.
    pub port: i32,
    /// What they speak.
    pub protocol: Protocol,
    /// Path of the readiness check; empty for a TCP connect.
    pub readiness_path: String,
    /// Most requests at once in one replica; 0 for no limit.
    pub concurrency_limit: i32,
    /// Whether only replicas that kubelet calls Ready take requests, and not each that answers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requires_ready: bool,
}

/// Why a ControllerRevision and a record are not each other.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It has no data at all.
    #[error("the ControllerRevision {name} is empty")]
    Missing {
        /// Its name.
        name: String,
    },
    /// Its data is something else.
    #[error("the ControllerRevision {name} holds no revision of a Function")]
    Read {
        /// Its name.
        name: String,
        /// Where it differs.
        #[source]
        source: serde_json::Error,
    },
    /// It cannot be written.
    #[error("the revision {name} cannot be written as JSON")]
    Write {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl RevisionRecord {
    /// The record of the revision that `spec` forms now, or why it forms none; `restricted`: the namespace enforces Pod
    /// Security `restricted`.
    pub fn render(
        owner: &Owner,
        spec: &FunctionSpec,
        revision: &str,
        restricted: bool,
    ) -> Result<Self, Problem> {
        let Rendered { template, requires_ready } = render_template(owner, spec, revision, restricted)?;
        Ok(Self {
            template,
            port: spec.port(),
            protocol: spec.protocol(),
            readiness_path: spec.readiness_path().to_owned(),
            concurrency_limit: spec.concurrency_limit(),
            requires_ready,
        })
    }

    /// The record that `stored` holds.
    pub fn read(stored: &ControllerRevision) -> Result<Self, RecordError> {
        let name = || stored.metadata.name.clone().unwrap_or_default();
        let RawExtension(data) = stored.data.as_ref().ok_or_else(|| RecordError::Missing { name: name() })?;
        Self::deserialize(data).map_err(|source| RecordError::Read { name: name(), source })
    }

    /// The object that keeps it; `number` orders the history.
    pub(crate) fn store(
        &self,
        owner: &Owner,
        name: &str,
        digest: &str,
        number: i64,
    ) -> Result<ControllerRevision, RecordError> {
        let data = serde_json::to_value(self)
            .map_err(|source| RecordError::Write { name: name.to_owned(), source })?;
        let mut metadata = owner.child_metadata(name, Some(name));
        metadata.annotations = Some(digest_annotation(digest));
        Ok(ControllerRevision { metadata, data: Some(RawExtension(data)), revision: number })
    }
}

/// The annotation that keeps the whole digest of a revision's content.
pub(crate) fn digest_annotation(digest: &str) -> BTreeMap<String, String> {
    [(labels::CONTENT_DIGEST.to_owned(), digest.to_owned())].into()
}

#[cfg(test)]
mod tests;
