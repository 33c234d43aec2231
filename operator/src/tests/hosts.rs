//! Hosts and tags over whole reconciliations: who gets what, what the others are told, and who is looked at again.

use catnap_crds::{Function, FunctionStatus, HostStatus, labels};
use catnap_operator_core::Claims;
use catnap_runtime::events::Notice;
use catnap_testkit::FakeApi;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice, events::v1::Event};
use serde_json::{Value, json};

use super::bench::{Bench, NAMESPACE};

/// A Function that takes traffic without a pod, made in this second.
fn insert(api: &FakeApi, namespace: &str, name: &str, second: u32, http: &Value) {
    let function = json!({
        "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
        "spec": {"image": "example/hello:1", "scale": {"initial": 0}, "http": http},
    });
    api.insert(&serde_json::from_value::<Function>(function).unwrap());
}

fn open() -> Bench {
    let bench = Bench::with(FakeApi::default(), Claims::Open);
    for namespace in ["a", "b", "c"] {
        bench.namespace(namespace, None);
    }
    bench
}

fn status(bench: &Bench, namespace: &str, name: &str) -> FunctionStatus {
    bench.api.get::<Function>(namespace, name).unwrap().status.unwrap_or_default()
}

/// `+host` or `-host Reason`.
fn hosts(bench: &Bench, namespace: &str, name: &str) -> Vec<String> {
    let told = status(bench, namespace, name).hosts.into_iter();
    told.map(
        |HostStatus { host, accepted, reason, .. }| {
            if accepted { format!("+{host}") } else { format!("-{host} {reason}") }
        },
    )
    .collect()
}

fn said(bench: &Bench, namespace: &str, name: &str, type_: &str) -> String {
    let conditions = status(bench, namespace, name).conditions;
    let condition = conditions.iter().find(|it| it.type_ == type_).unwrap();
    format!("{}/{}", condition.status, condition.reason)
}

fn conflicts(bench: &Bench, namespace: &str) -> usize {
    let told = bench.told();
    let conflict = |it: &&Notice| it.reason == "HostConflict" && &*it.subject.namespace == namespace;
    told.iter().filter(conflict).count()
}

#[tokio::test]
async fn who_comes_second_is_told_and_serves_by_its_own_name() {
    let bench = open();
    insert(&bench.api, "a", "one", 1, &json!({"hosts": ["shop.example.org"]}));
    insert(&bench.api, "b", "two", 2, &json!({"hosts": ["shop.example.org", "other.example.org"]}));
    bench.look_at("a", "one").await.unwrap();
    bench.look_at("b", "two").await.unwrap();
    assert_eq!(hosts(&bench, "a", "one"), ["+shop.example.org"]);
    assert_eq!(status(&bench, "a", "one").urls, ["https://shop.example.org"]);
    assert_eq!(said(&bench, "a", "one", "Stalled"), "False/Progressing");

    assert_eq!(hosts(&bench, "b", "two"), ["-shop.example.org HostTaken", "+other.example.org"]);
    for type_ in ["Ready", "RoutesReady"] {
        assert_eq!(said(&bench, "b", "two", type_), "False/HostTaken");
    }
    assert_eq!(said(&bench, "b", "two", "Stalled"), "True/HostTaken");
    assert_eq!(status(&bench, "b", "two").traffic.len(), 1, "it serves");
    assert_eq!(status(&bench, "b", "two").url.as_deref(), Some("http://two.b"));
    assert_eq!(conflicts(&bench, "b"), 1);

    bench.api.take_calls();
    bench.look_at("b", "two").await.unwrap();
    assert_eq!((bench.writes(), conflicts(&bench, "b")), (vec![], 1), "told once");
    assert!(bench.settle().await.is_empty());
}

