//! What `spec.traffic` becomes for which command line.

use catnap_testkit::FakeApi;
use clap::Parser;
use serde_json::Value;

use super::*;
use crate::connection;
use crate::exit::Exit;
use crate::fixtures::{condition, function, record, serving, stalled, too_deep};
use crate::terminal::fake::FakeTerminal;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn parsed(line: &str) -> Arguments {
    let words = ["traffic", "hello", "--wait=false"].into_iter().chain(line.split_whitespace());
    Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).arguments
}

/// A Function with this `spec.traffic` and three revisions.
fn cluster(traffic: &Value) -> FakeApi {
    let api = FakeApi::default();
    function(&api, "hello", &serving("hello", 1));
    for number in [1, 2, 12] {
        record(&api, "hello", number);
    }
    assert!(api.edit::<Function>("default", "hello", |it| it["spec"]["traffic"] = traffic.clone()));
    api
}

async fn changed(before: &Value, line: &str) -> Result<Value, TrafficError> {
    let (api, mut fake) = (cluster(before), FakeTerminal::piped());
    traffic(&parsed(line), &connection::fake(&api), &mut fake.terminal).await?;
    let write = api.take_calls().into_iter().find(|call| call.verb == "PATCH");
    Ok(write.expect("a write").body["spec"]["traffic"].clone())
}

#[tokio::test]
async fn shares_and_tags_become_targets() {
    let named = |revision: &str, percent: i32| json!({"revision": revision, "percent": percent});
    let latest = |percent: i32| json!({"latest": true, "percent": percent});
    let tagged = |mut target: Value, tag: &str| {
        target["tag"] = json!(tag);
        target
    };
    let nothing = json!([]);
    let canary = json!([named("hello-1", 90), tagged(latest(10), "next")]);
    let rows = [
        (&nothing, "hello-2=90 latest=10", json!([named("hello-2", 90), latest(10)])),
        (
            &nothing,
            "hello-2=100 --tag next=latest",
            json!([named("hello-2", 100), tagged(latest(0), "next")]),
        ),
        (&nothing, "--tag old=hello-2", json!([latest(100), tagged(named("hello-2", 0), "old")])),
        (&canary, "hello-1=50 latest=50", json!([named("hello-1", 50), tagged(latest(50), "next")])),
        (&canary, "--untag next", json!([named("hello-1", 90), latest(10)])),
        (&canary, "--latest", json!([tagged(latest(100), "next")])),
        (&canary, "--latest --untag next", json!([])),
        (
            &canary,
            "--tag again=latest",
            json!([named("hello-1", 90), tagged(latest(10), "again"), tagged(latest(0), "next")]),
        ),
    ];
    for (before, line, after) in rows {
        assert_eq!(changed(before, line).await.unwrap(), after, "{line}");
    }
}

#[tokio::test]
async fn what_cannot_be_is_said() {
    let rows = [
        ("hello-2=90", "the shares are 90 percent together, and must be 100", Exit::Failed),
        (
            "hello-9=100",
            "there is no revision `hello-9`; there are hello-12, hello-2, hello-1",
            Exit::NotFound,
        ),
        ("hello=100", "`hello` may be any of hello-12, hello-2, hello-1", Exit::Failed),
        ("--untag next", "there is no tag `next` to take away", Exit::NotFound),
    ];
    for (line, said, exit) in rows {
        let error = changed(&json!([]), line).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.exit()), (said, exit), "{line}");
    }
}

#[tokio::test]
async fn a_whole_name_is_meant_though_others_begin_so() {
    let after = changed(&json!([]), "hello-1=100").await.unwrap();
    assert_eq!(after, json!([{"revision": "hello-1", "percent": 100}]));
}

#[tokio::test]
async fn without_a_change_what_is_wanted_stands_beside_what_is_so() {
    let (api, mut fake) = (cluster(&json!([{"revision": "hello-2", "percent": 100}])), FakeTerminal::piped());
    traffic(&parsed(""), &connection::fake(&api), &mut fake.terminal).await.unwrap();
    insta::assert_snapshot!("shown", fake.out.take());
    assert!(api.take_writes().is_empty());
}

#[tokio::test]
async fn it_waits_for_the_way_of_requests_and_not_for_a_revision_that_cannot_be() {
    for (routes, reason, exit) in [
        ("True", "Routed", Exit::Done),
        ("False", "RevisionMissing", Exit::Stalled),
        ("Unknown", "Proving", Exit::TimeOver),
    ] {
        let (api, mut fake) = (cluster(&json!([])), FakeTerminal::piped());
        let mut status = stalled("hello");
        status["observedGeneration"] = json!(3);
        status["conditions"][2] = condition("RoutesReady", routes, reason, "because");
        api.mutate("functions", move |it| it["status"] = status.clone());
        let arguments = parsed("hello-1=100");
        let settle = SettleArguments { wait: true, timeout: "200ms".parse().unwrap() };
        let arguments = Arguments { settle, ..arguments };
        let changed = traffic(&arguments, &connection::fake(&api), &mut fake.terminal).await;
        assert_eq!(changed.err().map_or(Exit::Done, |error| error.exit()), exit, "{reason}");
    }
}

#[tokio::test]
async fn who_keeps_it_in_git_is_warned() {
    let (api, mut fake) = (cluster(&json!([])), FakeTerminal::piped());
    let kept =
        |it: &mut Value| it["metadata"]["labels"] = json!({"kustomize.toolkit.fluxcd.io/name": "apps"});
    assert!(api.edit::<Function>("default", "hello", kept));
    traffic(&parsed("hello-1=100"), &connection::fake(&api), &mut fake.terminal).await.unwrap();
    assert_eq!(fake.err.take(), "hello is kept by Flux, which will undo this: change it there too.\n");
}

#[tokio::test]
async fn of_one_that_is_nested_too_deep_it_is_said_what_to_do() {
    let (api, mut fake) = (FakeApi::default(), FakeTerminal::piped());
    too_deep(&api, "hello");
    for line in ["", "hello-1=100"] {
        let error = traffic(&parsed(line), &connection::fake(&api), &mut fake.terminal).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Failed);
        assert!(error.advice().unwrap().contains("kubectl delete functions.catnap.dev hello"), "{error}");
    }
    assert!(api.take_writes().is_empty());
}
