//! Objects of others, and an API server that says no.

use std::time::Duration;

use catnap_crds::RevisionState;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    core::v1::Service,
};
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use super::bench::{Bench, FIRST, NAMESPACE};

/// As deep as `serde_json` reads nothing any more, also not in the answer to the write of a status.
fn deep() -> Value {
    (0..200).fold(json!(1), |inner, _| json!({ "a": inner }))
}

fn service(owners: &Value) -> Service {
    serde_json::from_value(json!({
        "metadata": {"name": "hello", "namespace": NAMESPACE, "ownerReferences": owners},
        "spec": {"clusterIP": "10.96.0.99"},
    }))
    .unwrap()
}

#[tokio::test]
async fn a_foreign_service_is_untouched_and_told_of() {
    let bench = Bench::new(&json!({}));
    bench.api.insert(&service(&json!([])));
    let action = bench.look().await.unwrap();
    assert_ne!(action, Action::await_change(), "looked at again without an event");
    assert!(!bench.writes().contains(&"APPLY services/hello".to_owned()));
    assert_eq!(bench.said("Ready"), "False/ServiceNotOwned");
    assert_eq!(bench.said("Stalled"), "True/ServiceNotOwned");
    assert!(bench.deployment(FIRST).is_some(), "the rest goes on");

    bench.api.remove::<Service>(NAMESPACE, "hello");
    bench.look().await.unwrap();
    assert_eq!(bench.said("Stalled"), "False/Progressing");
}

#[tokio::test]
async fn an_earlier_functions_service_is_waited_for() {
    let bench = Bench::new(&json!({}));
    bench.api.insert(&service(&json!([{
        "apiVersion": "catnap.dev/v1alpha1", "kind": "Function", "name": "hello", "uid": "another", "controller": true,
    }])));
    bench.look().await.unwrap();
    assert!(!bench.writes().contains(&"APPLY services/hello".to_owned()));
    assert_eq!(bench.said("Reconciling"), "True/PredecessorLeaving");
    assert_eq!(bench.said("Stalled"), "False/Progressing");
}

#[tokio::test]
async fn a_foreign_deployment_is_untouched_and_told_of() {
    let bench = Bench::new(&json!({}));
    let foreign = json!({"metadata": {"name": FIRST, "namespace": NAMESPACE}, "spec": {"selector": {}, "template": {}}});
    bench.api.insert(&serde_json::from_value::<Deployment>(foreign).unwrap());
    let before = bench.deployment(FIRST);
    bench.look().await.unwrap();
    assert_eq!(bench.deployment(FIRST), before);
    assert_eq!(bench.said("Ready"), "False/DeploymentNotOwned");
}

#[tokio::test]
async fn a_template_that_is_nested_too_deep_is_told_of() {
    let bench = Bench::new(&json!({}));
    bench.edit_spec(|spec| spec["podTemplate"] = deep());
    bench.look().await.unwrap();
    assert_eq!(bench.said("Stalled"), "True/InvalidPodTemplate");
    assert!(!bench.writes().iter().any(|write| write.starts_with("POST deployments/")));
}

#[tokio::test]
async fn a_template_that_is_nested_too_deep_ends_the_proof_of_the_one_before() {
    let bench = Bench::routed(&json!({})).await;
    bench.edit_spec(|spec| spec["image"] = json!("example/hello:2"));
    bench.look().await.unwrap();
    let second = bench.revision();
    assert!(bench.deployment(&second).is_some());
    bench.edit_spec(|spec| spec["podTemplate"] = deep());
    bench.look().await.unwrap();
    assert_eq!(bench.said("Stalled"), "True/InvalidPodTemplate");
    assert!(bench.deployment(&second).is_none());
    assert_eq!(bench.status().traffic[0].revision, FIRST);
}

