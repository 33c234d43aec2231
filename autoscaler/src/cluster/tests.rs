use std::time::Duration;

use catnap_autoscaler_core::{
    IdlePolicy, Leader, OpenSchedule, PodFact, Policy, ScaleFact, Settings, Shift, Stage,
};
use catnap_crds::Function as FunctionObject;
use catnap_wire::Term;
use k8s_openapi::api::apps::v1::{Deployment as DeploymentObject, ReplicaSet as ReplicaSetObject};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::fact::{Activator, Deployment, Function, FunctionPod, ReplicaSet, RevisionKey};
use super::{Change, Cluster, ClusterChange};

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn function(uid: &str, revisions: &[(&str, &str)]) -> Function {
    let revisions: Vec<_> = revisions
        .iter()
        .map(|(name, state)| json!({ "name": name, "port": 8080, "protocol": "HTTP1", "concurrencyLimit": 10, "state": state }))
        .collect();
    let object: FunctionObject = read(json!({
        "apiVersion": "catnap.dev/v1alpha1",
        "kind": "Function",
        "metadata": { "name": "hello", "namespace": "shop", "uid": uid },
        "spec": { "image": "hello", "scale": { "max": 5 } },
        "status": { "revisions": revisions },
    }));
    Function::of(&object).unwrap()
}

fn deployment(function_uid: &str, replicas: u32, version: &str, observed_generation: i64) -> Deployment {
    let object: DeploymentObject = read(json!({
        "metadata": {
            "name": "hello-1", "namespace": "shop", "uid": "deployment-1", "resourceVersion": version, "generation": 4,
            "ownerReferences": [{ "apiVersion": "catnap.dev/v1alpha1", "kind": "Function", "name": "hello", "uid": function_uid, "controller": true }],
        },
        "spec": { "replicas": replicas, "selector": {}, "template": {} },
        "status": { "observedGeneration": observed_generation },
    }));
    Deployment::of(&object).unwrap()
}

fn replica_set(replicas: u32, observed_generation: i64) -> ReplicaSet {
    let object: ReplicaSetObject = read(json!({
        "metadata": {
            "name": "hello-1-abc", "namespace": "shop", "uid": "set-1", "generation": 2,
            "labels": { "catnap.dev/revision": "hello-1" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "hello-1", "uid": "deployment-1", "controller": true }],
        },
        "spec": { "replicas": replicas, "selector": {} },
        "status": { "replicas": 0, "observedGeneration": observed_generation },
    }));
    ReplicaSet::of(&object).unwrap()
}

fn pod(uid: &str, function_uid: &str, phase: &str) -> FunctionPod {
    FunctionPod::of(&pod_object(uid, function_uid, phase)).unwrap()
}

/// Without the owner that a pod of the revision has.
fn orphan(uid: &str, function_uid: &str, phase: &str) -> FunctionPod {
    let mut object = pod_object(uid, function_uid, phase);
    object.metadata.owner_references = None;
    FunctionPod::of(&object).unwrap()
}

fn pod_object(uid: &str, function_uid: &str, phase: &str) -> Pod {
    read(json!({
        "metadata": {
            "name": uid, "namespace": "shop", "uid": uid,
            "labels": { "catnap.dev/revision": "hello-1", "catnap.dev/function-uid": function_uid },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "hello-1-abc", "uid": "set-1", "controller": true }],
        },
        "status": { "phase": phase, "conditions": [{ "type": "Ready", "status": "True" }] },
    }))
}

fn cluster(changes: impl IntoIterator<Item = ClusterChange>) -> Cluster {
    let mut cluster = Cluster::default();
    for change in changes {
        cluster.apply(change, None);
    }
    cluster
}

fn scale(cluster: &Cluster) -> Option<ScaleFact> {
    let slot = cluster.slots.get(&RevisionKey { namespace: "shop".into(), name: "hello-1".into() })?;
    slot.scale(&slot.owner.as_ref()?.id)
}

fn pods(cluster: &Cluster) -> Vec<PodFact> {
    let slot = &cluster.slots[&RevisionKey { namespace: "shop".into(), name: "hello-1".into() }];
    slot.pods(&slot.owner.as_ref().unwrap().id)
}

#[test]
fn a_function_gives_every_revision_its_policy_and_stage() {
    let function = function("f1", &[("hello-1", "Retiring"), ("hello-2", "Routed"), ("hello-3", "Proving")]);
    let stages: Vec<_> = function.revisions.iter().map(|revision| revision.stage).collect();
    assert_eq!(stages, [Stage::Retiring, Stage::Routed, Stage::Proving]);
    assert_eq!(function.revisions[0].policy, Policy { max: 5, limit: 10, ..Policy::default() });
}

