use serde_json::json;

use super::*;
use crate::condition::{
    ACTIVE, READY, RECONCILING, REVISION_READY, ROUTES_READY, SCALE_CONFLICT, SCHEDULES_READY, STALLED, find,
};
use crate::fixtures::*;
use crate::{Cluster, HostVerdict, HostVerdicts, PodAutoscaler, advance, build, validate};

#[test]
fn the_loop_of_a_function_in_conditions() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    let (_, report) = world.step(&mut function, now());
    insta::assert_yaml_snapshot!("proving", report.status);
    assert_eq!(report.news[0].reason, "RevisionCreated");

    world.pods(FIRST, &[ready_pod()]);
    let (_, report) = world.step(&mut function, seconds(2));
    insta::assert_yaml_snapshot!("ready", report.status);
    assert_eq!(report.news[0].reason, "RevisionReady");

    let (_, again) = world.step(&mut function, seconds(3));
    assert_eq!(again.status, report.status, "time alone changes nothing");
    assert!(again.news.is_empty());

    world.pods(FIRST, &[]);
    let (_, report) = world.step(&mut function, seconds(40));
    assert_eq!(said(&report.status, READY), "True/Ready");
    assert_eq!(said(&report.status, ACTIVE), "False/Idle");
    assert_eq!(report.status.replicas, 0);
}

#[test]
fn an_image_that_cannot_be_pulled_stalls_at_once() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.step(&mut function, now());
    world.pods(FIRST, &[unpullable_pod()]);
    let (_, report) = world.step(&mut function, seconds(3));
    for type_ in [READY, REVISION_READY] {
        assert_eq!(said(&report.status, type_), "False/ImagePullFailed");
    }
    assert_eq!(said(&report.status, STALLED), "True/ImagePullFailed");
    assert_eq!(said(&report.status, RECONCILING), "False/Settled");
    assert_eq!(report.news[0].reason, "RevisionFailed");
    assert!(world.step(&mut function, seconds(4)).1.news.is_empty(), "said once");

    world.pods(FIRST, &[ready_pod()]);
    let (_, report) = world.step(&mut function, seconds(60));
    assert_eq!(said(&report.status, READY), "True/Ready");
    assert_eq!(said(&report.status, STALLED), "False/Progressing");
}

#[test]
fn a_rejected_revision_is_told_of_after_its_pods_are_gone() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.step(&mut function, now());
    world.pods(FIRST, &[ready_pod()]);
    world.step(&mut function, now());
    edit(&mut function, |function| function.spec.image = "example/hello:2".into());
    world.step(&mut function, now());
    let second = function.status.as_ref().unwrap().latest_created_revision.clone().unwrap();
    world.pods(&second, &[unpullable_pod()]);
    world.step(&mut function, now());
    world.step(&mut function, seconds(61));
    world.pods(&second, &[]);
    let (_, report) = world.step(&mut function, seconds(62));
    assert_eq!(said(&report.status, REVISION_READY), "False/ImagePullFailed");
    assert_eq!(said(&report.status, STALLED), "True/ImagePullFailed");
    assert_eq!(said(&report.status, ROUTES_READY), "True/Routed");
    assert_eq!(report.status.traffic[0].revision, FIRST);
    assert_eq!(report.status.latest_ready_revision.as_deref(), Some(FIRST));
}

#[test]
fn no_room_is_reconciling_first_and_stalled_after_ten_minutes() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.step(&mut function, now());
    world.pods(
        FIRST,
        &[json!({"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes",
            "lastTransitionTime": now(),
        }]})],
    );
    let (_, report) = world.step(&mut function, seconds(5));
    assert_eq!(said(&report.status, RECONCILING), "True/Unschedulable");
    assert_eq!(said(&report.status, STALLED), "False/Progressing");
    assert_eq!(report.next_look, Some(seconds(600)));
    let (_, report) = world.step(&mut function, seconds(600));
    assert_eq!(said(&report.status, STALLED), "True/Unschedulable");
    assert_eq!(said(&report.status, READY), "False/Unschedulable");
}

