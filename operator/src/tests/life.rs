//! A Function from its creation through a new revision, with every write.

use std::{sync::atomic::Ordering, time::Duration};

use catnap_crds::{Function, RevisionState};
use k8s_openapi::api::{apps::v1::ControllerRevision, core::v1::Service};
use serde_json::json;
use tokio::time::Instant;

use super::bench::{Bench, FIRST, NAMESPACE};
use crate::write::Class;

#[tokio::test]
async fn a_new_function_gets_its_objects_with_one_write_each() {
    let bench = Bench::new(&json!({"scale": {"initial": 2}}));
    bench.look().await.unwrap();
    let calls = bench.api.take_calls();
    let mut writes: Vec<_> = calls.iter().filter(|it| it.verb != "GET").map(ToString::to_string).collect();
    writes.sort();
    assert_eq!(
        writes,
        [
            "APPLY endpointslices/hello-ipv4",
            "APPLY functions/hello/status",
            "APPLY services/hello",
            &format!("POST controllerrevisions/{FIRST}"),
            &format!("POST deployments/{FIRST}"),
        ]
    );
    let made = calls.iter().find(|call| call.to_string() == format!("POST deployments/{FIRST}")).unwrap();
    assert_eq!(made.query, "fieldManager=catnap-initial-scale&fieldValidation=Strict");
    assert_eq!(made.body["spec"]["replicas"], 2);
    let told = bench.told();
    let [made] = told.as_slice() else { panic!("{told:#?}") };
    assert_eq!(
        (made.reason, made.revision.as_deref(), made.warning),
        ("RevisionCreated", Some(FIRST), false)
    );
    assert_eq!(bench.said("Ready"), "Unknown/Proving");
}

#[tokio::test]
async fn a_status_that_the_api_server_filled_in_is_as_none() {
    let bench = Bench::new(&json!({}));
    bench.api.edit::<Function>(NAMESPACE, "hello", |function| {
        function["status"] = json!({"observedGeneration": -1, "replicas": 0});
    });
    bench.look().await.unwrap();
    assert_eq!(bench.status().observed_generation, Some(1));
    assert_eq!(bench.said("Ready"), "Unknown/Proving");
}

#[tokio::test]
async fn a_function_at_rest_costs_no_call_at_all() {
    let bench = Bench::routed(&json!({})).await;
    for _ in 0..3 {
        bench.look().await.unwrap();
    }
    assert_eq!(bench.api.take_calls(), []);
    assert_eq!(bench.said("Ready"), "True/Ready");
}

#[tokio::test]
async fn a_revision_that_is_missing_is_not_asked_for_again_and_again() {
    let bench = Bench::routed(&json!({})).await;
    bench.edit_spec(|spec| spec["traffic"] = json!([{"revision": "hello-missing", "percent": 100}]));
    bench.look().await.unwrap();
    bench.look().await.unwrap();
    assert_eq!(bench.said("RoutesReady"), "False/RevisionMissing");
    bench.api.take_calls();
    bench.look().await.unwrap();
    assert_eq!(bench.api.take_calls(), []);
}

#[tokio::test]
async fn an_edit_rolls_over_without_a_gap_and_leaves_history() {
    let bench = Bench::routed(&json!({})).await;
    assert_eq!(bench.asked(), 0);
    bench.edit_spec(|spec| spec["image"] = json!("example/hello:2"));
    bench.look().await.unwrap();
    let second = bench.status().latest_created_revision.unwrap();
    assert_ne!(second, FIRST);
    assert_eq!(bench.status().traffic[0].revision, FIRST, "the old one serves");
    assert_eq!(bench.asked(), 1, "how its requests end is known when they come");
    bench.ready_pods(&second, 1);
    bench.look().await.unwrap();
    assert_eq!(bench.status().traffic[0].revision, second);
    bench.look().await.unwrap();
    bench.writes();
    bench.look().await.unwrap();
    assert_eq!(bench.writes(), [""; 0], "watching writes nothing");
    assert_eq!(bench.asked(), 1);
    bench.pass_interval();
    bench.look().await.unwrap();
    assert_eq!(bench.asked(), 0);
    let old = bench.status().revisions.into_iter().find(|revision| revision.name == FIRST).unwrap();
    assert_eq!(old.state, RevisionState::Retiring);

    bench.ready_pods(FIRST, 0);
    bench.writes();
    bench.look().await.unwrap();
    assert_eq!(
        bench.writes(),
        ["APPLY functions/hello/status".to_owned(), format!("DELETE deployments/{FIRST}")]
    );
    assert!(bench.deployment(FIRST).is_none());
    assert_eq!(bench.api.list::<ControllerRevision>(NAMESPACE).len(), 2);
    bench.look().await.unwrap();
    assert_eq!(bench.api.take_calls(), []);
}

#[tokio::test]
async fn what_is_known_of_requests_is_kept_until_the_end_of_a_rollout_is_told() {
    let bench = Bench::routed(&json!({})).await;
    bench.edit_spec(|spec| spec["image"] = json!("example/hello:2"));
    bench.look().await.unwrap();
    bench.ready_pods(&bench.revision(), 1);
    bench.look().await.unwrap();
    bench.pass_interval();
    bench.api.fail_next("APPLY", "/status", 409, "Conflict", "the object has been modified");
    assert!(bench.look().await.is_err());
    assert_eq!(bench.asked(), 1, "the next look judges again, by the same numbers");
    bench.look().await.unwrap();
    assert_eq!(bench.asked(), 0);
}

