//! Names that Functions have besides their own: tags, and hosts outside the cluster.

use super::*;
use crate::route::{HostRoute, TagRoute};
use proptest::prelude::*;
use rstest::rstest;

fn named(text: &str) -> FunctionName {
    let (name, namespace) = text.split_once('.').expect("a namespace");
    FunctionName { namespace: namespace.into(), name: name.into() }
}

/// A Function with these tags and hosts. A host may have a tag behind a space.
fn function(text: &str, created: i64, tags: &[&str], hosts: &[&str]) -> FunctionRoute {
    let tag = |tag: &&str| TagRoute { tag: (*tag).into(), revision: "hello-1".into() };
    let host = |text: &&str| {
        let (host, tag) = text.split_once(' ').map_or((*text, None), |(host, tag)| (host, Some(tag.into())));
        HostRoute { host: host.into(), tag }
    };
    FunctionRoute {
        name: named(text),
        uid: format!("uid-{text}-{created}").into(),
        created,
        tags: tags.iter().map(tag).collect(),
        hosts: hosts.iter().map(host).collect(),
        ..route(Some("hello-1"), &["hello-1"])
    }
}

/// The Function and tag that have the name, as `name.namespace` and `name.namespace/tag`.
fn found(activator: &Activator, listener: Listener, host: &str) -> Option<String> {
    let destination = activator.route(listener, host).ok()?;
    let FunctionName { namespace, name } = destination.function().name();
    let tag = destination.tag().map_or(String::new(), |tag| format!("/{tag}"));
    Some(format!("{name}.{namespace}{tag}"))
}

/// An activator that was told of these one after the other.
fn told(routes: impl IntoIterator<Item = FunctionRoute>) -> Fixture {
    let fixture = Fixture::new();
    for route in routes {
        fixture.activator.upsert_function(route);
    }
    fixture
}

#[test]
fn a_function_comes_before_a_tag_of_its_name() {
    let tagged = function("hello.default", 1, &["next"], &[]);
    let own = function("next-hello.default", 2, &[], &[]);
    let orders = [[tagged.clone(), own.clone()], [own.clone(), tagged.clone()]];
    for fixture in orders.map(told) {
        let who = || found(&fixture.activator, Listener::InCluster, "next-hello.default");
        assert_eq!(who().as_deref(), Some("next-hello.default"));
        fixture.activator.remove_function(&own.name);
        assert_eq!(who().as_deref(), Some("hello.default/next"));
        fixture.activator.set_functions(vec![tagged.clone(), own.clone()]);
        assert_eq!(who().as_deref(), Some("next-hello.default"));
        fixture.activator.set_functions(vec![own.clone()]);
        fixture.activator.remove_function(&own.name);
        assert_eq!(who(), None);
    }
}

#[test]
fn of_two_tags_with_one_name_the_older_function_s_holds() {
    let older = function("c.default", 1, &["a-b"], &[]);
    let younger = function("b-c.default", 2, &["a"], &[]);
    let elsewhere = function("c.other", 0, &["a-b"], &[]);
    let orders = [
        [older.clone(), younger.clone(), elsewhere.clone()],
        [younger.clone(), elsewhere.clone(), older.clone()],
    ];
    for fixture in orders.map(told) {
        let who = || found(&fixture.activator, Listener::InCluster, "a-b-c.default");
        assert_eq!(who().as_deref(), Some("c.default/a-b"));
        fixture.activator.upsert_function(FunctionRoute { tags: vec![], ..older.clone() });
        assert_eq!(who().as_deref(), Some("b-c.default/a"));
        fixture.activator.upsert_function(older.clone());
        assert_eq!(who().as_deref(), Some("c.default/a-b"));
    }
}

#[test]
fn a_host_is_the_oldest_function_s_in_whatever_order_they_come() {
    let claims = [
        function("first.a", 5, &[], &["shop.example.com"]),
        function("second.a", 5, &[], &["shop.example.com"]),
        function("oldest.b", 4, &["t"], &["Shop.Example.Com. t"]),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let fixture = told(order.map(|index| claims[index].clone()));
        let who = || found(&fixture.activator, Listener::Edge, "shop.example.com");
        assert_eq!(who().as_deref(), Some("oldest.b/t"));
        fixture.activator.remove_function(&named("oldest.b"));
        assert_eq!(who().as_deref(), Some("first.a"));
        // Made anew, it comes last.
        fixture.activator.upsert_function(function("first.a", 9, &[], &["shop.example.com"]));
        assert_eq!(who().as_deref(), Some("second.a"));
        fixture.activator.upsert_function(FunctionRoute { hosts: vec![], ..claims[1].clone() });
        assert_eq!(who().as_deref(), Some("first.a"));
        fixture.activator.set_functions(Vec::new());
        assert_eq!(who(), None);
    }
}

