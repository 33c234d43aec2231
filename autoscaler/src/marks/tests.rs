use std::sync::Arc;
use std::time::Duration;

use catnap_runtime::lease::Leadership;
use catnap_runtime::prometheus_client::registry::Registry;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use super::{AT_ONCE, Mark, MarkClient, REQUEST_TIMEOUT};
use crate::fixture::{Reply, client};
use crate::metrics::Metrics;

fn mark(marked: bool) -> Mark {
    let leadership = Leadership::until(1, Instant::now() + Duration::from_secs(4));
    Mark { namespace: "shop".into(), name: "hello-1-x".into(), uid: "uid-x".into(), marked, leadership }
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
    marks.write(&mark).await;
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
