//! The page, for people and for programs, in the states that people meet.

use catnap_testkit::FakeApi;
use serde_json::{Value, json};

use super::*;
use crate::connection;
use crate::exit::{Exit, Failure};
use crate::fixtures::{deployment, event, function, pod, record, running, serving, stalled, too_deep};
use crate::functions::Functions;
use crate::terminal::fake::FakeTerminal;

fn arguments(name: &str, output: PageFormat) -> Arguments {
    Arguments {
        name: name.to_owned(),
        output,
        system_namespace: "catnap-system".to_owned(),
        ..Arguments::default()
    }
}

async fn shown(api: &FakeApi, name: &str, mut fake: FakeTerminal) -> String {
    let arguments = arguments(name, PageFormat::Table);
    show(&arguments, &connection::fake(api), &mut fake.terminal).await.unwrap();
    fake.out.take().replace('\x1b', "^")
}

/// A rollout that has come half-way.
fn rolling() -> FakeApi {
    let api = FakeApi::default();
    let mut status = serving("hello", 3);
    status["latestCreatedRevision"] = json!("hello-2");
    status["urls"] = json!(["https://hello-default.apps.example.com"]);
    status["hosts"] = json!([
        {"host": "hello.example.com", "accepted": true},
        {"host": "shop.example.com", "accepted": false, "reason": "HostTaken", "message": "function/shop has it"},
    ]);
    status["revisions"] = json!([
        {"name": "hello-1", "port": 8080, "protocol": "HTTP1", "state": "Routed"},
        {"name": "hello-2", "port": 8080, "protocol": "HTTP1", "state": "Routed"},
    ]);
    status["traffic"] = json!([
        {"revision": "hello-2", "percent": 25, "latest": true},
        {"revision": "hello-1", "percent": 75},
    ]);
    status["rollout"] = json!({
        "from": "hello-1", "to": "hello-2", "percent": 25, "comingPercent": 50, "comingReplicas": 3,
        "steppedAt": "2026-01-01T11:59:20Z",
        "counted": {"fromEnded": 1000, "fromErrors": 1, "toEnded": 240, "toErrors": 0},
    });
    function(&api, "hello", &status);
    for number in [1, 2] {
        record(&api, "hello", number);
        deployment(&api, "hello", number, 2, 1);
    }
    pod(&api, "hello", 1, "hello-1-6f7d-a", &running());
    pod(&api, "hello", 2, "hello-2-6f7d-b", &json!({"waiting": {"reason": "ContainerCreating"}}));
    event(&api, "hello", "2026-01-01T11:50:00Z", "RevisionCreated", "Revision hello-2 was made");
    event(&api, "hello", "2026-01-01T11:59:00Z", "RevisionFailed", "ImagePullFailed: not found");
    event(&api, "other", "2026-01-01T11:59:00Z", "RevisionFailed", "of another Function");
    api
}

#[tokio::test]
async fn a_rollout_is_one_readable_page() {
    insta::assert_snapshot!("rolling_piped", shown(&rolling(), "hello", FakeTerminal::piped()).await);
    insta::assert_snapshot!("rolling_80", shown(&rolling(), "hello", FakeTerminal::of_person(80, "")).await);
    insta::assert_snapshot!(
        "rolling_160",
        shown(&rolling(), "hello", FakeTerminal::of_person(160, "")).await
    );
}

#[tokio::test]
async fn a_function_at_rest_and_one_that_is_stalled() {
    let api = FakeApi::default();
    function(&api, "hello", &serving("hello", 0));
    function(&api, "shop", &stalled("shop"));
    function(&api, "new", &json!({}));
    for name in ["hello", "shop", "new"] {
        insta::assert_snapshot!(name, shown(&api, name, FakeTerminal::piped()).await);
    }
}

#[tokio::test]
async fn a_part_that_cannot_be_read_says_so_and_the_others_are_there() {
    let api = rolling();
    // The Function's pods, and the activators'.
    for resource in ["pods", "pods", "events", "deployments", "leases/catnap-autoscaler"] {
        api.fail_next("GET", resource, 403, "Forbidden", "no role of yours has it");
    }
    let page = shown(&api, "hello", FakeTerminal::piped()).await;
    let unknown = page.lines().filter(|line| line.contains("not known: you may not")).count();
    assert_eq!(unknown, 5, "{page}");
    assert!(page.contains("http://hello.default"), "{page}");
}

#[tokio::test]
async fn programs_get_the_same_as_one_object() {
    let mut fake = FakeTerminal::piped();
    let arguments = arguments("hello", PageFormat::Json);
    show(&arguments, &connection::fake(&rolling()), &mut fake.terminal).await.unwrap();
    let page: Value = serde_json::from_str(&fake.out.take()).unwrap();
    assert_eq!(page["revisions"]["known"][0]["percent"], json!(25));
    assert_eq!(page["pods"]["known"][1]["state"], json!("ContainerCreating"));
    assert_eq!(page["events"]["known"][0]["warning"], json!(true));
    assert!(page["decisions"]["unknown"].as_str().unwrap().contains("--system-namespace"), "{page}");
    let starts = page["coldStarts"]["unknown"].as_str().unwrap();
    assert!(starts.starts_with("no activator is ready in namespace catnap-system"), "{page}");
}

