//! What is written for which command line, and what is said until the Function serves.

use std::time::Duration as StdDuration;

use catnap_testkit::FakeApi;
use clap::Parser;

use super::*;
use crate::connection;
use crate::exit::Exit;
use crate::fixtures::{function, serving, stalled, too_deep};
use crate::terminal::fake::FakeTerminal;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn parsed(line: &str) -> Arguments {
    let words = std::iter::once("deploy").chain(line.split_whitespace());
    Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).arguments
}

fn cluster() -> FakeApi {
    let api = FakeApi::default();
    function(&api, "hello", &serving("hello", 0));
    api
}

async fn deployed(
    api: &FakeApi,
    line: &str,
    manifests: &[Value],
    fake: &mut FakeTerminal,
) -> Result<(), DeployError> {
    deploy(&parsed(line), manifests, &connection::fake(api), &mut fake.terminal).await
}

/// The bodies of what was written.
fn bodies(api: &FakeApi) -> Vec<Value> {
    api.take_calls().into_iter().filter(|call| call.verb != "GET").map(|call| call.body).collect()
}

fn manifest(name: &str) -> Value {
    json!({"apiVersion": "catnap.dev/v1alpha1", "kind": "Function", "metadata": {"name": name},
        "spec": {"image": "registry.example/new:1"}})
}

#[tokio::test]
async fn only_what_is_named_is_changed() {
    let (api, mut fake) = (cluster(), FakeTerminal::piped());
    deployed(&api, "hello --image a:2 --max 7 --wait=false", &[], &mut fake).await.unwrap();
    let mut written = bodies(&api);
    assert!(written[0]["metadata"]["resourceVersion"].is_string(), "an edit in between is noticed");
    assert_eq!(written.remove(0)["spec"], json!({"image": "a:2", "scale": {"max": 7}}));
    assert_eq!(fake.out.take(), "function/hello was accepted\n");
}

#[tokio::test]
async fn what_does_not_exist_is_made_of_an_image() {
    let (api, mut fake) = (FakeApi::default(), FakeTerminal::piped());
    let error = deployed(&api, "hello --max 7", &[], &mut fake).await.unwrap_err();
    assert_eq!(error.advice().as_deref(), Some("`catnap deploy hello --image IMAGE`"));
    assert!(bodies(&api).is_empty());
    deployed(&api, "hello --image a:1 --env A=1 --command catnap,hello --wait=false", &[], &mut fake)
        .await
        .unwrap();
    let expected =
        json!({"image": "a:1", "command": ["catnap", "hello"], "env": [{"name": "A", "value": "1"}]});
    assert_eq!(bodies(&api)[0]["spec"], expected);
}

#[tokio::test]
async fn a_new_function_that_cannot_be_is_not_sent() {
    let (api, mut fake) = (FakeApi::default(), FakeTerminal::piped());
    let error = deployed(&api, "hello --image a:1 --min 7 --max 2", &[], &mut fake).await.unwrap_err();
    assert!(error.to_string().contains("spec.scale.min must be at most spec.scale.max"), "{error}");
    assert!(bodies(&api).is_empty());
}

#[tokio::test]
async fn an_edit_in_between_is_looked_at_again() {
    let (api, mut fake) = (cluster(), FakeTerminal::piped());
    let conflict = || api.fail_next("PATCH", "functions/hello", 409, "Conflict", "it has been modified");
    conflict();
    conflict();
    deployed(&api, "hello --image a:2 --wait=false", &[], &mut fake).await.unwrap();
    assert_eq!(bodies(&api).len(), 3);
    (0..3).for_each(|_| conflict());
    let error = deployed(&api, "hello --image a:3 --wait=false", &[], &mut fake).await.unwrap_err();
    assert!(error.advice().unwrap().starts_with("again"), "{error}");
}

#[tokio::test]
async fn manifests_are_applied_where_they_say() {
    let (api, mut fake) = (FakeApi::default(), FakeTerminal::piped());
    let mut other = manifest("other");
    other["metadata"]["namespace"] = json!("shop");
    let manifests = [manifest("new"), other.clone()];
    deployed(&api, "--file x.yaml --wait=false", &manifests, &mut fake).await.unwrap();
    let calls: Vec<_> = api.take_calls().into_iter().filter(|call| call.verb == "APPLY").collect();
    let paths: Vec<_> =
        calls.iter().map(|call| call.path.trim_start_matches("/apis/catnap.dev/v1alpha1/")).collect();
    assert_eq!(paths, ["namespaces/default/functions/new", "namespaces/shop/functions/other"]);
    for part in ["fieldManager=catnap", "fieldValidation=Strict"] {
        assert!(calls[0].query.contains(part), "{}", calls[0].query);
    }
    let error = deployed(&api, "--file x.yaml -n default", &[other], &mut fake).await.unwrap_err();
    assert_eq!(error.to_string(), "function/other is of namespace shop, and --namespace says default");
}

#[tokio::test]
async fn one_that_is_of_another_namespace_keeps_all_from_being_applied() {
    let (api, mut fake) = (FakeApi::default(), FakeTerminal::piped());
    let mut other = manifest("other");
    other["metadata"]["namespace"] = json!("shop");
    let manifests = [manifest("new"), other];
    deployed(&api, "--file x.yaml -n default", &manifests, &mut fake).await.unwrap_err();
    assert!(bodies(&api).is_empty());
}