#[test]
fn a_port_that_nobody_listens_on_is_told_of_within_a_minute() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.step(&mut function, now());
    world.pods(FIRST, &[deaf_pod(now())]);
    let (_, report) = world.step(&mut function, seconds(5));
    assert_eq!(said(&report.status, READY), "Unknown/Proving");
    assert_eq!(report.next_look, Some(seconds(45)));
    let (_, report) = world.step(&mut function, seconds(45));
    assert_eq!(said(&report.status, READY), "Unknown/NeverReady");
    assert_eq!(said(&report.status, STALLED), "False/Progressing", "it may just be slow");
    assert_eq!(report.next_look, Some(seconds(600)));
    assert_eq!(report.news[0].reason, "RevisionNotReady");
    assert!(report.news[0].note.contains("nothing accepts connections on port 8080"), "{:?}", report.news);
    assert!(world.step(&mut function, seconds(50)).1.news.is_empty(), "said once");
    let (_, report) = world.step(&mut function, seconds(600));
    assert_eq!(said(&report.status, STALLED), "True/NeverReady");
    assert_eq!(report.news[0].reason, "RevisionFailed");
}

#[test]
fn pods_that_were_evicted_before_all_was_well_are_not_held_against_the_next() {
    let evicted = |second: i64| {
        let condition =
            json!({"type": "DisruptionTarget", "status": "True", "lastTransitionTime": seconds(second)});
        json!({"phase": "Failed", "reason": "Evicted", "conditions": [condition]})
    };
    // `available` is the status of the Deployment's condition, and since when.
    let ready = |available: Option<(&str, i64)>| {
        let (mut world, mut function) = (World::default(), function(json!({})));
        world.step(&mut function, now());
        world.pods(FIRST, &[evicted(50), evicted(950), json!({"phase": "Pending"})]);
        let deployment = std::sync::Arc::make_mut(&mut world.observed.deployments[0]);
        let conditions = available.map(|(status, since)| {
            json!([{"type": "Available", "status": status, "lastTransitionTime": seconds(since)}])
        });
        deployment.status.get_or_insert_default().conditions =
            conditions.map(|conditions| serde_json::from_value(conditions).unwrap());
        said(&world.step(&mut function, seconds(951)).1.status, READY)
    };
    assert_eq!(ready(None), "False/PodFailed");
    assert_eq!(ready(Some(("False", 45))), "False/PodFailed");
    assert_eq!(ready(Some(("False", 949))), "Unknown/Proving");
    assert_eq!(ready(Some(("True", 45))), "Unknown/Proving", "it does not know it yet");
}

#[test]
fn pods_that_are_evicted_one_after_the_other_are_told_of() {
    let evicted = |second: i64| {
        json!({
            "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.",
            "conditions": [{"type": "DisruptionTarget", "status": "True", "lastTransitionTime": seconds(second)}],
        })
    };
    let starting = || json!({"phase": "Pending"});
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.step(&mut function, now());
    world.pods(FIRST, &[evicted(5), starting()]);
    assert_eq!(said(&world.step(&mut function, seconds(6)).1.status, READY), "Unknown/Proving");
    world.pods(FIRST, &[evicted(5), evicted(20), starting()]);
    let (_, report) = world.step(&mut function, seconds(21));
    assert_eq!(said(&report.status, READY), "Unknown/PodFailed");
    assert_eq!(report.next_look, Some(seconds(80)));
    assert!(report.news[0].note.contains("The node was low on resource: memory."), "{:?}", report.news);
    assert_eq!(said(&world.step(&mut function, seconds(80)).1.status, READY), "Unknown/Proving");

    world.pods(FIRST, &[evicted(5), evicted(20), evicted(604), starting()]);
    let (_, report) = world.step(&mut function, seconds(605));
    assert_eq!(said(&report.status, STALLED), "True/PodFailed");
    world.pods(FIRST, &[evicted(604), evicted(605), ready_pod()]);
    assert_eq!(said(&world.step(&mut function, seconds(606)).1.status, READY), "True/Ready");
    // At rest nobody waits for them.
    world.pods(FIRST, &[evicted(604), evicted(605)]);
    world.scale(FIRST, 0);
    assert_eq!(said(&world.step(&mut function, seconds(607)).1.status, READY), "True/Ready");
}

#[test]
fn a_routed_revision_whose_pods_do_not_get_ready_again_is_looked_at_in_time() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.step(&mut function, now());
    world.pods(FIRST, &[ready_pod()]);
    world.step(&mut function, seconds(2));
    world.pods(FIRST, &[deaf_pod(seconds(100))]);
    let (_, report) = world.step(&mut function, seconds(101));
    assert_eq!(said(&report.status, READY), "True/Ready");
    assert_eq!(report.next_look, Some(seconds(145)));
    let (_, report) = world.step(&mut function, seconds(145));
    assert_eq!(said(&report.status, READY), "Unknown/NeverReady");
    assert_eq!(report.status.traffic[0].revision, FIRST, "it goes on taking requests");
}

