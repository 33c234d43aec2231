//! Waking, growing, and what is opened when.

use rstest::rstest;

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

/// A request comes right after the zero, and its raise is written as soon as the named pods go.
fn raised_after_zero(acted: bool) -> Fixture {
    let mut fixture = Fixture::zero();
    fixture.learn(fact(0, 12, acted));
    fixture.wake(A, 1);
    let going = |uid: &str| PodFact { terminating: true, ..pod(uid) };
    fixture.pods(vec![going("p"), going("q"), pod("r")]);
    fixture.tick();
    assert_eq!((fixture.puts().len(), fixture.puts()[0].0), (1, 1), "the write waits for nothing else");
    fixture.written(WriteOutcome::Written { resource_version: "13".into() });
    fixture
}

#[test]
fn rule_13_what_nobody_named_is_not_used_before_the_controllers_have_acted_on_the_zero() {
    let mut fixture = raised_after_zero(false);
    // One more reason for a second write, which says no more of the pods than the first.
    fixture.frame(A, ActivatorFrame::Pods { revision: id(), pods: vec![report("r", 0)] });
    fixture.wake(A, 20);
    fixture.written(WriteOutcome::Written { resource_version: "14".into() });
    assert!(
        fixture.replies(A).iter().all(|answer| *answer == WakeAnswer::Queued),
        "r may have been made in place of p before the zero: {:?}",
        fixture.replies(A)
    );
    let opened = |fixture: &Fixture| fixture.sent(A).contains(&LeaderFrame::Open(verdict(1, &["p", "q"])));
    assert!(!opened(&fixture));
    fixture.learn(fact(2, 15, true));
    fixture.tick();
    assert!(opened(&fixture));
    assert_eq!(fixture.replies(A).last(), Some(&WakeAnswer::Written { replicas: 2 }));
}

#[test]
fn rule_13_after_a_zero_on_which_the_controllers_have_acted_the_write_is_the_word() {
    let fixture = raised_after_zero(true);
    assert_eq!(fixture.replies(A), [WakeAnswer::Queued, WakeAnswer::Written { replicas: 1 }]);
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
        let pressure = catnap_wire::Pressure { revision: id(), held, in_flight: 10, standing: false };
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

#[test]
fn three_hundred_requests_at_once_ask_for_their_pods_in_one_step() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    let policy = Policy { limit: 1, max: 1_000, ..policy() };
    fixture.step(|leader, now| leader.upsert_revision(&id(), policy, Stage::Routed, now));
    fixture.wake(A, 300);
    let puts: Vec<u32> = fixture.puts().iter().map(|put| put.0).collect();
    assert_eq!(puts, [300]);
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    fixture.wake(A, 300);
    fixture.pass(ms(500));
    assert_eq!(fixture.puts().len(), 1, "and no other");
}

#[test]
fn a_rate_wakes_with_what_its_arrivals_fill_in_one_step() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    let rate = Policy { metric: crate::Metric::RequestRate, target: 10, limit: 0, ..policy() };
    fixture.step(|leader, now| leader.upsert_revision(&id(), rate, Stage::Routed, now));
    fixture.frame(A, ActivatorFrame::Wake { revision: id(), held: 300, arrivals: 300 });
    assert_eq!(fixture.puts()[0].0, 30, "no bucket has told of them yet");
    fixture.frame(B, ActivatorFrame::Wake { revision: id(), held: 5, arrivals: 45 });
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    assert_eq!(fixture.puts()[1].0, 35, "those of all activators");
}

fn standing(held: u64, standing: bool) -> ActivatorFrame {
    ActivatorFrame::Pressure(vec![catnap_wire::Pressure { revision: id(), held, in_flight: 10, standing }])
}

fn pressed(fixture: &Fixture) -> u64 {
    fixture.leader.explain()[0].observation.as_ref().map_or(0, |observation| observation.pressed)
}

#[test]
fn pressure_that_stands_counts_until_it_is_said_to_be_over() {
    let mut fixture = Fixture::new(fact(1, 10, true), &["p"]);
    fixture.frame(A, standing(20, false));
    fixture.pass(ms(100));
    fixture.frame(A, standing(20, true));
    assert_eq!(fixture.puts()[0].0, 3);
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    fixture.pass(ms(5_000));
    assert_eq!(pressed(&fixture), 30, "not repeated, and not forgotten");
    fixture.frame(A, standing(0, false));
    fixture.pass(ms(1_000));
    assert_eq!(pressed(&fixture), 0);
}