#[tokio::test]
async fn a_foreign_record_that_is_nested_too_deep_is_told_of() {
    let bench = Bench::new(&json!({}));
    let foreign = json!({"metadata": {"name": FIRST, "namespace": NAMESPACE}, "revision": 1, "data": deep()});
    bench.api.insert(&serde_json::from_value::<ControllerRevision>(foreign).unwrap());
    let action = bench.look().await.unwrap();
    assert_ne!(action, Action::await_change(), "looked at again without an event");
    assert_eq!(bench.said("Stalled"), "True/RevisionNameTaken");
    assert!(bench.deployment(FIRST).is_none());
    bench.api.remove::<ControllerRevision>(NAMESPACE, FIRST);
    bench.look().await.unwrap();
    assert_eq!(bench.said("Stalled"), "False/Progressing");
    assert!(bench.deployment(FIRST).is_some());
}

#[tokio::test]
async fn a_deployment_that_appears_in_this_moment_is_not_taken_over() {
    let bench = Bench::new(&json!({}));
    bench.api.fail_next("POST", "/deployments", 409, "AlreadyExists", "already exists");
    assert!(bench.look().await.is_err());
    assert_eq!(bench.failing(), 1);
    bench.look().await.unwrap();
    assert_eq!(bench.failing(), 0);
    assert!(bench.deployment(FIRST).is_some());
}

#[tokio::test]
async fn refusals_become_conditions_and_the_rest_is_tried_again() {
    for (code, reason, message, ready) in [
        (422, "Invalid", "spec.template: bad", Some("False/InvalidPodTemplate")),
        (400, "BadRequest", "strict decoding error: unknown field", Some("False/InvalidPodTemplate")),
        (
            500,
            "",
            "failed to create typed patch object (x): field not declared",
            Some("False/InvalidPodTemplate"),
        ),
        (403, "Forbidden", "exceeded quota: deployments", Some("Unknown/QuotaExceeded")),
        (403, "Forbidden", "policy says no", Some("Unknown/Forbidden")),
        (
            422,
            "Invalid",
            "ValidatingAdmissionPolicy 'x' with binding 'x' denied request: no",
            Some("Unknown/Forbidden"),
        ),
        (400, "BadRequest", "admission webhook \"x\" denied the request: no", Some("Unknown/Forbidden")),
        (409, "Conflict", "admission webhook \"x\" denied the request: no", Some("Unknown/Forbidden")),
        (500, "InternalError", "admission webhook \"x\" denied the request: no", Some("Unknown/Forbidden")),
        (500, "InternalError", "oops", None),
        (503, "ServiceUnavailable", "later", None),
        (429, "TooManyRequests", "later", None),
    ] {
        let bench = Bench::new(&json!({}));
        bench.api.fail_next("POST", "/deployments", code, reason, message);
        let looked = bench.look().await;
        assert_eq!(looked.is_ok(), ready.is_some(), "{code}");
        if let Some(ready) = ready {
            assert_eq!(bench.said("Ready"), ready);
        } else {
            assert_eq!(bench.failing(), 1, "{code}");
            assert_eq!(bench.proofs(), (0, 0), "{code}: it keeps no place");
        }
        bench.look().await.unwrap();
        assert!(bench.deployment(FIRST).is_some(), "{code}");
        assert_eq!(bench.failing(), 0);
    }
}

#[tokio::test]
async fn what_goes_while_it_is_looked_at_leaves_nothing_behind() {
    let bench = Bench::new(&json!({}));
    bench.watch();
    let function = bench.function();
    bench.delete_function(NAMESPACE, "hello");
    bench.api.fail_next("POST", "/deployments", 503, "ServiceUnavailable", "later");
    assert!(bench.look_at_as_it_was(function).await.is_err());
    assert_eq!((bench.failing(), bench.proofs()), (0, (0, 0)));
}

#[tokio::test]
async fn a_refused_service_is_told_of() {
    let bench = Bench::new(&json!({}));
    bench.api.fail_next("APPLY", "/services/hello", 422, "Invalid", "spec.ports: bad");
    bench.look().await.unwrap();
    assert_eq!(bench.said("Ready"), "False/InvalidService");
    assert_eq!(bench.said("Stalled"), "True/InvalidService");
    assert!(bench.deployment(FIRST).is_some(), "the rest goes on");
}

