use super::*;
use serde_json::json;

fn covers(desired: &Value, live: &Value) -> bool {
    differs("", desired, live, false).is_none()
}

#[test]
fn defaults_and_foreign_fields_are_no_difference() {
    let desired =
        json!({"a": {"b": 1}, "env": [{"name": "A", "value": ""}], "resources": {"limits": {"cpu": "0.5"}}});
    let live = json!({"a": {"b": 1, "c": 2}, "env": [{"name": "A"}], "resources": {"limits": {"cpu": "500m"}}, "more": true});
    assert!(covers(&desired, &live));
}

#[test]
fn quantities_are_amounts_wherever_they_are() {
    let pod = |size: Value, divisor: Value, overhead: Value| {
        json!({
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": size}}], "overhead": {"cpu": overhead},
            "containers": [{"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"divisor": divisor}}}]}],
        })
    };
    let live = pod(json!("1Gi"), json!("1"), json!("500m"));
    assert!(covers(&pod(json!("1024Mi"), json!(1), json!(0.5)), &live));
    for other in [
        pod(json!("1025Mi"), json!("1"), json!("500m")),
        pod(json!("1Gi"), json!(2), json!("500m")),
        pod(json!("1Gi"), json!("1"), json!(0.25)),
    ] {
        assert!(!covers(&other, &live), "{other}");
    }
    // A text that only looks like an amount.
    assert!(!covers(&json!({"value": "1000"}), &json!({"value": "1e3"})));
}

#[test]
fn what_means_something_by_being_there_is_missed() {
    let volume = json!({"name": "v", "emptyDir": {}});
    assert!(covers(&volume, &json!({"name": "v", "emptyDir": {}})));
    assert!(!covers(&volume, &json!({"name": "v", "configMap": {"name": "c"}})));
    assert!(covers(&json!({"limits": {}, "nodeSelector": {}}), &json!({})));
}

#[test]
fn what_is_nobodys_business_is_not_part_of_what_is_stated_about() {
    let desired = json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "spec": {"a": 1}});
    let live = json!({
        "metadata": {"name": "a", "resourceVersion": "7", "labels": {"l": "1", "m": "2"}, "annotations": {"x": "y"}},
        "spec": {"a": 1, "replicas": 3, "more": 1}, "status": {"replicas": 3},
    });
    let stated = stated_about(&desired, &live);
    for change in [
        json!({"metadata": {"resourceVersion": "8"}}),
        json!({"metadata": {"labels": {"m": "3"}}}),
        json!({"metadata": {"annotations": {"x": "z"}}}),
        json!({"spec": {"replicas": 0}}),
        json!({"status": {"replicas": 0}}),
    ] {
        let changed = crate::merge::merge(live.clone(), change.clone()).unwrap();
        assert_eq!(stated_about(&desired, &changed), stated, "{change}");
    }
    for change in [json!({"metadata": {"labels": {"l": "2"}}}), json!({"spec": {"more": 2}})] {
        let changed = crate::merge::merge(live.clone(), change.clone()).unwrap();
        assert_ne!(stated_about(&desired, &changed), stated, "{change}");
    }
}

#[test]
fn labels_count_and_other_metadata_does_not() {
    let desired =
        json!({"metadata": {"name": "a", "labels": {"l": "1"}, "ownerReferences": [1]}, "spec": {}});
    assert!(in_sync(
        &desired,
        &json!({"metadata": {"labels": {"l": "1", "m": "2"}, "ownerReferences": [1, 2]}, "spec": {}})
    ));
    assert!(!in_sync(&desired, &json!({"metadata": {"labels": {"m": "2"}}, "spec": {}})));
    assert!(!in_sync(&desired, &json!({"metadata": {}, "spec": {}})));
}

#[test]
fn what_was_changed_removed_or_added_to_a_list_is() {
    let desired = json!({"a": {"b": 1}, "list": ["x"], "amount": "0.5"});
    for (live, path) in [
        (json!({"a": {"b": 2}, "list": ["x"], "amount": "0.5"}), "a.b"),
        (json!({"a": {}, "list": ["x"], "amount": "0.5"}), "a.b"),
        (json!({"a": {"b": 1}, "list": ["x", "y"], "amount": "0.5"}), "list"),
        (json!({"a": {"b": 1}, "list": ["z"], "amount": "0.5"}), "list[0]"),
        (json!({"a": {"b": 1}, "list": ["x"], "amount": "500m"}), "amount"),
        (json!({"a": {"b": 1}, "list": ["x"]}), "amount"),
    ] {
        assert_eq!(difference(&desired, &live).as_deref(), Some(path), "{live}");
    }
    let (desired, live) = (json!({"metadata": {"labels": {"l": "1"}}}), json!({"metadata": {}}));
    assert_eq!(difference(&desired, &live).as_deref(), Some("metadata.labels"));
}

#[test]
fn items_that_others_add_to_lists_with_keys_are_no_difference() {
    let pod = |env: Value, ports: Value, containers: &[Value]| {
        let ours = json!({"name": "function", "env": env, "ports": ports});
        let all = [&[ours][..], containers].concat();
        json!({"containers": all})
    };
    let (env, ports) = (
        json!([{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}]),
        json!([{"containerPort": 80}]),
    );
    let desired = pod(env.clone(), ports.clone(), &[json!({"name": "log", "args": ["x"]})]);
    let log = json!({"name": "log", "args": ["x"], "image": "i"});
    let more_env = json!([{"name": "A", "value": "1"}, {"name": "C"}, {"name": "B", "value": "$(A)"}]);
    let more_ports =
        json!([{"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP"}]);
    assert!(covers(&desired, &pod(more_env, more_ports, &[json!({"name": "injected"}), log.clone()])));

    let env_in_another_order = json!([{"name": "B", "value": "$(A)"}, {"name": "A", "value": "1"}]);
    let other_log = json!({"name": "log", "args": ["x", "y"]});
    for (live, path) in [
        (pod(env.clone(), ports.clone(), &[]), "containers[log]"),
        (pod(env_in_another_order, ports.clone(), std::slice::from_ref(&log)), "containers[function].env[B]"),
        (
            pod(json!([{"name": "A"}]), ports.clone(), std::slice::from_ref(&log)),
            "containers[function].env[A].value",
        ),
        (pod(env.clone(), json!([{"containerPort": 81}]), &[log]), "containers[function].ports[80]"),
        (pod(env, ports, &[other_log]), "containers[log].args"),
    ] {
        assert_eq!(differs("", &desired, &live, false).as_deref(), Some(path), "{live}");
    }
    // A Service's ports have other keys: whatever is added there would be an address of the Function's.
    let service = json!({"ports": [{"port": 80}]});
    assert!(!covers(&service, &json!({"ports": [{"port": 80}, {"port": 81}]})));
}
