use std::sync::Arc;
use std::time::Duration;

use catnap_runtime::lease::Leadership;
use catnap_runtime::prometheus_client::encoding::text::encode;
use catnap_runtime::prometheus_client::registry::Registry;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use super::{AT_ONCE, Mark, MarkClient, REQUEST_TIMEOUT};
use crate::fixture::{Reply, client, soon};
use crate::metrics::Metrics;

fn mark(marked: bool) -> Mark {
    let leadership = Leadership::until(1, Instant::now() + Duration::from_secs(4));
    let (namespace, name, uid) = ("shop".into(), "hello-1-x".into(), "uid-x".into());
    Mark { namespace, name, uid, marked, asked: Instant::now(), leadership }
}

#[tokio::test(start_paused = true)]
async fn only_the_annotation_of_this_very_pod_is_written() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let api = client(move |call| {
        seen.lock().push(call);
        Reply::Json(200, json!({ "metadata": { "name": "hello-1-x" } }))
    });
    let marks = MarkClient::new(api, Metrics::new(&mut Registry::default()));
    marks.write(&mark(true)).await;
    marks.write(&mark(false)).await;
    let calls = calls.lock();
    let cost = "controller.kubernetes.io/pod-deletion-cost";
    let [set, removed] = calls.as_slice() else { panic!("two requests, not {calls:?}") };
    assert_eq!(set.method, "PATCH");
    assert!(set.path.starts_with("/api/v1/namespaces/shop/pods/hello-1-x?"), "{}", set.path);
    assert!(set.path.contains("fieldManager=catnap-autoscaler"), "{}", set.path);
    let body = |cost_value| json!({ "metadata": { "uid": "uid-x", "annotations": { cost: cost_value } } });
    assert_eq!(set.body, body(json!("-2147483648")));
    assert_eq!(removed.body, body(json!(null)));
}

#[tokio::test(start_paused = true)]
async fn who_leads_no_more_writes_nothing() {
    let api = client(|call| panic!("{call:?}"));
    let marks = MarkClient::new(api, Metrics::new(&mut Registry::default()));
    let mark = mark(true);
    tokio::time::advance(Duration::from_secs(5)).await;
    marks.write(&Mark { asked: Instant::now(), ..mark }).await;
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_silent_holds_no_writer_for_longer_than_its_time() {
    let marks = MarkClient::new(client(|_| Reply::Silence), Metrics::new(&mut Registry::default()));
    let begun = Instant::now();
    let mark = mark(true);
    let all = (0..2 * AT_ONCE).map(|_| marks.write(&mark));
    futures::future::join_all(all).await;
    assert_eq!(begun.elapsed(), 2 * REQUEST_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn what_came_of_each_write_is_counted() {
    let outcome_of = async |reply: fn() -> Reply, mark: Mark| {
        let mut registry = Registry::default();
        let marks = MarkClient::new(client(move |_| reply()), Metrics::new(&mut registry));
        marks.write(&mark).await;
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        let counted = page.lines().filter(|line| line.contains("deletion_cost") && line.ends_with(" 1"));
        let outcomes: Vec<String> = counted.map(|line| line.split('"').nth(1).unwrap().to_owned()).collect();
        outcomes.join(" and ")
    };
    let written = || Reply::Json(200, json!({ "metadata": { "name": "hello-1-x" } }));
    assert_eq!(outcome_of(written, mark(true)).await, "Written");
    assert_eq!(outcome_of(|| Reply::refusal(404, "NotFound"), mark(true)).await, "Gone");
    assert_eq!(
        outcome_of(|| Reply::refusal(409, "Conflict"), mark(true)).await,
        "Gone",
        "another of its name"
    );
    assert_eq!(outcome_of(|| Reply::refusal(403, "Forbidden"), mark(true)).await, "Refused");
    assert_eq!(outcome_of(|| Reply::Silence, mark(true)).await, "Timeout");
    let leadership = Leadership::until(1, Instant::now());
    assert_eq!(outcome_of(written, Mark { leadership, ..mark(true) }).await, "NotSent");
}

#[tokio::test(start_paused = true)]
async fn a_mark_is_written_although_nobody_waits_for_it() {
    let (calls, mut called) = tokio::sync::mpsc::unbounded_channel();
    let api = client(move |call| {
        let _ = calls.send(call.path);
        Reply::Json(200, json!({ "metadata": { "name": "hello-1-x" } }))
    });
    MarkClient::new(api, Metrics::new(&mut Registry::default())).send(mark(true));
    assert!(soon(called.recv()).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_has_waited_for_its_turn_too_long_is_not_sent() {
    let sent = Arc::new(Mutex::new(0));
    let count = Arc::clone(&sent);
    let api = client(move |_| {
        *count.lock() += 1;
        Reply::Silence
    });
    let marks = MarkClient::new(api, Metrics::new(&mut Registry::default()));
    let begun = Instant::now();
    let mark = mark(true);
    futures::future::join_all((0..20 * AT_ONCE).map(|_| marks.write(&mark))).await;
    assert_eq!(*sent.lock(), 2 * AT_ONCE, "a second later some still may be");
    assert_eq!(begun.elapsed(), 2 * REQUEST_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_wants_to_be_left_alone_is() {
    let sent = Arc::new(Mutex::new(0));
    let count = Arc::clone(&sent);
    let api = client(move |_| {
        *count.lock() += 1;
        Reply::Throttled("3")
    });
    let marks = MarkClient::new(api, Metrics::new(&mut Registry::default()));
    for _ in 0..4 {
        marks.write(&mark(true)).await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(*sent.lock(), 2, "at the beginning, and after three seconds");
}