#[tokio::test]
async fn a_status_about_an_old_spec_is_not_written() {
    let bench = Bench::routed(&json!({})).await;
    bench.edit_spec(|spec| spec["scale"] = json!({"max": 3}));
    bench.api.fail_next("APPLY", "/status", 409, "Conflict", "the object has been modified");
    assert!(bench.look().await.is_err());
    bench.look().await.unwrap();
    assert_eq!(bench.status().observed_generation, Some(2));
}

#[tokio::test]
async fn an_api_server_that_cannot_be_read_stops_all_writing() {
    let bench = Bench::new(&json!({}));
    bench.api.fail_next("GET", "/services/hello", 503, "ServiceUnavailable", "later");
    assert!(bench.look().await.is_err());
    assert_eq!(bench.writes(), [""; 0]);
}

#[tokio::test]
async fn the_api_servers_words_about_a_template_reach_the_status() {
    let words = r#"strict decoding error: unknown field "spec.template.spec.volume""#;
    let bench = Bench::new(&json!({"podTemplate": {"spec": {"volume": []}}}));
    bench.api.fail_next("POST", "/deployments", 400, "BadRequest", words);
    bench.look().await.unwrap();
    for condition in ["Ready", "Stalled"] {
        let conditions = bench.status().conditions;
        let condition = conditions.into_iter().find(|it| it.type_ == condition).unwrap();
        assert_eq!(condition.reason, "InvalidPodTemplate");
        assert!(condition.message.contains(words), "{}", condition.message);
    }
}

#[tokio::test]
async fn a_template_that_contradicts_catnap_is_refused_before_anything_is_made_of_it() {
    let bench =
        Bench::new(&json!({"podTemplate": {"metadata": {"labels": {"catnap.dev/revision": "mine"}}}}));
    bench.look().await.unwrap();
    assert_eq!(bench.said("Ready"), "False/InvalidPodTemplate");
    assert_eq!(bench.said("Stalled"), "True/InvalidPodTemplate");
    let writes = bench.writes();
    assert!(
        !writes.iter().any(|it| it.contains("deployments/") || it.contains("controllerrevisions/")),
        "{writes:?}"
    );
}

/// A Function with a new revision that just took over, and the emptied Deployment of the one before.
async fn replaced() -> (Bench, String) {
    let bench = Bench::routed(&json!({})).await;
    bench.edit_spec(|spec| spec["image"] = json!("example/hello:2"));
    bench.look().await.unwrap();
    let second = bench.status().latest_created_revision.unwrap();
    bench.ready_pods(&second, 1);
    bench.look().await.unwrap();
    bench.pass_interval();
    bench.look().await.unwrap();
    bench.ready_pods(FIRST, 0);
    (bench, second)
}

fn state(bench: &Bench, revision: &str) -> Option<RevisionState> {
    bench.status().revisions.iter().find(|it| it.name == revision).map(|it| it.state)
}

#[tokio::test]
async fn a_deletion_that_is_refused_keeps_nothing_else_waiting() {
    let (bench, second) = replaced().await;
    let refuse = || bench.api.fail_next("DELETE", FIRST, 403, "Forbidden", "nothing is deleted here");
    refuse();
    bench.look().await.unwrap();
    assert_eq!(bench.said("RoutesReady"), "Unknown/Forbidden");
    assert_eq!(bench.said("RevisionReady"), "True/Ready");
    let conditions = bench.status().conditions;
    let words = &conditions.iter().find(|it| it.type_ == "RoutesReady").unwrap().message;
    assert!(words.contains(FIRST) && words.ends_with("nothing is deleted here"), "{words}");
    assert_eq!(state(&bench, FIRST), Some(RevisionState::Retiring), "the autoscaler keeps it empty");
    bench.writes();
    refuse();
    bench.look().await.unwrap();
    assert_eq!(bench.writes(), [format!("DELETE deployments/{FIRST}")], "nothing new to tell");

    bench.edit_spec(|spec| spec["image"] = json!("example/hello:3"));
    refuse();
    bench.look().await.unwrap();
    let third = bench.status().latest_created_revision.unwrap();
    assert_eq!(state(&bench, &third), Some(RevisionState::Proving));
    bench.ready_pods(&third, 1);
    refuse();
    bench.look().await.unwrap();
    assert_eq!(bench.status().traffic[0].revision, third);
    assert_eq!(state(&bench, &second), Some(RevisionState::Routed));

    bench.look().await.unwrap();
    assert!(bench.deployment(FIRST).is_none());
    assert_eq!(state(&bench, FIRST), None);
    assert_eq!(bench.said("RoutesReady"), "True/Routed");
}

