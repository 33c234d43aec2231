//! Going to zero, and every way not to.

use rstest::rstest;

use super::*;
use crate::decide::{Reason, Reasons};

impl Fixture {
    /// Zeros that were reported, each with the count before it.
    fn zeros(&self) -> Vec<(u32, Reasons)> {
        let zero = |effect: &Effect| match effect {
            Effect::Report(Event::ScaledToZero { from, decision, .. }) => {
                Some((*from, decision.reasons.clone()))
            }
            _ => None,
        };
        self.effects.iter().filter_map(zero).collect()
    }
}

#[test]
fn an_idle_revision_goes_to_zero_when_everybody_has_closed() {
    let mut fixture = Fixture::closing();
    let close = LeaderFrame::Close { revision: id(), gate: gate(1), pods: vec!["p".into(), "q".into()] };
    assert_eq!(fixture.sent(A), std::slice::from_ref(&close));
    assert_eq!(fixture.sent(B), [close]);
    fixture.ack(A);
    assert!(fixture.puts().is_empty(), "B has not closed");
    fixture.ack(B);
    let (replicas, version, not_after, _) = fixture.puts().remove(0);
    assert_eq!((replicas, &*version, not_after), (0, "10", Some(fixture.now + ms(500))));
    assert!(fixture.leader.is_committing());
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    assert_eq!(fixture.sent(A).last(), Some(&LeaderFrame::Zero(verdict(1, &["p", "q"]))));
    let [(2, reasons)] = &fixture.zeros()[..] else { panic!("{:?}", fixture.effects) };
    assert!(reasons.contains(&Reason::Idle), "{reasons:?}");
    assert_eq!(fixture.gate(), "Zero");
}

#[test]
fn a_zero_is_reported_with_what_led_to_it_and_not_with_what_came_since() {
    let mut fixture = Fixture::closing();
    fixture.ack(A);
    fixture.ack(B);
    fixture.frame(A, ActivatorFrame::Wake { revision: id(), held: 3, arrivals: 3 });
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    let [(2, reasons)] = &fixture.zeros()[..] else { panic!("{:?}", fixture.effects) };
    assert!(reasons.contains(&Reason::Idle), "{reasons:?}");
}

#[test]
fn nothing_is_listed_before_the_idle_time_has_passed() {
    let mut fixture = Fixture::unconnected(fact(1, 10, true), &["p"]);
    let report = RevisionReport {
        revision: id(),
        closed: None,
        held: 0,
        in_flight: 0,
        idle_milliseconds: Some(300),
        buckets: Vec::new(),
        pods: vec![],
    };
    fixture.join_with(A, "a", vec![report]);
    fixture.join(B, "b");
    fixture.pass(ms(600));
    assert!(!fixture.asks_for_list());
    fixture.pass(ms(1_100));
    assert!(fixture.asks_for_list());
}

#[test]
fn rule_8_no_round_while_a_pod_is_not_known() {
    let mut fixture = Fixture::new(fact(2, 10, true), &["p"]);
    fixture.pass(ms(9_000));
    assert!(!fixture.asks_for_list());
}

#[rstest]
#[case::not_connected(&["a", "b", "c"])]
#[case::not_connected_alone(&["c"])]
fn no_round_without_everybody_who_exists(#[case] listed: &[&str]) {
    let mut fixture = Fixture::idle();
    fixture.list(listed);
    assert!(fixture.sent(A).is_empty());
    assert_eq!(fixture.gate(), "Up");
}

#[test]
fn no_round_on_a_version_that_is_not_current_any_more() {
    let mut fixture = Fixture::idle();
    fixture.learn(fact(2, 11, true));
    fixture.list(&["a", "b"]);
    assert!(fixture.sent(A).is_empty());
}

