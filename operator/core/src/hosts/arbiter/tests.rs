use std::cell::RefCell;

use serde_json::{Value, json};

use super::*;
use crate::hosts::Claims;

/// A cluster of Functions that are all looked at with one arbiter, until nothing changes.
struct World {
    arbiter: Arbiter,
    functions: BTreeMap<Claimant, Function>,
    verdicts: RefCell<BTreeMap<Claimant, HostVerdicts>>,
}

fn settings(claims: Claims) -> HostSettings {
    HostSettings {
        rules: HostRules {
            cluster_domain: Host::suffix("cluster.local").unwrap(),
            domain: Some(Host::suffix("apps.example.com").unwrap()),
            claims,
        },
        template: "{{name}}-{{namespace}}.{{domain}}".parse().unwrap(),
        scheme: "https",
    }
}

fn who(path: &str) -> Claimant {
    let (namespace, name) = path.split_once('/').unwrap();
    Claimant { namespace: namespace.into(), name: name.into() }
}

/// `namespace/name`, made at a second.
fn function(path: &str, created: i64, spec: &Value) -> Function {
    let Claimant { namespace, name } = who(path);
    let time = Timestamp::from_second(created).unwrap().to_string();
    let mut function: Function = serde_json::from_value(json!({
        "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
        "metadata": {"name": name, "namespace": namespace, "uid": format!("{path}@{created}"), "creationTimestamp": time},
        "spec": {"image": "example/hello:1"},
    }))
    .unwrap();
    let mut merged = serde_json::to_value(&function.spec).unwrap();
    for (name, field) in spec.as_object().unwrap() {
        merged[name] = field.clone();
    }
    function.spec = serde_json::from_value(merged).unwrap();
    function
}

fn hosts(hosts: &[&str]) -> Value {
    json!({"http": {"hosts": hosts}})
}

fn external(tags: &[&str]) -> Value {
    let mut targets = vec![json!({"latest": true, "percent": 100})];
    targets.extend(tags.iter().map(|tag| json!({"latest": true, "tag": tag})));
    json!({"http": {"visibility": "External"}, "traffic": targets})
}

impl World {
    fn new(claims: Claims) -> Self {
        let mut arbiter = Arbiter::new(settings(claims));
        for namespace in ["a", "b", "b-c", "c"] {
            assert!(arbiter.observe_namespace(namespace, Some(None)));
        }
        Self { arbiter, functions: BTreeMap::new(), verdicts: RefCell::default() }
    }

    fn apply(&mut self, function: Function) {
        let name = claimant(&function).unwrap();
        self.functions.insert(name.clone(), function);
        self.look(&name);
    }

    fn delete(&mut self, path: &str) {
        self.functions.remove(&who(path));
        self.verdicts.borrow_mut().remove(&who(path));
        let concerned = self.arbiter.forget(&who(path));
        for other in &concerned {
            self.look(other);
        }
    }

    /// Looks at a Function, and then at those for whom that changes something.
    fn look(&mut self, name: &Claimant) {
        let Some(function) = self.functions.get(name).cloned() else { return };
        let functions = &self.functions;
        let exists = |other: &str| {
            functions.contains_key(&Claimant { namespace: name.namespace.clone(), name: other.into() })
        };
        let (verdicts, concerned) = self.arbiter.judge(&function, exists).unwrap();
        self.verdicts.borrow_mut().insert(name.clone(), verdicts);
        for other in &concerned {
            self.look(other);
        }
    }

    /// The status says what was decided, as the operator writes it.
    fn write_statuses(&mut self) {
        for (name, verdicts) in self.verdicts.borrow().iter() {
            let status = self.functions.get_mut(name).unwrap().status.get_or_insert_default();
            let hosts = verdicts.verdicts.iter().map(|HostVerdict { host, refused, .. }| {
                serde_json::from_value(json!({"host": host, "accepted": refused.is_none()})).unwrap()
            });
            status.hosts = hosts.collect();
        }
    }

    /// What a Function was told about its hosts: `+host` or `-host Reason`, with `tag=` before those of a tag.
    fn told(&self, path: &str) -> Vec<String> {
        let verdicts = &self.verdicts.borrow()[&who(path)];
        let told = verdicts.verdicts.iter().map(|HostVerdict { host, tag, refused }| {
            let tag = tag.as_ref().map(|tag| format!("{tag}=")).unwrap_or_default();
            match refused {
                None => format!("{tag}+{host}"),
                Some(problem) => format!("{tag}-{host} {}", problem.reason.as_str()),
            }
        });
        let problems = verdicts.problems.iter().map(|problem| problem.reason.as_str().to_owned());
        told.chain(problems).collect()
    }

