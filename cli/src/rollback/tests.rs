//! Which revision is gone back to.

use catnap_testkit::FakeApi;
use serde_json::{Value, json};

use super::*;
use crate::connection;
use crate::fixtures::{function, record, serving, too_deep};
use crate::terminal::fake::FakeTerminal;

fn arguments(to: Option<&str>) -> Arguments {
    Arguments {
        name: "hello".to_owned(),
        to: to.map(str::to_owned),
        settle: SettleArguments { wait: false, timeout: "1s".parse().unwrap() },
        connection: ConnectionArguments::default(),
    }
}

/// The revision that gets everything, with three in the history of which `status` says who has what.
async fn gone_back(status: &Value, to: Option<&str>) -> Result<Value, RollbackError> {
    let (api, mut fake) = (FakeApi::default(), FakeTerminal::piped());
    function(&api, "hello", status);
    for number in 1..=3 {
        record(&api, "hello", number);
    }
    rollback(&arguments(to), &connection::fake(&api), &mut fake.terminal).await?;
    let write = api.take_calls().into_iter().find(|call| call.verb == "PATCH").expect("a write");
    assert_eq!(write.body["spec"]["traffic"][0]["percent"], json!(100));
    Ok(write.body["spec"]["traffic"][0]["revision"].clone())
}

fn all_to(revision: &str) -> Value {
    let mut status = serving("hello", 1);
    status["traffic"] = json!([{"revision": revision, "percent": 100, "latest": true}]);
    status
}

#[tokio::test]
async fn it_goes_to_the_one_before_or_to_the_one_that_is_named() {
    let mut rolling = all_to("hello-3");
    rolling["rollout"] = json!({"from": "hello-1", "to": "hello-3", "percent": 50, "comingPercent": 100,
        "steppedAt": "2026-01-01T11:59:20Z"});
    let rows = [
        (all_to("hello-3"), None, "hello-2"),
        (all_to("hello-2"), None, "hello-1"),
        (all_to("hello-3"), Some("hello-1"), "hello-1"),
        (rolling, None, "hello-1"),
    ];
    for (status, to, expected) in rows {
        assert_eq!(gone_back(&status, to).await.unwrap(), json!(expected), "{to:?}");
    }
}

#[tokio::test]
async fn without_a_revision_before_nothing_is_written() {
    for (status, to) in [(all_to("hello-1"), None), (json!({}), None), (all_to("hello-1"), Some("other"))] {
        assert_eq!(gone_back(&status, to).await.unwrap_err().exit(), Exit::NotFound, "{to:?}");
    }
}

#[tokio::test]
async fn of_one_that_is_nested_too_deep_it_is_said_what_to_do() {
    let (api, mut fake) = (FakeApi::default(), FakeTerminal::piped());
    too_deep(&api, "hello");
    let error = rollback(&arguments(None), &connection::fake(&api), &mut fake.terminal).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Failed);
    assert!(error.advice().unwrap().contains("kubectl delete functions.catnap.dev hello"), "{error}");
    assert!(api.take_writes().is_empty());
}