#[tokio::test]
async fn trouble_that_comes_and_goes_is_one_event_a_minute_and_a_count() {
    let bench = open();
    let http = json!({"hosts": ["x.example.org"]});
    insert(&bench.api, "a", "one", 1, &http);
    insert(&bench.api, "b", "two", 2, &http);
    bench.look_at("a", "one").await.unwrap();
    for http in [&json!({}), &http, &json!({}), &http, &json!({}), &http] {
        bench.api.edit::<Function>("b", "two", |function| function["spec"]["http"] = http.clone());
        bench.look_at("b", "two").await.unwrap();
    }
    assert_eq!(conflicts(&bench, "b"), 3);
    bench.publish().await;
    let mut events = bench.api.list::<Event>("b");
    events.retain(|event| event.reason.as_deref() == Some("HostConflict"));
    let notes: Vec<_> = events.into_iter().filter_map(|event| event.note).collect();
    let [first, last] = notes.as_slice() else { panic!("{notes:#?}") };
    assert_eq!(*last, format!("{first} (the last of 2 within a minute)"));
}

#[tokio::test]
async fn a_host_that_is_given_up_goes_to_the_oldest_who_waits() {
    let bench = open();
    insert(&bench.api, "a", "one", 1, &json!({"hosts": ["*.example.org"]}));
    insert(&bench.api, "b", "third", 3, &json!({"hosts": ["x.example.org"]}));
    insert(&bench.api, "c", "second", 2, &json!({"hosts": ["*.x.example.org", "x.example.org"]}));
    for (namespace, name) in [("a", "one"), ("b", "third"), ("c", "second")] {
        bench.look_at(namespace, name).await.unwrap();
    }
    assert_eq!(hosts(&bench, "c", "second"), ["-*.x.example.org HostTaken", "-x.example.org HostTaken"]);

    bench.api.edit::<Function>("a", "one", |function| function["spec"]["http"] = json!({}));
    bench.look_at("a", "one").await.unwrap();
    assert_eq!(bench.settle().await, ["b/third", "c/second"]);
    assert_eq!(hosts(&bench, "c", "second"), ["+*.x.example.org", "+x.example.org"]);
    assert_eq!(hosts(&bench, "b", "third"), ["-x.example.org HostTaken"]);

    bench.delete_function("c", "second");
    assert_eq!(bench.settle().await, ["b/third"]);
    assert_eq!(hosts(&bench, "b", "third"), ["+x.example.org"]);
    assert_eq!(said(&bench, "b", "third", "Ready"), "True/Unproven");
}

#[tokio::test]
async fn a_function_that_is_made_again_waits_behind_the_others() {
    let bench = open();
    let http = json!({"hosts": ["x.example.org"]});
    insert(&bench.api, "a", "one", 1, &http);
    insert(&bench.api, "b", "two", 2, &http);
    bench.look_at("a", "one").await.unwrap();
    bench.look_at("b", "two").await.unwrap();
    bench.delete_function("a", "one");
    insert(&bench.api, "a", "one", 3, &http);
    bench.look_at("a", "one").await.unwrap();
    bench.settle().await;
    assert_eq!(hosts(&bench, "a", "one"), ["-x.example.org HostTaken"]);
    assert_eq!(hosts(&bench, "b", "two"), ["+x.example.org"]);
}

#[tokio::test]
async fn a_function_that_is_gone_in_this_moment_claims_nothing() {
    let bench = open();
    insert(&bench.api, "a", "one", 1, &json!({"hosts": ["x.example.org"]}));
    insert(&bench.api, "b", "two", 2, &json!({"hosts": ["x.example.org"]}));
    bench.watch();
    let gone = bench.api.get::<Function>("a", "one").unwrap();
    bench.delete_function("a", "one");
    assert!(bench.look_at_as_it_was(gone).await.is_err(), "its status has no place any more");
    bench.look_at("b", "two").await.unwrap();
    assert_eq!(hosts(&bench, "b", "two"), ["+x.example.org"]);
}