#[tokio::test]
async fn activators_that_cannot_be_reached_are_said_to_be_and_the_rest_is_there() {
    let api = rolling();
    let pod = json!({
        "metadata": {"name": "activator-1", "namespace": "catnap-system",
            "labels": {"app.kubernetes.io/name": "catnap", "app.kubernetes.io/component": "activator"}},
        "spec": {"containers": []},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    // An API server that opens no streams.
    api.insert_at("/api/v1/namespaces/catnap-system/pods", pod);
    let page = shown(&api, "hello", FakeTerminal::piped()).await;
    let why = "not known: cannot create pods/portforward/activator-1 in namespace catnap-system";
    assert!(page.contains(&format!("\nRecent cold starts\n  {why}")), "{page}");
    assert!(page.contains("Revision hello-2 was made"), "{page}");
}

#[tokio::test]
async fn cold_starts_are_told_a_line_each() {
    let api = rolling();
    let found = Functions::new(&connection::fake(&api)).get("hello").await.unwrap();
    let golden = include_str!("../../../activator/src/metrics/cold_starts/golden.json");
    let starts = cold_starts::ColdStarts {
        last: vec![serde_json::from_str(golden).unwrap()],
        incomplete: Some("1 of 2 activators told nothing: it does not answer".to_owned()),
    };
    let page = page::Page::new(&found.function.unwrap(), parts(starts));
    let text = text::text(&page, FakeTerminal::piped().terminal.look());
    let section = "\nRecent cold starts\n  \
        11s ago  312 ms: wake 9, schedule 260, start 40, ready 3  (hello-3, 200)\n  \
        1 of 2 activators told nothing: it does not answer\n\nEvents\n";
    assert!(text.contains(section), "{text}");
    let told = serde_json::to_value(&page).unwrap();
    assert_eq!(told["coldStarts"]["known"][0]["phases"]["schedule"], json!(260.0));
    assert_eq!(told["coldStarts"]["known"][0]["status"], json!(200));
    assert!(told["coldStartsIncomplete"].as_str().unwrap().starts_with("1 of 2"), "{told}");
}

/// Nothing but these cold starts.
fn parts(starts: cold_starts::ColdStarts) -> page::Parts {
    page::Parts {
        revisions: page::Section::Known(Vec::new()),
        pods: page::Section::Known(Vec::new()),
        decisions: page::Section::Known(Vec::new()),
        cold_starts: page::Section::Known(starts),
        events: page::Section::Known(Vec::new()),
    }
}

#[tokio::test]
async fn decisions_are_told_as_explain_tells_them() {
    let explained = json!([{
        "namespace": "default", "function": "hello", "functionUid": "uid-of-hello", "revision": "hello-1",
        "replicas": 1, "gate": "Open", "stage": "Routed", "inputs": null,
        "decision": {"desired": 2, "panic": false, "atMax": false, "rule": "Stable", "secondsAgo": 0.5,
            "reasons": ["stable window: 140 in flight, 70 a replica"]},
        "changes": [{"secondsAgo": 12.0, "from": 0, "to": 1, "reasons": ["a request is held"]}],
    }]);
    let api = rolling();
    let found = Functions::new(&connection::fake(&api)).get("hello").await.unwrap();
    let parts = page::Parts {
        decisions: page::Section::Known(serde_json::from_value(explained).unwrap()),
        ..parts(cold_starts::ColdStarts::default())
    };
    let page = page::Page::new(&found.function.unwrap(), parts);
    insta::assert_snapshot!(
        "decisions",
        text::text(&page, FakeTerminal::of_person(60, "").terminal.look()).replace('\x1b', "^")
    );
}

#[tokio::test]
async fn an_unknown_name_is_an_error() {
    let mut fake = FakeTerminal::piped();
    let arguments = arguments("hallo", PageFormat::Table);
    let error = show(&arguments, &connection::fake(&rolling()), &mut fake.terminal).await.unwrap_err();
    assert_eq!((error.exit(), error.advice().as_deref()), (Exit::NotFound, Some("hello?")));
}

#[tokio::test]
async fn a_function_that_is_nested_too_deep_is_said_to_be() {
    let api = FakeApi::default();
    too_deep(&api, "deep");
    let mut fake = FakeTerminal::piped();
    let arguments = arguments("deep", PageFormat::Table);
    let error = show(&arguments, &connection::fake(&api), &mut fake.terminal).await.unwrap_err();
    assert!(error.to_string().contains("function/deep has more than 64 objects and lists inside"), "{error}");
    let advice = error.advice().unwrap();
    assert!(advice.contains("kubectl delete functions.catnap.dev deep --namespace default"), "{advice}");
    assert_eq!((error.exit(), fake.out.take().as_str()), (Exit::Failed, ""));
}

#[tokio::test]
async fn what_a_newer_cluster_knows_is_told_with_the_field() {
    let api = FakeApi::default();
    function(&api, "hello", &serving("hello", 0));
    assert!(
        api.edit::<catnap_crds::Function>("default", "hello", |it| it["spec"]["protocol"] = json!("HTTP9"))
    );
    let mut fake = FakeTerminal::piped();
    let arguments = arguments("hello", PageFormat::Table);
    let error = show(&arguments, &connection::fake(&api), &mut fake.terminal).await.unwrap_err();
    crate::exit::report(&error, &mut fake.err);
    let said = fake.err.take();
    assert!(said.contains("it is older than the cluster's") && said.contains("HTTP9"), "{said}");
}