    fn urls(&self, path: &str) -> Vec<String> {
        self.verdicts.borrow()[&who(path)].urls.clone()
    }
}

#[test]
fn a_host_goes_to_the_next_when_it_is_given_up() {
    let mut world = World::new(Claims::Open);
    world.apply(function("a/one", 1, &hosts(&["x.example.org", "y.example.org"])));
    world.apply(function("b/two", 2, &hosts(&["x.example.org"])));
    assert_eq!(world.told("a/one"), ["+x.example.org", "+y.example.org"]);
    assert_eq!(world.told("b/two"), ["-x.example.org HostTaken"]);
    assert_eq!(world.urls("a/one"), ["https://x.example.org", "https://y.example.org"]);
    assert!(world.urls("b/two").is_empty());

    world.apply(function("a/one", 1, &hosts(&["y.example.org"])));
    assert_eq!(world.told("b/two"), ["+x.example.org"]);
    world.delete("b/two");
    world.apply(function("a/one", 1, &hosts(&["x.example.org"])));
    assert_eq!(world.told("a/one"), ["+x.example.org"]);
}

#[test]
fn of_other_namespaces_no_name_is_told() {
    let mut world = World::new(Claims::Open);
    world.apply(function("a/secret", 1, &hosts(&["*.example.org", "x.example.net"])));
    world.apply(function("b/two", 2, &hosts(&["x.example.org", "x.example.net"])));
    world.apply(function("a/three", 3, &hosts(&["x.example.net"])));
    let messages = |path: &str| {
        let verdicts = world.verdicts.borrow()[&who(path)].clone();
        let refused = verdicts.verdicts.into_iter().filter_map(|verdict| verdict.refused);
        refused.map(|problem| problem.message).collect::<Vec<_>>().join("\n")
    };
    assert!(!messages("b/two").contains("secret"), "{}", messages("b/two"));
    assert!(messages("b/two").contains("x.example.org overlaps *.example.org"));
    assert!(messages("a/three").contains("belongs to the Function secret"));
}

#[test]
fn only_what_the_namespace_may_have() {
    let mut world = World::new(Claims::Restricted);
    let spec = hosts(&["x.example.org", "a.x.example.org", "y.example.org"]);
    world.apply(function("a/one", 1, &spec));
    assert_eq!(world.told("a/one").len(), 3);
    assert!(world.told("a/one").iter().all(|told| told.ends_with("HostNotAllowed")));

    assert!(world.arbiter.observe_namespace("a", Some(Some("x.example.org"))));
    assert!(!world.arbiter.observe_namespace("a", Some(Some("x.example.org."))), "the same");
    world.look(&who("a/one"));
    let told = ["+x.example.org", "+a.x.example.org", "-y.example.org HostNotAllowed"];
    assert_eq!(world.told("a/one"), told);

    // Withdrawn, it goes to the next.
    world.arbiter.observe_namespace("b", Some(Some("example.org")));
    world.apply(function("b/two", 2, &hosts(&["x.example.org"])));
    assert_eq!(world.told("b/two"), ["-x.example.org HostTaken"]);
    world.arbiter.observe_namespace("a", Some(None));
    world.look(&who("a/one"));
    assert_eq!(world.told("b/two"), ["+x.example.org"]);
}

#[test]
fn a_name_that_could_be_of_the_cluster_is_nobodys_but_his_who_had_it_before() {
    let mut world = World::new(Claims::Open);
    world.apply(function("a/one", 1, &hosts(&["hello.b", "hello.late"])));
    assert_eq!(world.told("a/one"), ["-hello.b HostNotAllowed", "+hello.late"]);
    world.arbiter.observe_namespace("late", Some(None));
    world.look(&who("a/one"));
    world.apply(function("a/two", 2, &hosts(&["hello.late", "other.late"])));
    assert_eq!(world.told("a/one"), ["-hello.b HostNotAllowed", "+hello.late"]);
    assert_eq!(world.told("a/two"), ["-hello.late HostNotAllowed", "-other.late HostNotAllowed"]);
    world.arbiter.observe_namespace("b", None);
    world.look(&who("a/one"));
    assert_eq!(world.told("a/one"), ["+hello.b", "+hello.late"]);
}

