//! Waking, growing, and what is opened when.

use super::*;

#[test]
fn a_wake_at_zero_is_written_at_once_with_what_the_held_requests_fill() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    fixture.tick();
    fixture.effects.clear();
    fixture.wake(A, 50);
    let (replicas, version, not_after, _) = fixture.puts().remove(0);
    assert_eq!((replicas, &*version, not_after), (5, "10", None));
    assert_eq!(fixture.replies(A), [WakeAnswer::Queued]);
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    assert_eq!(fixture.replies(A), [WakeAnswer::Queued, WakeAnswer::Written { replicas: 5 }]);
    assert!(fixture.effects.iter().any(|e| matches!(e, Effect::Report(Event::Woken { to: 5, .. }))));
}

#[test]
fn more_held_requests_raise_further_after_the_first_write() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    fixture.wake(A, 1);
    fixture.wake(A, 30);
    fixture.wake(B, 20);
    assert_eq!(fixture.puts().len(), 1, "one write at a time");
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    let puts = fixture.puts();
    assert_eq!((puts[1].0, &*puts[1].1), (5, "11"));
}

#[test]
fn a_conflict_is_read_and_never_lowered() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    fixture.wake(A, 1);
    fixture.written(WriteOutcome::Conflict);
    fixture.read(3, 12);
    assert_eq!(fixture.puts().len(), 1, "three are enough");
    assert_eq!(fixture.replies(A).last(), Some(&WakeAnswer::Written { replicas: 3 }));
    fixture.wake(A, 50);
    assert_eq!((fixture.puts()[1].0, &*fixture.puts()[1].1), (5, "12"));
}

#[test]
fn an_unknown_raise_is_read() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    fixture.wake(A, 1);
    fixture.written(WriteOutcome::Unknown);
    fixture.read(0, 10);
    assert_eq!(fixture.puts().len(), 2);
}

#[test]
fn an_unknown_raise_that_landed_is_told_as_our_own() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    fixture.wake(A, 20);
    fixture.written(WriteOutcome::Unknown);
    fixture.read(2, 11);
    let told = |effect: &Effect| match effect {
        Effect::Report(event) => Some(event.clone()),
        _ => None,
    };
    let told: Vec<Event> = fixture.effects.iter().filter_map(told).collect();
    assert!(matches!(&told[..], [Event::Woken { to: 2, .. }]), "{told:?}");
    let [change] = &fixture.leader.explain()[0].changes[..] else { panic!("one change") };
    assert_eq!((change.from, change.to), (0, 2));
    assert!(!change.reasons.is_empty());
}

#[test]
fn rule_10_a_raise_waits_until_the_condemned_pods_are_seen_to_go() {
    let mut fixture = Fixture::zero();
    fixture.wake(A, 1);
    assert_eq!(fixture.replies(A), [WakeAnswer::Queued]);
    assert!(fixture.puts().is_empty());
    let going = |uid: &str| PodFact { terminating: true, ..pod(uid) };
    fixture.pods(vec![going("p"), pod("q")]);
    fixture.tick();
    assert!(fixture.puts().is_empty(), "q may still be counted");
    fixture.pods(vec![going("p"), going("q")]);
    fixture.tick();
    assert_eq!(fixture.puts().len(), 1);
}

#[test]
fn rule_12_after_a_raise_opens_when_the_controllers_have_acted_on_the_count() {
    let mut fixture = Fixture::zero();
    fixture.learn(fact(1, 12, false));
    fixture.pods(vec![pod("q")]);
    fixture.pass(ms(1_000));
    let opened =
        |fixture: &Fixture| fixture.sent(A).into_iter().find(|frame| matches!(frame, LeaderFrame::Open(_)));
    assert_eq!(opened(&fixture), None);
    fixture.learn(fact(1, 13, true));
    fixture.tick();
    assert_eq!(opened(&fixture), Some(LeaderFrame::Open(verdict(1, &["p"]))), "q outlived the zero");
}

