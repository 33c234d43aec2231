//! Objects for the tests of this crate.

use std::sync::Arc;

use catnap_crds::{Function, FunctionStatus, RevisionState};
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, Deployment},
        core::v1::Pod,
    },
    jiff::Timestamp,
};
use serde_json::{Value, json};

use crate::{
    Cluster, HostVerdicts, Observed, Plan, PodAutoscaler, Problem, Rates, Report, RevisionRecord,
    ValidatedFunction, advance, build, report, validate,
};

/// The revision of [`function`] with the image `example/hello:1`.
pub(crate) const FIRST: &str = "hello-eca2fb41a6";

pub(crate) fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

pub(crate) fn seconds(count: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() + count).unwrap()
}

/// A Function `default/hello` with the UID `uid-1` at generation 1.
#[expect(clippy::needless_pass_by_value, reason = "so that tests may write `function(json!(…))`")]
pub(crate) fn function(spec: Value) -> Function {
    let mut function: Function = serde_json::from_value(json!({
        "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
        "metadata": {"name": "hello", "namespace": "default", "uid": "uid-1", "generation": 1},
        "spec": {"image": "example/hello:1"},
    }))
    .unwrap();
    let mut merged = serde_json::to_value(&function.spec).unwrap();
    for (name, field) in spec.as_object().unwrap() {
        merged[name] = field.clone();
    }
    function.spec = serde_json::from_value(merged).unwrap();
    function
}

pub(crate) fn cluster() -> Cluster {
    Cluster { activator_addresses: vec!["10.96.0.20".parse().unwrap()], ..Cluster::default() }
}

/// A cluster that does what it is told, step by step.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) observed: Observed,
    pub(crate) hosts: HostVerdicts,
    pub(crate) rates: Rates,
    pub(crate) proof_waits: bool,
    pub(crate) pod_autoscalers: Option<Vec<PodAutoscaler>>,
}

impl World {
    /// One reconciliation: objects are stored, the status is written into `function`.
    pub(crate) fn step(&mut self, function: &mut Function, at: Timestamp) -> (Plan, Report) {
        self.step_with(function, at, &[])
    }

    pub(crate) fn step_with(
        &mut self,
        function: &mut Function,
        at: Timestamp,
        met: &[Problem],
    ) -> (Plan, Report) {
        let valid = self.validated_at(function, at);
        let plan = advance(&valid, at);
        let resources = build(&valid, &plan).unwrap();
        if let Some(record) = resources.controller_revision {
            self.observed.controller_revisions.retain(|it| it.metadata.name != record.metadata.name);
            self.observed.controller_revisions.push(Arc::new(record));
        }
        for resource in resources.deployments {
            let known = self
                .observed
                .deployments
                .iter()
                .any(|it| it.metadata.name == resource.deployment.metadata.name);
            if !known {
                let mut deployment = resource.deployment.with_replicas(resource.replicas_when_created);
                deployment.metadata.uid = Some("uid-of-deployment".into());
                self.observed.deployments.push(Arc::new(deployment));
            }
        }
        for obsolete in resources.obsolete {
            match obsolete {
                crate::Obsolete::Deployment { name, .. } | crate::Obsolete::Superseded { name, .. } => {
                    self.observed.deployments.retain(|it| it.metadata.name.as_ref() != Some(&name));
                }
                crate::Obsolete::ControllerRevision { name, .. } => {
                    self.observed.controller_revisions.retain(|it| it.metadata.name.as_ref() != Some(&name));
                }
                crate::Obsolete::EndpointSlice { .. } | crate::Obsolete::Service { .. } => {}
            }
        }
        let report = report(&valid, &plan, met, at);
        function.status = Some(report.status.clone());
        (plan, report)
    }

    pub(crate) fn validated(&self, function: &Function) -> ValidatedFunction {
        self.validated_at(function, now())
    }

    fn validated_at(&self, function: &Function, at: Timestamp) -> ValidatedFunction {
        let cluster = Cluster {
            hosts: self.hosts.clone(),
            rates: self.rates.clone(),
            proof_waits: self.proof_waits,
            pod_autoscalers: self.pod_autoscalers.clone(),
            ..cluster()
        };
        validate(function, self.observed.clone(), cluster, at).unwrap()
    }

    /// Replaces the pods of a revision, with the Deployment's numbers to match.
    pub(crate) fn pods(&mut self, revision: &str, statuses: &[Value]) {
        self.observed
            .pods
            .retain(|pod| pod.metadata.labels.as_ref().unwrap()["catnap.dev/revision"] != revision);
        for (index, status) in statuses.iter().enumerate() {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": format!("{revision}-{index}"), "labels": {
                    "catnap.dev/function": "hello", "catnap.dev/revision": revision, "catnap.dev/function-uid": "uid-1",
                }, "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{revision}-6f7d"), "uid": "rs", "controller": true,
                }]},
                "status": status,
            }))
            .unwrap();
            self.observed.pods.push(Arc::new(pod));
        }
        self.scale(revision, i32::try_from(statuses.len()).unwrap());
    }

    pub(crate) fn scale(&mut self, revision: &str, replicas: i32) {
        for deployment in &mut self.observed.deployments {
            if deployment.metadata.name.as_deref() == Some(revision) {
                let deployment = Arc::make_mut(deployment);
                deployment.spec["replicas"] = json!(replicas);
                deployment.status.get_or_insert_default().replicas = Some(replicas);
            }
        }
    }

    pub(crate) fn deployment(&self, name: &str) -> Option<Deployment> {
        let mut deployments = self.observed.deployments.iter();
        let found = deployments.find(|it| it.metadata.name.as_deref() == Some(name))?;
        Some(serde_json::from_value(serde_json::to_value(found.as_ref()).unwrap()).unwrap())
    }

    pub(crate) fn record(&self, name: &str) -> Option<&ControllerRevision> {
        self.observed
            .controller_revisions
            .iter()
            .map(AsRef::as_ref)
            .find(|it| it.metadata.name.as_deref() == Some(name))
    }
}

pub(crate) fn ready_pod() -> Value {
    json!({
        "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "function", "image": "example/hello:1", "imageID": "sha256:aa", "ready": true, "restartCount": 0}],
    })
}

/// A pod whose container runs `since`, and whose port nobody listens on.
pub(crate) fn deaf_pod(since: Timestamp) -> Value {
    json!({
        "phase": "Running", "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": since}],
        "containerStatuses": [{
            "name": "function", "image": "example/hello:1", "imageID": "sha256:aa", "ready": false, "restartCount": 0,
            "state": {"running": {"startedAt": since}},
        }],
    })
}

pub(crate) fn unpullable_pod() -> Value {
    json!({"phase": "Pending", "containerStatuses": [{
        "name": "function", "image": "example/hello:2", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}},
    }]})
}

pub(crate) fn states(status: &FunctionStatus) -> Vec<(&str, RevisionState)> {
    status.revisions.iter().map(|revision| (revision.name.as_str(), revision.state)).collect()
}

/// `Ready=True/Ready` and so on.
pub(crate) fn said(status: &FunctionStatus, type_: &str) -> String {
    let condition = status.conditions.iter().find(|it| it.type_ == type_).unwrap();
    format!("{}/{}", condition.status, condition.reason)
}

/// An edit of the spec, as the API server stores it.
pub(crate) fn edit(function: &mut Function, change: impl FnOnce(&mut Function)) {
    change(function);
    *function.metadata.generation.as_mut().unwrap() += 1;
}

pub(crate) fn stored_record(function: &Function) -> RevisionRecord {
    let world = World::default();
    world.validated(function).current.unwrap().record
}
