//! The order of frames, and what is refused.

use catnap_wire::Bucket;
use catnap_wire::message::HELLO_PART;

use super::*;

fn refused(fixture: &Fixture, refusal: Refusal) -> u64 {
    fixture.leader.refused().get(&refusal).copied().unwrap_or_default()
}

fn disconnected(fixture: &Fixture, stream: StreamId) -> bool {
    fixture
        .effects
        .iter()
        .any(|effect| matches!(effect, Effect::Disconnect { stream: s, .. } if *s == stream))
}

#[test]
fn a_stream_that_does_not_begin_with_a_hello_is_ended() {
    let mut fixture = Fixture::unconnected(fact(1, 10, true), &["p"]);
    fixture.step(|leader, now| leader.stream_opened(A, "a".into(), now));
    fixture.wake(A, 1);
    assert!(disconnected(&fixture, A));
    assert_eq!(refused(&fixture, Refusal::Protocol), 1);
}

#[test]
fn a_hello_of_another_pod_is_refused() {
    let mut fixture = Fixture::unconnected(fact(1, 10, true), &["p"]);
    fixture.step(|leader, now| leader.stream_opened(A, "somebody".into(), now));
    let hello =
        Hello { boot: 1, pod_uid: "a".into(), clock_milliseconds: 0, revisions: Vec::new(), more: false };
    fixture.frame(A, ActivatorFrame::Hello(hello));
    assert!(disconnected(&fixture, A));
}

#[test]
fn the_future_ends_the_stream() {
    let mut fixture = Fixture::new(fact(1, 10, true), &["p"]);
    fixture.frame(A, ActivatorFrame::Through { index: 1_000 });
    assert_eq!(refused(&fixture, Refusal::Future), 1);
    assert!(disconnected(&fixture, A));
}

#[test]
fn what_is_too_much_or_cannot_be_is_refused_and_counted() {
    let mut fixture = Fixture::new(fact(1, 10, true), &["p"]);
    let buckets = |count: usize, amount| {
        let bucket = Bucket { index: 1, request_microseconds: amount, arrivals: 1 };
        ActivatorFrame::Buckets { revision: id(), buckets: vec![bucket; count] }
    };
    fixture.frame(A, buckets(4_000, 1));
    fixture.frame(A, buckets(1, u64::MAX));
    fixture.frame(A, ActivatorFrame::Pods { revision: id(), pods: vec![report("p", 0); 20_001] });
    let other = RevisionId { name: "other".into(), ..id() };
    fixture.frame(A, ActivatorFrame::Wake { revision: other, held: 1, arrivals: 1 });
    assert_eq!(refused(&fixture, Refusal::Oversized), 2);
    assert_eq!(refused(&fixture, Refusal::Malformed), 1);
    assert_eq!(refused(&fixture, Refusal::UnknownRevision), 1);
    assert!(!disconnected(&fixture, A));
}

/// A part with one revision.
fn hello(boot: u64, more: bool) -> ActivatorFrame {
    let report = RevisionReport {
        revision: id(),
        closed: None,
        held: 0,
        in_flight: 0,
        idle_milliseconds: None,
        buckets: Vec::new(),
        pods: Vec::new(),
    };
    let revisions = vec![report];
    ActivatorFrame::Hello(Hello { boot, pod_uid: "a".into(), clock_milliseconds: 100_000, revisions, more })
}

#[test]
fn a_hello_of_another_process_than_it_began_with_is_refused() {
    let mut fixture = Fixture::unconnected(fact(1, 10, true), &["p"]);
    fixture.step(|leader, now| leader.stream_opened(A, "a".into(), now));
    fixture.frame(A, hello(1, true));
    assert!(!disconnected(&fixture, A));
    fixture.frame(A, hello(2, true));
    assert!(disconnected(&fixture, A));
    assert_eq!(refused(&fixture, Refusal::Protocol), 1);
}

#[test]
fn a_hello_without_end_is_ended() {
    let mut fixture = Fixture::new(fact(1, 10, true), &["p"]);
    let stream = StreamId(9);
    fixture.step(|leader, now| leader.stream_opened(stream, "a".into(), now));
    let parts = (0..2_000).take_while(|_| {
        fixture.frame(stream, hello(1, true));
        !disconnected(&fixture, stream)
    });
    assert_eq!(parts.count(), 1_000);
    assert_eq!(refused(&fixture, Refusal::Oversized), 1);
}

#[test]
fn an_activator_that_lags_must_connect_anew() {
    let mut fixture = Fixture::new(fact(1, 10, true), &["p"]);
    while !disconnected(&fixture, A) {
        assert!(fixture.now < ms(80_000), "A says nothing, and nobody minds");
        fixture.now += ms(25);
        let index = (fixture.now + ms(40_000)).as_secs() - 1;
        fixture.frame(B, ActivatorFrame::Through { index });
        fixture.tick();
    }
    assert!(!disconnected(&fixture, B));
}

#[test]
fn a_hello_in_parts_is_answered_after_the_last() {
    let mut fixture = Fixture::unconnected(fact(0, 10, true), &["p"]);
    fixture.tick();
    fixture.step(|leader, now| leader.stream_opened(A, "a".into(), now));
    let part = |more| hello(1, more);
    fixture.frame(A, part(true));
    assert!(fixture.sent(A).is_empty());
    fixture.frame(A, part(false));
    let LeaderFrame::Welcome(welcome) = &fixture.sent(A)[0] else { panic!("a welcome is due") };
    assert_eq!((welcome.term, welcome.more), (TERM, false));
    assert_eq!(welcome.closed, [catnap_wire::Closed { verdict: verdict(0, &["p"]), zero: true }]);
    fixture.frame(A, part(false));
    assert!(disconnected(&fixture, A), "one hello a stream");
}

