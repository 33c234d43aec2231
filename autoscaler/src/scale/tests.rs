use std::sync::Arc;
use std::time::Duration;

use catnap_autoscaler_core::{ReadOutcome, Scale, WriteOutcome};
use catnap_runtime::lease::Leadership;
use catnap_runtime::prometheus_client::encoding::text::encode;
use catnap_runtime::prometheus_client::registry::Registry;
use catnap_wire::RevisionId;
use kube::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{ScaleClient, Urgency, Write};
use crate::fixture::{Reply, client};
use crate::metrics::Metrics;
use crate::watch::Activators;

fn revision() -> RevisionId {
    RevisionId { namespace: "shop".into(), name: "hello-1".into(), function_uid: "uid-1".into() }
}

fn scale_client(client: Client) -> ScaleClient {
    let activators = Activators { namespace: "catnap-system".into(), selector: "component=activator".into() };
    ScaleClient::new(client, activators, 2, Metrics::new(&mut Registry::default()))
}

const VALID: Duration = Duration::from_secs(4);

fn write(not_after: Option<Instant>) -> Write {
    let leadership = Leadership::until(1, Instant::now() + VALID);
    Write { revision: revision(), replicas: 3, resource_version: "41".into(), not_after, leadership }
}

/// The write of a lower count, which may start within a minute.
fn lower(replicas: u32) -> Write {
    let minute = Instant::now() + Duration::from_secs(60);
    Write { replicas, leadership: Leadership::until(1, minute), ..write(Some(minute)) }
}

fn scale_object(replicas: u32, resource_version: &str) -> Value {
    json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": { "name": "hello-1", "namespace": "shop", "resourceVersion": resource_version },
        "spec": { "replicas": replicas },
        "status": { "replicas": 0 },
    })
}

async fn outcome_of(reply: fn() -> Reply) -> WriteOutcome {
    let scale = scale_client(client(move |_| reply()));
    scale.write(&write(None)).await
}

#[tokio::test(start_paused = true)]
async fn a_write_carries_the_resource_version_and_tells_the_new_one() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let scale = scale_client(client(move |call| {
        seen.lock().push(call);
        Reply::Json(200, scale_object(3, "42"))
    }));
    let outcome = scale.write(&write(None)).await;
    assert_eq!(outcome, WriteOutcome::Written { resource_version: "42".into() });
    let calls = calls.lock();
    let [call] = calls.as_slice() else { panic!("one request, not {calls:?}") };
    assert_eq!(call.method, "PUT");
    assert!(
        call.path.starts_with("/apis/apps/v1/namespaces/shop/deployments/hello-1/scale"),
        "{}",
        call.path
    );
    assert_eq!(call.body["metadata"]["resourceVersion"], "41");
    assert_eq!(call.body["spec"]["replicas"], 3);
}

