use catnap_crds::RevisionState::{Proving, Retiring, Routed};
use serde_json::json;

use crate::{Problem, Reason, Scope, fixtures::*};

mod judging;
mod properties;
mod rollouts;
mod script;
mod traffic;

fn set_image(function: &mut catnap_crds::Function, image: &str) {
    edit(function, |function| function.spec.image = image.to_owned());
}

fn current(function: &catnap_crds::Function) -> String {
    function.status.as_ref().unwrap().latest_created_revision.clone().unwrap()
}

#[test]
fn a_new_function_proves_itself_before_it_takes_traffic() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    let (plan, _) = world.step(&mut function, now());
    assert_eq!(plan.state(FIRST), Some(Proving));
    assert!(plan.traffic.is_empty());
    assert_eq!(world.deployment(FIRST).unwrap().spec.as_ref().unwrap().replicas, Some(1));

    world.pods(FIRST, &[ready_pod()]);
    let (plan, _) = world.step(&mut function, now());
    assert_eq!(plan.state(FIRST), Some(Routed));
    assert_eq!(plan.traffic[0].revision, FIRST);
    assert_eq!(plan.latest_ready.as_deref(), Some(FIRST));
    assert_eq!(plan.revisions[0].image_ids, ["sha256:aa"]);

    world.pods(FIRST, &[]);
    let (plan, _) = world.step(&mut function, now());
    assert_eq!(plan.state(FIRST), Some(Routed), "resting at zero");
    assert_eq!(plan.revisions[0].image_ids, ["sha256:aa"], "remembered");
}

#[test]
fn a_pod_that_no_replica_set_of_the_revision_made_proves_nothing() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.step(&mut function, now());
    world.pods(FIRST, &[ready_pod()]);
    for pod in &mut world.observed.pods {
        std::sync::Arc::make_mut(pod).metadata.owner_references = None;
    }
    let (plan, _) = world.step(&mut function, now());
    assert_eq!(plan.state(FIRST), Some(Proving));
}

#[test]
fn proof_needs_as_many_ready_replicas_as_initial_and_min_say() {
    for (scale, needed) in [(json!({"initial": 3}), 3), (json!({"min": 2}), 2), (json!({}), 1)] {
        let (mut world, mut function) = (World::default(), function(json!({"scale": scale})));
        world.step(&mut function, now());
        for ready in 0..needed {
            world.pods(FIRST, &vec![ready_pod(); ready]);
            assert_eq!(world.step(&mut function, now()).0.state(FIRST), Some(Proving));
        }
        world.pods(FIRST, &vec![ready_pod(); needed]);
        assert_eq!(world.step(&mut function, now()).0.state(FIRST), Some(Routed));
    }
}

#[test]
fn initial_zero_takes_traffic_at_once() {
    let (mut world, mut function) = (World::default(), function(json!({"scale": {"initial": 0, "min": 2}})));
    let (plan, _) = world.step(&mut function, now());
    assert_eq!(plan.state(FIRST), Some(Routed));
    assert_eq!(world.deployment(FIRST).unwrap().spec.as_ref().unwrap().replicas, Some(2), "the floor");
}

/// A served revision and a new one that proves itself.
fn rolling() -> (World, catnap_crds::Function, String) {
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.step(&mut function, now());
    world.pods(FIRST, &[ready_pod()]);
    world.step(&mut function, now());
    set_image(&mut function, "example/hello:2");
    world.step(&mut function, now());
    let second = current(&function);
    assert_eq!(states(function.status.as_ref().unwrap()), [(FIRST, Routed), (second.as_str(), Proving)]);
    (world, function, second)
}