#[test]
fn a_welcome_comes_in_parts() {
    let mut fixture = Fixture::unconnected(fact(0, 10, true), &[]);
    for number in 0..HELLO_PART {
        let id = RevisionId { name: format!("hello-{number}").into(), namespace: "many".into(), ..id() };
        fixture.step(|leader, now| {
            leader.upsert_revision(&id, policy(), Stage::Routed, now);
            leader.set_scale(&id, Some(fact(0, 10, true)), now);
        });
    }
    fixture.join(A, "a");
    let parts: Vec<(usize, bool)> = fixture
        .sent(A)
        .iter()
        .filter_map(|frame| match frame {
            LeaderFrame::Welcome(welcome) => Some((welcome.closed.len(), welcome.more)),
            _ => None,
        })
        .collect();
    assert_eq!(parts, [(HELLO_PART, true), (1, false)]);
}

#[test]
fn a_newer_stream_of_the_same_pod_replaces_the_older() {
    let mut fixture = Fixture::new(fact(1, 10, true), &["p"]);
    fixture.join(StreamId(9), "a");
    assert!(disconnected(&fixture, A));
    fixture.effects.clear();
    fixture.wake(A, 1);
    assert!(fixture.effects.is_empty(), "nothing is heard from the old one");
}

fn rejoin(fixture: &mut Fixture, clock_milliseconds: u64, revisions: Vec<RevisionReport>) {
    fixture.step(|leader, now| leader.stream_opened(StreamId(9), "a".into(), now));
    let hello = Hello { boot: A.0, pod_uid: "a".into(), clock_milliseconds, revisions, more: false };
    fixture.frame(StreamId(9), ActivatorFrame::Hello(hello));
}

fn said(held: u64, in_flight: u64, pod: u64) -> RevisionReport {
    RevisionReport {
        revision: id(),
        closed: None,
        held,
        in_flight,
        idle_milliseconds: None,
        buckets: Vec::new(),
        pods: vec![report("p", pod)],
    }
}

#[test]
fn a_hello_whose_clock_jumped_is_refused_and_moves_nothing() {
    let mut fixture = Fixture::new(fact(2, 10, true), &["p", "q"]);
    let bucket = Bucket { index: 99, request_microseconds: 15_000_000, arrivals: 1 };
    fixture.frame(A, ActivatorFrame::Buckets { revision: id(), buckets: vec![bucket] });
    fixture.pass(ms(1_000));
    let stable = |fixture: &Fixture| fixture.leader.explain()[0].observation.as_ref().unwrap().stable;
    let before = stable(&fixture);
    assert!(before > 0.0);
    rejoin(&mut fixture, 3_600_000, Vec::new());
    assert_eq!(refused(&fixture, Refusal::Future), 1);
    assert!(disconnected(&fixture, StreamId(9)));
    fixture.tick();
    assert!((stable(&fixture) - before).abs() < f64::EPSILON);
    assert!(fixture.puts().is_empty());
}

#[test]
fn a_clock_that_no_process_can_have_is_refused() {
    let mut fixture = Fixture::new(fact(1, 10, true), &["p"]);
    rejoin(&mut fixture, u64::MAX, Vec::new());
    assert_eq!(refused(&fixture, Refusal::Malformed), 1);
    assert!(disconnected(&fixture, StreamId(9)));
}

#[test]
fn a_hello_of_too_many_revisions_is_refused() {
    let mut fixture = Fixture::new(fact(1, 10, true), &["p"]);
    rejoin(&mut fixture, 100_000, vec![said(1, 1, 1); HELLO_PART + 1]);
    assert_eq!(refused(&fixture, Refusal::Oversized), 1);
    assert!(disconnected(&fixture, StreamId(9)));
}

#[test]
fn impossible_counts_are_refused_and_wake_nobody() {
    use catnap_wire::limits::MAX_REQUESTS;
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    fixture.tick();
    fixture.effects.clear();
    for absurd in [MAX_REQUESTS + 1, u64::MAX] {
        let pressure = |held, in_flight| {
            let pressure = catnap_wire::Pressure { revision: id(), held, in_flight, standing: true };
            ActivatorFrame::Pressure(vec![pressure])
        };
        fixture.frame(A, ActivatorFrame::Wake { revision: id(), held: absurd, arrivals: 1 });
        fixture.frame(A, ActivatorFrame::Wake { revision: id(), held: 1, arrivals: absurd });
        fixture.frame(A, pressure(absurd, 1));
        fixture.frame(A, pressure(1, absurd));
        fixture.frame(A, ActivatorFrame::Pods { revision: id(), pods: vec![report("p", absurd)] });
        for bad in [said(absurd, 0, 0), said(0, absurd, 0), said(0, 0, absurd)] {
            rejoin(&mut fixture, 100_000, vec![bad]);
            fixture.step(|leader, now| leader.stream_closed(StreamId(9), now));
            fixture.join(A, "a");
        }
    }
    assert_eq!(refused(&fixture, Refusal::Malformed), 16);
    fixture.pass(ms(500));
    assert!(fixture.puts().is_empty());
}

#[test]
fn sums_of_what_several_say_do_not_overflow() {
    // No frame can say so any more, but a sum must not depend on that.
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    for stream in [A, B] {
        fixture.step(|leader, _| {
            leader.with_revision(&id(), |revision, context| {
                revision.woken(stream, u64::MAX, u64::MAX, context);
                revision.decide(context);
            });
        });
    }
    assert_eq!(fixture.leader.explain()[0].observation.as_ref().unwrap().held, u64::MAX);
}