#[test]
fn the_installations_domain_gives_each_its_name_and_nobody_claims_it() {
    let mut world = World::new(Claims::Open);
    world.apply(function("a/hello", 1, &external(&["next"])));
    let given = ["+hello-a.apps.example.com", "next=+next-hello-a.apps.example.com"];
    assert_eq!(world.told("a/hello"), given);
    assert_eq!(
        world.urls("a/hello"),
        ["https://hello-a.apps.example.com", "https://next-hello-a.apps.example.com"]
    );
    world.apply(function("b/thief", 0, &hosts(&["hello-a.apps.example.com", "*.example.com"])));
    let refused = ["-hello-a.apps.example.com HostNotAllowed", "-*.example.com HostNotAllowed"];
    assert_eq!(world.told("b/thief"), refused);

    // Whoever claims what it is given anyway is told of it once.
    let mut both = external(&[]);
    both["http"]["hosts"] = json!(["hello-a.apps.example.com"]);
    world.apply(function("a/hello", 1, &both));
    assert_eq!(world.told("a/hello"), ["+hello-a.apps.example.com"]);
}

#[test]
fn two_names_that_come_out_the_same_are_the_namespaces_with_the_longer_name() {
    let mut world = World::new(Claims::Restricted);
    let refused = ["-a-b-c.apps.example.com HostNotAllowed"];
    // Older, and first: it would be had before its owner asks for it.
    world.apply(function("c/a-b", 1, &external(&[])));
    assert_eq!(world.told("c/a-b"), refused);
    world.apply(function("c/b", 1, &external(&["x"])));
    assert_eq!(world.told("c/b"), ["+b-c.apps.example.com", "x=-x-b-c.apps.example.com HostNotAllowed"]);
    world.apply(function("b-c/a", 2, &external(&[])));
    assert_eq!(world.told("b-c/a"), ["+a-b-c.apps.example.com"]);
    world.delete("b-c/a");
    assert_eq!(world.told("c/a-b"), refused);

    // Without that namespace it is free, and whoever has it keeps it when the namespace is made again.
    world.arbiter.observe_namespace("b-c", None);
    world.look(&who("c/a-b"));
    assert_eq!(world.told("c/a-b"), ["+a-b-c.apps.example.com"]);
    world.arbiter.observe_namespace("b-c", Some(None));
    world.look(&who("c/a-b"));
    assert_eq!(world.told("c/a-b"), ["+a-b-c.apps.example.com"]);
    world.apply(function("b-c/a", 2, &external(&[])));
    assert_eq!(world.told("b-c/a"), ["-a-b-c.apps.example.com HostTaken"]);
}

#[test]
fn names_that_are_too_long_together_are_told_of() {
    let mut world = World::new(Claims::Open);
    let (namespace, name) = ("n".repeat(40), "f".repeat(40));
    world.arbiter.observe_namespace(&namespace, Some(None));
    world.apply(function(&format!("{namespace}/{name}"), 1, &external(&[])));
    let told = world.told(&format!("{namespace}/{name}"));
    assert_eq!(told, [format!("-{name}-{namespace}.apps.example.com HostNotAllowed")]);
}

#[test]
fn without_a_domain_there_is_nothing_external() {
    let mut world = World::new(Claims::Open);
    world.arbiter.settings.rules.domain = None;
    world.apply(function("a/hello", 1, &external(&["next"])));
    assert_eq!(world.told("a/hello"), ["HostNotAllowed"]);
    assert!(world.urls("a/hello").is_empty());
}

#[test]
fn a_function_has_its_name_before_any_tag() {
    let mut world = World::new(Claims::Open);
    world.apply(function("a/hello", 1, &external(&["next", "other"])));
    assert!(world.told("a/hello").contains(&"next=+next-hello-a.apps.example.com".to_owned()));
    world.apply(function("a/next-hello", 2, &external(&[])));
    assert_eq!(world.told("a/next-hello"), ["+next-hello-a.apps.example.com"]);
    let left = ["+hello-a.apps.example.com", "other=+other-hello-a.apps.example.com", "TagNotRouted"];
    assert_eq!(world.told("a/hello"), left);
    assert_eq!(world.verdicts.borrow()[&who("a/hello")].taken_tags, ["next".to_owned()].into());

    world.delete("a/next-hello");
    assert!(world.told("a/hello").contains(&"next=+next-hello-a.apps.example.com".to_owned()));
    assert!(world.verdicts.borrow()[&who("a/hello")].taken_tags.is_empty());

    // Once the tag is gone, nobody is looked at for it.
    world.apply(function("a/hello", 1, &external(&["other"])));
    let (_, concerned) = world.arbiter.judge(&function("a/next-hello", 3, &external(&[])), |_| true).unwrap();
    assert!(concerned.is_empty());
    assert!(world.arbiter.taggers.len() == 1 && world.arbiter.tagged.len() == 1);
}

