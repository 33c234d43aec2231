//! What the cluster holds for one Function, as the other modules read it.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use catnap_crds::{Function, FunctionStatus, PodOwner, names};
use k8s_openapi::{
    api::{
        apps::v1::ControllerRevision,
        core::v1::{Pod, Service},
        discovery::v1::EndpointSlice,
    },
    jiff::Timestamp,
};

use crate::{
    Failure, HostVerdicts, Owner, Rates, RawDeployment, RevisionRecord,
    build::{ADDRESS_TYPES, address_type, endpoint_slice_name},
    content::{ContentError, content_digest, revision_name},
    failure::{Ended, deployment_failure, lacks_since, one_after_the_other, pod_failure, slow_at},
};

/// The objects around one Function: those that carry its label, and those that merely have a wanted name.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Revisions' records.
    pub controller_revisions: Vec<Arc<ControllerRevision>>,
    /// Revisions' Deployments.
    pub deployments: Vec<Arc<RawDeployment>>,
    /// Its Services.
    pub services: Vec<Arc<Service>>,
    /// Their EndpointSlices.
    pub endpoint_slices: Vec<Arc<EndpointSlice>>,
    /// Pods with its label, whoever made them.
    pub pods: Vec<Arc<Pod>>,
}

/// What is true of the cluster for all of its Functions, or for the whole namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// ClusterIPs of the Service in front of the activators.
    pub activator_addresses: Vec<IpAddr>,
    /// Whether the Function's namespace enforces Pod Security `restricted`.
    pub restricted: bool,
    /// Which of its hosts the Function has.
    pub hosts: HostVerdicts,
    /// How the requests of its revisions ended.
    pub rates: Rates,
    /// Whether a new proof has to wait, as many as may be under way at once are.
    pub proof_waits: bool,
    /// Those that are to scale a Deployment of the Function, in order; `None` while that is not known.
    pub pod_autoscalers: Option<Vec<PodAutoscaler>>,
}

/// A `HorizontalPodAutoscaler` that is to scale a Deployment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodAutoscaler {
    /// The Deployment.
    pub deployment: String,
    /// Its own name.
    pub name: String,
}

/// Names of the objects that may have to be written: whoever has them must be known, label or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The Services.
    pub services: Vec<String>,
    /// The EndpointSlices.
    pub endpoint_slices: Vec<String>,
    /// ControllerRevisions.
    pub controller_revisions: Vec<String>,
    /// Deployments.
    pub deployments: Vec<String>,
}

/// What a revision's Deployment and pods look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `spec.replicas` of its Deployment; `None` when there is none.
    pub wanted: Option<i32>,
    /// Pods that the Deployment counts, without those that are terminating.
    pub replicas: i32,
    /// Pods that have not ended, with those that are terminating.
    pub pods: usize,
    /// Pods that are Ready and not terminating.
    pub ready: i32,
    /// What the image's name stands for in these pods.
    pub image_ids: Vec<String>,
    /// Why pods do not become ready.
    pub failure: Option<Failure>,
    /// When pods that start will have taken long, or those that ended are a while ago.
    pub slow_at: Option<Timestamp>,
}

impl Facts {
    /// Whether a Deployment is there and at rest with nothing left of it.
    pub fn is_empty(&self) -> bool {
        self.wanted == Some(0) && self.replicas == 0 && self.pods == 0
    }
}

/// The names that `function` may need, with these addresses of the activators.
pub fn wanted(function: &Function, owner: &Owner, addresses: &[IpAddr]) -> Result<Wanted, ContentError> {
    let current = match function.spec.revision_name() {
        Some(name) => name.to_owned(),
        None => revision_name(&owner.name, &content_digest(&function.spec)?, 0),
    };
    let previous = function.status.iter().flat_map(|FunctionStatus { revisions, .. }| revisions);
    let mut deployments: Vec<_> = previous.map(|revision| revision.name.clone()).collect();
    let named = function.spec.traffic.iter().filter_map(|target| target.revision.as_ref());
    for name in named.chain([&current]) {
        if !deployments.contains(name) {
            deployments.push(name.clone());
        }
    }
    let tags = function.tags().into_iter().map(|tag| names::tag_service(tag, &owner.name));
    let services: Vec<_> = tags.chain([owner.name.clone()]).collect();
    let families: Vec<_> = ADDRESS_TYPES
        .into_iter()
        .filter(|family| addresses.iter().any(|address| address_type(address) == *family))
        .collect();
    let slices = services
        .iter()
        .flat_map(|service| families.iter().map(|family| endpoint_slice_name(service, family)));
    Ok(Wanted {
        endpoint_slices: slices.collect(),
        services,
        controller_revisions: vec![current],
        deployments,
    })
}

