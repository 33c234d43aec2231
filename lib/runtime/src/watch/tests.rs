//! What events become, and how long a watch that fails waits.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::client::Body;
use serde_json::json;

use super::*;

fn pod(name: &str) -> Guarded<Pod> {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}

fn unreadable() -> Guarded<Pod> {
    serde_json::from_value(json!({"metadata": {"name": "bad"}, "spec": {"containers": 3}})).unwrap()
}

#[tokio::test]
async fn a_list_arrives_whole_and_an_interruption_changes_nothing() {
    let events = vec![
        Ok(Event::Init),
        Ok(Event::InitApply(pod("a"))),
        Err(watcher::Error::NoResourceVersion),
        Ok(Event::Init),
        Ok(Event::InitApply(pod("b"))),
        Ok(Event::InitApply(unreadable())),
        Ok(Event::InitDone),
        Ok(Event::Apply(pod("c"))),
        Ok(Event::Apply(unreadable())),
        Ok(Event::Delete(pod("b"))),
        Ok(Event::Delete(unreadable())),
    ];
    let failures = AtomicUsize::new(0);
    let failed = || {
        failures.fetch_add(1, Ordering::Relaxed);
    };
    let seen: Vec<_> =
        changes(futures::stream::iter(events), |pod: Pod| pod.metadata.name, failed).collect().await;
    let expected = [
        Change::Listed(vec!["b".to_owned()]),
        Change::Applied("c".to_owned()),
        Change::Deleted("b".to_owned()),
        Change::Deleted("bad".to_owned()),
    ];
    assert_eq!(seen, expected);
    assert_eq!(failures.into_inner(), 3);
}

#[tokio::test]
async fn an_object_that_is_nested_too_deep_keeps_nobody_from_the_others() {
    let service = tower::service_fn(|_: Request<Body>| async {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
        let list = format!(
            r#"{{"metadata":{{"resourceVersion":"1"}},"items":[
                {{"metadata":{{"name":"deep"}},"revision":1,"data":{deep}}},
                {{"metadata":{{"name":"other"}},"revision":1}}]}}"#
        );
        Ok::<_, std::io::Error>(Response::new(Body::from(list.into_bytes())))
    });
    let api = Api::<Guarded<ControllerRevision>>::namespaced(Client::new(service, "default"), "default");
    let changes = follow(api, Config::default(), |record: ControllerRevision| record.metadata.name, || ());
    let first = Box::pin(changes).next().await;
    assert_eq!(first, Some(Change::Listed(vec!["deep".to_owned(), "other".to_owned()])));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_refuses_lists_is_asked_less_and_less_often() {
    let service = tower::service_fn(|_: Request<Body>| async {
        let refusal =
            json!({"kind": "Status", "status": "Failure", "reason": "TooManyRequests", "code": 429});
        let body = Body::from(serde_json::to_vec(&refusal).unwrap());
        Ok::<_, std::io::Error>(Response::builder().status(429).body(body).unwrap())
    });
    let api = Api::<Guarded<Pod>>::namespaced(Client::new(service, "default"), "default");
    let (failure, mut failures) = tokio::sync::mpsc::unbounded_channel();
    let failed = move || failure.send(Instant::now()).unwrap();
    let changes = follow(api, Config::default(), |pod: Pod| pod.metadata.name, failed);
    let following = tokio::spawn(changes.for_each(|_| std::future::ready(())));
    let mut times = Vec::new();
    for _ in 0..12 {
        times.push(failures.recv().await.unwrap());
    }
    following.abort();
    let delays: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(delays[0] <= FIRST_DELAY + Duration::from_millis(5), "{delays:?}");
    assert!(delays[7..].iter().all(|delay| *delay >= LONGEST_DELAY / 2), "{delays:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_worked_for_a_while_is_taken_up_again_at_once() {
    let mut backoff = WatchBackoff::default();
    for _ in 0..10 {
        backoff.next();
    }
    tokio::time::advance(Duration::from_secs(u64::from(WATCH_SECONDS))).await;
    assert!(backoff.next().unwrap() <= FIRST_DELAY);
}