#[rstest]
#[case::busy(|fixture: &mut Fixture| fixture.frame(B, ActivatorFrame::Busy { revision: id(), gate: gate(1) }))]
#[case::wake(|fixture: &mut Fixture| fixture.wake(B, 1))]
#[case::lost_stream(|fixture: &mut Fixture| fixture.step(|leader, now| leader.stream_closed(B, now)))]
#[case::stranger(|fixture: &mut Fixture| fixture.join(StreamId(3), "c"))]
#[case::time(|fixture: &mut Fixture| fixture.pass(ms(500)))]
#[case::somebody_wrote_the_count(|fixture: &mut Fixture| fixture.learn(fact(3, 11, true)))]
fn a_round_is_given_up(#[case] event: fn(&mut Fixture)) {
    let mut fixture = Fixture::closing();
    fixture.ack(A);
    event(&mut fixture);
    assert!(fixture.sent(A).contains(&LeaderFrame::Open(verdict(1, &[]))));
    assert_eq!(fixture.gate(), "Up");
    fixture.ack(B);
    assert!(fixture.puts().is_empty());
}

#[test]
fn an_answer_about_another_gate_changes_nothing() {
    let mut fixture = Fixture::closing();
    let other = GateId { term: Term { boot: 8, ..TERM }, number: 1 };
    for stream in [A, B] {
        fixture.frame(stream, ActivatorFrame::Ack { revision: id(), gate: other });
        fixture.frame(stream, ActivatorFrame::Busy { revision: id(), gate: gate(0) });
    }
    assert_eq!(fixture.gate(), "Closing");
    assert!(fixture.puts().is_empty());
}

#[test]
fn close_is_repeated_while_gates_are_closed() {
    let mut fixture = Fixture::committing();
    fixture.effects.clear();
    fixture.pass(ms(300));
    let closes = fixture.sent(A).into_iter().filter(|frame| matches!(frame, LeaderFrame::Close { .. }));
    assert_eq!(closes.count(), 3);
}

#[test]
fn a_conflict_is_read_and_what_was_not_removed_opens_when_the_controllers_have_seen_it() {
    let mut fixture = Fixture::committing();
    fixture.written(WriteOutcome::Conflict);
    fixture.read(2, 12);
    assert!(!fixture.sent(A).iter().any(|frame| matches!(frame, LeaderFrame::Open(_))));
    fixture.learn(fact(2, 13, true));
    fixture.tick();
    assert!(fixture.sent(A).contains(&LeaderFrame::Open(verdict(1, &[]))), "the pods outlived it: pardoned");
}

#[test]
fn a_conflict_with_a_zero_is_a_zero() {
    let mut fixture = Fixture::committing();
    fixture.written(WriteOutcome::Conflict);
    fixture.read(0, 12);
    assert_eq!(fixture.sent(A).last(), Some(&LeaderFrame::Zero(verdict(1, &["p", "q"]))));
}

#[test]
fn rule_9_an_unknown_outcome_keeps_the_gates_closed_and_the_same_write_is_sent_again() {
    let mut fixture = Fixture::committing();
    fixture.written(WriteOutcome::Unknown);
    fixture.effects.clear();
    for _ in 0..8 {
        fixture.pass(ms(25));
        fixture.ack(A);
        fixture.ack(B);
    }
    // It has landed, as the watch tells before the repetition is answered.
    fixture.learn(fact(0, 11, false));
    fixture.list(&["a", "b"]);
    let (replicas, version, ..) = fixture.puts().remove(0);
    assert_eq!((replicas, &*version), (0, "10"));
    let foreign = |effect: &Effect| matches!(effect, Effect::Report(Event::ForeignScale { .. }));
    assert!(!fixture.effects.iter().any(foreign), "{:?}", fixture.effects);
    assert!(!fixture.sent(A).iter().any(|frame| matches!(frame, LeaderFrame::Open(_))));
    assert_eq!(fixture.gate(), "Commit");
}

#[test]
fn rule_5_no_second_write_when_somebody_has_not_answered_lately() {
    let mut fixture = Fixture::committing();
    fixture.written(WriteOutcome::Unknown);
    fixture.effects.clear();
    for _ in 0..40 {
        fixture.pass(ms(25));
        fixture.ack(A);
    }
    assert!(fixture.puts().is_empty());
    fixture.pass(ms(2_100));
    fixture.read(2, 10);
    assert!(fixture.sent(A).contains(&LeaderFrame::Open(verdict(1, &[]))), "the write is lost by now");
}