#[tokio::test]
async fn an_old_revision_that_is_scaled_up_meanwhile_is_not_deleted() {
    let bench = Bench::routed(&json!({})).await;
    bench.edit_spec(|spec| spec["image"] = json!("example/hello:2"));
    bench.look().await.unwrap();
    bench.ready_pods(&bench.status().latest_created_revision.unwrap(), 1);
    bench.look().await.unwrap();
    bench.pass_interval();
    bench.look().await.unwrap();
    bench.ready_pods(FIRST, 0);
    bench.watch();
    bench.ready_pods(FIRST, 1);
    assert!(bench.look_with_old_caches().await.is_err());
    assert!(bench.deployment(FIRST).is_some());
}

#[tokio::test]
async fn going_back_writes_no_new_record_but_the_number_of_the_old_one() {
    let bench = Bench::routed(&json!({})).await;
    let record = || bench.api.get::<ControllerRevision>(NAMESPACE, FIRST).unwrap();
    let before = record();
    bench.edit_spec(|spec| spec["image"] = json!("example/hello:2"));
    bench.look().await.unwrap();
    bench.ready_pods(&bench.status().latest_created_revision.unwrap(), 1);
    bench.look().await.unwrap();
    bench.pass_interval();
    bench.look().await.unwrap();
    bench.ready_pods(FIRST, 0);
    bench.look().await.unwrap();
    bench.writes();
    bench.edit_spec(|spec| spec["image"] = json!("example/hello:1"));
    bench.look().await.unwrap();
    assert_eq!(
        bench.writes(),
        [
            format!("APPLY controllerrevisions/{FIRST}"),
            "APPLY functions/hello/status".to_owned(),
            format!("POST deployments/{FIRST}"),
        ]
    );
    let after = record();
    assert_eq!((before.revision, after.revision), (1, 3));
    assert_eq!((before.data, before.metadata.annotations), (after.data, after.metadata.annotations));
}

#[tokio::test]
async fn what_never_took_a_request_is_deleted_with_its_pods_when_an_edit_replaces_it() {
    let bench = Bench::routed(&json!({})).await;
    bench.edit_spec(|spec| spec["image"] = json!("example/hello:2"));
    bench.look().await.unwrap();
    let second = bench.status().latest_created_revision.unwrap();
    bench.edit_spec(|spec| spec["image"] = json!("example/hello:3"));
    bench.writes();
    bench.look().await.unwrap();
    let third = bench.status().latest_created_revision.unwrap();
    assert_eq!(
        bench.writes(),
        [
            "APPLY functions/hello/status".to_owned(),
            format!("DELETE deployments/{second}"),
            format!("POST controllerrevisions/{third}"),
            format!("POST deployments/{third}"),
        ]
    );
    assert_eq!(bench.status().traffic[0].revision, FIRST);
}

#[tokio::test]
async fn nothing_is_deleted_at_once_by_an_old_view_of_the_function() {
    let bench = Bench::routed(&json!({})).await;
    bench.edit_spec(|spec| spec["image"] = json!("example/hello:2"));
    bench.look().await.unwrap();
    let second = bench.status().latest_created_revision.unwrap();
    bench.edit_spec(|spec| spec["image"] = json!("example/hello:3"));
    let old = bench.function();
    bench.api.edit::<catnap_crds::Function>(NAMESPACE, "hello", |function| {
        function["metadata"]["annotations"] = json!({"changed": "meanwhile"});
    });
    bench.watch();
    let outdated = bench.look_by(old).await.unwrap_err();
    assert_eq!(outdated.class(), Some(Class::Conflict), "somebody was faster: {outdated}");
    assert!(bench.deployment(&second).is_some());
}

#[tokio::test]
async fn scaling_and_other_edits_make_no_revision() {
    let bench = Bench::routed(&json!({})).await;
    bench.edit_spec(|spec| {
        spec["scale"] = json!({"max": 7});
        spec["queue"] = json!({"maxRequests": 5});
        spec["timeouts"] =
            json!({"activation": "5s", "firstByte": "1s", "request": "1m", "inactivity": "9s"});
    });
    bench.look().await.unwrap();
    assert_eq!(bench.writes(), ["APPLY functions/hello/status"], "the observed generation");
}

#[tokio::test]
async fn who_does_not_lead_writes_nothing() {
    let bench = Bench::new(&json!({}));
    bench.leads.store(false, Ordering::Relaxed);
    assert!(bench.look().await.is_err());
    assert_eq!(bench.writes(), [""; 0]);
    assert_eq!(bench.failing(), 0, "no failure to wait for");
    bench.leads.store(true, Ordering::Relaxed);
    bench.look().await.unwrap();
    assert!(bench.api.get::<Service>(NAMESPACE, "hello").is_some());
}

#[tokio::test(start_paused = true)]
async fn events_without_room_hold_up_only_the_first_look() {
    let bench = Bench::new(&json!({}));
    bench.fill_notices();
    let start = Instant::now();
    bench.look().await.unwrap();
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(6), "{waited:?}");
    for image in ["example/hello:2", "example/hello:3"] {
        bench.edit_spec(|spec| spec["image"] = json!(image));
        bench.look().await.unwrap();
    }
    assert_eq!(start.elapsed(), waited);
}