#[test]
fn a_write_that_stays_forbidden_is_final_after_half_a_minute() {
    for (reason, patience) in [
        (Reason::Forbidden, 30),
        (Reason::WriteFailed, 30),
        (Reason::ChangedByOthers, 30),
        (Reason::QuotaExceeded, 600),
    ] {
        for (scope, type_) in [(Scope::Revision, REVISION_READY), (Scope::Routes, ROUTES_READY)] {
            let (mut world, mut function) = (World::default(), function(json!({})));
            let problem = [Problem::passing(reason, scope, "a policy says no")];
            let (_, report) = world.step_with(&mut function, now(), &problem);
            assert_eq!(said(&report.status, type_), format!("Unknown/{}", reason.as_str()));
            assert_eq!(report.next_look, Some(seconds(patience)), "{type_}");
            let told: Vec<_> = report.news.iter().map(|news| news.reason).collect();
            assert!(told.iter().any(|reason| reason.ends_with("NotReady")), "{told:?}");
            let (_, report) = world.step_with(&mut function, seconds(patience - 1), &problem);
            assert_eq!(said(&report.status, STALLED), "False/Progressing");
            for at in [patience, patience + 100] {
                let (_, report) = world.step_with(&mut function, seconds(at), &problem);
                assert_eq!(said(&report.status, STALLED), format!("True/{}", reason.as_str()));
                assert_eq!(said(&report.status, type_), format!("False/{}", reason.as_str()));
                assert_eq!(report.next_look, None);
            }
            edit(&mut function, |function| function.spec.scale.max = 3);
            let (_, report) = world.step_with(&mut function, seconds(800), &problem);
            assert_eq!(said(&report.status, STALLED), "False/Progressing", "an edit is a new try");
        }
    }
}

#[test]
fn what_was_waited_for_before_uses_up_no_patience() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.step(&mut function, now());
    let problem = [Problem::passing(Reason::QuotaExceeded, Scope::Revision, "exceeded quota")];
    // Nor does the same before an edit, which is a new try.
    for from in [3_600, 4_300] {
        for at in [from, from + 1, from + 599] {
            let (_, report) = world.step_with(&mut function, seconds(at), &problem);
            assert_eq!(said(&report.status, REVISION_READY), "Unknown/QuotaExceeded", "{at}");
            assert_eq!(report.next_look, Some(seconds(from + 600)), "{at}");
        }
        edit(&mut function, |function| function.spec.scale.max = 3);
    }
}

#[test]
fn refusals_that_take_turns_use_up_one_patience() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    let mut refused = |at: i64, reason: Reason| {
        let problem = [Problem::passing(reason, Scope::Revision, "no")];
        world.step_with(&mut function, seconds(at), &problem).1
    };
    for (at, reason) in [(0, Reason::Forbidden), (10, Reason::WriteFailed), (29, Reason::Forbidden)] {
        let report = refused(at, reason);
        assert_eq!(said(&report.status, STALLED), "False/Progressing", "{at}");
        assert_eq!(report.next_look, Some(seconds(30)), "{at}");
    }
    for (at, reason) in [(30, Reason::WriteFailed), (31, Reason::Forbidden), (40, Reason::QuotaExceeded)] {
        let report = refused(at, reason);
        assert_eq!(said(&report.status, STALLED), format!("True/{}", reason.as_str()), "{at}");
    }

    world.step(&mut function, seconds(50));
    let problem = [Problem::passing(Reason::WriteFailed, Scope::Revision, "no")];
    let (_, report) = world.step_with(&mut function, seconds(60), &problem);
    assert_eq!(said(&report.status, STALLED), "False/Progressing", "another row of them");
    assert_eq!(report.next_look, Some(seconds(90)));
}

#[test]
fn a_quota_that_lasts_uses_up_nothing_of_a_shorter_patience() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    let mut refused = |at: i64, reason: Reason| {
        let problem = [Problem::passing(reason, Scope::Revision, "no")];
        world.step_with(&mut function, seconds(at), &problem).1
    };
    refused(0, Reason::QuotaExceeded);
    let report = refused(100, Reason::Forbidden);
    assert_eq!(said(&report.status, STALLED), "False/Progressing");
    assert_eq!(report.next_look, Some(seconds(130)));
    assert_eq!(said(&refused(130, Reason::Forbidden).status, STALLED), "True/Forbidden");
}

