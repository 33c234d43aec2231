//! Somebody's webhook changes what is written: that is settled with one write, and not fought over.

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

fn containers(bench: &Bench) -> Vec<String> {
    let pod = bench.deployment(FIRST).unwrap().spec.unwrap().template.spec.unwrap();
    pod.containers.into_iter().map(|container| container.image.unwrap()).collect()
}

#[tokio::test]
async fn what_a_webhook_adds_to_a_new_deployment_is_left_alone() {
    let bench = Bench::new(&json!({"podTemplate": {"spec": {"tolerations": [{"key": "gpu"}]}}}));
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
    let bench = Bench::routed(&json!({})).await;
    bench.api.mutate("deployments", inject);
    // Somebody writes for another reason, and the webhook adds its part.
    assert!(bench.api.edit::<Deployment>(NAMESPACE, FIRST, inject));
    bench.look().await.unwrap();
    let deployment = format!("deployments/{FIRST}");
    assert_eq!(bench.writes(), [format!("APPLY {deployment}"), format!("PATCH {deployment}")]);
    for _ in 0..3 {
        bench.look().await.unwrap();
        assert_eq!(bench.writes(), [""; 0]);
    }
    assert_eq!(containers(&bench), ["example/hello:1", "example/injected:1"]);
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