#[tokio::test(start_paused = true)]
async fn every_failure_says_whether_the_write_may_have_landed() {
    assert_eq!(outcome_of(|| Reply::refusal(409, "Conflict")).await, WriteOutcome::Conflict);
    assert_eq!(outcome_of(|| Reply::refusal(403, "Forbidden")).await, WriteOutcome::Refused);
    assert_eq!(outcome_of(|| Reply::refusal(404, "NotFound")).await, WriteOutcome::Refused);
    let throttled = |seconds| WriteOutcome::Throttled { after: Duration::from_secs(seconds) };
    assert_eq!(outcome_of(|| Reply::Throttled("4")).await, throttled(4));
    assert_eq!(outcome_of(|| Reply::refusal(429, "TooManyRequests")).await, throttled(1));
    assert_eq!(outcome_of(|| Reply::refusal(500, "InternalError")).await, WriteOutcome::Unknown);
    assert_eq!(outcome_of(|| Reply::refusal(504, "Timeout")).await, WriteOutcome::Unknown);
    assert_eq!(outcome_of(|| Reply::Text(403, "not from here\n")).await, WriteOutcome::Refused);
    assert_eq!(outcome_of(|| Reply::Text(409, "")).await, WriteOutcome::Conflict);
    assert_eq!(outcome_of(|| Reply::Text(502, "bad gateway")).await, WriteOutcome::Unknown);
    assert_eq!(outcome_of(|| Reply::Text(200, "hello")).await, WriteOutcome::Unknown);
    assert_eq!(outcome_of(|| Reply::Broken).await, WriteOutcome::Unknown);
    assert_eq!(outcome_of(|| Reply::Silence).await, WriteOutcome::Unknown);
    assert_eq!(outcome_of(|| Reply::Unfinished).await, WriteOutcome::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_time_is_over_is_not_sent() {
    let mut registry = Registry::default();
    let scale = ScaleClient {
        metrics: Metrics::new(&mut registry),
        ..scale_client(client(|call| panic!("nothing may be sent, not {call:?}")))
    };
    let write = write(Some(Instant::now()));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(scale.write(&write).await, WriteOutcome::NotSent);
    let mut metrics = String::new();
    encode(&mut metrics, &registry).unwrap();
    assert!(metrics.contains(r#"scale_writes_total{outcome="NotSent"} 1"#), "{metrics}");
    assert!(metrics.contains("scale_write_seconds_count 0"), "what was not sent took no time: {metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_write_without_leadership_is_not_sent() {
    let scale = scale_client(client(|call| panic!("nothing may be sent, not {call:?}")));
    let write = write(None);
    tokio::time::advance(VALID).await;
    assert!(!write.leadership.is_valid(Instant::now()));
    assert_eq!(scale.write(&write).await, WriteOutcome::NotSent);
}

#[tokio::test(start_paused = true)]
async fn no_more_writes_than_allowed_are_under_way() {
    let under_way = Arc::new(Mutex::new(0));
    let count = Arc::clone(&under_way);
    let scale = scale_client(client(move |_| {
        *count.lock() += 1;
        Reply::Silence
    }));
    let write = write(None);
    let writes: Vec<_> = (0..5).map(|_| scale.write(&write)).collect();
    let _ = tokio::time::timeout(Duration::from_millis(500), futures::future::join_all(writes)).await;
    assert_eq!(*under_way.lock(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_read_tells_replicas_and_resource_version() {
    let read = async |reply: fn() -> Reply| {
        scale_client(client(move |_| reply())).read(&revision(), Urgency::Now).await
    };
    let scale = Scale { replicas: 7, resource_version: "9".into() };
    assert_eq!(read(|| Reply::Json(200, scale_object(7, "9"))).await, ReadOutcome::Read(scale));
    assert_eq!(read(|| Reply::refusal(404, "NotFound")).await, ReadOutcome::Missing);
    assert_eq!(read(|| Reply::refusal(500, "InternalError")).await, ReadOutcome::Failed);
    assert_eq!(read(|| Reply::Silence).await, ReadOutcome::Failed);
}

#[tokio::test(start_paused = true)]
async fn only_activators_that_may_hold_requests_are_listed() {
    let pod = |uid: &str, phase: &str, ip: Option<&str>| json!({ "metadata": { "uid": uid, "name": uid }, "status": { "phase": phase, "podIP": ip } });
    let list = json!({
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {},
        "items": [
            pod("running", "Running", Some("10.0.0.1")),
            pod("pending", "Pending", None),
            pod("failed", "Failed", Some("10.0.0.2")),
        ],
    });
    let scale = scale_client(client(move |call| {
        assert!(call.path.contains("labelSelector=component%3Dactivator"), "{}", call.path);
        assert!(!call.path.contains("resourceVersion"), "a list from a cache: {}", call.path);
        Reply::Json(200, list.clone())
    }));
    assert_eq!(scale.list_activators().await, Some(vec!["running".into()]));
    let scale = scale_client(client(|_| Reply::Silence));
    assert_eq!(scale.list_activators().await, None);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_of_a_server_that_wants_to_be_left_alone() {
    let began = Instant::now();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let scale = scale_client(client(move |_| {
        let mut seen = seen.lock();
        seen.push(began.elapsed().as_secs());
        if seen.len() == 1 { Reply::Throttled("3") } else { Reply::Json(200, scale_object(3, "42")) }
    }));
    let leadership = Leadership::until(1, began + Duration::from_secs(60));
    let write = Write { leadership, ..write(None) };
    assert!(matches!(scale.write(&write).await, WriteOutcome::Throttled { .. }));
    assert!(matches!(scale.write(&write).await, WriteOutcome::Written { .. }));
    assert!(matches!(scale.read(&revision(), Urgency::Now).await, ReadOutcome::Read(_)));
    assert_eq!(*asked.lock(), [0, 3, 3]);
    // What may not start so late does not start at all.
    scale.turns.pause(Duration::from_secs(1));
    let late = Write { replicas: 0, not_after: Some(Instant::now() + Duration::from_millis(500)), ..write };
    assert_eq!(scale.write(&late).await, WriteOutcome::NotSent);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_every_list_is_still_woken_and_read() {
    let began = Instant::now();
    let lists = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lists);
    let scale = scale_client(client(move |call| {
        if call.path.contains("/scale") {
            return Reply::Json(200, scale_object(3, "42"));
        }
        seen.lock().push(began.elapsed().as_secs());
        Reply::Throttled("10")
    }));
    assert_eq!(scale.list_activators().await, None);
    let more = async { futures::join!(scale.list_activators(), scale.list_activators()) };
    let mut more = std::pin::pin!(more);
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut more).await.is_err());
    assert!(matches!(scale.write(&write(None)).await, WriteOutcome::Written { .. }));
    assert!(matches!(scale.write(&lower(1)).await, WriteOutcome::Written { .. }));
    assert!(matches!(scale.read(&revision(), Urgency::Later).await, ReadOutcome::Read(_)));
    assert!(began.elapsed() < Duration::from_millis(2), "at once, not after {:?}", began.elapsed());
    more.await;
    assert_eq!(*lists.lock(), [0, 10, 20], "one after another");
}

#[tokio::test(start_paused = true)]
async fn a_wake_does_not_stand_behind_a_mass_of_lower_counts_and_lists() {
    let (calls, mut called) = tokio::sync::mpsc::unbounded_channel();
    let scale = scale_client(client(move |call| {
        let _ = calls.send(call.body["spec"]["replicas"].clone());
        Reply::Silence
    }));
    let (lower, wake) = ([lower(1), lower(0)], write(None));
    let mass = futures::future::join_all(
        (0..100).map(|turn| futures::future::join(scale.write(&lower[turn % 2]), scale.list_activators())),
    );
    let mut mass = std::pin::pin!(mass);
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut mass).await.is_err());
    assert_eq!(called.recv().await, Some(json!(1)));
    assert!(called.try_recv().is_err(), "one of two turns is left");
    let began = Instant::now();
    assert!(tokio::time::timeout(Duration::from_millis(1), scale.write(&wake)).await.is_err());
    assert_eq!(called.recv().await, Some(json!(3)));
    assert!(began.elapsed() < Duration::from_millis(2), "it was sent at once");
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_is_waited_for_longer_but_not_with_closed_gates() {
    let scale = scale_client(client(|_| Reply::Silence));
    let raise = Write { not_after: None, ..lower(3) };
    let fewer = [lower(0), lower(1)];
    for seconds in [1, 2, 4, 8, 8] {
        let began = Instant::now();
        assert_eq!(scale.write(&raise).await, WriteOutcome::Unknown);
        assert_eq!(began.elapsed().as_secs(), seconds);
        for fewer in &fewer {
            let began = Instant::now();
            assert_eq!(scale.write(fewer).await, WriteOutcome::Unknown);
            assert_eq!(began.elapsed().as_secs(), 1, "{fewer:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_end_is_waited_for_as_long_as_none() {
    let began = Instant::now();
    assert_eq!(outcome_of(|| Reply::Unfinished).await, WriteOutcome::Unknown);
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn whatever_is_throttled_but_a_list_everybody_pauses() {
    let (zero, raise) = (lower(0), Write { not_after: None, ..lower(3) });
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, began) = (Arc::clone(&asked), Instant::now());
    // Every second call.
    let scale = scale_client(client(move |_| {
        let mut seen = seen.lock();
        seen.push(began.elapsed().as_secs());
        if seen.len() % 2 == 1 { Reply::Throttled("2") } else { Reply::Json(200, scale_object(3, "42")) }
    }));
    assert!(matches!(scale.write(&zero).await, WriteOutcome::Throttled { .. }));
    assert!(matches!(scale.write(&raise).await, WriteOutcome::Written { .. }));
    assert_eq!(scale.read(&revision(), Urgency::Now).await, ReadOutcome::Failed);
    assert!(matches!(scale.write(&zero).await, WriteOutcome::Written { .. }));
    assert_eq!(scale.list_activators().await, None);
    assert!(matches!(scale.write(&raise).await, WriteOutcome::Written { .. }));
    assert_eq!(*asked.lock(), [0, 2, 2, 4, 4, 4]);
}
