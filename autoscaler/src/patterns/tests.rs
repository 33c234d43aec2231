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
        shelf.done(Done::Read(number, Some((Contents::new(), None))), leader, START);
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
    let [Job::Write(number, contents, _)] = &jobs[..] else { panic!("one write: {jobs:?}") };
    assert_eq!((*number, &contents[UID]), (shard_of(UID), &taught(300).stored()));
    assert!(shelf.due(&mut leader, at(10_000)).is_empty(), "the write is under way");
    shelf.done(Done::Written(*number, Some(Some("2".into()))), &mut leader, at(600));

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
    shelf.done(Done::Written(shard_of(UID), None), &mut leader, at(900));
    // Whoever wrote in between has done so on what was read before.
    assert_eq!(shelf.due(&mut leader, at(920)), [Job::Read(shard_of(UID))]);
    let theirs = [(UID.to_owned(), taught(60).stored())].into();
    shelf.done(Done::Read(shard_of(UID), Some((theirs, Some("7".into())))), &mut leader, at(920));
    assert_eq!(stored(&mut leader), [taught(300).stored()], "what was learned since is kept");
    let jobs = shelf.due(&mut leader, at(1_800));
    let [Job::Write(_, _, version)] = &jobs[..] else { panic!("one write: {jobs:?}") };
    assert_eq!(version.as_deref(), Some("7"));
}

#[test]
fn what_changed_is_written_before_the_term_ends() {
    let mut leader = leader();
    assert_eq!(Shelf::new(INTERVAL).last(&mut leader), [], "nothing was read");
    let mut shelf = read_empty(&mut leader);
    leader.restore_pattern(UID.into(), taught(300));
    let jobs = shelf.last(&mut leader);
    let [Job::Write(_, contents, _)] = &jobs[..] else { panic!("one write: {jobs:?}") };
    assert_eq!(contents[UID], taught(300).stored());
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
    shelf.done(Done::Read(shard_of(UID), Some((contents, None))), &mut leader, START);
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
    let leadership = Leadership::until(1, Instant::now() + Duration::from_secs(3_600));

    let (mut first, mut shelf) = (leader(), Shelf::new(INTERVAL));
    for now in [START, late] {
        for job in shelf.due(&mut first, now) {
            let done = soon(patterns.carry_out(job, &leadership)).await;
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
        let done = soon(patterns.carry_out(job, &leadership)).await;
        shelf.done(done, &mut second, START);
    }
    assert_eq!(stored(&mut second), [taught(300).stored()]);
}

#[tokio::test]
async fn a_leader_that_was_deposed_writes_nothing() {
    let api = client(|call| panic!("nothing may be sent, not {call:?}"));
    let patterns = PatternClient::new(api, "catnap-system", INTERVAL);
    let over = Leadership::until(1, Instant::now());
    let done = soon(patterns.carry_out(Job::Write(0, Contents::new(), None), &over)).await;
    assert!(matches!(done, Done::Written(0, None)), "{done:?}");
}

#[tokio::test]
async fn a_write_is_made_on_the_version_that_was_read() {
    let api = client(|call| {
        assert_eq!(call.body["metadata"]["resourceVersion"], "7");
        Reply::refusal(409, "Conflict")
    });
    let patterns = PatternClient::new(api, "catnap-system", INTERVAL);
    let leadership = Leadership::until(1, Instant::now() + Duration::from_secs(3_600));
    let write = Job::Write(0, Contents::new(), Some("7".into()));
    let done = soon(patterns.carry_out(write, &leadership)).await;
    assert!(matches!(done, Done::Written(0, None)), "{done:?}");
}
