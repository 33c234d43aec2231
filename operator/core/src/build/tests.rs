use serde_json::json;

use super::*;
use crate::fixtures::{FIRST, World, cluster, edit, function, now, ready_pod, seconds, stored_record};
use crate::{Observed, advance, in_sync, validate};

#[test]
fn the_smallest_function_becomes_these_objects() {
    let function = function(json!({}));
    let valid = validate(&function, Observed::default(), cluster(), now()).unwrap();
    let resources = build(&valid, &advance(&valid, now())).unwrap();
    insta::assert_yaml_snapshot!("controller_revision", resources.controller_revision.unwrap());
    insta::assert_yaml_snapshot!("deployment", resources.deployments[0].deployment);
    insta::assert_yaml_snapshot!("service", resources.services[0]);
    insta::assert_yaml_snapshot!("endpoint_slices", resources.endpoint_slices);
    assert_eq!(resources.deployments[0].replicas_when_created, 1);
    assert!(resources.obsolete.is_empty());
}

#[test]
fn what_tools_write_on_a_function_stays_there() {
    let mut function = function(json!({"traffic": [{"latest": true, "tag": "next"}]}));
    let mark = ("app.kubernetes.io/instance".to_owned(), "of-a-tool".to_owned());
    function.metadata.labels = Some([mark.clone()].into());
    function.metadata.annotations = Some([mark].into());
    let valid = validate(&function, Observed::default(), cluster(), now()).unwrap();
    let resources = build(&valid, &advance(&valid, now())).unwrap();
    assert!(resources.controller_revision.is_some() && resources.deployments.len() == 1);
    // A tool would take what carries its label and is not in Git for something to delete.
    let all = format!("{resources:?}");
    assert!(!all.contains("of-a-tool"), "{all}");
}

#[test]
fn every_field_reaches_the_pod() {
    let function = function(json!({
        "imagePullPolicy": "Never", "command": ["/serve"], "args": ["--fast"], "port": 9000, "protocol": "HTTP1",
        "env": [{"name": "GREETING", "value": "$(PORT)"}, {"name": "PORT", "value": "1"}],
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "resources": {"limits": {"memory": "64Mi"}}, "terminationGracePeriodSeconds": 5,
        "readiness": {"path": "/ready"}, "concurrency": {"limit": 3},
    }));
    insta::assert_yaml_snapshot!("record", stored_record(&function));
}

#[test]
fn h2c_is_probed_by_its_port() {
    let record = stored_record(&function(json!({"protocol": "H2C", "readiness": {"path": "/ready"}})));
    let container = &record.template["spec"]["containers"][0];
    assert_eq!(container["readinessProbe"]["tcpSocket"]["port"], 8080);
    assert_eq!(record.readiness_path, "/ready", "the activator asks for it");
}

