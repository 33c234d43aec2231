//! Which row says what about which cluster, and how the check ends.

use catnap_testkit::FakeApi;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::*;
use crate::connection;
use crate::fixtures::{function, serving, stalled};
use crate::terminal::fake::FakeTerminal;

const SYSTEM: &str = "catnap-system";

fn serve_version(api: &FakeApi, major: &str, minor: &str) {
    let version = json!({"major": major, "minor": minor, "gitVersion": format!("v{major}.{minor}.1"), "buildDate": "",
        "compiler": "", "gitCommit": "", "gitTreeState": "", "goVersion": "", "platform": ""});
    api.answer_always("GET", "/version", version);
}

fn serve_groups(api: &FakeApi, without: &str) {
    let groups = [
        "apiextensions.k8s.io/v1",
        "apps/v1",
        "authentication.k8s.io/v1",
        "coordination.k8s.io/v1",
        "discovery.k8s.io/v1",
        "events.k8s.io/v1",
        "flowcontrol.apiserver.k8s.io/v1",
        "policy/v1",
        "rbac.authorization.k8s.io/v1",
    ];
    let groups = groups.into_iter().filter(|group| *group != without);
    let groups: Vec<_> = groups
        .map(|group| json!({"name": group, "versions": [{"groupVersion": group, "version": "v1"}]}))
        .collect();
    api.answer_always("GET", "/apis", json!({"groups": groups}));
}

fn serve_admission(api: &FakeApi, kinds: &[&str]) {
    let resource =
        |name: &&str| json!({"name": name, "kind": "", "namespaced": false, "singularName": "", "verbs": []});
    let resources: Vec<_> = kinds.iter().map(resource).collect();
    let list = json!({"groupVersion": "admissionregistration.k8s.io/v1", "resources": resources});
    api.answer_always("GET", "/apis/admissionregistration.k8s.io/v1", list);
}

fn allow(api: &FakeApi, allowed: bool) {
    let review = json!({"metadata": {}, "spec": {}, "status": {"allowed": allowed}});
    api.answer_always("POST", "/selfsubjectaccessreviews", review);
}

/// A cluster that Catnap can be installed in.
fn fresh() -> FakeApi {
    let api = FakeApi::default();
    serve_version(&api, "1", "36");
    serve_groups(&api, "");
    serve_admission(&api, &["validatingadmissionpolicies", "validatingadmissionpolicybindings"]);
    allow(&api, true);
    api
}

fn labelled(name: &str, component: &str) -> Value {
    json!({"name": name, "namespace": SYSTEM, "labels": {"app.kubernetes.io/name": "catnap",
        "app.kubernetes.io/component": component, "app.kubernetes.io/version": env!("CARGO_PKG_VERSION")}})
}

fn in_system(api: &FakeApi, group: &str, plural: &str, object: Value) {
    api.insert_at(&format!("/{group}/namespaces/{SYSTEM}/{plural}"), object);
}

fn define(api: &FakeApi, change: impl FnOnce(&mut Value)) {
    let mut definition = serde_json::to_value(catnap_crds::crd()).unwrap();
    definition["status"] = json!({"storedVersions": ["v1alpha1"],
        "conditions": [{"type": "Established", "status": "True", "reason": "", "message": ""}]});
    change(&mut definition);
    api.insert_at("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition);
}

fn slice(api: &FakeApi, service: &str, ready: bool) {
    let metadata = json!({"name": format!("{service}-x"), "namespace": SYSTEM,
        "labels": {"kubernetes.io/service-name": service}});
    let endpoint = json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}});
    let slice = json!({"metadata": metadata, "addressType": "IPv4", "endpoints": [endpoint]});
    in_system(api, "apis/discovery.k8s.io/v1", "endpointslices", slice);
}