#[test]
fn a_write_that_never_left_opens() {
    let mut fixture = Fixture::committing();
    fixture.written(WriteOutcome::NotSent);
    assert_eq!(fixture.gate(), "Up");
}

#[test]
fn a_pod_seen_while_the_zero_is_written_goes_with_the_others() {
    let mut fixture = Fixture::committing();
    fixture.pods(vec![pod("p"), pod("q"), pod("r")]);
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    assert_eq!(fixture.sent(A).last(), Some(&LeaderFrame::Zero(verdict(1, &["p", "q", "r"]))));
}

#[test]
fn a_refused_write_opens_and_is_told() {
    let mut fixture = Fixture::committing();
    fixture.written(WriteOutcome::Refused);
    assert_eq!(fixture.gate(), "Up");
    assert!(fixture.effects.contains(&Effect::Report(Event::WriteRefused { revision: id(), replicas: 0 })));
}

#[test]
fn a_raise_told_by_the_watch_before_the_answer_of_the_write_is_not_forgotten() {
    let mut fixture = Fixture::committing();
    fixture.learn(fact(1, 12, false));
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    assert_eq!(fixture.gate(), "Up");
}

#[test]
fn an_older_count_is_ignored() {
    let mut fixture = Fixture::zero();
    fixture.learn(fact(2, 10, true));
    assert_eq!(fixture.gate(), "Zero");
}

#[test]
fn a_retiring_revision_does_not_wait_for_the_idle_time() {
    let mut fixture = Fixture::new(fact(2, 10, true), &["p", "q"]);
    let used = ActivatorFrame::Pods { revision: id(), pods: vec![report("p", 1)] };
    fixture.frame(A, used);
    fixture.frame(A, ActivatorFrame::Pods { revision: id(), pods: vec![report("p", 0)] });
    fixture.step(|leader, now| leader.upsert_revision(&id(), policy(), Stage::Retiring, now));
    fixture.tick();
    fixture.list(&["a", "b"]);
    assert_eq!(fixture.gate(), "Closing");
}

#[test]
fn a_revision_in_no_status_is_left_alone() {
    let mut fixture = Fixture::new(fact(2, 10, true), &["p", "q"]);
    fixture.step(|leader, now| leader.remove_revision(&id(), now));
    fixture.pass(ms(2_000));
    fixture.wake(A, 5);
    assert!(fixture.effects.is_empty(), "{:?}", fixture.effects);
}

#[test]
fn a_revision_that_comes_back_opens_the_gate_it_rested_on() {
    let mut fixture = Fixture::zero();
    fixture.pass(ms(1_000));
    fixture.step(|leader, now| {
        leader.set_scale(&id(), None, now);
        leader.set_pods(&id(), Vec::new(), now);
        leader.remove_revision(&id(), now);
    });
    fixture.step(|leader, now| {
        leader.upsert_revision(&id(), policy(), Stage::Routed, now);
        leader.set_scale(&id(), Some(fact(1, 30, true)), now);
        leader.set_pods(&id(), vec![pod("new")], now);
    });
    fixture.tick();
    fixture.wake(A, 1);
    let rested = gate(1);
    let sent = fixture.sent(A);
    let opened = |frame: &LeaderFrame| matches!(frame, LeaderFrame::Open(verdict) if verdict.gate > rested);
    assert!(sent.iter().any(opened), "{sent:?}");
}

#[test]
fn a_revision_in_no_status_is_forgotten_though_its_deployment_and_pods_exist() {
    let mut fixture = Fixture::new(fact(2, 10, true), &["p", "q"]);
    fixture.tick();
    fixture.step(|leader, now| leader.remove_revision(&id(), now));
    assert!(fixture.leader.revisions.is_empty());
}

fn remove(fixture: &mut Fixture) {
    fixture.step(|leader, now| leader.remove_revision(&id(), now));
}

