//! Changes of the two watches in, what the core is told out, in every order they may come.

use catnap_activator_core::RevisionRoute;
use serde_json::json;

use super::*;

fn name() -> FunctionName {
    FunctionName { namespace: "default".into(), name: "hello".into() }
}

fn route(uid: &str, port: u16) -> FunctionRoute {
    let revision = RevisionRoute { port, ..RevisionRoute::new("hello-1".into()) };
    FunctionRoute::of_one(name(), uid.into(), revision)
}

fn revision(function_uid: &str) -> RevisionId {
    RevisionId { namespace: "default".into(), name: "hello-1".into(), function_uid: function_uid.into() }
}

/// A pod of `hello-1` at this address; `owner` is its ReplicaSet.
fn pod(uid: &str, address: &str, owner: &str) -> FunctionPod {
    let object = json!({
        "metadata": {
            "name": uid, "namespace": "default", "uid": uid,
            "labels": {"catnap.dev/revision": "hello-1", "catnap.dev/function-uid": "first"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": "rs", "controller": true}
            ],
        },
        "status": {"podIP": address},
    });
    FunctionPod::trim(serde_json::from_value(object).unwrap()).unwrap()
}

fn own(uid: &str) -> FunctionPod {
    pod(uid, "10.0.0.1", "hello-1-6f")
}

fn told(pods: &[FunctionPod], port: u16) -> Update {
    Update::Pods(
        revision("first"),
        pods.iter().map(|pod| pod.reached(Reach { port, requires_ready: false })).collect(),
    )
}

#[test]
fn a_pod_is_told_with_the_revisions_port() {
    let mut catalog = Catalog::default();
    let updates = catalog.functions_changed(Change::Applied(Seen::Route(Box::new(route("first", 8080)))));
    assert_eq!(updates, [Update::Upsert(route("first", 8080)), told(&[], 8080)]);
    assert_eq!(catalog.pods_changed(Change::Applied(own("a"))), [told(&[own("a")], 8080)]);
    assert_eq!(catalog.pods_changed(Change::Applied(own("a"))), [], "nothing changed");
    assert_eq!(catalog.pods_changed(Change::Deleted(own("a"))), [told(&[], 8080)]);
}

#[test]
fn a_pod_that_is_known_first_is_told_once_its_revision_is() {
    let mut catalog = Catalog::default();
    assert_eq!(catalog.pods_changed(Change::Listed(vec![own("a"), own("b")])), []);
    let updates = catalog.functions_changed(Change::Listed(vec![Seen::Route(Box::new(route("first", 80)))]));
    let expected = [Update::Functions(vec![route("first", 80)]), told(&[own("a"), own("b")], 80)];
    assert_eq!(updates, expected);
    let again = catalog.functions_changed(Change::Listed(vec![Seen::Route(Box::new(route("first", 80)))]));
    assert_eq!(again, [Update::Functions(vec![route("first", 80)])], "the pods are as they were");
}

#[test]
fn a_port_that_changes_moves_the_pods() {
    let mut catalog = Catalog::default();
    catalog.functions_changed(Change::Applied(Seen::Route(Box::new(route("first", 80)))));
    catalog.pods_changed(Change::Applied(own("a")));
    let updates = catalog.functions_changed(Change::Applied(Seen::Route(Box::new(route("first", 81)))));
    assert_eq!(updates, [Update::Upsert(route("first", 81)), told(&[own("a")], 81)]);
}

#[test]
fn a_function_made_again_does_not_adopt_the_pods_of_the_one_before() {
    let mut catalog = Catalog::default();
    catalog.functions_changed(Change::Applied(Seen::Route(Box::new(route("first", 80)))));
    catalog.pods_changed(Change::Applied(own("a")));
    assert_eq!(
        catalog.functions_changed(Change::Deleted(Seen::Route(Box::new(route("first", 80))))),
        [Update::Remove(name()), told(&[], 80)]
    );
    let updates = catalog.functions_changed(Change::Applied(Seen::Route(Box::new(route("second", 80)))));
    assert_eq!(updates, [Update::Upsert(route("second", 80)), Update::Pods(revision("second"), vec![])]);
    assert_eq!(catalog.pods_changed(Change::Applied(pod("a", "10.0.0.2", "hello-1-6f"))), []);
}

#[test]
fn a_pod_with_a_foreign_owner_is_never_told() {
    let mut catalog = Catalog::default();
    catalog.functions_changed(Change::Applied(Seen::Route(Box::new(route("first", 80)))));
    assert_eq!(catalog.pods_changed(Change::Applied(pod("a", "10.0.0.1", "other-6f"))), []);
    catalog.pods_changed(Change::Applied(own("b")));
    let disowned = catalog.pods_changed(Change::Applied(pod("b", "10.0.0.1", "other-6f")));
    assert_eq!(disowned, [told(&[], 80)], "one that loses its owner is gone");
}

#[test]
fn a_new_list_without_a_pod_takes_it_away() {
    let mut catalog = Catalog::default();
    catalog.functions_changed(Change::Applied(Seen::Route(Box::new(route("first", 80)))));
    catalog.pods_changed(Change::Listed(vec![own("a"), own("b")]));
    assert_eq!(catalog.pods_changed(Change::Listed(vec![own("b")])), [told(&[own("b")], 80)]);
    assert_eq!(catalog.pods_changed(Change::Listed(vec![])), [told(&[], 80)]);
}

#[test]
fn a_function_on_its_way_out_is_removed() {
    let mut catalog = Catalog::default();
    catalog.functions_changed(Change::Applied(Seen::Route(Box::new(route("first", 80)))));
    assert_eq!(catalog.functions_changed(Change::Applied(Seen::Deleting(name()))), [Update::Remove(name())]);
    let listed = catalog.functions_changed(Change::Listed(vec![Seen::Deleting(name())]));
    assert_eq!(listed, [Update::Functions(vec![])]);
}

#[test]
fn a_revision_that_no_function_has_any_more_loses_its_pods() {
    let without = FunctionRoute::new(name(), "first".into());
    let cases = [
        (Change::Deleted(Seen::Route(Box::new(route("first", 80)))), Update::Remove(name())),
        (Change::Applied(Seen::Deleting(name())), Update::Remove(name())),
        (Change::Applied(Seen::Route(Box::new(without.clone()))), Update::Upsert(without.clone())),
        (Change::Listed(vec![Seen::Route(Box::new(without.clone()))]), Update::Functions(vec![without])),
        (Change::Listed(vec![]), Update::Functions(vec![])),
    ];
    for (change, first) in cases {
        let mut catalog = Catalog::default();
        catalog.pods_changed(Change::Applied(own("a")));
        catalog.functions_changed(Change::Applied(Seen::Route(Box::new(route("first", 80)))));
        assert_eq!(catalog.functions_changed(change), [first, told(&[], 80)]);
        let again = catalog.functions_changed(Change::Applied(Seen::Route(Box::new(route("first", 80)))));
        assert_eq!(again, [Update::Upsert(route("first", 80)), told(&[own("a")], 80)], "it came back");
    }
}