#[tokio::test]
async fn an_administrator_allows_and_withdraws() {
    let bench = Bench::with(FakeApi::default(), Claims::Restricted);
    bench.namespace("a", None);
    insert(&bench.api, "a", "one", 1, &json!({"hosts": ["shop.example.org"]}));
    insert(&bench.api, "a", "none", 1, &json!({}));
    bench.look_at("a", "one").await.unwrap();
    assert_eq!(hosts(&bench, "a", "one"), ["-shop.example.org HostNotAllowed"]);
    assert_eq!(said(&bench, "a", "one", "Stalled"), "True/HostNotAllowed");
    let message = &status(&bench, "a", "one").hosts[0].message;
    assert!(message.contains(labels::HOST_SUFFIXES), "{message}");

    bench.namespace("a", Some("example.org"));
    assert_eq!(bench.settle().await, ["a/one"], "whoever claims a host, and nobody else");
    assert_eq!(hosts(&bench, "a", "one"), ["+shop.example.org"]);
    bench.namespace("a", Some("example.org"));
    assert!(bench.settle().await.is_empty(), "nothing changed");
    bench.namespace("a", Some("example.net"));
    bench.settle().await;
    assert_eq!(hosts(&bench, "a", "one"), ["-shop.example.org HostNotAllowed"]);
}

#[tokio::test]
async fn a_name_that_becomes_one_of_the_cluster_is_claimed_by_nobody_else() {
    let bench = open();
    insert(&bench.api, "a", "one", 1, &json!({"hosts": ["hello.late"]}));
    insert(&bench.api, "b", "two", 2, &json!({"hosts": ["hello.late"]}));
    bench.look_at("a", "one").await.unwrap();
    bench.look_at("b", "two").await.unwrap();
    bench.namespace("late", None);
    let mut looked_at = bench.settle().await;
    looked_at.sort();
    assert_eq!(looked_at, ["a/one", "b/two"]);
    assert_eq!(hosts(&bench, "a", "one"), ["+hello.late"]);
    assert_eq!(hosts(&bench, "b", "two"), ["-hello.late HostNotAllowed"]);
}

#[tokio::test]
async fn who_takes_over_goes_by_the_statuses_even_by_those_that_no_watch_showed_yet() {
    let before = open();
    let http = json!({"hosts": ["x.example.org"]});
    insert(&before.api, "a", "young", 9, &http);
    insert(&before.api, "b", "old", 1, &http);
    let after = Bench::with(before.api.clone(), Claims::Open);
    for namespace in ["a", "b"] {
        after.namespace(namespace, None);
    }
    after.watch();
    before.look_at("a", "young").await.unwrap();
    before.look_at("b", "old").await.unwrap();
    assert_eq!(hosts(&before, "a", "young"), ["+x.example.org"]);

    after.take_over().await;
    after.look_at("b", "old").await.unwrap();
    after.look_at("a", "young").await.unwrap();
    after.settle().await;
    assert_eq!(hosts(&after, "a", "young"), ["+x.example.org"]);
    assert_eq!(hosts(&after, "b", "old"), ["-x.example.org HostTaken"]);
}

#[tokio::test(start_paused = true)]
async fn taking_over_waits_for_the_statuses() {
    let bench = open();
    insert(&bench.api, "a", "one", 1, &json!({"hosts": ["x.example.org"]}));
    bench.watch();
    bench.api.fail_next("GET", "/catnap.dev/v1alpha1/functions", 503, "ServiceUnavailable", "later");
    bench.api.take_calls();
    bench.take_over().await;
    assert_eq!(bench.api.take_calls().len(), 2);
}

#[tokio::test]
async fn where_nobody_asks_for_a_host_taking_over_reads_nothing() {
    let bench = open();
    insert(&bench.api, "a", "one", 1, &json!({}));
    bench.watch();
    bench.api.take_calls();
    bench.take_over().await;
    assert_eq!(bench.api.take_calls(), []);
}

#[tokio::test]
async fn an_external_function_has_its_name_under_the_domain() {
    let bench = Bench::with(FakeApi::default(), Claims::Restricted);
    insert(&bench.api, NAMESPACE, "hello", 1, &json!({"visibility": "External"}));
    bench.look().await.unwrap();
    assert_eq!(hosts(&bench, NAMESPACE, "hello"), ["+hello-default.apps.example.com"]);
    assert_eq!(bench.status().urls, ["https://hello-default.apps.example.com"]);
    bench.edit_spec(|spec| spec["http"] = json!({"visibility": "Cluster"}));
    bench.look().await.unwrap();
    assert!(bench.status().urls.is_empty() && bench.status().hosts.is_empty());
}