#[rstest]
#[case::exact("shop.example.com", Some("exact.a"))]
#[case::written_otherwise("SHOP.example.COM.:8443", Some("exact.a"))]
#[case::one_label("other.example.com", Some("wide.a"))]
#[case::several_labels("a.b.c.example.com", Some("wide.a"))]
#[case::the_longest_wildcard("a.b.shop.example.com", Some("narrow.a"))]
#[case::not_itself("example.com", None)]
#[case::not_beside("shopexample.com", None)]
#[case::an_empty_label(".example.com", None)]
#[case::a_tag("next-shop.example.org", Some("exact.a/next"))]
#[case::two_labels("example.org", Some("exact.a"))]
#[case::nobody("example.net", None)]
#[case::an_address("10.0.0.1", None)]
#[case::local("exact.a", None)]
#[case::local_in_full("exact.a.svc.cluster.local", None)]
#[case::claimed_though_local("claimed.a.svc", None)]
#[case::claimed_though_of_the_cluster("pod.cluster.local", None)]
fn the_edge_has_the_hosts_that_were_given(#[case] host: &str, #[case] expected: Option<&str>) {
    let fixture = told([
        function("wide.a", 1, &[], &["*.example.com", "*.svc", "*.cluster.local"]),
        function("narrow.a", 3, &[], &["*.shop.example.com"]),
        function(
            "exact.a",
            2,
            &["next"],
            &["shop.example.com", "example.org", "next-shop.example.org next", "claimed.a.svc", "10.0.0.1:x"],
        ),
    ]);
    assert_eq!(found(&fixture.activator, Listener::Edge, host).as_deref(), expected);
}

#[rstest]
#[case::its_own("hello.default", Some("hello.default"))]
#[case::its_own_in_full("hello.default.svc.cluster.local", Some("hello.default"))]
#[case::outer("shop.example.com", Some("thief.other"))]
#[case::below("a.b.example.com", Some("thief.other"))]
#[case::absent_function("gone.default", None)]
#[case::absent_function_svc("gone.default.svc", None)]
#[case::absent_function_in_full("gone.default.svc.cluster.local", None)]
#[case::two_labels("example.org", None)]
#[case::svc("a.b.gone.svc", None)]
#[case::of_the_cluster("10-0-0-1.default.pod.cluster.local", None)]
#[case::bare("gone", None)]
fn no_claim_takes_a_name_inside_the_cluster(#[case] host: &str, #[case] expected: Option<&str>) {
    let claims = [
        "hello.default",
        "hello.default.svc.cluster.local",
        "gone.default",
        "gone.default.svc",
        "gone.default.svc.cluster.local",
        "example.org",
        "gone",
        "*.default",
        "*.svc",
        "*.local",
        "*.cluster.local",
        "*.com",
        "shop.example.com",
    ];
    let fixture = told([function("thief.other", 0, &[], &claims), function("hello.default", 1, &[], &[])]);
    assert_eq!(found(&fixture.activator, Listener::InCluster, host).as_deref(), expected);
}

/// Hosts of few letters, so that they meet.
fn host() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab]{1,2}", 2..5).prop_map(|labels| format!("{}.example", labels.join(".")))
}

fn claims() -> impl Strategy<Value = Vec<(i64, Vec<String>)>> {
    let claimed = (any::<bool>(), host())
        .prop_map(|(wildcard, host)| if wildcard { format!("*.{host}") } else { host });
    prop::collection::vec((0..3_i64, prop::collection::vec(claimed, 0..6)), 0..5)
}

proptest! {
    /// The table against the rule: the name itself before wildcards, the longest of these first, then the oldest Function.
    #[test]
    fn hosts_are_found_as_the_rule_says(
        claims in claims(),
        hosts in prop::collection::vec(host(), 20),
        rounds in prop::collection::vec(0..5_usize, 0..5),
    ) {
        let routes: Vec<_> = claims
            .iter()
            .enumerate()
            .map(|(number, (created, hosts))| {
                let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
                function(&format!("f{number}.a"), *created, &[], &hosts)
            })
            .collect();
        let fixture = told(routes.iter().rev().cloned());
        for round in rounds {
            // Some go and come back.
            if let Some(route) = routes.get(round) {
                fixture.activator.remove_function(&route.name);
                fixture.activator.upsert_function(route.clone());
            }
        }
        for host in hosts {
            let reach = |claimed: &str| match claimed.strip_prefix("*.") {
                Some(base) => host.strip_suffix(base).is_some_and(|front| front.len() > 1 && front.ends_with('.')).then_some(base.len()),
                None => (claimed == host).then_some(usize::MAX),
            };
            let best = routes
                .iter()
                .flat_map(|route| route.hosts.iter().map(move |claimed| (route, claimed)))
                .filter_map(|(route, claimed)| Some((reach(&claimed.host)?, route)))
                .min_by_key(|(reach, route)| (std::cmp::Reverse(*reach), route.created, route.name.clone()));
            let expected = best.map(|(_, route)| format!("{}.a", route.name.name));
            prop_assert_eq!(found(&fixture.activator, Listener::Edge, &host), expected.clone(), "{}", host);
            prop_assert_eq!(found(&fixture.activator, Listener::InCluster, &host), expected, "{}", host);
        }
    }
}
