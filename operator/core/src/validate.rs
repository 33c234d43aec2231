//! From a Function and what is around it to something that can be built: which revision the spec forms, and whether
//! it may be made. What admission can check was checked there; this needs a look at other objects.

use std::{collections::BTreeMap, error::Error};

use catnap_crds::{Function, FunctionSpec, FunctionStatus, labels};
use k8s_openapi::{api::apps::v1::ControllerRevision, jiff::Timestamp};

use crate::{
    Cluster, Facts, Observed, Owner, Ownership, Problem, Reason, RevisionRecord, Scope,
    content::{ContentError, content_digest, revision_name},
    observe::facts,
};

/// The builders' only input.
#[derive(Clone, Debug)]
pub struct ValidatedFunction {
    /// The Function that everything belongs to.
    pub owner: Owner,
    /// Of the Function as it was read.
    pub resource_version: Option<String>,
    /// Generation of the spec.
    pub generation: i64,
    /// The spec.
    pub spec: FunctionSpec,
    /// The value of the annotation `catnap.dev/retry`.
    pub retry: Option<String>,
    /// What was reported last: the operator's only memory.
    pub previous: FunctionStatus,
    /// The revision that the spec forms, or why it cannot be made.
    pub current: Result<CurrentRevision, Problem>,
    /// Every readable record of ours, by revision.
    pub records: BTreeMap<String, RevisionRecord>,
    /// What Deployments and pods look like, by revision.
    pub facts: BTreeMap<String, Facts>,
    /// The objects themselves.
    pub observed: Observed,
    /// What is true of the cluster.
    pub cluster: Cluster,
}

/// The revision that the spec forms.
#[derive(Clone, Debug, PartialEq)]
pub struct CurrentRevision {
    /// Its name.
    pub name: String,
    /// SHA-256 of its content, in hex.
    pub digest: String,
    /// What it is.
    pub record: RevisionRecord,
    /// Whether its ControllerRevision is there.
    pub stored: bool,
}

/// Why nothing can be built, nor said.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// The Function has no name, namespace or UID.
    #[error("the Function was never stored by an API server")]
    NotStored,
    /// The spec cannot be hashed.
    #[error("the revision of {name} cannot be named")]
    Content {
        /// The Function.
        name: String,
        /// Why.
        #[source]
        source: ContentError,
    },
}

/// Checks `function` against what is around it at `now`.
pub fn validate(
    function: &Function,
    observed: Observed,
    cluster: Cluster,
    now: Timestamp,
) -> Result<ValidatedFunction, ValidateError> {
    let owner = Owner::of(function).ok_or(ValidateError::NotStored)?;
    let current = current_revision(&function.spec, &owner, &observed, &cluster)?;
    let ours =
        observed.controller_revisions.iter().filter(|it| owner.ownership(&it.metadata) == Ownership::Ours);
    let mut records: BTreeMap<_, _> = ours
        .filter_map(|stored| Some((stored.metadata.name.clone()?, RevisionRecord::read(stored).ok()?)))
        .collect();
    if let Ok(current) = &current {
        records.insert(current.name.clone(), current.record.clone());
    }
    Ok(ValidatedFunction {
        resource_version: function.metadata.resource_version.clone(),
        generation: function.metadata.generation.unwrap_or_default(),
        spec: function.spec.clone(),
        retry: retry(function).map(str::to_owned),
        previous: function.status.clone().unwrap_or_default(),
        current,
        facts: facts(&observed, &owner, &records, now),
        records,
        owner,
        observed,
        cluster,
    })
}

fn current_revision(
    spec: &FunctionSpec,
    owner: &Owner,
    observed: &Observed,
    cluster: &Cluster,
) -> Result<Result<CurrentRevision, Problem>, ValidateError> {
    let digest =
        content_digest(spec).map_err(|source| ValidateError::Content { name: owner.name.clone(), source })?;
    let known: BTreeMap<&str, &ControllerRevision> = observed
        .controller_revisions
        .iter()
        .filter_map(|stored| Some((stored.metadata.name.as_deref()?, stored.as_ref())))
        .collect();
    let mut attempt = 0;
    loop {
        let chosen = spec.revision_name();
        let name = chosen.map_or_else(|| revision_name(&owner.name, &digest, attempt), str::to_owned);
        let Some(stored) = known.get(name.as_str()) else {
            let rendered = RevisionRecord::render(owner, spec, &name, cluster.restricted);
            return Ok(rendered.map(|record| CurrentRevision { name, digest, record, stored: false }));
        };
        match owner.ownership(&stored.metadata) {
            Ownership::Ours if recorded_digest(stored) == Some(&digest) => {
                return match RevisionRecord::read(stored) {
                    Ok(record) => Ok(Ok(CurrentRevision { name, digest, record, stored: true })),
                    Err(error) => {
                        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                        let message = format!("{error}{cause}; once it is deleted it is made anew");
                        Ok(Err(Problem::lasting(Reason::RecordUnreadable, Scope::Revision, message)))
                    }
                };
            }
            Ownership::Ours if chosen.is_none() => attempt += 1,
            Ownership::Predecessor => {
                return Ok(Err(Problem::not_ours("ControllerRevision", &name, Ownership::Predecessor)));
            }
            Ownership::Ours | Ownership::Foreign => {
                let message = format!(
                    "the revision name {name} is used for other content; choose another revisionName"
                );
                return Ok(Err(Problem::lasting(Reason::RevisionNameTaken, Scope::Revision, message)));
            }
        }
    }
}

/// The value of the annotation by which a person asks for another try.
pub fn retry(function: &Function) -> Option<&str> {
    function.metadata.annotations.as_ref()?.get(labels::RETRY).map(String::as_str)
}

fn recorded_digest(stored: &ControllerRevision) -> Option<&String> {
    stored.metadata.annotations.as_ref()?.get(labels::CONTENT_DIGEST)
}