#[tokio::test]
async fn fields_of_others_are_taken_over_only_when_that_is_asked_for() {
    let (api, mut fake) = (FakeApi::default(), FakeTerminal::piped());
    api.fail_next("APPLY", "functions/new", 409, "Conflict", "conflict with \"argocd\": .spec.image");
    let manifests = [manifest("new")];
    let error = deployed(&api, "--file x.yaml --wait=false", &manifests, &mut fake).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Failed);
    assert!(error.advice().unwrap().starts_with("--force-conflicts"), "{error}");
    api.take_calls();
    deployed(&api, "--file x.yaml --wait=false --force-conflicts", &manifests, &mut fake).await.unwrap();
    assert!(api.take_calls()[0].query.contains("force=true"));
}

#[tokio::test]
async fn one_that_is_nested_too_deep_is_not_waited_for() {
    let (api, mut fake) = (FakeApi::default(), FakeTerminal::piped());
    too_deep(&api, "deep");
    let error = deployed(&api, "deep --image a:2", &[], &mut fake).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Failed);
    assert!(error.advice().unwrap().contains("kubectl delete functions.catnap.dev deep"), "{error}");
}

#[tokio::test]
async fn an_address_that_a_terminal_would_obey_is_not_printed_so() {
    let (api, mut fake) = (cluster(), FakeTerminal::piped());
    let mut status = serving("hello", 1);
    status["observedGeneration"] = json!(9);
    status["url"] = json!("http://hello\u{1b}[2J");
    api.mutate("functions", move |it| it["status"] = status.clone());
    deployed(&api, "hello --image a:2", &[], &mut fake).await.unwrap();
    assert_eq!(fake.out.take(), "function/hello is ready: http://hello [2J\n");
}

#[tokio::test]
async fn it_waits_until_the_function_serves() {
    let (api, mut fake) = (FakeApi::default(), FakeTerminal::piped());
    let (err, operator) = (fake.err.clone(), api.clone());
    let operating = async {
        err.shows("new: waiting for Catnap's operator to look at it").await;
        let status = serving("new", 1);
        assert!(operator.edit::<catnap_crds::Function>("default", "new", |it| it["status"] = status));
    };
    let manifests = [manifest("new")];
    let deploying = Box::pin(deployed(&api, "--file x.yaml", &manifests, &mut fake));
    let both = async { tokio::join!(deploying, operating) };
    let (deployed, ()) = tokio::time::timeout(StdDuration::from_secs(20), both).await.expect("it is ready");
    deployed.unwrap();
    assert_eq!(fake.out.take(), "function/new is ready: http://new.default\n");
}

#[tokio::test]
async fn what_cannot_be_ends_with_7_and_what_takes_too_long_with_6() {
    let (api, mut fake) = (cluster(), FakeTerminal::piped());
    let mut status = stalled("hello");
    status["observedGeneration"] = json!(2);
    status["traffic"] = json!([{"revision": "hello-0", "percent": 100}]);
    api.mutate("functions", move |it| it["status"] = status.clone());
    let error = deployed(&api, "hello --image bad:1", &[], &mut fake).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Stalled);
    crate::exit::report(&error, &mut fake.err);
    insta::assert_snapshot!("stalled", fake.err.take());
    let unseen = FakeApi::default();
    let manifests = [manifest("new")];
    let error = deployed(&unseen, "--file x.yaml --timeout 50ms", &manifests, &mut fake).await.unwrap_err();
    assert_eq!(error.exit(), Exit::TimeOver);
}

#[test]
fn a_name_and_a_file_exclude_each_other() {
    for line in
        ["", "hello --file x.yaml", "--file x.yaml --image a", "hello --force-conflicts", "hello --port 0"]
    {
        let words = std::iter::once("deploy").chain(line.split_whitespace());
        assert!(Line::try_parse_from(words).is_err(), "{line}");
    }
}

#[test]
fn files_are_checked_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        let path = folder.path().join("function.yaml");
        std::fs::write(&path, text).unwrap();
        manifests::read(&path).map(|manifests| manifests.len())
    };
    let good = "apiVersion: catnap.dev/v1alpha1\nkind: Function\nmetadata: {name: a}\nspec: {image: b}\n";
    assert_eq!(read(&format!("# two\n---\n{good}---\n{good}")).unwrap(), 2);
    assert!(matches!(read("# nothing\n"), Err(DeployError::Empty { .. })));
    let list = "apiVersion: v1\nkind: List\nitems:\n";
    let item = "- {apiVersion: catnap.dev/v1alpha1, kind: Function, metadata: {name: a}, spec: {image: b}}\n";
    assert_eq!(read(&format!("{list}{item}{item}---\n{good}")).unwrap(), 3);
    assert!(matches!(read(&format!("{list} []\n")), Err(DeployError::Empty { .. })));
    let error = read(&good.replace("name: a", "name: a, namespace: a/b")).unwrap_err();
    assert!(error.to_string().contains("metadata.namespace must be"), "{error}");
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n";
    let error = read(&format!("{good}---\n{service}")).unwrap_err();
    assert!(error.to_string().contains("`Service` of `v1`"), "{error}");
}
