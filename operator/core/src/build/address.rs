//! A Function's addresses in the cluster: a Service without a selector, and EndpointSlices that lead to the activators; for
//! itself, and for each tag that leads somewhere.

use std::{collections::BTreeMap, net::IpAddr};

use catnap_crds::{labels, names};
use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::Obsolete;
use crate::{Owner, Ownership, Plan, ValidatedFunction};

pub(crate) const ADDRESS_TYPES: [&str; 2] = ["IPv4", "IPv6"];
const PORT_NAME: &str = "http";

/// Names of Services, with the tags that they are for.
type Addresses = BTreeMap<String, Option<String>>;

/// The Function's own, and those of its tags but for names that Functions have.
fn addresses(function: &ValidatedFunction, plan: &Plan) -> Addresses {
    let name = &function.owner.name;
    let taken = &function.cluster.hosts.taken_tags;
    let tags = plan.traffic.iter().filter_map(|share| share.tag.as_ref()).filter(|tag| !taken.contains(*tag));
    let tags = tags.map(|tag| (names::tag_service(tag, name), Some(tag.clone())));
    tags.chain([(name.clone(), None)]).collect()
}

/// The Services.
pub(super) fn services(function: &ValidatedFunction, plan: &Plan) -> Vec<Service> {
    let addresses = addresses(function, plan);
    addresses.iter().map(|(name, tag)| service(&function.owner, name, tag.as_deref())).collect()
}

/// The EndpointSlices of all of them.
pub(super) fn endpoint_slices(function: &ValidatedFunction, plan: &Plan) -> Vec<EndpointSlice> {
    let activators = &function.cluster.activator_addresses;
    let slices = |(name, tag): (String, Option<String>)| {
        endpoint_slices_of(&function.owner, &name, tag.as_deref(), activators)
    };
    addresses(function, plan).into_iter().flat_map(slices).collect()
}

/// Services and slices of tags that lead nowhere any more, and slices of an address family that is gone.
pub(super) fn obsolete(function: &ValidatedFunction, plan: &Plan) -> Vec<Obsolete> {
    let wanted = addresses(function, plan);
    let activators = &function.cluster.activator_addresses;
    let mine = |metadata: &ObjectMeta| {
        let ours =
            function.owner.ownership(metadata) == Ownership::Ours && metadata.deletion_timestamp.is_none();
        ours.then(|| (metadata.name.clone().unwrap_or_default(), metadata.uid.clone().unwrap_or_default()))
    };
    let services = function.observed.services.iter().filter_map(|service| {
        let (name, uid) = mine(&service.metadata)?;
        (!wanted.contains_key(&name)).then_some(Obsolete::Service { name, uid })
    });
    let slices = function.observed.endpoint_slices.iter().filter_map(|slice| {
        let (name, uid) = mine(&slice.metadata)?;
        let service = slice.metadata.labels.as_ref().and_then(|all| all.get(labels::SERVICE_NAME));
        let leads_nowhere = service.is_some_and(|service| !wanted.contains_key(service));
        let family = activators.iter().any(|address| address_type(address) == slice.address_type);
        // With no address at all the activators' Service is merely not known yet: the last good ones stay.
        let obsolete = leads_nowhere || (!family && !activators.is_empty());
        obsolete.then_some(Obsolete::EndpointSlice { name, uid })
    });
    // What a name resolves to goes before the name.
    slices.chain(services).collect()
}

/// Headless and without a selector: no kube-proxy rule, and the name resolves to what the EndpointSlices say.
fn service(owner: &Owner, name: &str, tag: Option<&str>) -> Service {
    Service {
        metadata: metadata(owner, name, tag),
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

/// Name of the EndpointSlice of a Service for one address type.
pub(crate) fn endpoint_slice_name(service: &str, address_type: &str) -> String {
    format!("{service}-{}", address_type.to_ascii_lowercase())
}

fn endpoint_slices_of(
    owner: &Owner,
    service: &str,
    tag: Option<&str>,
    addresses: &[IpAddr],
) -> Vec<EndpointSlice> {
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
            metadata: slice_metadata(owner, service, tag, address_type),
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

fn slice_metadata(owner: &Owner, service: &str, tag: Option<&str>, address_type: &str) -> ObjectMeta {
    let mut metadata = metadata(owner, &endpoint_slice_name(service, address_type), tag);
    let all = metadata.labels.get_or_insert_default();
    all.insert(labels::SERVICE_NAME.to_owned(), service.to_owned());
    // Says to Kubernetes' own controllers that this slice is not theirs.
    all.insert("endpointslice.kubernetes.io/managed-by".to_owned(), names::FIELD_MANAGER.to_owned());
    metadata
}

fn metadata(owner: &Owner, name: &str, tag: Option<&str>) -> ObjectMeta {
    let mut metadata = owner.child_metadata(name, None);
    if let Some(tag) = tag {
        metadata.labels.get_or_insert_default().insert(labels::TAG.to_owned(), tag.to_owned());
    }
    metadata
}
