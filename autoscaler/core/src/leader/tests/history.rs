//! A new leader: it decides from what the activators kept, in its first second, and nothing that it does not know makes a dip.

use catnap_wire::Bucket;
use rstest::rstest;

use super::*;

/// Seconds of a window, and of what a Hello carries.
const WINDOW: u64 = 60;
/// Requests at once in each second of activator `a`, and of `b`.
const LOADS: [u64; 2] = [21, 14];

fn policy_of_a_minute() -> Policy {
    // With a limit of 10 and the default utilization a replica is for 7 requests: five replicas for 35.
    Policy { window: Duration::from_secs(WINDOW), panic_window: ms(6_000), limit: 10, ..Policy::default() }
}

/// A leader that began just now.
fn successor(scale: ScaleFact, policy: Policy) -> Fixture {
    let now = ms(60_000);
    let pods: Vec<_> = (0..scale.replicas).map(|number| pod(&format!("p{number}"))).collect();
    let mut leader = Leader::new(TERM, Settings::default(), now);
    leader.upsert_revision(&id(), policy, Stage::Routed, now);
    leader.set_scale(&id(), Some(scale), now);
    leader.set_pods(&id(), pods, now);
    leader.set_activators(&["a".into(), "b".into()], now);
    Fixture { leader, now, effects: Vec::new() }
}

/// What an activator whose clock shows 100 s tells of the last `seconds`, with so many requests in each of them.
fn steady(requests: u64, seconds: u64) -> RevisionReport {
    let bucket = |index| Bucket { index, request_microseconds: requests * 1_000_000, arrivals: requests };
    RevisionReport {
        revision: id(),
        closed: None,
        held: 0,
        in_flight: requests,
        idle_milliseconds: Some(0),
        buckets: (100 - seconds..100).map(bucket).collect(),
        pods: vec![report("p0", requests)],
    }
}

fn observed(fixture: &Fixture) -> (Observation, Decision) {
    let explanation = fixture.leader.explain().remove(0);
    explanation.observation.zip(explanation.decision).expect("it was decided")
}

/// Another second of the same load, as the activators tell it.
fn next_second(fixture: &mut Fixture, loads: [u64; 2]) {
    fixture.pass(ms(1_000));
    let index = (fixture.now + ms(40_000)).as_secs() - 1;
    for (stream, requests) in [A, B].into_iter().zip(loads) {
        let bucket = Bucket { index, request_microseconds: requests * 1_000_000, arrivals: requests };
        fixture.frame(stream, ActivatorFrame::Buckets { revision: id(), buckets: vec![bucket] });
    }
}

#[test]
fn the_first_decision_is_made_from_the_whole_history() {
    let mut fixture = successor(fact(5, 10, true), policy_of_a_minute());
    fixture.join_with(A, "a", vec![steady(LOADS[0], WINDOW)]);
    let (observation, decision) = observed(&fixture);
    assert!(observation.incomplete, "b was not heard: {observation:?}");
    assert_eq!(decision.desired, 5, "{decision:?}");
    fixture.join_with(B, "b", vec![steady(LOADS[1], WINDOW)]);
    let (observation, decision) = observed(&fixture);
    assert!(!observation.incomplete, "{observation:?}");
    let exact = |average: f64| (average - 35.0).abs() < 1e-9;
    assert!(exact(observation.stable) && exact(observation.panic), "{observation:?}");
    assert_eq!(observation.arrivals, 35);
    assert_eq!(decision.desired, 5, "{decision:?}");
    assert!(fixture.puts().is_empty(), "{:?}", fixture.puts());
}

#[test]
fn what_is_missing_is_raised_at_once() {
    let mut fixture = successor(fact(4, 10, true), policy_of_a_minute());
    fixture.join_with(A, "a", vec![steady(LOADS[0], WINDOW)]);
    fixture.join_with(B, "b", vec![steady(LOADS[1], WINDOW)]);
    let puts: Vec<_> = fixture.puts().iter().map(|put| put.0).collect();
    assert_eq!(puts, [5]);
}

#[test]
fn a_hello_that_is_repeated_counts_once() {
    let mut fixture = successor(fact(5, 10, true), policy_of_a_minute());
    for stream in [A, B, StreamId(3), StreamId(4)] {
        let (pod, load) = if stream.0 % 2 == 1 { ("a", LOADS[0]) } else { ("b", LOADS[1]) };
        let hello = Hello {
            boot: stream.0 % 2,
            pod_uid: pod.into(),
            clock_milliseconds: 100_000,
            revisions: vec![steady(load, WINDOW)],
            more: false,
        };
        fixture.step(|leader, now| leader.stream_opened(stream, pod.into(), now));
        fixture.frame(stream, ActivatorFrame::Hello(hello));
    }
    fixture.tick();
    let (observation, _) = observed(&fixture);
    assert!((observation.stable - 35.0).abs() < 1e-9, "{observation:?}");
    assert!(fixture.puts().is_empty(), "{:?}", fixture.puts());
}