#[test]
fn a_record_that_cannot_be_read_is_told_of() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.step(&mut function, now());
    let record = std::sync::Arc::make_mut(&mut world.observed.controller_revisions[0]);
    record.data = Some(k8s_openapi::apimachinery::pkg::runtime::RawExtension(json!({"port": "x"})));
    let (_, report) = world.step(&mut function, seconds(1));
    assert_eq!(said(&report.status, STALLED), "True/RecordUnreadable");
    let message = &find(&report.status.conditions, READY).unwrap().message;
    assert!(message.contains(FIRST), "{message}");
}

#[test]
fn one_failing_pod_of_several_is_no_failure_of_a_routed_revision() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.step(&mut function, now());
    world.pods(FIRST, &[ready_pod()]);
    world.step(&mut function, now());
    world.pods(FIRST, &[ready_pod(), unpullable_pod()]);
    assert_eq!(said(&world.step(&mut function, now()).1.status, READY), "True/Ready");
    world.pods(FIRST, &[unpullable_pod()]);
    assert_eq!(said(&world.step(&mut function, now()).1.status, READY), "False/ImagePullFailed");
}

#[test]
fn unproven_until_a_pod_was_seen_ready() {
    let (mut world, mut function) = (World::default(), function(json!({"scale": {"initial": 0}})));
    let (_, report) = world.step(&mut function, now());
    assert_eq!(said(&report.status, READY), "True/Unproven");
    world.pods(FIRST, &[ready_pod()]);
    assert_eq!(said(&world.step(&mut function, now()).1.status, READY), "True/Ready");
    world.pods(FIRST, &[]);
    assert_eq!(said(&world.step(&mut function, now()).1.status, READY), "True/Ready");
}

#[test]
fn problems_of_applying_are_said() {
    for (problem, ready, stalled) in [
        (Problem::not_ours("Service", "hello", crate::Ownership::Foreign), "False/ServiceNotOwned", true),
        (Problem::not_ours("Deployment", FIRST, crate::Ownership::Foreign), "False/DeploymentNotOwned", true),
        (
            Problem::not_ours("Service", "hello", crate::Ownership::Predecessor),
            "Unknown/PredecessorLeaving",
            false,
        ),
        (
            Problem::lasting(Reason::InvalidPodTemplate, Scope::Revision, "no"),
            "False/InvalidPodTemplate",
            true,
        ),
    ] {
        let (mut world, mut function) = (World::default(), function(json!({})));
        let (_, report) = world.step_with(&mut function, now(), &[problem]);
        assert_eq!(said(&report.status, READY), ready);
        assert_eq!(said(&report.status, STALLED).starts_with("True"), stalled, "{ready}");
        assert_eq!(said(&report.status, RECONCILING).starts_with("True"), !stalled, "{ready}");
    }
}

#[test]
fn a_taken_revision_name_is_refused_and_what_serves_goes_on() {
    let (mut world, mut function) = (World::default(), function(json!({"revisionName": "first"})));
    world.step(&mut function, now());
    world.pods("first", &[ready_pod()]);
    world.step(&mut function, now());
    edit(&mut function, |function| function.spec.image = "example/hello:2".into());
    let (plan, report) = world.step(&mut function, now());
    assert_eq!(said(&report.status, READY), "False/RevisionNameTaken");
    assert_eq!(plan.traffic[0].revision, "first");
    assert_eq!(report.status.latest_created_revision.as_deref(), Some("first"));
}