fn delete_deployment(fixture: &mut Fixture) {
    fixture.step(|leader, now| leader.set_scale(&id(), None, now));
}

fn delete_all(fixture: &mut Fixture) {
    delete_deployment(fixture);
    fixture.pods(Vec::new());
    remove(fixture);
}

#[rstest]
#[case::no_status(remove)]
#[case::no_deployment(delete_deployment)]
#[case::nothing_left(delete_all)]
fn a_write_of_zero_under_way_outlives_what_it_was_for(#[case] go: fn(&mut Fixture)) {
    let mut fixture = Fixture::committing();
    go(&mut fixture);
    assert!(fixture.leader.is_committing(), "it is not answered");
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    assert!(!fixture.leader.is_committing());
    assert!(fixture.leader.explain().is_empty(), "no gate is left");
    remove(&mut fixture);
    assert!(fixture.leader.revisions.is_empty());
}

#[rstest]
#[case::no_status(remove)]
#[case::no_deployment(delete_deployment)]
#[case::nothing_left(delete_all)]
fn an_unknown_outcome_is_kept_until_the_write_has_landed_or_died(#[case] go: fn(&mut Fixture)) {
    let mut fixture = Fixture::committing();
    fixture.written(WriteOutcome::Unknown);
    go(&mut fixture);
    fixture.effects.clear();
    fixture.pass(ms(2_900));
    assert!(fixture.leader.is_committing(), "it may still land");
    assert!(
        fixture.effects.iter().all(|effect| matches!(effect, Effect::Send { .. })),
        "{:?}",
        fixture.effects
    );
    fixture.pass(ms(200));
    fixture.read(2, 10);
    assert!(!fixture.leader.is_committing());
    assert!(fixture.leader.explain().is_empty(), "no gate is left");
    remove(&mut fixture);
    assert!(fixture.leader.revisions.is_empty());
}

#[test]
fn a_revision_that_comes_back_before_its_zero_is_settled_stays_closed() {
    let mut fixture = Fixture::committing();
    remove(&mut fixture);
    fixture.step(|leader, now| {
        leader.upsert_revision(&id(), policy(), Stage::Routed, now);
        leader.set_scale(&id(), Some(fact(2, 10, true)), now);
        leader.set_pods(&id(), vec![pod("p"), pod("q")], now);
    });
    fixture.tick();
    assert_eq!(fixture.gate(), "Commit");
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    assert_eq!(fixture.gate(), "Zero");
}

/// A leader that hands over begins nothing that the next one would have to wait for.
#[test]
fn who_resigns_opens_what_is_not_committed_and_begins_no_round() {
    let mut fixture = Fixture::closing();
    fixture.step(Leader::resign);
    assert_eq!(fixture.sent(A).last(), Some(&LeaderFrame::Open(verdict(1, &[]))));
    fixture.ack(A);
    fixture.ack(B);
    fixture.effects.clear();
    fixture.pass(ms(10_000));
    assert!(!fixture.asks_for_list() && fixture.puts().is_empty(), "{:?}", fixture.effects);
    assert!(!fixture.leader.is_committing());
}

#[test]
fn a_list_that_comes_after_resigning_begins_no_round() {
    let mut fixture = Fixture::idle();
    fixture.step(Leader::resign);
    fixture.list(&["a", "b"]);
    assert!(fixture.sent(A).is_empty());
    assert_eq!(fixture.gate(), "Up");
}

#[test]
fn who_resigns_settles_what_is_committed() {
    let mut fixture = Fixture::committing();
    fixture.step(Leader::resign);
    assert!(fixture.leader.is_committing());
    fixture.written(WriteOutcome::Unknown);
    fixture.effects.clear();
    fixture.pass(ms(300));
    assert!(fixture.asks_for_list(), "the same write again");
    fixture.list(&["a", "b"]);
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    assert!(!fixture.leader.is_committing());
    assert_eq!(fixture.gate(), "Zero");
}

#[test]
fn who_resigns_still_wakes() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    fixture.step(Leader::resign);
    fixture.wake(A, 1);
    assert_eq!(fixture.puts().len(), 1);
}