/// The Service and the slice of a tag, as made for a Function.
fn of_tag(bench: &Bench, owner: &str, tag: &str) {
    let uid = bench.api.get::<Function>(NAMESPACE, owner).unwrap().metadata.uid;
    let name = format!("{tag}-{owner}");
    let service = json!({
        "metadata": {"name": name, "namespace": NAMESPACE,
            "labels": {labels::FUNCTION: owner, labels::TAG: tag},
            "ownerReferences": [{"apiVersion": "catnap.dev/v1alpha1", "kind": "Function", "name": owner, "uid": uid, "controller": true}]},
        "spec": {"clusterIP": "None"},
    });
    bench.api.insert(&serde_json::from_value::<Service>(service).unwrap());
}

#[tokio::test]
async fn a_tag_gives_way_to_a_function_of_its_name() {
    let bench = Bench::with(FakeApi::default(), Claims::Restricted);
    insert(&bench.api, NAMESPACE, "hello", 1, &json!({}));
    let tagged = json!([{"latest": true, "percent": 100}, {"latest": true, "tag": "next"}]);
    bench.edit_spec(|spec| spec["traffic"] = tagged);
    bench.look().await.unwrap();
    of_tag(&bench, "hello", "next");
    insert(&bench.api, NAMESPACE, "next-hello", 2, &json!({}));

    bench.look_at(NAMESPACE, "next-hello").await.unwrap();
    assert_eq!(said(&bench, NAMESPACE, "next-hello", "Reconciling"), "True/PredecessorLeaving");
    assert_eq!(said(&bench, NAMESPACE, "next-hello", "Stalled"), "False/Progressing");
    assert_eq!(bench.settle().await, ["default/hello"]);
    assert_eq!(bench.said("Ready"), "False/TagNotRouted");
    assert!(bench.api.get::<Service>(NAMESPACE, "next-hello").is_none(), "given up");
    bench.look_at(NAMESPACE, "next-hello").await.unwrap();
    assert!(bench.api.get::<Service>(NAMESPACE, "next-hello").is_some());
    bench.look().await.unwrap();
    let owner = bench.api.get::<Service>(NAMESPACE, "next-hello").unwrap().metadata.owner_references.unwrap();
    assert_eq!(owner[0].name, "next-hello", "and left alone");

    bench.delete_function(NAMESPACE, "next-hello");
    // As garbage collection does.
    bench.api.remove::<Service>(NAMESPACE, "next-hello");
    bench.api.remove::<EndpointSlice>(NAMESPACE, "next-hello-ipv4");
    assert_eq!(bench.settle().await, ["default/hello"]);
    assert_eq!(bench.said("RoutesReady"), "True/Routed");
}

#[tokio::test(start_paused = true)]
async fn a_function_that_is_nested_too_deep_keeps_nobody_from_taking_over() {
    let bench = open();
    insert(&bench.api, "a", "one", 1, &json!({"hosts": ["shop.example.org"]}));
    bench.look_at("a", "one").await.unwrap();
    insert(&bench.api, "b", "two", 2, &json!({"hosts": ["shop.example.org"]}));
    let deep = (0..200).fold(json!(1), |inner, _| json!({"a": inner}));
    bench.api.edit::<Function>("b", "two", |function| function["spec"]["podTemplate"] = deep);
    bench.watch();
    let patience = std::time::Duration::from_secs(60);
    tokio::time::timeout(patience, bench.take_over()).await.expect("the list is read");
    bench.look_at("b", "two").await.unwrap();
    assert_eq!(hosts(&bench, "b", "two"), ["-shop.example.org HostTaken"]);
    assert_eq!(hosts(&bench, "a", "one"), ["+shop.example.org"]);
}