#[test]
fn a_refused_host_is_told_of_once_the_function_serves() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    let taken = Problem::lasting(Reason::HostTaken, Scope::Hosts, "shop/hello has it");
    world.hosts = HostVerdicts {
        verdicts: vec![
            HostVerdict { host: "a.example.com".into(), tag: None, refused: None },
            HostVerdict { host: "b.example.com".into(), tag: None, refused: Some(taken) },
        ],
        urls: vec!["https://a.example.com".into()],
        ..HostVerdicts::default()
    };
    let (_, report) = world.step(&mut function, now());
    assert_eq!(said(&report.status, STALLED), "False/Progressing", "callers wait for the first revision");
    assert_eq!(said(&report.status, RECONCILING), "True/Proving");
    assert_eq!(report.status.urls, ["https://a.example.com"]);
    insta::assert_yaml_snapshot!("hosts", report.status.hosts);
    let conflict = report.news.iter().find(|news| news.reason == "HostConflict").unwrap();
    assert_eq!((conflict.warning, &conflict.revision), (true, &None));
    assert_eq!(conflict.note, "HostTaken: b.example.com: shop/hello has it");

    world.pods(FIRST, &[ready_pod()]);
    let (_, report) = world.step(&mut function, seconds(2));
    for type_ in [READY, ROUTES_READY] {
        assert_eq!(said(&report.status, type_), "False/HostTaken");
    }
    assert_eq!(said(&report.status, STALLED), "True/HostTaken");
    assert_eq!(said(&report.status, REVISION_READY), "True/Ready");
    assert_eq!(report.status.traffic.len(), 1, "it serves by its own name");
    assert!(!report.news.iter().any(|news| news.reason == "HostConflict"), "said once");

    world.hosts.verdicts.pop();
    let (_, report) = world.step(&mut function, seconds(3));
    assert_eq!(said(&report.status, READY), "True/Ready");
}

#[test]
fn without_an_address_of_the_activators_routes_are_not_ready() {
    let function = function(json!({}));
    let valid = validate(&function, crate::Observed::default(), Cluster::default(), now()).unwrap();
    let plan = advance(&valid, now());
    assert!(build(&valid, &plan).unwrap().endpoint_slices.is_empty());
    let report = report(&valid, &plan, &[], now());
    assert_eq!(said(&report.status, ROUTES_READY), "Unknown/ActivatorMissing");
}

#[test]
fn a_schedule_that_cannot_be_read_is_told_of_and_stops_nothing() {
    let schedule =
        |zone: &str| json!({ "cron": "0 7 * * 1-5", "timeZone": zone, "duration": "12h", "min": 2 });
    let scale = json!({ "scale": { "schedules": [schedule("Europe/Paris"), schedule("Europe/Atlantis")] } });
    let (mut world, mut function) = (World::default(), function(scale));
    world.step(&mut function, now());
    world.pods(FIRST, &[ready_pod()]);
    let (_, report) = world.step(&mut function, seconds(2));
    assert_eq!(said(&report.status, READY), "True/Ready");
    assert_eq!(said(&report.status, SCHEDULES_READY), "False/InvalidSchedule");
    let message = &find(&report.status.conditions, SCHEDULES_READY).unwrap().message;
    assert_eq!(message, "scale.schedules[1] never opens: `Europe/Atlantis` is no time zone");

    edit(&mut function, |function| function.spec.scale.schedules[1].time_zone = "UTC".into());
    let (_, report) = world.step(&mut function, seconds(3));
    assert_eq!(said(&report.status, SCHEDULES_READY), "True/Valid");
    edit(&mut function, |function| function.spec.scale.schedules.clear());
    let (_, report) = world.step(&mut function, seconds(4));
    assert!(find(&report.status.conditions, SCHEDULES_READY).is_none());
}

#[test]
fn another_autoscaler_at_a_deployment_is_told_of_while_it_is_there() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.step(&mut function, now());
    world.pods(FIRST, &[ready_pod()]);
    let other = |name: &str| PodAutoscaler { deployment: FIRST.into(), name: name.into() };
    world.pod_autoscalers = Some(vec![other("one"), other("two")]);
    let (_, report) = world.step(&mut function, seconds(2));
    assert_eq!(said(&report.status, SCALE_CONFLICT), "True/HorizontalPodAutoscaler");
    let message = &find(&report.status.conditions, SCALE_CONFLICT).unwrap().message;
    assert!(message.starts_with("the HorizontalPodAutoscaler one (and 1 more) is to scale"), "{message}");
    assert!(message.contains(FIRST), "{message}");
    assert_eq!(said(&report.status, READY), "True/Ready", "it serves all the same");
    assert_eq!(said(&report.status, STALLED), "False/Progressing");

    // An operator that begins does not know it yet.
    world.pod_autoscalers = None;
    let (_, again) = world.step(&mut function, seconds(3));
    assert_eq!(again.status, report.status);
    world.pod_autoscalers = Some(Vec::new());
    let (_, report) = world.step(&mut function, seconds(4));
    assert!(find(&report.status.conditions, SCALE_CONFLICT).is_none());
}
