//! What somebody deletes or edits comes back, and nothing else is touched.

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    core::v1::Service,
    discovery::v1::EndpointSlice,
};
use serde_json::{Value, json};

use super::bench::{Bench, FIRST, NAMESPACE};

#[tokio::test]
async fn a_deleted_child_comes_back() {
    type Remove = fn(&Bench) -> bool;
    let cases: [(Remove, String); 4] = [
        (|bench| bench.api.remove::<Service>(NAMESPACE, "hello"), "APPLY services/hello".to_owned()),
        (
            |bench| bench.api.remove::<EndpointSlice>(NAMESPACE, "hello-ipv4"),
            "APPLY endpointslices/hello-ipv4".to_owned(),
        ),
        (
            |bench| bench.api.remove::<ControllerRevision>(NAMESPACE, FIRST),
            format!("POST controllerrevisions/{FIRST}"),
        ),
        (|bench| bench.api.remove::<Deployment>(NAMESPACE, FIRST), format!("POST deployments/{FIRST}")),
    ];
    for (remove, write) in cases {
        let bench = Bench::routed(&json!({})).await;
        assert!(remove(&bench), "{write}");
        bench.look().await.unwrap();
        let mut writes = bench.writes();
        // Without its Deployment the Function counts no replicas.
        writes.retain(|other| other != "APPLY functions/hello/status");
        assert_eq!(writes, [write]);
        bench.look().await.unwrap();
        assert_eq!(bench.said("Ready"), "True/Ready");
    }
}

#[tokio::test]
async fn a_deleted_deployment_comes_back_at_the_floor() {
    for (min, replicas) in [(0, 0), (1, 1)] {
        let bench = Bench::routed(&json!({"scale": {"min": min}})).await;
        let before = bench.deployment(FIRST).unwrap().spec.unwrap();
        bench.api.remove::<Deployment>(NAMESPACE, FIRST);
        bench.look().await.unwrap();
        let after = bench.deployment(FIRST).unwrap().spec.unwrap();
        assert_eq!(after.replicas, Some(replicas));
        assert_eq!(after.template, before.template);
    }
}

#[tokio::test]
async fn a_deployment_deleted_behind_the_caches_is_a_conflict_and_no_new_one() {
    let bench = Bench::routed(&json!({})).await;
    bench
        .api
        .edit::<Deployment>(NAMESPACE, FIRST, |it| it["spec"]["template"]["spec"]["containers"] = json!([]));
    bench.watch();
    bench.api.remove::<Deployment>(NAMESPACE, FIRST);
    assert!(bench.look_with_old_caches().await.is_err());
    assert!(bench.deployment(FIRST).is_none(), "an apply would have made it with one replica");
    bench.look().await.unwrap();
    assert_eq!(bench.deployment(FIRST).unwrap().spec.unwrap().replicas, Some(0));
}

#[tokio::test]
async fn an_edited_child_is_put_right_and_its_scale_is_left_alone() {
    type Edit = fn(&mut Value);
    let edits: [Edit; 3] = [
        |it| it["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other"),
        |it| it["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(1),
        |it| {
            it["metadata"]["labels"].as_object_mut().unwrap().remove("catnap.dev/revision");
        },
    ];
    for edit in edits {
        let bench = Bench::routed(&json!({})).await;
        let before = bench.deployment(FIRST).unwrap();
        bench.api.edit::<Deployment>(NAMESPACE, FIRST, |deployment| {
            edit(deployment);
            deployment["spec"]["replicas"] = json!(4);
        });
        bench.look().await.unwrap();
        let calls = bench.api.take_calls();
        let apply = calls.iter().find(|call| call.path.ends_with(FIRST)).unwrap();
        assert_eq!(apply.verb, "APPLY");
        assert_eq!(apply.query, "&force=true&fieldManager=catnap-operator&fieldValidation=Strict");
        assert_eq!(apply.body["spec"].get("replicas"), None);
        assert_eq!(apply.body["metadata"]["uid"], json!(before.metadata.uid));
        let after = bench.deployment(FIRST).unwrap();
        assert_eq!(after.metadata.labels, before.metadata.labels);
        assert_eq!(after.spec.as_ref().unwrap().template, before.spec.unwrap().template);
        assert_eq!(after.spec.unwrap().replicas, Some(4));
    }
}

#[tokio::test]
async fn a_child_without_our_label_is_still_found() {
    let bench = Bench::routed(&json!({})).await;
    bench.api.edit::<Service>(NAMESPACE, "hello", |service| service["metadata"]["labels"] = json!({}));
    bench.look().await.unwrap();
    assert_eq!(bench.writes(), ["APPLY services/hello"]);
    bench.look().await.unwrap();
    assert_eq!(bench.api.take_calls(), []);
}

#[tokio::test]
async fn what_others_add_is_left_alone() {
    let bench = Bench::routed(&json!({})).await;
    bench.api.edit::<Deployment>(NAMESPACE, FIRST, |deployment| {
        deployment["metadata"]["annotations"] = json!({"team": "a"});
        deployment["spec"]["paused"] = json!(false);
        deployment["spec"]["template"]["spec"]["dnsPolicy"] = json!("ClusterFirst");
    });
    bench.look().await.unwrap();
    assert_eq!(bench.api.take_calls(), []);
}

#[tokio::test]
async fn where_an_apply_is_in_its_own_way_the_list_is_replaced() {
    let bench = Bench::routed(&json!({})).await;
    bench.api.edit::<Service>(NAMESPACE, "hello", |service| service["spec"]["ports"][0]["port"] = json!(81));
    bench.api.fail_next("APPLY", "/services/hello", 422, "Invalid", "spec.ports[1].name: Duplicate value");
    bench.look().await.unwrap();
    assert_eq!(bench.writes(), ["APPLY services/hello", "PATCH services/hello"]);
    assert_eq!(
        bench.api.get::<Service>(NAMESPACE, "hello").unwrap().spec.unwrap().ports.unwrap()[0].port,
        80
    );
}

#[tokio::test]
async fn another_autoscaler_is_told_of_and_nothing_else_is_written() {
    let bench = Bench::routed(&json!({})).await;
    bench.watch_scalers(&[("other", FIRST), ("stranger", "elsewhere")]);
    bench.look().await.unwrap();
    assert_eq!(bench.said("ScaleConflict"), "True/HorizontalPodAutoscaler");
    assert_eq!(bench.writes(), ["APPLY functions/hello/status"]);
    bench.look().await.unwrap();
    assert_eq!(bench.writes(), [""; 0]);
    bench.watch_scalers(&[]);
    bench.look().await.unwrap();
    assert!(!bench.status().conditions.iter().any(|it| it.type_ == "ScaleConflict"));
}