#[test]
fn a_revision_has_its_part_of_the_floors_and_of_the_ceiling() {
    let states = [
        ("old", "Routed"),
        ("new", "Routed"),
        ("tagged", "Routed"),
        ("newest", "Proving"),
        ("gone", "Retiring"),
    ];
    let revisions: Vec<_> = states
        .iter()
        .map(|(name, state)| json!({ "name": name, "port": 8080, "protocol": "HTTP1", "state": state }))
        .collect();
    let mut object = json!({
        "apiVersion": "catnap.dev/v1alpha1",
        "kind": "Function",
        "metadata": { "name": "hello", "namespace": "shop", "uid": "f1" },
        "spec": { "image": "hello", "scale": { "min": 10, "max": 50, "wake": 4 } },
        "status": {
            "revisions": revisions,
            "traffic": [
                { "revision": "old", "percent": 75 },
                { "revision": "new", "percent": 25, "latest": true },
                { "revision": "tagged", "percent": 0, "tag": "next" },
            ],
            "rollout": { "from": "old", "to": "new", "percent": 25, "comingPercent": 50, "comingReplicas": 17, "steppedAt": "2026-01-01T00:00:00Z" },
        },
    });
    let parts = |object: &Value| -> Vec<_> {
        let mut function = Function::of(&read(object.clone())).unwrap();
        function.open(Some(&OpenSchedule { name: "day".into(), min: 20 }));
        let part = |revision: &super::fact::Revision| {
            let Policy { min, max, wake, schedule, shift, .. } = &revision.policy;
            (*min, *max, *wake, schedule.as_ref().map_or(0, |open| open.min), *shift)
        };
        function.revisions.iter().map(part).collect()
    };
    let shift = |percent, awaited| Some(Shift { percent, awaited });
    assert_eq!(
        parts(&object),
        [
            // What it gave away may come back: it keeps room for it, and not the floors.
            (8, 50, 4, 15, shift(75, 0)),
            (5, 25, 2, 10, shift(25, 17)),
            (0, 1, 1, 0, shift(0, 0)),
            (10, 50, 4, 20, None),
            (10, 50, 4, 20, None),
        ]
    );
    object["status"]["rollout"] = Value::Null;
    assert_eq!(parts(&object)[..2], [(8, 38, 3, 15, None), (3, 13, 1, 5, None)]);
    object["status"]["traffic"] = json!([{ "revision": "new", "percent": 100, "latest": true }]);
    object["status"]["rollout"] = json!({
        "from": "old", "to": "new", "percent": 100, "comingPercent": 100, "steppedAt": "2026-01-01T00:00:00Z",
    });
    let last_step = parts(&object);
    assert_eq!(last_step[0], (0, 50, 4, 0, shift(0, 0)), "all of it may come back");
}

#[test]
fn a_learned_idle_time_comes_with_its_budget() {
    let object: FunctionObject = read(json!({
        "apiVersion": "catnap.dev/v1alpha1",
        "kind": "Function",
        "metadata": { "name": "hello", "namespace": "shop", "uid": "f1" },
        "spec": { "image": "hello", "scale": { "idle": { "policy": "Learned", "budget": 20 } } },
        "status": { "revisions": [{ "name": "hello-1", "port": 8080, "protocol": "HTTP1", "state": "Routed" }] },
    }));
    let function = Function::of(&object).unwrap();
    assert_eq!(function.revisions[0].policy.idle_policy, IdlePolicy::Learned { budget: 20 });
}

#[test]
fn a_schedule_opens_and_closes_for_every_revision() {
    let mut function = function("f1", &[("hello-1", "Routed")]);
    function.schedules =
        vec![read(json!({ "name": "mornings", "cron": "0 7 * * *", "duration": "2h", "min": 3 }))];
    let mut cluster = cluster([ClusterChange::Functions(Change::Listed(vec![function]))]);
    let mut leader = Leader::new(Term { transitions: 1, boot: 1 }, Settings::default(), Duration::ZERO);
    cluster.load(&mut leader, Duration::ZERO);
    let mut open_at = |time: &str| {
        let wall = format!("2026-05-05T{time}Z").parse().unwrap();
        cluster.advance(wall, Some((&mut leader, Duration::ZERO)));
        let slot = &cluster.slots[&RevisionKey { namespace: "shop".into(), name: "hello-1".into() }];
        slot.owner.as_ref().unwrap().policy.schedule.as_ref().map(|schedule| schedule.name.to_string())
    };
    assert_eq!(open_at("06:59:59"), None);
    assert_eq!(open_at("07:00:00").as_deref(), Some("mornings"));
    assert_eq!(open_at("09:00:00"), None);
}

