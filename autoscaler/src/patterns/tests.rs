use std::sync::Arc;

use catnap_autoscaler_core::learned::Terms;
use catnap_autoscaler_core::{IdlePolicy, Policy, Settings, Stage};
use catnap_wire::{RevisionId, Term};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::fixture::{Reply, client, soon};

const UID: &str = "4be5c1ad";
/// As by default.
const INTERVAL: Duration = Duration::from_secs(300);
const START: Duration = Duration::from_secs(100);

/// A leader that learns of one function.
fn leader() -> Leader {
    let id = RevisionId { namespace: "shop".into(), name: "hello-1".into(), function_uid: UID.into() };
    let policy = Policy { idle_policy: IdlePolicy::Learned { budget: 50 }, ..Policy::default() };
    let mut leader = Leader::new(Term { transitions: 1, boot: 1 }, Settings::default(), START);
    leader.upsert_revision(&id, policy, Stage::Routed, START);
    leader
}

fn taught(idle_seconds: u64) -> Learned {
    let mut learned = Learned::default();
    let terms = Terms { after: Duration::from_secs(30), budget: 50 };
    for _ in 0..10 {
        learned.ended(terms, Duration::ZERO, Duration::from_secs(idle_seconds));
    }
    learned
}

fn stored(leader: &mut Leader) -> Vec<Vec<u8>> {
    leader.patterns().map(|(_, learned)| learned.stored()).collect()
}

/// All shards were read and held nothing.
fn read_empty(leader: &mut Leader) -> Shelf {
    let mut shelf = Shelf::new(INTERVAL);
    let jobs = shelf.due(leader, START);
    assert_eq!(jobs.len(), SHARDS);
    for (number, job) in jobs.iter().enumerate() {
        assert_eq!(*job, Job::Read(number));
        shelf.done(Done::Read(number, Some(Contents::new())), leader, START);
    }
    shelf
}

#[test]
fn a_shard_is_written_when_it_changed_and_not_again_soon() {
    let mut leader = leader();
    let mut shelf = read_empty(&mut leader);
    leader.restore_pattern(UID.into(), taught(300));
    let at = |seconds| START + Duration::from_secs(seconds);
    assert!(shelf.due(&mut leader, at(299)).is_empty());
    let jobs = shelf.due(&mut leader, at(600));
    let [Job::Write(number, contents)] = &jobs[..] else { panic!("one write: {jobs:?}") };
    assert_eq!((*number, &contents[UID]), (shard_of(UID), &taught(300).stored()));
    assert!(shelf.due(&mut leader, at(10_000)).is_empty(), "the write is under way");
    shelf.done(Done::Written(*number, true), &mut leader, at(600));

    leader.restore_pattern(UID.into(), taught(60));
    assert!(shelf.due(&mut leader, at(899)).is_empty(), "not so soon");
    assert_eq!(shelf.due(&mut leader, at(900)).len(), 1);
}

#[test]
fn nothing_is_written_when_nothing_changed_and_again_when_it_failed() {
    let mut leader = leader();
    let mut shelf = read_empty(&mut leader);
    let at = |seconds| START + Duration::from_secs(seconds);
    assert!(shelf.due(&mut leader, at(600)).is_empty());
    leader.restore_pattern(UID.into(), taught(300));
    assert_eq!(shelf.due(&mut leader, at(900)).len(), 1);
    shelf.done(Done::Written(shard_of(UID), false), &mut leader, at(900));
    assert_eq!(shelf.due(&mut leader, at(1_200)).len(), 1);
}

#[test]
fn what_was_not_read_is_not_written() {
    let mut leader = leader();
    let mut shelf = Shelf::new(INTERVAL);
    leader.restore_pattern(UID.into(), taught(300));
    assert_eq!(shelf.due(&mut leader, START).len(), SHARDS);
    for number in 0..SHARDS {
        shelf.done(Done::Read(number, None), &mut leader, START);
    }
    assert!(shelf.due(&mut leader, START + Duration::from_secs(9)).is_empty());
    let again = shelf.due(&mut leader, START + Duration::from_secs(1_000));
    assert!(again.iter().all(|job| matches!(job, Job::Read(_))), "{again:?}");
}

#[test]
fn garbage_is_dropped_and_the_rest_is_used() {
    let mut leader = leader();
    let mut shelf = Shelf::new(INTERVAL);
    shelf.due(&mut leader, START);
    let contents = [(UID.to_owned(), taught(300).stored()), ("x".to_owned(), vec![1, 2, 3])].into();
    shelf.done(Done::Read(shard_of(UID), Some(contents)), &mut leader, START);
    assert_eq!(stored(&mut leader), [taught(300).stored()]);
}

/// The whole way over an API server that keeps what is applied.
#[tokio::test]
async fn what_one_leader_learned_the_next_one_knows() {
    let objects = Arc::new(Mutex::new(BTreeMap::<String, Value>::new()));
    let kept = Arc::clone(&objects);
    let api = client(move |call| {
        let path = call.path.split('?').next().unwrap_or_default().to_owned();
        match call.method.as_str() {
            "PATCH" => {
                assert!(call.path.contains("fieldManager=catnap-autoscaler"), "{}", call.path);
                kept.lock().insert(path, call.body.clone());
                Reply::Json(200, call.body)
            }
            _ => kept
                .lock()
                .get(&path)
                .map_or_else(|| Reply::refusal(404, "NotFound"), |object| Reply::Json(200, object.clone())),
        }
    });
    let patterns = PatternClient::new(api, "catnap-system", INTERVAL);
    let late = START + Duration::from_secs(900);

    let (mut first, mut shelf) = (leader(), Shelf::new(INTERVAL));
    for now in [START, late] {
        for job in shelf.due(&mut first, now) {
            let done = soon(patterns.carry_out(job)).await;
            shelf.done(done, &mut first, now);
        }
        first.restore_pattern(UID.into(), taught(300));
    }
    let path = format!("/api/v1/namespaces/catnap-system/configmaps/{}", name(shard_of(UID)));
    assert_eq!(objects.lock().keys().collect::<Vec<_>>(), [&path]);
    assert_eq!(
        objects.lock()[&path]["metadata"]["labels"],
        json!({ "app.kubernetes.io/managed-by": "catnap" })
    );

    let (mut second, mut shelf) = (leader(), Shelf::new(INTERVAL));
    for job in shelf.due(&mut second, START) {
        let done = soon(patterns.carry_out(job)).await;
        shelf.done(done, &mut second, START);
    }
    assert_eq!(stored(&mut second), [taught(300).stored()]);
}