/// The same with Catnap in it, which is well.
fn installed() -> FakeApi {
    let api = fresh();
    api.insert_at("/api/v1/namespaces", json!({"metadata": {"name": SYSTEM}}));
    define(&api, |_| {});
    for component in ["operator", "activator", "autoscaler"] {
        let deployment = json!({"metadata": labelled(&format!("catnap-{component}"), component),
            "spec": {"replicas": 2, "selector": {}, "template": {}}, "status": {"readyReplicas": 2}});
        in_system(&api, "apis/apps/v1", "deployments", deployment);
    }
    for lease in ["catnap-operator", "catnap-autoscaler"] {
        let spec = json!({"holderIdentity": format!("{lease}-1_0a"), "leaseDurationSeconds": 15,
            "renewTime": "2026-01-01T11:59:50.000000Z"});
        let lease = json!({"metadata": {"name": lease, "namespace": SYSTEM}, "spec": spec});
        in_system(&api, "apis/coordination.k8s.io/v1", "leases", lease);
    }
    for service in ["catnap-activator", "catnap-activator-edge"] {
        let object = json!({"metadata": labelled(service, "activator"), "spec": {}});
        in_system(&api, "api/v1", "services", object);
        slice(&api, service, true);
    }
    for policy in ["catnap-scale", "catnap-peers", "catnap-pods"] {
        let at = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic";
        api.insert_at(&format!("{at}ies"), json!({"metadata": labelled(policy, "policy"), "spec": {}}));
        let binding = json!({"metadata": labelled(policy, "policy"), "spec": {"policyName": policy}});
        api.insert_at(&format!("{at}ybindings"), binding);
    }
    let level = json!({"metadata": labelled("catnap", "flow-control"), "spec": {"type": "Limited"}});
    api.insert_at("/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations", level);
    function(&api, "hello", &serving("hello", 0));
    api
}

/// The rows as a program gets them, and how the check ends.
async fn checked(api: &FakeApi) -> (Vec<Value>, Exit) {
    let arguments =
        Arguments { output: PageFormat::Json, system_namespace: SYSTEM.to_owned(), ..Arguments::default() };
    let mut fake = FakeTerminal::piped();
    let ended = Box::pin(check(&arguments, &connection::fake(api), &mut fake.terminal)).await;
    let page: Value = serde_json::from_str(&fake.out.take()).unwrap_or_default();
    let rows = page["checks"].as_array().cloned().unwrap_or_default();
    (rows, ended.err().map_or(Exit::Done, |error| error.exit()))
}