/// Facts at `now` of every revision that has a Deployment of ours, or pods that were made for it.
pub(crate) fn facts(
    observed: &Observed,
    owner: &Owner,
    records: &BTreeMap<String, RevisionRecord>,
    now: Timestamp,
) -> BTreeMap<String, Facts> {
    let mut facts: BTreeMap<String, Facts> = BTreeMap::new();
    let mut ended: BTreeMap<&str, Vec<Ended<'_>>> = BTreeMap::new();
    let mut lacking: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for pod in &observed.pods {
        let Some(PodOwner { revision, function_uid }) = PodOwner::of(&pod.metadata) else { continue };
        if function_uid == owner.uid {
            add_pod(facts.entry(revision.to_owned()).or_default(), pod, records.get(revision), now);
            ended.entry(revision).or_default().extend(Ended::of(pod));
        }
    }
    for deployment in &observed.deployments {
        let Some(name) = &deployment.metadata.name else { continue };
        if owner.ownership(&deployment.metadata) != crate::Ownership::Ours {
            continue;
        }
        lacking.extend(lacks_since(deployment, now).map(|since| (name.as_str(), since)));
        let facts = facts.entry(name.clone()).or_default();
        facts.wanted = Some(deployment.replicas());
        let status = deployment.status.as_ref();
        facts.replicas = status.and_then(|status| status.replicas).unwrap_or_default();
        if facts.failure.is_none() {
            facts.failure = deployment_failure(deployment);
        }
    }
    for (revision, ended) in ended {
        if let Some(facts) = facts.get_mut(revision) {
            add_ended(facts, &ended, lacking.get(revision).copied(), now);
        }
    }
    facts
}

/// Of pods that ended there is something to say where those in their place have nothing to say themselves.
fn add_ended(facts: &mut Facts, ended: &[Ended<'_>], lacks_since: Option<Timestamp>, now: Timestamp) {
    let waits = facts.wanted.is_some_and(|wanted| wanted > 0) && facts.ready == 0 && facts.failure.is_none();
    if let Some((failure, until)) = one_after_the_other(ended, lacks_since, now).filter(|_| waits) {
        facts.failure = Some(failure);
        facts.slow_at = facts.slow_at.into_iter().chain([until]).min();
    }
}

fn add_pod(facts: &mut Facts, pod: &Pod, record: Option<&RevisionRecord>, now: Timestamp) {
    let status = pod.status.as_ref();
    if matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")) {
        return;
    }
    facts.pods += 1;
    if pod.metadata.deletion_timestamp.is_some() {
        return;
    }
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True");
    facts.ready += i32::from(ready);
    let containers = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let images = containers
        .filter(|container| container.name == names::CONTAINER)
        .map(|container| &container.image_id);
    for image in images.filter(|image| !image.is_empty()) {
        if let Err(place) = facts.image_ids.binary_search(image) {
            facts.image_ids.insert(place, image.clone());
        }
    }
    if ready {
        return;
    }
    facts.slow_at = facts.slow_at.into_iter().chain(slow_at(pod).filter(|at| *at > now)).min();
    if let Some(failure) = pod_failure(pod, record, now) {
        let worse = facts.failure.as_ref().is_none_or(|known| failure.reason < known.reason);
        if worse {
            facts.failure = Some(failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::function;

    #[test]
    fn every_tag_may_need_its_address() {
        let mut function = function(json!({"traffic": [{"latest": true, "tag": "next"}]}));
        function.status = serde_json::from_value(json!({"traffic": [
            {"revision": "hello-1", "percent": 100, "latest": true}, {"revision": "hello-1", "percent": 0, "tag": "old"},
        ]}))
        .unwrap();
        let addresses = ["10.96.0.20".parse().unwrap(), "fd00::1".parse().unwrap()];
        let wanted = wanted(&function, &Owner::of(&function).unwrap(), &addresses).unwrap();
        assert_eq!(wanted.services, ["next-hello", "old-hello", "hello"]);
        assert_eq!(wanted.endpoint_slices[..2], ["next-hello-ipv4", "next-hello-ipv6"]);
        assert_eq!(wanted.endpoint_slices.len(), 6);
    }
}