#[tokio::test]
async fn a_deletion_that_fails_is_tried_again_after_the_status_was_written() {
    let (bench, _) = replaced().await;
    bench.edit_spec(|spec| spec["scale"] = json!({"max": 3}));
    bench.api.fail_next("DELETE", FIRST, 503, "ServiceUnavailable", "later");
    assert!(bench.look().await.is_err());
    assert_eq!(bench.failing(), 1);
    assert_eq!(bench.status().observed_generation, Some(3));
    assert_eq!(state(&bench, FIRST), Some(RevisionState::Retiring));
    bench.look().await.unwrap();
    assert!(bench.deployment(FIRST).is_none());
    assert_eq!(bench.failing(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_failing_is_told_of_and_keeps_no_place() {
    let bench = Bench::new(&json!({}));
    let words = "Internal error occurred: failed calling webhook \"x\": connection refused";
    let fail = || bench.api.fail_next("POST", "/deployments", 500, "InternalError", words);
    for _ in 0..3 {
        fail();
        assert!(bench.look().await.is_err());
        assert_eq!(bench.proofs(), (0, 0));
    }
    assert_eq!(bench.status().conditions, [], "it may be over in a moment");
    tokio::time::advance(Duration::from_secs(10)).await;
    for _ in 0..2 {
        fail();
        let action = bench.look().await.unwrap();
        assert_ne!(action, Action::await_change(), "looked at again without an event");
        assert_eq!(bench.said("RevisionReady"), "Unknown/WriteFailed");
        assert_eq!(bench.said("Reconciling"), "True/WriteFailed");
        let conditions = bench.status().conditions;
        assert!(conditions.iter().any(|it| it.message == words), "{conditions:?}");
        bench.watch_proofs();
        assert_eq!(bench.proofs(), (0, 0));
        assert_eq!(bench.failing(), 1);
    }
    assert!(bench.told().iter().any(|notice| notice.reason == "RevisionNotReady"));

    bench.look().await.unwrap();
    assert!(bench.deployment(FIRST).is_some());
    assert_eq!(bench.failing(), 0);
    assert_eq!(bench.said("RevisionReady"), "Unknown/Proving");
    bench.watch_proofs();
    assert_eq!(bench.proofs(), (1, 0));
}

#[tokio::test]
async fn without_a_record_there_is_no_deployment() {
    for (code, message, reason) in
        [(403, "exceeded quota: count/controllerrevisions.apps", "QuotaExceeded"), (403, "no", "Forbidden")]
    {
        let bench = Bench::new(&json!({}));
        bench.api.fail_next("POST", "/controllerrevisions", code, "Forbidden", message);
        bench.look().await.unwrap();
        assert_eq!(bench.said("RevisionReady"), format!("Unknown/{reason}"));
        assert!(bench.deployment(FIRST).is_none());
        bench.look().await.unwrap();
        assert!(bench.api.get::<ControllerRevision>(NAMESPACE, FIRST).is_some());
        assert!(bench.deployment(FIRST).is_some());
    }
}

#[tokio::test]
async fn what_is_wrong_with_another_revisions_deployment_does_not_concern_the_new_one() {
    let bench = Bench::routed(&json!({})).await;
    bench.edit_spec(|spec| spec["image"] = json!("example/hello:2"));
    bench.look().await.unwrap();
    assert!(bench.api.edit::<Deployment>(NAMESPACE, FIRST, |deployment| {
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    }));
    bench.api.fail_next("APPLY", FIRST, 403, "Forbidden", "policy says no");
    bench.look().await.unwrap();
    assert_eq!(bench.said("RevisionReady"), "Unknown/Proving");
    assert_eq!(bench.said("RoutesReady"), "Unknown/Forbidden");
}
