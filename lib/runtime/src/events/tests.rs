use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use parking_lot::Mutex;

use super::aggregator::QUIET;
use super::*;

fn notice(name: &str, reason: &'static str, note: &str) -> Notice {
    let subject = Subject { namespace: "shop".into(), name: name.into(), uid: name.into() };
    Notice { subject, reason, action: "Scaling".into(), revision: None, warning: false, note: note.into() }
}

#[test]
fn the_first_of_a_kind_is_told_at_once_and_the_last_of_a_minute_at_its_end() {
    let mut aggregator = Aggregator::default();
    let now = Instant::now();
    let first = notice("hello", "ScaledUp", "1 to 2");
    assert_eq!(aggregator.offer(first.clone(), now), Some(first));
    assert_eq!(aggregator.offer(notice("hello", "ScaledUp", "2 to 3"), now), None);
    assert_eq!(aggregator.offer(notice("hello", "ScaledUp", "3 to 4"), now), None);
    assert_eq!(aggregator.due(now + QUIET - Duration::from_millis(1)), []);
    let due = aggregator.due(now + QUIET);
    assert_eq!(due, [notice("hello", "ScaledUp", "3 to 4 (the last of 2 within a minute)")]);
    // Telling it began another minute.
    assert_eq!(aggregator.offer(notice("hello", "ScaledUp", "4 to 5"), now + QUIET), None);
    assert_eq!(aggregator.rest(), [notice("hello", "ScaledUp", "4 to 5")]);
}

#[test]
fn other_kinds_and_other_functions_have_minutes_of_their_own() {
    let mut aggregator = Aggregator::default();
    let now = Instant::now();
    let scaled = notice("hello", "ScaledUp", "");
    for told in [
        scaled.clone(),
        notice("hello", "Woken", ""),
        notice("other", "ScaledUp", ""),
        Notice { action: "CrashLoop".into(), ..scaled.clone() },
        Notice { revision: Some("hello-2".into()), ..scaled.clone() },
    ] {
        assert!(aggregator.offer(told, now).is_some());
    }
    assert_eq!(aggregator.offer(Notice { warning: true, ..scaled }, now), None);
}

#[test]
fn a_quiet_minute_is_forgotten() {
    let mut aggregator = Aggregator::default();
    let now = Instant::now();
    aggregator.offer(notice("hello", "ScaledUp", ""), now);
    assert_eq!(aggregator.due(now + QUIET), []);
    assert!(aggregator.is_empty());
}

#[test]
fn a_note_is_cut_at_what_kubernetes_takes_and_its_count_is_not() {
    let long = notice("hello", "ScaledUp", &"é".repeat(1_000));
    let mut aggregator = Aggregator::default();
    let now = Instant::now();
    let first = aggregator.offer(long.clone(), now).unwrap();
    aggregator.offer(long.clone(), now);
    aggregator.offer(long, now);
    for (told, end) in [(first, "é"), (aggregator.rest().remove(0), " (the last of 2 within a minute)")] {
        let note = event(told, "catnap", "catnap-0").note.unwrap();
        assert!(note.len() <= 1_024 && note.starts_with('é') && note.ends_with(end), "{note}");
    }
}

#[test]
fn an_event_is_about_a_function_and_the_revision_that_it_names() {
    let told = Notice { revision: Some("hello-2".into()), warning: true, ..notice("hello", "Failed", "why") };
    let event = event(told, "catnap-operator", "catnap-operator-0");
    let regarding = event.regarding.unwrap();
    assert_eq!((regarding.kind.as_deref(), regarding.uid.as_deref()), (Some("Function"), Some("hello")));
    let related = event.related.unwrap();
    assert_eq!(
        [related.api_version, related.kind, related.namespace, related.name].map(Option::unwrap),
        ["apps/v1", "ControllerRevision", "shop", "hello-2"]
    );
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    assert_eq!(event.reporting_controller.as_deref(), Some("catnap-operator"));
}

/// An API server that takes so long for an Event, and the notes that it was given.
fn server(takes: Duration) -> (Client, Arc<Mutex<Vec<String>>>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&notes);
    let service = tower::service_fn(move |request: Request<Body>| {
        let written = Arc::clone(&written);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let event: Event = serde_json::from_slice(&body).unwrap();
            tokio::time::sleep(takes).await;
            written.lock().extend(event.note);
            Ok::<_, Infallible>(Response::builder().status(201).body(Body::from(body.to_vec())).unwrap())
        }
    });
    (Client::new(service, "default"), notes)
}

/// What came of the Events of a publisher that is told these and stops at once.
async fn published(takes: Duration, writers: usize, told: Vec<Notice>) -> (Vec<String>, Vec<&'static str>) {
    let (client, notes) = server(takes);
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let counted = Arc::clone(&outcomes);
    let stop = CancellationToken::new();
    let publisher = Publisher { client, controller: "catnap", instance: "catnap-0".into(), writers };
    let (notices, task) = publisher.start(stop.clone(), move |outcome| counted.lock().push(outcome));
    for notice in told {
        notices.send(notice).await.unwrap();
    }
    stop.cancel();
    task.await.unwrap();
    assert!(notices.is_closed());
    let (notes, outcomes) = (notes.lock().clone(), outcomes.lock().clone());
    (notes, outcomes)
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_stops_tells_what_it_kept_back() {
    let told = ["one", "two", "three"].map(|note| notice("hello", "ScaledUp", note));
    let (notes, outcomes) = published(Duration::ZERO, 1, told.into()).await;
    assert_eq!(notes, ["one", "three (the last of 2 within a minute)"]);
    assert_eq!(outcomes, ["Told", "Told"]);
}

#[tokio::test(start_paused = true)]
async fn so_many_are_written_at_once_and_none_for_ever() {
    let told = || ["a", "b", "c", "d"].map(|name| notice(name, "Woken", name)).to_vec();
    for (writers, expected) in [(1, 8), (2, 4), (8, 2)] {
        let began = Instant::now();
        let (mut notes, _) = published(Duration::from_secs(2), writers, told()).await;
        notes.sort();
        assert_eq!(notes, ["a", "b", "c", "d"]);
        assert_eq!(began.elapsed().as_secs(), expected, "{writers} writers");
    }
    let (notes, outcomes) = published(2 * REQUEST_TIMEOUT, 2, told()).await;
    assert_eq!((notes, outcomes), (vec![], vec!["Timeout"; 4]));
}