#[test]
fn waits_that_are_short_are_no_pressure_however_many() {
    let mut fixture = Fixture::new(fact(1, 10, true), &["p"]);
    for _ in 0..20 {
        fixture.frame(A, standing(20, false));
        fixture.pass(ms(50));
        fixture.frame(A, standing(0, false));
        fixture.pass(ms(100));
    }
    assert!(fixture.puts().is_empty(), "{:?}", fixture.puts());
}

#[test]
fn pressure_that_does_not_stand_is_over_when_it_is_not_repeated_or_its_stream_is_gone() {
    let mut fixture = Fixture::new(fact(1, 10, true), &["p"]);
    for last in [false, true] {
        fixture.frame(A, standing(20, false));
        fixture.pass(ms(100));
        fixture.frame(A, standing(20, last));
        assert_eq!(pressed(&fixture), 30);
        if last {
            fixture.step(|leader, now| leader.stream_closed(A, now));
        }
        fixture.pass(ms(2_000));
        assert_eq!(pressed(&fixture), 0);
    }
}

#[rstest]
#[case::that_is_repeated(false)]
#[case::that_stands(true)]
fn pressure_of_another_moment_has_to_last_again_and_counts_again(#[case] stands: bool) {
    let mut fixture = Fixture::new(fact(1, 10, true), &["p"]);
    for moment in 0..3 {
        fixture.frame(A, standing(20, false));
        assert_eq!(pressed(&fixture), 0, "moment {moment} has just begun");
        fixture.pass(ms(100));
        fixture.frame(A, standing(20, stands));
        assert_eq!(pressed(&fixture), 30, "moment {moment} lasts");
        // There is room again, said in time or not repeated: not for as long as the pods that come now take.
        if stands {
            fixture.frame(A, standing(0, false));
        } else {
            fixture.pass(ms(2_000));
        }
        assert_eq!(pressed(&fixture), 0, "moment {moment} is over");
    }
}

#[test]
fn a_throttled_raise_waits_as_long_as_it_was_told_and_tells_nobody() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    fixture.wake(A, 1);
    fixture.written(WriteOutcome::Throttled { after: ms(2_000) });
    for _ in 0..3 {
        fixture.pass(ms(600));
        fixture.wake(A, 1);
    }
    assert_eq!(fixture.puts().len(), 1);
    fixture.pass(ms(225));
    let puts = fixture.puts();
    assert_eq!((puts.len(), &puts[1].0, &*puts[1].1), (2, &1, "10"));
    assert!(
        !fixture.effects.iter().any(|effect| matches!(effect, Effect::Report(_) | Effect::ReadScale { .. }))
    );
}

#[test]
fn a_throttled_zero_opens_and_is_tried_again_later() {
    let mut fixture = Fixture::committing();
    fixture.written(WriteOutcome::Throttled { after: ms(3_000) });
    assert!(fixture.sent(A).contains(&LeaderFrame::Open(verdict(1, &[]))));
    fixture.effects.clear();
    fixture.pass(ms(2_900));
    assert!(!fixture.asks_for_list());
    fixture.pass(ms(1_200));
    assert!(fixture.asks_for_list());
}

/// Each question is answered at once by a server on which somebody else writes all the time, while a request waits.
#[test]
fn a_storm_of_conflicts_is_met_with_patience() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    fixture.wake(A, 1);
    let (mut conflicts, mut version, mut looked_at, mut written) = (0, 10, 0, false);
    let storm_ends = fixture.now + ms(10_000);
    while !written {
        assert!(fixture.now < storm_ends + ms(3_000), "it never gives up");
        while let Some(effect) = fixture.effects.get(looked_at).cloned() {
            looked_at += 1;
            match effect {
                Effect::PutScale { token, .. } => {
                    written = fixture.now >= storm_ends;
                    conflicts += usize::from(!written);
                    let resource_version = "99".into();
                    let outcome = if written {
                        WriteOutcome::Written { resource_version }
                    } else {
                        WriteOutcome::Conflict
                    };
                    fixture.step(|leader, now| leader.scale_written(token, outcome, now));
                }
                Effect::ReadScale { .. } => {
                    version += 1;
                    fixture.read(0, version);
                }
                _ => {}
            }
        }
        fixture.pass(ms(25));
        fixture.wake(A, 1);
    }
    assert!((5..=12).contains(&conflicts), "{conflicts} writes in ten seconds");
    assert!(fixture.replies(A).contains(&WakeAnswer::Written { replicas: 1 }));
}