#[test]
fn the_old_revision_serves_until_the_new_one_is_proven_then_retires() {
    let (mut world, mut function, second) = rolling();
    world.pods(&second, &[ready_pod()]);
    let (plan, _) = world.step(&mut function, now());
    assert_eq!((plan.state(FIRST), plan.state(&second)), (Some(Routed), Some(Routed)), "it may be needed");
    assert_eq!(plan.traffic.len(), 1);
    assert_eq!(plan.traffic[0].revision, second);
    assert_eq!(plan.latest_ready.as_ref(), Some(&second));
    let (plan, _) = world.step(&mut function, seconds(60));
    assert_eq!((plan.state(FIRST), plan.state(&second)), (Some(Retiring), Some(Routed)));

    world.scale(FIRST, 0);
    let (plan, _) = world.step(&mut function, seconds(61));
    assert_eq!(plan.state(FIRST), Some(Retiring), "its pod is still ending");
    assert!(world.deployment(FIRST).is_some());

    world.pods(FIRST, &[]);
    let (plan, _) = world.step(&mut function, seconds(62));
    assert_eq!(plan.state(FIRST), None);
    assert!(world.deployment(FIRST).is_none());
    assert!(world.record(FIRST).is_some(), "history");
}

#[test]
fn a_resting_revision_is_told_to_take_no_traffic_before_it_goes() {
    let (mut world, mut function, second) = rolling();
    world.pods(FIRST, &[]);
    world.pods(&second, &[ready_pod()]);
    world.step(&mut function, now());
    let (plan, _) = world.step(&mut function, seconds(60));
    assert_eq!(plan.state(FIRST), Some(Retiring));
    assert!(world.deployment(FIRST).is_some());
    let (plan, _) = world.step(&mut function, seconds(60));
    assert_eq!(plan.state(FIRST), None);
    assert!(world.deployment(FIRST).is_none());
}

#[test]
fn going_back_uses_the_old_record_and_proves_again() {
    let (mut world, mut function, second) = rolling();
    world.pods(&second, &[ready_pod()]);
    world.step(&mut function, now());
    world.step(&mut function, seconds(60));
    world.pods(FIRST, &[]);
    world.step(&mut function, seconds(60));
    set_image(&mut function, "example/hello:1");
    let (plan, _) = world.step(&mut function, seconds(61));
    assert_eq!((plan.state(FIRST), plan.state(&second)), (Some(Proving), Some(Routed)));
    assert_eq!(world.observed.controller_revisions.len(), 2);
    assert!(world.deployment(FIRST).is_some(), "made again");
}

#[test]
fn going_back_while_the_new_one_still_proves_is_no_new_proof() {
    let (mut world, mut function, second) = rolling();
    set_image(&mut function, "example/hello:1");
    let (plan, _) = world.step(&mut function, now());
    assert_eq!((plan.state(FIRST), plan.state(&second)), (Some(Routed), None));
    assert!(world.deployment(&second).is_none(), "it never took a request");
}

#[test]
fn a_broken_revision_is_given_up_after_a_minute_and_stays_so_until_the_next_edit() {
    let (mut world, mut function, second) = rolling();
    world.pods(&second, &[unpullable_pod()]);
    let (plan, report) = world.step(&mut function, now());
    assert_eq!(plan.state(&second), Some(Proving));
    assert_eq!(report.next_look, Some(seconds(60)));
    assert_eq!(world.step(&mut function, seconds(59)).0.state(&second), Some(Proving));
    let (plan, _) = world.step(&mut function, seconds(60));
    assert_eq!((plan.state(FIRST), plan.state(&second)), (Some(Routed), Some(Retiring)));

    world.pods(&second, &[]);
    for at in 61..64 {
        let (plan, _) = world.step(&mut function, seconds(at));
        assert_eq!(plan.state(&second), None);
        assert!(plan.rejected);
        assert!(world.deployment(&second).is_none());
    }
    edit(&mut function, |function| function.spec.scale.max = 7);
    assert_eq!(world.step(&mut function, seconds(70)).0.state(&second), Some(Proving));
}

