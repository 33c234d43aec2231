//! The objects that a Function needs now, and those that it no longer needs.

use std::sync::Arc;

use k8s_openapi::api::{apps::v1::ControllerRevision, core::v1::Service, discovery::v1::EndpointSlice};

use crate::{Ownership, Plan, RawDeployment, RecordError, ValidatedFunction, record::digest_annotation};

mod address;
mod deployment;
mod obsolete;

pub(crate) use address::{ADDRESS_TYPES, address_type, endpoint_slice_name};

/// Everything to write, in the order of writing.
#[derive(Clone, Debug)]
pub struct Resources {
    /// The current revision's record, when it is not stored yet or not the newest of the history.
    pub controller_revision: Option<ControllerRevision>,
    /// Deployments of revisions that are proving or routed.
    pub deployments: Vec<DeploymentResource>,
    /// The addresses: the Function's own, and one for each tag.
    pub services: Vec<Service>,
    /// What the addresses lead to.
    pub endpoint_slices: Vec<EndpointSlice>,
    /// What is no longer needed.
    pub obsolete: Vec<Obsolete>,
}

/// A Deployment as every apply states it, and the one number that only its creation says.
#[derive(Clone, Debug, PartialEq)]
pub struct DeploymentResource {
    /// Without `spec.replicas`.
    pub deployment: RawDeployment,
    /// `spec.replicas` when it has to be created.
    pub replicas_when_created: i32,
}

/// An object to delete, if it is still the one that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The kinds.
pub enum Obsolete {
    Deployment {
        name: String,
        uid: String,
        resource_version: String,
    },
    /// One that never took a request, with whatever replicas it has.
    Superseded {
        name: String,
        uid: String,
    },
    ControllerRevision {
        name: String,
        uid: String,
    },
    EndpointSlice {
        name: String,
        uid: String,
    },
    Service {
        name: String,
        uid: String,
    },
}

/// The objects of `function` under `plan`.
pub fn build(function: &ValidatedFunction, plan: &Plan) -> Result<Resources, RecordError> {
    Ok(Resources {
        controller_revision: controller_revision(function)?,
        deployments: deployment::deployments(function, plan),
        services: address::services(function, plan),
        endpoint_slices: address::endpoint_slices(function, plan),
        obsolete: [obsolete::obsolete(function, plan), address::obsolete(function, plan)].concat(),
    })
}

fn controller_revision(function: &ValidatedFunction) -> Result<Option<ControllerRevision>, RecordError> {
    let Ok(current) = &function.current else { return Ok(None) };
    // Whoever may write ControllerRevisions may give one our label, and any number.
    let ours =
        |stored: &&Arc<ControllerRevision>| function.owner.ownership(&stored.metadata) == Ownership::Ours;
    let records = || function.observed.controller_revisions.iter().filter(ours);
    let is_current = |stored: &ControllerRevision| stored.metadata.name.as_ref() == Some(&current.name);
    let newest = records().filter(|stored| !is_current(stored)).map(|stored| stored.revision).max();
    let stored = records().find(|stored| current.stored && is_current(stored));
    match (stored, newest) {
        (Some(stored), Some(newest)) if stored.revision <= newest => {
            // Whoever went back to it may go forward again: the number is all of a record that may change.
            let mut renumbered = ControllerRevision {
                metadata: function.owner.child_metadata(&current.name, Some(&current.name)),
                data: stored.data.clone(),
                revision: newest.saturating_add(1),
            };
            renumbered.metadata.annotations = Some(digest_annotation(&current.digest));
            Ok(Some(renumbered))
        }
        (Some(_), _) => Ok(None),
        (None, newest) => {
            let number = newest.unwrap_or_default().saturating_add(1);
            current.record.store(&function.owner, &current.name, &current.digest, number).map(Some)
        }
    }
}

#[cfg(test)]
mod tests;