#[test]
fn what_the_controllers_do_not_confirm_opens_when_no_watch_can_lag_that_long() {
    let mut fixture = Fixture::zero();
    fixture.learn(fact(1, 12, false));
    fixture.pass(ms(4_100));
    assert!(fixture.sent(A).iter().any(|frame| matches!(frame, LeaderFrame::Open(_))));
}

#[test]
fn a_pod_that_goes_with_the_zero_does_not_end_a_wake() {
    let mut fixture = Fixture::committing();
    fixture.wake(A, 3);
    fixture.frame(A, ActivatorFrame::Pods { revision: id(), pods: vec![report("p", 0)] });
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    let going = |uid: &str| PodFact { terminating: true, ..pod(uid) };
    fixture.pods(vec![going("p"), going("q")]);
    fixture.tick();
    assert_eq!(fixture.puts().last().map(|put| put.0), Some(1));
}

#[test]
fn a_wake_while_pods_exist_is_told_to_use_them() {
    let mut fixture = Fixture::new(fact(1, 10, true), &["p"]);
    fixture.wake(A, 1);
    assert_eq!(fixture.sent(A)[0], LeaderFrame::Open(verdict(0, &[])));
    assert_eq!(fixture.replies(A), [WakeAnswer::Open]);
}

#[test]
fn pressure_that_lasts_raises_and_at_the_maximum_it_is_told() {
    let mut fixture = Fixture::new(fact(1, 10, true), &["p"]);
    let pressure = |held| {
        let pressure = catnap_wire::Pressure { revision: id(), held, in_flight: 10 };
        ActivatorFrame::Pressure(vec![pressure])
    };
    fixture.frame(B, ActivatorFrame::Pods { revision: id(), pods: vec![report("p", 4)] });
    fixture.frame(A, pressure(6));
    assert!(fixture.puts().is_empty(), "not for long enough");
    fixture.pass(ms(100));
    fixture.frame(A, pressure(6));
    assert_eq!(fixture.puts()[0].0, 2, "20 requests, 10 a replica");
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    fixture.frame(A, pressure(5_000));
    assert_eq!(fixture.puts()[1].0, 100);
    fixture.written(WriteOutcome::Written { resource_version: "12".into() });
    fixture.frame(A, pressure(5_000));
    assert_eq!(fixture.replies(A), [WakeAnswer::AtMax]);
}

#[test]
fn a_new_leader_of_a_revision_that_is_not_settled_lets_serve_only_what_serves() {
    let mut fixture = Fixture::unconnected(fact(2, 10, false), &["p", "q"]);
    fixture.tick();
    let serving = RevisionReport {
        revision: id(),
        closed: None,
        held: 0,
        in_flight: 1,
        idle_milliseconds: Some(0),
        buckets: Vec::new(),
        pods: vec![report("p", 1)],
    };
    fixture.join_with(A, "a", vec![serving]);
    fixture.join(B, "b");
    assert_eq!(fixture.sent(A)[0], LeaderFrame::Open(verdict(0, &["q"])));
    let LeaderFrame::Welcome(welcome) = &fixture.sent(B)[0] else { panic!("{:?}", fixture.sent(B)) };
    assert_eq!(welcome.closed.len(), 1);
    assert!(!welcome.closed[0].zero);
    fixture.learn(fact(2, 11, true));
    fixture.tick();
    assert_eq!(fixture.sent(B).last(), Some(&LeaderFrame::Open(verdict(0, &[]))));
}

#[test]
fn a_foreign_count_is_told_once() {
    let mut fixture = Fixture::new(fact(2, 10, true), &["p", "q"]);
    fixture.learn(fact(4, 11, true));
    fixture.learn(fact(4, 12, true));
    let told = Effect::Report(Event::ForeignScale { revision: id(), known: 2, found: 4 });
    assert_eq!(fixture.effects.iter().filter(|effect| **effect == told).count(), 1);
}

#[test]
fn a_deleted_deployment_is_not_written() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    fixture.step(|leader, now| leader.set_scale(&id(), None, now));
    fixture.wake(A, 1);
    assert!(fixture.puts().is_empty());
}