#[test]
fn a_broken_revision_is_given_up_whatever_else_is_wrong() {
    let (mut world, mut function, second) = rolling();
    edit(&mut function, |function| {
        function.spec.traffic = serde_json::from_value(
            json!([{"latest": true, "percent": 100}, {"revision": "missing", "tag": "x"}]),
        )
        .unwrap();
    });
    world.pods(&second, &[unpullable_pod()]);
    let stays = [Problem::lasting(Reason::InvalidService, Scope::Routes, "bad")];
    let forbidden = [Problem::lasting(Reason::Forbidden, Scope::Revision, "no")];
    for at in [0, 30, 59] {
        let (plan, report) = world.step_with(&mut function, seconds(at), &stays);
        assert_eq!(plan.state(&second), Some(Proving), "{at}");
        assert_eq!(said(&report.status, "Stalled"), "True/RevisionMissing");
        assert_eq!(said(&report.status, "RevisionReady"), "False/ImagePullFailed");
        assert_eq!(report.next_look, Some(seconds(60)));
        assert_eq!(world.step_with(&mut function, seconds(at), &forbidden).1.status, report.status);
    }
    let (plan, _) = world.step_with(&mut function, seconds(60), &stays);
    assert_eq!(plan.state(&second), Some(Retiring));

    // Nor is that forgotten while more goes wrong.
    world.pods(&second, &[]);
    for at in 61..64 {
        let (plan, report) = world.step_with(&mut function, seconds(at), &forbidden);
        assert_eq!((plan.state(&second), plan.rejected), (None, true));
        assert_eq!(said(&report.status, "RevisionReady"), "False/ImagePullFailed");
    }
}

#[test]
fn a_proof_that_fails_keeps_nobody_waiting() {
    let status = |revision: &str, revision_ready: (&str, &str), routes_ready: (&str, &str)| {
        let condition = |type_: &str, (status, reason): (&str, &str)| json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": now()});
        serde_json::from_value::<catnap_crds::FunctionStatus>(json!({
            "latestCreatedRevision": "new",
            "revisions": [
                {"name": "old", "port": 1, "protocol": "HTTP1", "state": "Routed"},
                {"name": revision, "port": 1, "protocol": "HTTP1", "state": "Proving"},
            ],
            "conditions": [
                condition("RevisionReady", revision_ready), condition("RoutesReady", routes_ready),
                condition("Stalled", ("True", "Anything")),
            ],
        }))
        .unwrap()
    };
    let fine = ("True", "Routed");
    let missing = ("False", "RevisionMissing");
    for (proving, status) in [
        (true, status("new", ("Unknown", "Proving"), fine)),
        (true, status("new", ("Unknown", "Proving"), missing)),
        (true, status("new", ("Unknown", "WaitingForProof"), fine)),
        (false, status("new", ("Unknown", "Unschedulable"), fine)),
        (false, status("new", ("False", "CrashLoop"), missing)),
        (false, status("new", ("Unknown", "WriteFailed"), fine)),
        (true, status("named", ("True", "Ready"), ("Unknown", "Proving"))),
        (true, status("named", ("False", "CrashLoop"), missing)),
        (false, status("named", ("True", "Ready"), ("Unknown", "NeverReady"))),
    ] {
        assert_eq!(crate::is_proving(&status), proving, "{:?}", status.conditions);
    }
    assert!(!crate::is_proving(&catnap_crds::FunctionStatus::default()));
}

#[test]
fn what_could_not_be_deleted_is_told_of_until_it_is_gone() {
    let (mut world, mut function, second) = rolling();
    set_image(&mut function, "example/hello:1");
    let valid = world.validated(&function);
    let mut plan = crate::advance(&valid, now());
    assert_eq!(plan.superseded, std::slice::from_ref(&second));
    plan.keep(&valid, &plan.superseded.clone());
    assert_eq!(plan.state(&second), Some(Retiring));
    assert_eq!(plan.revisions.len(), 2);
    function.status.as_mut().unwrap().revisions.clone_from(&plan.revisions);
    world.pods(&second, &[json!({"phase": "Pending"})]);
    assert_eq!(world.step(&mut function, now()).0.state(&second), Some(Retiring), "no request meanwhile");
    world.pods(&second, &[]);
    assert_eq!(world.step(&mut function, now()).0.state(&second), None);
    assert!(world.deployment(&second).is_none());
}