#[test]
fn a_restricted_namespace_gets_what_it_demands() {
    let mut facts = cluster();
    facts.restricted = true;
    let valid = validate(&function(json!({})), Observed::default(), facts, now()).unwrap();
    let pod = &valid.current.unwrap().record.template["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["containers"][0]["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
}

#[test]
fn a_deleted_deployment_comes_back_from_its_record_at_the_floor() {
    for (min, replicas) in [(0, 0), (2, 2)] {
        let (mut world, mut function) = (World::default(), function(json!({"scale": {"min": min}})));
        world.step(&mut function, now());
        let made = stored_record(&function).template;
        world.pods(FIRST, &[ready_pod(), ready_pod()]);
        world.step(&mut function, now());
        world.observed.deployments.clear();
        world.observed.pods.clear();
        let valid = world.validated(&function);
        let again = &build(&valid, &advance(&valid, now())).unwrap().deployments[0];
        assert_eq!(again.deployment.spec["template"], made);
        assert_eq!(again.replicas_when_created, replicas);
    }
}

#[test]
fn history_is_kept_up_to_its_limit() {
    let (mut world, mut function) =
        (World::default(), function(json!({"revisionHistoryLimit": 2, "scale": {"initial": 0}})));
    for version in 1..=6 {
        edit(&mut function, |function| function.spec.image = format!("example/hello:{version}"));
        let began = i64::from(version) * 100;
        let (plan, _) = world.step(&mut function, seconds(began));
        let name = plan.latest_ready.unwrap();
        world.pods(&name, &[ready_pod()]);
        for moment in [1, 61, 62] {
            world.step(&mut function, seconds(began + moment));
        }
        world.pods(&name, &[]);
    }
    let mut kept: Vec<_> = world.observed.controller_revisions.iter().map(|stored| stored.revision).collect();
    kept.sort_unstable();
    assert_eq!(kept, [4, 5, 6]);
    assert_eq!(world.observed.deployments.len(), 1);
}

#[test]
fn another_ones_record_does_not_count_in_the_history() {
    let (mut world, mut function) = (World::default(), function(json!({})));
    world.step(&mut function, now());
    let mut foreign = world.record(FIRST).unwrap().clone();
    foreign.metadata.name = Some("hello-foreign".into());
    foreign.metadata.owner_references = None;
    foreign.revision = i64::MAX;
    world.observed.controller_revisions.push(std::sync::Arc::new(foreign.clone()));
    let made = |world: &World, function: &catnap_crds::Function| {
        let valid = world.validated(function);
        build(&valid, &advance(&valid, now())).unwrap().controller_revision
    };
    assert_eq!(made(&world, &function), None, "the newest of its own");
    edit(&mut function, |function| function.spec.image = "example/hello:2".into());
    assert_eq!(made(&world, &function).unwrap().revision, 2);

    // One of the Function's own to which somebody gave the last number that there is.
    foreign.metadata.owner_references.clone_from(&world.record(FIRST).unwrap().metadata.owner_references);
    *world.observed.controller_revisions.last_mut().unwrap() = std::sync::Arc::new(foreign);
    assert_eq!(made(&world, &function).unwrap().revision, i64::MAX);
}

#[test]
fn both_families_are_served_and_a_vanished_one_is_removed() {
    let function = function(json!({}));
    let mut facts = cluster();
    facts.activator_addresses.push("fd00::1".parse().unwrap());
    let valid = validate(&function, Observed::default(), facts, now()).unwrap();
    let slices = build(&valid, &advance(&valid, now())).unwrap().endpoint_slices;
    assert_eq!(slices.iter().map(|slice| slice.address_type.as_str()).collect::<Vec<_>>(), ["IPv4", "IPv6"]);

    let observed = Observed {
        endpoint_slices: slices.into_iter().map(std::sync::Arc::new).collect(),
        ..Observed::default()
    };
    let valid = validate(&function, observed.clone(), cluster(), now()).unwrap();
    let obsolete = build(&valid, &advance(&valid, now())).unwrap().obsolete;
    assert_eq!(obsolete, [Obsolete::EndpointSlice { name: "hello-ipv6".into(), uid: String::new() }]);

    let valid = validate(&function, observed, crate::Cluster::default(), now()).unwrap();
    assert!(build(&valid, &advance(&valid, now())).unwrap().obsolete.is_empty(), "the last good ones stay");
}

#[test]
fn what_was_built_is_in_sync_with_itself() {
    let valid = validate(&function(json!({})), Observed::default(), cluster(), now()).unwrap();
    let resources = build(&valid, &advance(&valid, now())).unwrap();
    let desired = serde_json::to_value(&resources.deployments[0].deployment).unwrap();
    let mut live = desired.clone();
    live["spec"]["replicas"] = json!(7);
    live["metadata"]["uid"] = json!("u");
    assert!(in_sync(&desired, &live));
    live["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    assert!(!in_sync(&desired, &live));
}

/// The plan of a Function whose revision has these tags besides all requests.
fn tagged(tags: &[&str]) -> crate::Plan {
    let share = |percent, tag: Option<&&str>| catnap_crds::TrafficStatus {
        revision: FIRST.into(),
        percent,
        latest: true,
        tag: tag.map(|tag| (*tag).to_owned()),
    };
    let shares = std::iter::once(share(100, None)).chain(tags.iter().map(|tag| share(0, Some(tag))));
    crate::Plan { traffic: shares.collect(), ..crate::Plan::default() }
}

#[test]
fn a_tag_has_a_service_of_its_own_until_it_is_gone() {
    let function = function(json!({}));
    let mut world = World::default();
    let resources = build(&world.validated(&function), &tagged(&["next", "old"])).unwrap();
    let names: Vec<_> = resources.services.iter().map(|it| it.metadata.name.clone().unwrap()).collect();
    assert_eq!(names, ["hello", "next-hello", "old-hello"]);
    insta::assert_yaml_snapshot!("tag_service", resources.services[1]);
    insta::assert_yaml_snapshot!("tag_slice", resources.endpoint_slices[1]);

    let all = |resources: Resources| {
        let services = resources.services.into_iter().map(std::sync::Arc::new).collect();
        (services, resources.endpoint_slices.into_iter().map(std::sync::Arc::new).collect())
    };
    (world.observed.services, world.observed.endpoint_slices) = all(resources);
    let valid = world.validated(&function);
    assert_eq!(build(&valid, &tagged(&["next", "old"])).unwrap().obsolete, []);
    let obsolete = build(&valid, &tagged(&["old"])).unwrap().obsolete;
    let slice = Obsolete::EndpointSlice { name: "next-hello-ipv4".into(), uid: String::new() };
    let service = Obsolete::Service { name: "next-hello".into(), uid: String::new() };
    assert_eq!(obsolete, [slice, service]);

    // A Function of that name comes first.
    world.hosts.taken_tags = ["next".to_owned()].into();
    let resources = build(&world.validated(&function), &tagged(&["next", "old"])).unwrap();
    assert_eq!(resources.obsolete, obsolete);
    assert_eq!((resources.services.len(), resources.endpoint_slices.len()), (2, 2));
}