#[test]
fn a_new_leader_learns_from_the_statuses_who_has_what() {
    let mut world = World::new(Claims::Open);
    world.apply(function("a/young", 9, &hosts(&["x.example.org"])));
    world.apply(function("b/old", 1, &hosts(&["x.example.org"])));
    world.apply(function("b/gone", 2, &hosts(&["y.example.org"])));
    world.write_statuses();
    for reversed in [false, true] {
        let mut anew = world.arbiter.anew();
        let mut all: Vec<_> = world.functions.values().collect();
        if reversed {
            all.reverse();
        }
        for function in all {
            anew.note(function, |_| false);
        }
        let mut leader = Arbiter::new(settings(Claims::Open));
        for namespace in world.arbiter.namespaces() {
            leader.observe_namespace(namespace, Some(None));
        }
        leader.take_over(anew, |who| who.name != "gone");
        let (verdicts, concerned) = leader.judge(&world.functions[&who("b/old")], |_| false).unwrap();
        assert_eq!(verdicts.verdicts[0].refused.as_ref().unwrap().reason, Reason::HostTaken);
        assert!(concerned.is_empty());
        let (verdicts, _) = leader.judge(&world.functions[&who("a/young")], |_| false).unwrap();
        assert_eq!(verdicts.verdicts[0].refused, None);
        assert_eq!(leader.book.claimants().count(), 2);
    }
}

#[test]
fn a_status_that_somebody_else_wrote_gives_nothing() {
    let mut world = World::new(Claims::Open);
    world.apply(function("a/one", 1, &hosts(&["x.example.org"])));
    world.apply(function("b/two", 2, &hosts(&["x.example.org"])));
    world.apply(function("b/liar", 3, &hosts(&["x.example.org"])));
    let liar = world.functions.get_mut(&who("b/liar")).unwrap();
    liar.status =
        serde_json::from_value(json!({"hosts": [{"host": "x.example.org", "accepted": true}]})).unwrap();
    world.look(&who("b/liar"));
    assert_eq!(world.told("b/liar"), ["-x.example.org HostTaken"]);
    world.delete("a/one");
    assert_eq!(world.told("b/two"), ["+x.example.org"], "it waited for longer");
}

#[test]
fn a_function_that_is_being_deleted_keeps_what_it_has_and_gets_nothing() {
    let mut world = World::new(Claims::Open);
    let leaving = |mut function: Function| {
        function.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        function
    };
    world.apply(function("a/one", 1, &hosts(&["x.example.org"])));
    world.apply(function("b/two", 2, &hosts(&["x.example.org", "y.example.org"])));
    world.apply(function("b/three", 3, &hosts(&["x.example.org", "y.example.org"])));
    world.apply(leaving(function("b/two", 2, &hosts(&["x.example.org", "y.example.org"]))));
    world.apply(leaving(function("a/one", 1, &hosts(&["x.example.org"]))));
    assert_eq!(world.told("b/three"), ["-x.example.org HostTaken", "-y.example.org HostTaken"]);
    world.delete("a/one");
    assert_eq!(world.told("b/three"), ["+x.example.org", "-y.example.org HostTaken"]);
    assert_eq!(world.told("b/two"), ["+y.example.org"]);
    world.delete("b/two");
    assert_eq!(world.told("b/three"), ["+x.example.org", "+y.example.org"]);
}

#[test]
fn what_is_no_host_is_told_of_and_the_rest_given() {
    let mut world = World::new(Claims::Open);
    world.apply(function("a/one", 1, &hosts(&["xn--a.example.org", "x.example.org"])));
    assert_eq!(world.told("a/one"), ["-xn--a.example.org HostNotAllowed", "+x.example.org"]);
}
