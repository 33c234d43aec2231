//! Somebody changes what is written. What a webhook makes of it is settled with one write; what another controller adds is left
//! alone, and what it changes is put right, less and less often.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use super::bench::{Bench, FIRST, NAMESPACE};

/// Adds a container and a toleration to each Deployment, where they are not there yet.
fn inject(deployment: &mut Value) {
    let pod = &mut deployment["spec"]["template"]["spec"];
    let containers = pod["containers"].as_array_mut().unwrap();
    if !containers.iter().any(|it| it["name"] == "injected") {
        containers.push(json!({"name": "injected", "image": "example/injected:1"}));
    }
    pod["tolerations"] = json!([{"operator": "Exists"}]);
}

/// A Function that says something about a list without keys.
fn tolerant() -> Value {
    json!({"podTemplate": {"spec": {"tolerations": [{"key": "gpu"}]}}})
}

fn containers(bench: &Bench) -> Vec<String> {
    let pod = bench.deployment(&bench.revision()).unwrap().spec.unwrap().template.spec.unwrap();
    pod.containers.into_iter().map(|container| container.image.unwrap()).collect()
}

#[tokio::test]
async fn what_a_webhook_adds_to_a_new_deployment_is_left_alone() {
    let bench = Bench::new(&tolerant());
    bench.api.mutate("deployments", inject);
    bench.look().await.unwrap();
    bench.writes();
    for _ in 0..3 {
        bench.look().await.unwrap();
        assert_eq!(bench.writes(), [""; 0]);
    }
}

#[tokio::test]
async fn a_webhook_that_comes_later_costs_one_round_of_writes() {
    let bench = Bench::routed(&tolerant()).await;
    let revision = bench.revision();
    bench.api.mutate("deployments", inject);
    // Somebody writes for another reason, and the webhook adds its part.
    assert!(bench.api.edit::<Deployment>(NAMESPACE, &revision, inject));
    bench.look().await.unwrap();
    let deployment = format!("deployments/{revision}");
    assert_eq!(bench.writes(), [format!("APPLY {deployment}"), format!("PATCH {deployment}")]);
    for _ in 0..3 {
        bench.look().await.unwrap();
        assert_eq!(bench.writes(), [""; 0]);
    }
    assert_eq!(containers(&bench), ["example/hello:1", "example/injected:1"]);
}

#[tokio::test]
async fn what_a_controller_adds_to_a_list_with_keys_is_left_alone() {
    let bench = Bench::routed(&json!({})).await;
    assert!(bench.api.edit::<Deployment>(NAMESPACE, FIRST, |deployment| {
        inject(deployment);
        let pod = &mut deployment["spec"]["template"]["spec"];
        pod["volumes"] = json!([{"name": "injected", "emptyDir": {}}]);
        pod["containers"][0]["env"].as_array_mut().unwrap().insert(0, json!({"name": "INJECTED"}));
    }));
    for _ in 0..3 {
        bench.look().await.unwrap();
        assert_eq!(bench.writes(), [""; 0]);
    }
}

/// What the operator writes when another controller replaces the tolerations whenever they are others than its own.
async fn fight(bench: &Bench) -> usize {
    let revision = bench.revision();
    assert!(bench.api.edit::<Deployment>(NAMESPACE, &revision, |deployment| {
        deployment["spec"]["template"]["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    }));
    bench.look().await.unwrap();
    bench.writes().iter().filter(|write| write.contains(" deployments/")).count()
}

#[tokio::test(start_paused = true)]
async fn who_changes_a_deployment_again_and_again_is_answered_less_and_less_often() {
    let bench = Bench::routed(&tolerant()).await;
    for _ in 0..5 {
        assert_eq!(bench.said("RevisionReady"), "True/Ready");
        assert_eq!(fight(&bench).await, 1);
    }
    let conditions = bench.status().conditions;
    let told = conditions.iter().find(|it| it.type_ == "RevisionReady").unwrap();
    assert_eq!((&*told.status, &*told.reason), ("Unknown", "ChangedByOthers"));
    assert!(told.message.starts_with("spec.template.spec.tolerations[0]"), "{}", told.message);
    for _ in 0..20 {
        assert_eq!(fight(&bench).await, 0);
    }
    let mut writes = 0;
    for _ in 0..3600 / 30 {
        tokio::time::advance(Duration::from_secs(30)).await;
        writes += fight(&bench).await;
    }
    assert!((5..=10).contains(&writes), "{writes} in an hour: it is still put right");

    // The other one gives up.
    tokio::time::advance(Duration::from_secs(600)).await;
    bench.look().await.unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    bench.look().await.unwrap();
    assert_eq!(bench.said("RevisionReady"), "True/Ready");
    bench.writes();
    bench.look().await.unwrap();
    assert_eq!(bench.api.take_calls(), []);
}

#[tokio::test]
async fn a_real_difference_is_still_put_right_beside_a_webhooks() {
    let bench = Bench::new(&json!({}));
    bench.api.mutate("deployments", inject);
    bench.look().await.unwrap();
    bench.writes();
    assert!(bench.api.edit::<Deployment>(NAMESPACE, FIRST, |deployment| {
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    }));
    bench.look().await.unwrap();
    assert_eq!(containers(&bench), ["example/hello:1", "example/injected:1"]);
    bench.writes();
    bench.look().await.unwrap();
    assert_eq!(bench.writes(), [""; 0]);
}

#[tokio::test]
async fn a_value_that_the_api_server_writes_in_its_own_way_is_settled() {
    let bench = Bench::new(&json!({"podTemplate": {"spec": {"somethingNew": {"size": "1024Mi"}}}}));
    bench
        .api
        .mutate("deployments", |it| it["spec"]["template"]["spec"]["somethingNew"] = json!({"size": "1Gi"}));
    bench.look().await.unwrap();
    bench.writes();
    bench.look().await.unwrap();
    assert_eq!(bench.writes(), [""; 0]);
    // An edit of something else makes another revision, and settles anew.
    bench.edit_spec(|spec| spec["image"] = json!("example/hello:2"));
    bench.look().await.unwrap();
    bench.writes();
    bench.look().await.unwrap();
    assert_eq!(bench.writes(), [""; 0]);
}
