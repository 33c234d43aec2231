//! When each of many revisions is looked at: in its own turn of a second, at once when there is news, and not at all at rest.

use super::*;
use crate::policy::IdlePolicy;

fn id_of(number: usize) -> RevisionId {
    RevisionId { name: format!("hello-{number:03}").into(), ..id() }
}

/// Adds so many revisions with one replica each.
fn crowd(fixture: &mut Fixture, count: usize) {
    for number in 0..count {
        let (id, pod) = (id_of(number), pod(&format!("p{number}")));
        fixture.step(|leader, now| {
            leader.upsert_revision(&id, policy(), Stage::Routed, now);
            leader.set_scale(&id, Some(fact(1, 10, true)), now);
            leader.set_pods(&id, vec![pod], now);
        });
    }
}

/// Numbers of the revisions that were decided now.
fn decided_now(fixture: &Fixture) -> Vec<RevisionId> {
    let explained = fixture.leader.explain().into_iter();
    explained.filter(|it| it.decided_at == fixture.now).map(|it| it.revision).collect()
}

/// Age of the decision about the fixture's own revision.
fn age(fixture: &Fixture) -> Duration {
    fixture.now.saturating_sub(fixture.leader.explain()[0].decided_at)
}

#[test]
fn a_second_has_turns_and_every_revision_has_one() {
    let mut fixture = Fixture::unconnected(fact(1, 10, true), &["p"]);
    crowd(&mut fixture, 99);
    fixture.tick();
    assert_eq!(decided_now(&fixture).len(), 100, "who is new is decided at once");
    let mut last = None;
    for _ in 0..3 {
        let mut turns = Vec::new();
        for _ in 0..50 {
            fixture.now += ms(20);
            fixture.tick();
            turns.push(decided_now(&fixture));
        }
        assert!(turns.iter().all(|turn| turn.len() == 2), "{turns:?}");
        let known = last.get_or_insert_with(|| turns.clone());
        assert_eq!(*known, turns, "the same turn in every second");
    }
}

#[test]
fn after_a_pause_everybody_is_decided() {
    let mut fixture = Fixture::unconnected(fact(1, 10, true), &["p"]);
    crowd(&mut fixture, 99);
    fixture.tick();
    fixture.now += ms(7_310);
    fixture.tick();
    assert_eq!(decided_now(&fixture).len(), 100);
}

#[test]
fn what_rests_at_zero_is_decided_again_only_when_there_is_news() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    let decided_at = |fixture: &Fixture| fixture.leader.explain()[0].decided_at;
    let rested = decided_at(&fixture);
    fixture.pass(ms(5_000));
    assert_eq!(decided_at(&fixture), rested);

    fixture.wake(A, 1);
    assert_eq!((decided_at(&fixture), fixture.puts().len()), (fixture.now, 1));
    // It is held back by nothing: what was woken is decided every second.
    let woken = decided_at(&fixture);
    fixture.pass(ms(1_500));
    assert!(decided_at(&fixture) > woken);
}

#[test]
fn a_wake_that_nobody_repeats_keeps_nothing_from_resting() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    fixture.wake(A, 1);
    fixture.written(WriteOutcome::Refused);
    fixture.pass(ms(5_000));
    assert_eq!(fixture.puts().len(), 1, "whoever waited has left");
    assert_eq!(fixture.leader.next_turn(), Duration::MAX);
}

#[test]
fn a_floor_starts_what_rests_at_once() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    fixture.pass(ms(5_000));
    fixture.step(|leader, now| {
        leader.upsert_revision(&id(), Policy { min: 2, ..policy() }, Stage::Routed, now);
    });
    fixture.tick();
    assert_eq!(fixture.puts().first().map(|put| put.0), Some(2));
}

#[test]
fn a_learned_idle_time_is_looked_at_every_second_at_zero_too() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    let learned = Policy { idle_policy: IdlePolicy::Learned { budget: 50 }, ..policy() };
    fixture.step(|leader, now| leader.upsert_revision(&id(), learned, Stage::Routed, now));
    fixture.pass(ms(5_000));
    assert!(age(&fixture) < ms(1_000));
}

#[test]
fn seconds_that_were_measured_get_old_before_a_revision_rests() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    let buckets = vec![catnap_wire::Bucket { index: 99, request_microseconds: 1_000, arrivals: 1 }];
    fixture.frame(A, ActivatorFrame::Buckets { revision: id(), buckets });
    // Two windows of six seconds are kept.
    fixture.pass(ms(11_000));
    assert!(age(&fixture) < ms(1_000));
    fixture.pass(ms(10_000));
    assert!(age(&fixture) > ms(5_000));
}

#[test]
fn places_are_used_again() {
    let mut fixture = Fixture::unconnected(fact(1, 10, true), &["p"]);
    crowd(&mut fixture, 9);
    fixture.tick();
    for number in (0..9).step_by(2) {
        fixture.step(|leader, now| leader.remove_revision(&id_of(number), now));
    }
    assert_eq!((fixture.leader.explain().len(), fixture.leader.revision_count()), (5, 5));
    crowd(&mut fixture, 9);
    fixture.tick();
    let names: Vec<RevisionId> = fixture.leader.explain().into_iter().map(|it| it.revision).collect();
    let expected: Vec<RevisionId> = (0..9).map(id_of).chain([id()]).collect();
    assert_eq!(names, expected, "in the order of their names");
}

#[test]
fn time_is_asked_for_where_it_changes_something_and_not_where_all_rest() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    fixture.pass(ms(100));
    assert_eq!(fixture.leader.next_turn(), Duration::MAX, "it rests");
    fixture.wake(A, 1);
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    assert!(fixture.leader.next_turn().is_zero(), "the controllers have not acted yet");
    fixture.learn(fact(1, 12, true));
    fixture.pods(vec![pod("p")]);
    fixture.tick();
    let turn = fixture.leader.next_turn();
    assert!(turn > fixture.now && turn <= fixture.now + ms(1_000), "{turn:?} at {:?}", fixture.now);
    fixture.now = turn;
    fixture.tick();
    assert_eq!(age(&fixture), Duration::ZERO, "decided in its turn");

    assert!(Fixture::closing().leader.next_turn().is_zero(), "a round is under way");
}

#[test]
fn the_soonest_of_many_turns_counts() {
    let mut fixture = Fixture::unconnected(fact(1, 10, true), &["p"]);
    crowd(&mut fixture, 9);
    fixture.tick();
    // Every one has a turn of its own, 20 ms after the one before it.
    for _ in 0..10 {
        let turn = fixture.leader.next_turn();
        assert!(turn > fixture.now && turn <= fixture.now + ms(1_000), "{turn:?} at {:?}", fixture.now);
        fixture.now = turn;
        fixture.tick();
        assert_eq!(decided_now(&fixture).len(), 1);
    }
}