#[test]
fn a_failure_that_passes_is_forgiven() {
    let (mut world, mut function, second) = rolling();
    world.pods(&second, &[unpullable_pod()]);
    world.step(&mut function, now());
    world.pods(&second, &[json!({"phase": "Pending"})]);
    world.step(&mut function, seconds(30));
    world.pods(&second, &[unpullable_pod()]);
    world.step(&mut function, seconds(50));
    assert_eq!(world.step(&mut function, seconds(70)).0.state(&second), Some(Proving));
}

#[test]
fn without_another_one_that_serves_nothing_is_given_up() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.step(&mut function, now());
    world.pods(FIRST, &[unpullable_pod()]);
    world.step(&mut function, now());
    assert_eq!(world.step(&mut function, seconds(3600)).0.state(FIRST), Some(Proving));
}

#[test]
fn a_newer_edit_deletes_what_still_proves() {
    let (mut world, mut function, second) = rolling();
    world.pods(&second, &[json!({"phase": "Pending"})]);
    set_image(&mut function, "example/hello:3");
    let (plan, _) = world.step(&mut function, now());
    let third = current(&function);
    assert_eq!((plan.state(&second), plan.state(&third)), (None, Some(Proving)));
    assert!(world.deployment(&second).is_none(), "it never took a request");
    assert!(world.record(&second).is_some(), "history");
}

#[test]
fn a_deployment_that_no_status_speaks_of_goes_at_once() {
    let (mut world, mut function, second) = rolling();
    world.pods(&second, &[ready_pod()]);
    function.status.as_mut().unwrap().revisions.retain(|revision| revision.name != second);
    set_image(&mut function, "example/hello:1");
    assert_eq!(world.step(&mut function, now()).0.state(&second), None);
    assert!(world.deployment(&second).is_none());
}

#[test]
fn with_a_lost_status_nothing_is_deleted_at_once() {
    let (mut world, mut function, second) = rolling();
    world.pods(&second, &[ready_pod()]);
    function.status = None;
    set_image(&mut function, "example/hello:1");
    let (plan, _) = world.step(&mut function, now());
    assert_eq!((plan.state(FIRST), plan.state(&second)), (Some(Routed), Some(Retiring)));
}

#[test]
fn a_proof_waits_for_its_turn() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.proof_waits = true;
    let (plan, report) = world.step(&mut function, now());
    assert_eq!(plan.revisions, []);
    assert!(world.observed.deployments.is_empty());
    assert_eq!(said(&report.status, "Reconciling"), "True/WaitingForProof");
    world.proof_waits = false;
    assert_eq!(world.step(&mut function, now()).0.state(FIRST), Some(Proving));
    world.proof_waits = true;
    assert_eq!(world.step(&mut function, now()).0.state(FIRST), Some(Proving), "it is at it");
    let mut unproven = function_with_initial_zero();
    assert_eq!(
        world_that_waits().step(&mut unproven, now()).0.state(FIRST),
        Some(Routed),
        "nothing to prove"
    );
}

fn function_with_initial_zero() -> catnap_crds::Function {
    function(json!({"scale": {"initial": 0}}))
}

fn world_that_waits() -> World {
    World { proof_waits: true, ..World::default() }
}

#[test]
fn a_lost_status_is_found_again() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.step(&mut function, now());
    world.pods(FIRST, &[ready_pod()]);
    world.step(&mut function, now());
    function.status = None;
    assert_eq!(world.step(&mut function, now()).0.state(FIRST), Some(Routed));
}
