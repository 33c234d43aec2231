//! What is kept of many cold starts, in which order, and what goes.

use k8s_openapi::jiff::SignedDuration;

use super::*;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// One that began then and took 300 ms until a pod answered.
fn start(began: Instant, revision: &str) -> ColdStart {
    let phases = Phases { cold: true, wake: ms(10), schedule: ms(250), ready: ms(40), ..Phases::default() };
    ColdStart { began, revision: revision.into(), phases, status: Some(200), reason: "", requests: 1 }
}

/// How long after `first` those of a Function began, the latest first, and of how many requests each is.
fn told(starts: &ColdStarts, uid: &str, first: Instant) -> Vec<(Duration, u64)> {
    starts.of(uid).iter().map(|start| (start.began - first, start.requests)).collect()
}

#[test]
fn the_last_five_are_kept_the_latest_first() {
    let (starts, first, uid) = (ColdStarts::default(), Instant::now(), Arc::<str>::from("uid"));
    // The third one's request takes so long that it ends last.
    for minute in [0, 1, 3, 4, 5, 2] {
        starts.keep(&uid, start(first + ms(60_000 * minute), "hello-1"));
    }
    let minutes = |all: [u64; 5]| all.map(|minute| (ms(60_000 * minute), 1_u64));
    assert_eq!(told(&starts, "uid", first), minutes([5, 4, 3, 2, 1]));
    // One that began before all that are kept is none of the last.
    starts.keep(&uid, start(first, "hello-1"));
    assert_eq!(told(&starts, "uid", first), minutes([5, 4, 3, 2, 1]));
    assert!(starts.of("other").is_empty());
}

#[test]
fn requests_that_waited_for_the_same_pods_are_one_cold_start() {
    let (starts, first, uid) = (ColdStarts::default(), Instant::now(), Arc::<str>::from("uid"));
    let late = Phases { cold: true, ready: ms(100), queue: ms(60_000), ..Phases::default() };
    // It ends before the one that woke the function.
    starts.keep(&uid, ColdStart { phases: late, status: Some(500), ..start(first + ms(200), "hello-1") });
    starts.keep(&uid, start(first, "hello-1"));
    starts.keep(&uid, start(first + ms(250), "hello-1"));
    // Another revision wakes on its own, and this one again.
    starts.keep(&uid, start(first + ms(260), "hello-2"));
    starts.keep(&uid, start(first + ms(30_000), "hello-1"));
    assert_eq!(told(&starts, "uid", first), [(ms(30_000), 1), (ms(260), 1), (ms(0), 3)]);
    let woke = starts.of("uid").pop().unwrap();
    assert_eq!((woke.phases, woke.status), (start(first, "hello-1").phases, Some(200)));
}

#[test]
fn of_many_functions_those_that_woke_last_are_kept() {
    let (starts, first) = (ColdStarts::default(), Instant::now());
    let uid = |number: u64| Arc::<str>::from(format!("uid-{number}"));
    let most = u64::try_from(MOST_FUNCTIONS).unwrap();
    for number in 0..most {
        starts.keep(&uid(number), start(first + ms(1_000 * number), "hello-1"));
    }
    // The first one wakes again, so that the second is the one that woke longest ago.
    starts.keep(&uid(0), start(first + ms(1_000 * most), "hello-1"));
    starts.keep(&uid(most), start(first + ms(1_000 * (most + 1)), "hello-1"));
    assert_eq!(starts.functions().len(), MOST_FUNCTIONS);
    assert!(starts.of("uid-1").is_empty());
    assert_eq!([starts.of("uid-0").len(), starts.of("uid-2").len()], [2, 1]);
}

#[test]
fn what_is_kept_stays_small() {
    let (starts, first, uid) = (ColdStarts::default(), Instant::now(), Arc::<str>::from("uid"));
    for minute in 0..1_000 {
        starts.keep(&uid, start(first + ms(60_000 * minute), "hello-1"));
    }
    assert_eq!(starts.functions()["uid"].capacity(), KEPT);
    // With a name of 63 bytes each, a UID, and what the map and the allocator need.
    let function = KEPT * (size_of::<ColdStart>() + 96) + 256;
    assert!(function * MOST_FUNCTIONS < 2 << 20, "{function} bytes for each Function");
}

#[test]
fn it_is_told_with_its_phases_in_milliseconds() {
    let before = Timestamp::now();
    let began = Instant::now();
    let phases =
        Phases { cold: true, wake: ms(9), schedule: ms(260), start: ms(40), ready: ms(3), queue: ms(0) };
    let mut told = ColdStart { phases, ..start(began, "hello-3") }.tell();
    let at: Timestamp = told["at"].take().as_str().unwrap().parse().unwrap();
    assert!(at.duration_since(before).abs() < SignedDuration::from_secs(60), "{at}, not {before}");
    // `catnap describe` reads the same.
    let mut golden: Value = serde_json::from_str(include_str!("golden.json")).unwrap();
    golden["at"] = Value::Null;
    assert_eq!(told, golden);
    let left = ColdStart { status: None, reason: "ClientLeft", ..start(began, "hello-3") }.tell();
    assert_eq!((&left["status"], &left["reason"]), (&Value::Null, &json!("ClientLeft")));
    assert_eq!(json!(milliseconds(Duration::from_micros(9_149))), json!(9.1));
}