fn states(rows: &[Value]) -> Vec<(&str, &str)> {
    rows.iter().map(|row| (row["check"].as_str().unwrap(), row["state"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_cluster_without_catnap_is_told_what_to_do() {
    let (rows, exit) = checked(&fresh()).await;
    let expected = [
        ("Kubernetes", "ok"),
        ("APIs", "ok"),
        ("API priority", "ok"),
        ("admission policies' API", "ok"),
        ("your rights", "ok"),
        ("namespace", "absent"),
        ("definition of Function", "absent"),
        ("installation", "absent"),
    ];
    assert_eq!(states(&rows), expected);
    let advice = rows.last().unwrap()["try"].as_str().unwrap();
    assert!(advice.contains("helm install catnap") && advice.contains(SYSTEM), "{advice}");
    assert_eq!(exit, Exit::NotFound);
}

#[tokio::test]
async fn an_installation_that_is_well_is_all_ok() {
    let (rows, exit) = checked(&installed()).await;
    let names: Vec<_> = states(&rows).into_iter().map(|(check, _)| check).collect();
    let expected = [
        "Kubernetes",
        "APIs",
        "API priority",
        "admission policies' API",
        "your rights",
        "definition of Function",
        "operator",
        "activator",
        "autoscaler",
        "version",
        "leading operator",
        "leading autoscaler",
        "way to the activators",
        "admission policies",
        "seats at the API server",
        "Functions",
    ];
    assert_eq!(names, expected);
    assert!(rows.iter().all(|row| row["state"] == "ok" && row.get("try").is_none()), "{rows:#?}");
    assert_eq!(exit, Exit::Done);
}

/// What breaks, and what is said of it.
type Fault = (fn(&FakeApi), &'static str, &'static str, &'static str);

fn scaled(api: &FakeApi, ready: i32) {
    let change = |it: &mut Value| it["status"]["readyReplicas"] = json!(ready);
    assert!(api.edit::<Deployment>(SYSTEM, "catnap-activator", change));
}

fn of_version(api: &FakeApi, name: &str, version: &str) {
    let change = |it: &mut Value| it["metadata"]["labels"]["app.kubernetes.io/version"] = json!(version);
    assert!(api.edit::<Deployment>(SYSTEM, name, change));
}

fn leased(api: &FakeApi, field: &str, value: &str) {
    let change = |it: &mut Value| it["spec"][field] = json!(value);
    assert!(api.edit::<Lease>(SYSTEM, "catnap-autoscaler", change));
}

#[tokio::test]
async fn each_fault_is_a_row_that_says_what_to_do() {
    let faults: &[Fault] = &[
        (|api| serve_version(api, "1", "29+"), "Kubernetes", "missing", "v1.29+.1 is older than 1.30"),
        (
            |api| serve_version(api, "one", "x"),
            "Kubernetes",
            "warning",
            "the server calls its version `vone.x.1`",
        ),
        (
            |api| serve_groups(api, "discovery.k8s.io/v1"),
            "APIs",
            "missing",
            "not served: discovery.k8s.io/v1",
        ),
        (
            |api| serve_groups(api, "flowcontrol.apiserver.k8s.io/v1"),
            "API priority",
            "warning",
            "takes turns",
        ),
        (|api| serve_admission(api, &[]), "admission policies' API", "warning", "not served as v1"),
        (|api| allow(api, false), "your rights", "warning", "you may not create customresourcedefinitions"),
        (
            |api| assert!(api.remove::<Deployment>(SYSTEM, "catnap-operator")),
            "operator",
            "missing",
            "not there",
        ),
        (|api| scaled(api, 1), "activator", "warning", "1 of 2 ready"),
        (|api| scaled(api, 0), "activator", "failing", "0 of 2 ready"),
        (|api| of_version(api, "catnap-operator", "9.9.9"), "version", "warning", "several at once: "),
        (|api| leased(api, "holderIdentity", ""), "leading autoscaler", "failing", "nobody holds the Lease"),
        (
            |api| leased(api, "renewTime", "2026-01-01T11:58:00.000000Z"),
            "leading autoscaler",
            "failing",
            "catnap-autoscaler-1 has not renewed the Lease catnap-autoscaler for 120 s",
        ),
        (
            |api| assert!(api.remove::<Lease>(SYSTEM, "catnap-operator")),
            "leading operator",
            "failing",
            "no Lease",
        ),
        (
            |api| slice(api, "catnap-activator", false),
            "way to the activators",
            "failing",
            "catnap-activator to 0 pods",
        ),
        (
            |api| {
                assert!(api.remove::<Service>(SYSTEM, "catnap-activator"));
                assert!(api.remove::<Service>(SYSTEM, "catnap-activator-edge"));
            },
            "way to the activators",
            "missing",
            "their Services are not there",
        ),
        (
            |api| function(api, "shop", &stalled("shop")),
            "Functions",
            "warning",
            "1 of 2 ready; stalled: 1 ImagePullFailed",
        ),
        (
            |api| function(api, "new", &json!({})),
            "Functions",
            "warning",
            "1 of 2 ready; waiting: 1 NotObserved",
        ),
    ];
    for (fault, check, state, message) in faults {
        let api = installed();
        fault(&api);
        let (rows, exit) = checked(&api).await;
        let bad: Vec<_> = rows.iter().filter(|row| row["state"] != "ok").collect();
        assert!(
            bad.len() == 1 && bad[0]["check"] == *check && bad[0]["state"] == *state,
            "{check}: {bad:#?}"
        );
        let said = bad[0]["message"].as_str().unwrap();
        assert!(said.contains(message) && bad[0]["try"].is_string(), "{said}");
        assert_eq!(exit, if *state == "warning" { Exit::Done } else { Exit::Failed }, "{check}");
    }
}

/// What is done to a definition.
type Change<'a> = &'a dyn Fn(&mut Value);

#[tokio::test]
async fn a_definition_that_is_not_this_builds_is_told() {
    let at = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let fields = |it: &mut Value| it.pointer_mut(at).unwrap().as_object_mut().unwrap().clone();
    let rows: [(Change<'_>, &str, &str); 5] = [
        (
            &|it| {
                let mut less = fields(it);
                less.remove("image");
                *it.pointer_mut(at).unwrap() = less.into();
            },
            "warning",
            "older than this catnap: the cluster drops spec.image",
        ),
        (
            &|it| it.pointer_mut(at).unwrap()["colour"] = json!({"type": "string"}),
            "warning",
            "newer than this catnap, which does not know spec.colour",
        ),
        (&|it| it["spec"]["versions"][0]["name"] = json!("v9"), "failing", "v1alpha1 is not served"),
        (&|it| it["status"]["storedVersions"] = json!(["v0"]), "failing", "stored as v0"),
        (&|it| it["status"]["conditions"][0]["status"] = json!("False"), "failing", "not Established"),
    ];
    for (change, state, message) in rows {
        let api = installed();
        define(&api, change);
        let (found, _) = checked(&api).await;
        let row = found.iter().find(|row| row["check"] == "definition of Function").unwrap();
        assert_eq!(row["state"], state, "{row}");
        assert!(row["message"].as_str().unwrap().contains(message), "{row}");
    }
}

/// Who is told that all is well and then fails half-way has an installation to mend.
#[test]
fn rights_are_asked_for_every_kind_that_the_chart_makes() {
    let text = include_str!("../../../../deploy/catnap.yaml");
    let mut kinds = std::collections::BTreeSet::new();
    for object in catnap_cli::manifest::objects(std::path::Path::new("catnap.yaml"), text).unwrap() {
        let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let stem = kind.to_lowercase();
        let plural = match stem.strip_suffix('y') {
            Some(stem) => format!("{stem}ies"),
            None if stem.ends_with('s') => format!("{stem}es"),
            None => format!("{stem}s"),
        };
        // Helm is told to make it, or finds it.
        if kind != "Namespace" {
            kinds.insert((group.to_owned(), plural, object["metadata"]["namespace"].is_string()));
        }
    }
    assert!(kinds.len() > 10, "{kinds:?}");
    let is_missing = |(group, plural, inside): &&(String, String, bool)| {
        !read::CREATED.contains(&(group.as_str(), plural.as_str(), *inside))
    };
    let missing: Vec<_> = kinds.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn rights_that_are_missing_before_the_installation_keep_it_from_being_made() {
    let api = fresh();
    allow(&api, false);
    let (rows, exit) = checked(&api).await;
    assert!(states(&rows).contains(&("your rights", "missing")), "{rows:#?}");
    assert_eq!(exit, Exit::Failed);
}

#[tokio::test]
async fn a_definition_that_was_kept_says_whose_it_is() {
    let api = fresh();
    define(&api, |it| {
        it["metadata"]["annotations"] =
            json!({"meta.helm.sh/release-name": "cat", "meta.helm.sh/release-namespace": "naps"});
    });
    let (rows, exit) = checked(&api).await;
    let row = rows.iter().find(|row| row["check"] == "definition of Function").unwrap();
    assert!(row["message"].as_str().unwrap().contains("the release cat in namespace naps"), "{row}");
    assert_eq!(exit, Exit::NotFound);
}

#[tokio::test]
async fn an_installation_elsewhere_is_found() {
    let api = installed();
    let arguments = Arguments { system_namespace: "other".to_owned(), ..Arguments::default() };
    let mut fake = FakeTerminal::piped();
    let ended = Box::pin(check(&arguments, &connection::fake(&api), &mut fake.terminal)).await;
    assert_eq!(ended.unwrap_err().exit(), Exit::NotFound);
    let text = fake.out.take();
    assert!(text.contains("catnap install check --system-namespace catnap-system"), "{text}");
}

#[tokio::test]
async fn what_may_not_be_read_is_told_and_the_rest_is_there() {
    let api = installed();
    api.fail_next("GET", "deployments", 403, "Forbidden", "deployments.apps is forbidden");
    let (rows, exit) = checked(&api).await;
    let row = rows.iter().find(|row| row["check"] == "Deployments").unwrap();
    assert_eq!(row["state"], "warning");
    assert!(row["message"].as_str().unwrap().contains("you may not list deployments"), "{row}");
    assert!(row["try"].as_str().unwrap().contains("kubectl auth can-i list deployments"), "{row}");
    assert!(states(&rows).contains(&("leading operator", "ok")));
    assert_eq!(exit, Exit::Done);
}

#[tokio::test]
async fn an_api_server_that_does_not_know_the_user_ends_with_4() {
    let api = installed();
    api.fail_next("GET", "/version", 401, "Unauthorized", "Unauthorized");
    let (rows, exit) = checked(&api).await;
    assert!(rows.is_empty());
    assert_eq!(exit, Exit::NotAllowed);
}

#[tokio::test]
async fn a_person_sees_rows_and_then_what_to_do() {
    let api = installed();
    scaled(&api, 0);
    let arguments = Arguments { system_namespace: SYSTEM.to_owned(), ..Arguments::default() };
    let mut fake = FakeTerminal::piped();
    let ended = Box::pin(check(&arguments, &connection::fake(&api), &mut fake.terminal)).await;
    let error = ended.unwrap_err();
    assert_eq!((error.exit(), error.to_string().as_str()), (Exit::Failed, "1 of 16 checks are not passed"));
    let text = fake.out.take();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("CHECK ") && lines[0].ends_with(" MESSAGE"), "{text}");
    let line = |check: &str| *lines.iter().find(|line| line.starts_with(check)).unwrap();
    assert!(line("operator ").ends_with("   OK        2 of 2 ready"), "{text}");
    assert!(line("activator ").ends_with("   failing   0 of 2 ready"), "{text}");
    let advice = lines.iter().position(|line| line.is_empty()).unwrap();
    assert!(lines[advice + 2].contains("kubectl --namespace catnap-system describe pods"), "{text}");
    assert_eq!(lines.len(), advice + 3, "{text}");
}