/// One leader after the other, at any moment of a second, under the same load: none of them ever wants another count.
#[rstest]
#[case::at_once(0)]
#[case::within_a_window(17)]
#[case::after_more_than_a_window(2 * WINDOW)]
fn steady_load_gives_every_leader_the_same_count(#[case] seconds: u64) {
    for part in [0, 250, 975] {
        let mut fixture = successor(fact(5, 10, true), policy_of_a_minute());
        fixture.now += ms(part);
        fixture.join_with(A, "a", vec![steady(LOADS[0], WINDOW)]);
        fixture.tick();
        fixture.now += ms(150);
        fixture.join_with(B, "b", vec![steady(LOADS[1], WINDOW)]);
        for _ in 0..seconds {
            next_second(&mut fixture, LOADS);
            let (observation, decision) = observed(&fixture);
            assert_eq!(decision.desired, 5, "{observation:?} {decision:?}");
        }
        assert!(fixture.puts().is_empty(), "{:?}", fixture.puts());
    }
}

/// Pods that the history does not explain stay for a window: who led before may have known why.
#[test]
fn a_surplus_stays_for_a_window() {
    let mut fixture = successor(fact(9, 10, true), policy_of_a_minute());
    fixture.join_with(A, "a", vec![steady(LOADS[0], WINDOW)]);
    fixture.join_with(B, "b", vec![steady(LOADS[1], WINDOW)]);
    let wanted: Vec<_> = (0..WINDOW + 5)
        .map(|_| {
            next_second(&mut fixture, LOADS);
            observed(&fixture).1.desired
        })
        .collect();
    let window = usize::try_from(WINDOW).unwrap();
    assert!(wanted[..window - 2].iter().all(|desired| *desired == 9), "{wanted:?}");
    assert_eq!(wanted[window + 2..], [5, 5, 5]);
}

/// An activator that began anew is another one: what it told before counts until it is old, and is not waited for.
#[test]
fn what_an_activator_told_before_it_began_anew_still_counts() {
    let mut fixture = successor(fact(5, 10, true), policy_of_a_minute());
    fixture.join_with(A, "a", vec![steady(LOADS[0], WINDOW)]);
    fixture.join_with(B, "b", vec![steady(LOADS[1], WINDOW)]);
    fixture.step(|leader, now| leader.stream_closed(B, now));
    fixture.step(|leader, now| leader.stream_opened(StreamId(3), "b".into(), now));
    let hello =
        Hello { boot: 9, pod_uid: "b".into(), clock_milliseconds: 0, revisions: Vec::new(), more: false };
    fixture.frame(StreamId(3), ActivatorFrame::Hello(hello));
    let expected = |seconds: u64| (LOADS[0] + LOADS[1] * WINDOW.saturating_sub(seconds) / WINDOW) as f64;
    for second in 1..=2 * WINDOW {
        fixture.now += ms(1_000);
        let index = 99 + second;
        let bucket = Bucket { index, request_microseconds: LOADS[0] * 1_000_000, arrivals: LOADS[0] };
        fixture.frame(A, ActivatorFrame::Buckets { revision: id(), buckets: vec![bucket] });
        fixture.frame(A, ActivatorFrame::Through { index });
        fixture.frame(StreamId(3), ActivatorFrame::Through { index: second - 1 });
        fixture.tick();
        let (observation, _) = observed(&fixture);
        let difference = (observation.stable - expected(second)).abs();
        assert!(difference < 1.0, "{second}: {observation:?}, not {}", expected(second));
    }
}

/// Neither the leader nor the youngest activator has seen a whole window: what nobody knows may have been a request.
#[rstest]
#[case::all_are_young(10, [5, 5], true)]
#[case::one_activator_is_young(10, [5, 500], true)]
#[case::the_activators_are_old(10, [500, 500], false)]
#[case::the_leader_is_old(70, [5, 5], false)]
fn only_raising_while_nobody_has_seen_a_whole_window(
    #[case] leader_seconds: u64,
    #[case] activator_seconds: [u64; 2],
    #[case] short: bool,
) {
    let policy = Policy { idle_after: ms(1_000), ..policy_of_a_minute() };
    let mut fixture = successor(fact(1, 10, true), policy);
    fixture.now += Duration::from_secs(leader_seconds);
    for ((stream, pod), seconds) in [(A, "a"), (B, "b")].into_iter().zip(activator_seconds) {
        let hello = Hello {
            boot: stream.0,
            pod_uid: pod.into(),
            clock_milliseconds: seconds * 1_000,
            revisions: Vec::new(),
            more: false,
        };
        fixture.step(|leader, now| leader.stream_opened(stream, pod.into(), now));
        fixture.frame(stream, ActivatorFrame::Hello(hello));
    }
    fixture.now += ms(1_000);
    for (stream, seconds) in [A, B].into_iter().zip(activator_seconds) {
        fixture.frame(stream, ActivatorFrame::Through { index: seconds });
    }
    fixture.tick();
    let (observation, decision) = observed(&fixture);
    assert_eq!(observation.incomplete, short, "{observation:?}");
    assert_eq!(decision.desired, u32::from(short), "{observation:?} {decision:?}");
    // It may be woken and raised all the same.
    fixture.learn(fact(0, 11, true));
    fixture.pods(Vec::new());
    fixture.wake(A, 25);
    assert_eq!(fixture.puts().last().map(|put| put.0), Some(3));
}