#[test]
fn a_count_is_observed_when_both_controllers_have_acted_on_it() {
    let base = || {
        [
            ClusterChange::Functions(Change::Applied(function("f1", &[("hello-1", "Routed")]))),
            ClusterChange::Deployments(Change::Applied(deployment("f1", 3, "10", 4))),
        ]
    };
    let with = |more: Vec<ClusterChange>| scale(&cluster(base().into_iter().chain(more))).unwrap();
    let set =
        |replicas, observed| ClusterChange::ReplicaSets(Change::Applied(replica_set(replicas, observed)));
    assert_eq!(
        with(vec![set(3, 2)]),
        ScaleFact { replicas: 3, resource_version: "10".into(), observed: true, one_replica_set: true }
    );
    assert!(!with(vec![]).observed, "no ReplicaSet yet");
    assert!(!with(vec![set(2, 2)]).observed, "the ReplicaSet was not told yet");
    assert!(!with(vec![set(3, 1)]).observed, "the ReplicaSet controller was not there yet");
    let stale = ClusterChange::Deployments(Change::Applied(deployment("f1", 3, "11", 3)));
    assert!(!with(vec![set(3, 2), stale]).observed, "the Deployment controller was not there yet");
}

#[test]
fn objects_of_a_deleted_function_of_the_same_name_are_not_adopted() {
    let cluster = cluster([
        ClusterChange::Functions(Change::Applied(function("f1", &[("hello-1", "Routed")]))),
        ClusterChange::Deployments(Change::Applied(deployment("f1", 3, "10", 4))),
        ClusterChange::Pods(Change::Applied(pod("p1", "f1", "Running"))),
        ClusterChange::Functions(Change::Applied(function("f2", &[("hello-1", "Routed")]))),
        ClusterChange::Functions(Change::Deleted(function("f1", &[("hello-1", "Routed")]))),
        ClusterChange::Pods(Change::Applied(pod("p2", "f2", "Running"))),
    ]);
    assert_eq!(scale(&cluster), None);
    let uids: Vec<_> = pods(&cluster).iter().map(|pod| pod.uid.to_string()).collect();
    assert_eq!(uids, ["p2"]);
}

#[test]
fn pods_that_ended_are_left_out() {
    let cluster = cluster([
        ClusterChange::Functions(Change::Applied(function("f1", &[("hello-1", "Routed")]))),
        ClusterChange::Pods(Change::Applied(pod("p1", "f1", "Failed"))),
        ClusterChange::Pods(Change::Applied(pod("p2", "f1", "Running"))),
        ClusterChange::Pods(Change::Applied(pod("p3", "f1", "Running"))),
        ClusterChange::Pods(Change::Deleted(pod("p3", "f1", "Running"))),
    ]);
    assert_eq!(
        pods(&cluster),
        [PodFact { uid: "p2".into(), terminating: false, ready: true, created: 0, marked: false }]
    );
}

#[test]
fn pods_that_no_replica_set_of_the_revision_keeps_are_left_out() {
    let cluster = cluster([
        ClusterChange::Functions(Change::Applied(function("f1", &[("hello-1", "Routed")]))),
        ClusterChange::Pods(Change::Applied(orphan("p1", "f1", "Running"))),
        ClusterChange::Pods(Change::Applied(pod("p2", "f1", "Running"))),
        ClusterChange::Pods(Change::Applied(orphan("p2", "f1", "Running"))),
    ]);
    assert_eq!(pods(&cluster), []);
}

#[test]
fn a_new_list_replaces_what_was_known_and_nothing_is_kept_of_what_is_gone() {
    let mut cluster = cluster([
        ClusterChange::Functions(Change::Listed(vec![function("f1", &[("hello-1", "Routed")])])),
        ClusterChange::Deployments(Change::Listed(vec![deployment("f1", 3, "10", 4)])),
        ClusterChange::ReplicaSets(Change::Listed(vec![replica_set(3, 2)])),
        ClusterChange::Pods(Change::Listed(vec![pod("p1", "f1", "Running")])),
    ]);
    assert!(!cluster.is_synced());
    cluster.apply(
        ClusterChange::Activators(Change::Listed(vec![Activator { uid: "a1".into(), live: true }])),
        None,
    );
    assert!(cluster.is_synced());
    assert!(cluster.is_activator("a1"));
    cluster.apply(ClusterChange::Functions(Change::Listed(vec![])), None);
    cluster.apply(ClusterChange::Deployments(Change::Listed(vec![])), None);
    cluster.apply(ClusterChange::ReplicaSets(Change::Listed(vec![])), None);
    cluster.apply(ClusterChange::Pods(Change::Listed(vec![])), None);
    cluster.apply(ClusterChange::Activators(Change::Listed(vec![])), None);
    assert!(cluster.slots.is_empty() && cluster.functions.is_empty());
    assert!(!cluster.is_activator("a1"));
}
