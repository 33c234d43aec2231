//! The objects that a Function needs now, and those that it no longer needs.

use std::{collections::BTreeMap, net::IpAddr};

use catnap_crds::{RevisionState, labels, names};
use k8s_openapi::{
    api::{
        apps::v1::{
            ControllerRevision, Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
        },
        core::v1::{Service, ServicePort, ServiceSpec},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use crate::{Owner, Ownership, Plan, RecordError, RevisionRecord, ValidatedFunction};

pub(crate) const ADDRESS_TYPES: [&str; 2] = ["IPv4", "IPv6"];
const PORT_NAME: &str = "http";

/// Everything to write, in the order of writing.
#[derive(Clone, Debug)]
pub struct Resources {
    /// The current revision's record, when it is not stored yet.
    pub controller_revision: Option<ControllerRevision>,
    /// Deployments of revisions that are proving or routed.
    pub deployments: Vec<DeploymentResource>,
    /// The Function's address.
    pub service: Service,
    /// What the address leads to.
    pub endpoint_slices: Vec<EndpointSlice>,
    /// What is no longer needed.
    pub obsolete: Vec<Obsolete>,
}

/// A Deployment as every apply states it, and the one number that only its creation says.
#[derive(Clone, Debug, PartialEq)]
pub struct DeploymentResource {
    /// Without `spec.replicas`.
    pub deployment: Deployment,
    /// `spec.replicas` when it has to be created.
    pub replicas_when_created: i32,
}

/// An object to delete, if it is still the one that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The kinds.
pub enum Obsolete {
    Deployment { name: String, uid: String, resource_version: String },
    ControllerRevision { name: String, uid: String },
    EndpointSlice { name: String, uid: String },
}

/// The objects of `function` under `plan`.
pub fn build(function: &ValidatedFunction, plan: &Plan) -> Result<Resources, RecordError> {
    let owner = &function.owner;
    Ok(Resources {
        controller_revision: controller_revision(function)?,
        deployments: deployments(function, plan),
        service: service(owner),
        endpoint_slices: endpoint_slices(owner, &function.cluster.activator_addresses),
        obsolete: obsolete(function, plan),
    })
}

fn controller_revision(function: &ValidatedFunction) -> Result<Option<ControllerRevision>, RecordError> {
    let Ok(current) = &function.current else { return Ok(None) };
    if current.stored {
        return Ok(None);
    }
    let newest = function.observed.controller_revisions.iter().map(|stored| stored.revision).max();
    let number = newest.unwrap_or_default() + 1;
    current.record.store(&function.owner, &current.name, &current.digest, number).map(Some)
}

fn deployments(function: &ValidatedFunction, plan: &Plan) -> Vec<DeploymentResource> {
    let scale = &function.spec.scale;
    let kept = plan.revisions.iter().filter_map(|revision| {
        // One that was deleted by somebody comes back at its floor; the autoscaler knows the rest.
        let routed_before = function.previous.traffic.iter().any(|it| it.revision == revision.name);
        let replicas_when_created = match revision.state {
            RevisionState::Routed if routed_before => scale.min,
            // Routed only in this very step: `initial: 0`.
            RevisionState::Proving | RevisionState::Routed => scale.initial_replicas(),
            RevisionState::Retiring => return None,
        };
        Some((revision, replicas_when_created))
    });
    kept.filter_map(|(revision, replicas_when_created)| {
        let record = function.records.get(&revision.name)?;
        Some(DeploymentResource {
            deployment: deployment(&function.owner, &revision.name, record),
            replicas_when_created,
        })
    })
    .collect()
}

fn deployment(owner: &Owner, name: &str, record: &RevisionRecord) -> Deployment {
    let selector = [(labels::FUNCTION, owner.name.as_str()), (labels::REVISION, name)];
    let selector: BTreeMap<_, _> = selector.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Deployment {
        metadata: owner.child_metadata(name, Some(name)),
        spec: Some(DeploymentSpec {
            replicas: None,
            revision_history_limit: Some(1),
            selector: LabelSelector { match_labels: Some(selector), match_expressions: None },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::String("25%".to_owned())),
                }),
            }),
            template: record.template.clone(),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// Headless and without a selector: no kube-proxy rule, and the name resolves to what the EndpointSlices say.
fn service(owner: &Owner) -> Service {
    Service {
        metadata: owner.child_metadata(&owner.name, None),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            type_: Some("ClusterIP".to_owned()),
            ports: Some(vec![ServicePort {
                name: Some(PORT_NAME.to_owned()),
                port: names::SERVICE_PORT,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::Int(names::SERVICE_PORT)),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The address type of an EndpointSlice that can hold `address`.
pub(crate) fn address_type(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Name of the EndpointSlice of `function` for one address type.
pub(crate) fn endpoint_slice_name(function: &str, address_type: &str) -> String {
    format!("{function}-{}", address_type.to_ascii_lowercase())
}

fn endpoint_slices(owner: &Owner, addresses: &[IpAddr]) -> Vec<EndpointSlice> {
    let of_type = |address_type: &'static str| {
        let mut endpoints: Vec<_> = addresses
            .iter()
            .filter(|address| self::address_type(address) == address_type)
            .map(|address| Endpoint {
                addresses: vec![address.to_string()],
                conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
                ..Endpoint::default()
            })
            .collect();
        endpoints.sort_by(|left, right| left.addresses.cmp(&right.addresses));
        (!endpoints.is_empty()).then(|| EndpointSlice {
            metadata: slice_metadata(owner, address_type),
            address_type: address_type.to_owned(),
            endpoints,
            ports: Some(vec![EndpointPort {
                name: Some(PORT_NAME.to_owned()),
                port: Some(names::SERVICE_PORT),
                protocol: Some("TCP".to_owned()),
                app_protocol: None,
            }]),
        })
    };
    ADDRESS_TYPES.into_iter().filter_map(of_type).collect()
}

fn slice_metadata(owner: &Owner, address_type: &str) -> ObjectMeta {
    let mut metadata = owner.child_metadata(&endpoint_slice_name(&owner.name, address_type), None);
    let labels = metadata.labels.get_or_insert_default();
    labels.insert("kubernetes.io/service-name".to_owned(), owner.name.clone());
    // Says to Kubernetes' own controllers that this slice is not theirs.
    labels.insert("endpointslice.kubernetes.io/managed-by".to_owned(), names::FIELD_MANAGER.to_owned());
    metadata
}

fn obsolete(function: &ValidatedFunction, plan: &Plan) -> Vec<Obsolete> {
    let observed = &function.observed;
    let mine = |metadata: &ObjectMeta| {
        let ours =
            function.owner.ownership(metadata) == Ownership::Ours && metadata.deletion_timestamp.is_none();
        ours.then(|| (metadata.name.clone().unwrap_or_default(), metadata.uid.clone().unwrap_or_default()))
    };
    let deployments = observed.deployments.iter().filter_map(|deployment| {
        let (name, uid) = mine(&deployment.metadata)?;
        let empty = function.facts.get(&name).is_some_and(crate::Facts::is_empty);
        let resource_version = deployment.metadata.resource_version.clone().unwrap_or_default();
        (empty && plan.state(&name).is_none()).then_some(Obsolete::Deployment { name, uid, resource_version })
    });
    let addresses = &function.cluster.activator_addresses;
    let slices = observed.endpoint_slices.iter().filter_map(|slice| {
        let (name, uid) = mine(&slice.metadata)?;
        let needed = addresses.iter().any(|address| address_type(address) == slice.address_type);
        // With no address at all the activators' Service is merely not known yet: the last good ones stay.
        (!needed && !addresses.is_empty()).then_some(Obsolete::EndpointSlice { name, uid })
    });
    let mut history: Vec<_> = observed
        .controller_revisions
        .iter()
        .filter_map(|stored| mine(&stored.metadata).map(|(name, uid)| (stored.revision, name, uid)))
        .filter(|(_, name, _)| {
            let current = function.current.as_ref().is_ok_and(|current| current.name == *name);
            !current && plan.state(name).is_none()
        })
        .collect();
    history.sort_by(|left, right| right.cmp(left));
    let kept = usize::try_from(function.spec.revision_history_limit).unwrap_or_default();
    let history =
        history.into_iter().skip(kept).map(|(_, name, uid)| Obsolete::ControllerRevision { name, uid });
    deployments.chain(slices).chain(history).collect()
}

#[cfg(test)]
mod tests;
