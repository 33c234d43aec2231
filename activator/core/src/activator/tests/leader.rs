//! The stream to the leader: hellos, gates, terms and what is measured.

use super::*;

#[test]
fn a_hello_comes_first_and_in_parts() {
    let mut fixture = Fixture::new();
    for number in 0..1_500 {
        fixture.activator.set_pods(&id(&format!("hello-{number}")), vec![pod("a")]);
    }
    fixture.activator.leader_connected();
    let parts: Vec<(usize, bool)> = fixture
        .frames()
        .into_iter()
        .map(|frame| match frame {
            ActivatorFrame::Hello(hello) => (hello.revisions.len(), hello.more),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(parts, [(1_000, true), (500, false)]);
}

#[test]
fn a_part_of_a_hello_is_smaller_than_a_frame() {
    let mut fixture = Fixture::new();
    let pods: Vec<Pod> = (0..10_000).map(|number| pod(&format!("pod-{number:032}"))).collect();
    for number in 0..20 {
        fixture.activator.set_pods(&id(&format!("hello-{number}")), pods.clone());
    }
    fixture.activator.leader_connected();
    let parts: Vec<(usize, bool)> = fixture
        .frames()
        .into_iter()
        .map(|frame| match frame {
            ActivatorFrame::Hello(hello) => (hello.revisions.len(), hello.more),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(parts.iter().all(|(revisions, _)| (1..20).contains(revisions)), "{parts:?}");
    assert_eq!(parts.iter().map(|(revisions, _)| revisions).sum::<usize>(), 20);
    assert_eq!(parts.iter().filter(|(_, more)| !more).count(), 1);
}

#[test]
fn what_rests_is_not_in_the_hello() {
    let mut fixture = Fixture::new();
    fixture.activator.set_functions(vec![route(Some("hello-1"), &["hello-1"])]);
    fixture.activator.leader_connected();
    let frames = fixture.frames();
    assert!(
        matches!(&frames[..], [ActivatorFrame::Hello(hello)] if hello.revisions.is_empty()),
        "{frames:?}"
    );
}

#[test]
fn a_gate_that_was_asked_for_before_the_function_was_known_counts() {
    let mut fixture = Fixture::new();
    let connection = fixture.activator.leader_connected();
    fixture.welcome(connection, Vec::new());
    let gate = GateId { term: Term { transitions: 1, boot: 1 }, number: 1 };
    let close = LeaderFrame::Close { revision: id("hello-1"), gate, pods: vec!["a".into()] };
    fixture.activator.leader_frame(connection, close);
    assert!(fixture.frames().contains(&ActivatorFrame::Ack { revision: id("hello-1"), gate }));
    fixture.activator.set_pods(&id("hello-1"), vec![pod("a")]);
    fixture.activator.upsert_function(route(Some("hello-1"), &["hello-1"]));
    fixture.hold();
}

#[test]
fn a_leader_that_was_replaced_and_a_stream_that_ended_are_not_heard() {
    let (mut fixture, first) = Fixture::serving();
    fixture.activator.set_pods(&id("hello-1"), vec![pod("a")]);
    let second = fixture.activator.leader_connected();
    let old = Welcome { term: Term::default(), closed: Vec::new(), more: false };
    fixture.activator.leader_frame(second, LeaderFrame::Welcome(old));
    fixture.commands();
    for (connection, transitions) in [(first, 9), (second, 1)] {
        let gate = GateId { term: Term { transitions, boot: 1 }, number: 1 };
        let close = LeaderFrame::Close { revision: id("hello-1"), gate, pods: Vec::new() };
        fixture.activator.leader_frame(connection, close);
    }
    assert!(fixture.frames().is_empty());
    fixture.dispatch();
}

#[test]
fn the_stream_of_a_leader_that_was_replaced_is_ended() {
    let (mut fixture, _) = Fixture::serving();
    let second = fixture.activator.leader_connected();
    fixture.commands();
    let old = Welcome { term: Term::default(), closed: Vec::new(), more: false };
    fixture.activator.leader_frame(second, LeaderFrame::Welcome(old));
    assert!(fixture.commands().contains(&Command::Disconnect { connection: second }));
    fixture.pass(ms(3_000));
    assert!(fixture.frames().is_empty(), "it must not take this activator for one that obeys");
}

#[test]
fn a_lease_that_was_made_anew_counts_its_terms_from_the_beginning() {
    let (mut fixture, first) = Fixture::serving();
    fixture.activator.set_pods(&id("hello-1"), vec![pod("a")]);
    let gate = |transitions, number| GateId { term: Term { transitions, boot: 1 }, number };
    let close = |gate| LeaderFrame::Close { revision: id("hello-1"), gate, pods: vec!["a".into()] };
    // Closed by a leader of a high term, whose Lease is then deleted.
    fixture.activator.leader_frame(first, close(gate(9, 1)));
    let second = fixture.activator.leader_connected_by(1);
    let condemned = Vec::new();
    let verdict = Verdict { revision: id("hello-1"), gate: gate(1, 1), condemned };
    fixture.welcome(second, vec![Closed { verdict: verdict.clone(), zero: false }]);
    fixture.activator.leader_frame(second, LeaderFrame::Open(verdict));
    drop(fixture.dispatch());
    fixture.commands();
    fixture.activator.leader_frame(second, close(gate(1, 2)));
    assert_eq!(fixture.frames(), [ActivatorFrame::Ack { revision: id("hello-1"), gate: gate(1, 2) }]);
    // The leader of the Lease that is gone does not come back, whatever its term.
    let third = fixture.activator.leader_connected_by(0);
    let term = Term { transitions: 9, boot: 1 };
    let old = Welcome { term, closed: Vec::new(), more: false };
    fixture.activator.leader_frame(third, LeaderFrame::Welcome(old));
    assert!(fixture.commands().contains(&Command::Disconnect { connection: third }));
    let fourth = fixture.activator.leader_connected_by(1);
    fixture.welcome(fourth, Vec::new());
    drop(fixture.dispatch());
}

#[test]
fn seconds_are_told_complete_and_buckets_before_them() {
    let (mut fixture, _) = Fixture::serving();
    fixture.activator.set_pods(&id("hello-1"), vec![pod("a")]);
    let slot = fixture.dispatch();
    fixture.pass(ms(2_020));
    drop(slot);
    let told: Vec<(&str, u64)> = fixture
        .frames()
        .into_iter()
        .filter_map(|frame| match frame {
            ActivatorFrame::Buckets { buckets, .. } => Some(("bucket", buckets.last()?.index)),
            ActivatorFrame::Through { index } => Some(("through", index)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [("bucket", 0), ("through", 0), ("bucket", 1), ("through", 1)]);
}

#[test]
fn pressure_is_told_every_tenth_of_a_second_while_it_lasts() {
    let (mut fixture, _) = Fixture::serving();
    fixture.activator.set_pods(&id("hello-1"), vec![pod("a")]);
    let slot = fixture.dispatch();
    let waiting = fixture.hold();
    fixture.clock.advance(ms(100));
    fixture.pass(ms(350));
    let pressures = |fixture: &mut Fixture| {
        fixture.frames().iter().filter(|frame| matches!(frame, ActivatorFrame::Pressure(_))).count()
    };
    assert_eq!(pressures(&mut fixture), 4);
    drop((slot, waiting));
    fixture.pass(ms(350));
    assert_eq!(pressures(&mut fixture), 1, "its end");
}

#[test]
fn pressure_is_not_repeated_at_the_maximum() {
    let (mut fixture, connection) = Fixture::serving();
    fixture.activator.set_pods(&id("hello-1"), vec![pod("a")]);
    let slot = fixture.dispatch();
    let waiting = fixture.hold();
    fixture.pass(ms(100));
    let pressures = |fixture: &mut Fixture| {
        fixture.frames().iter().filter(|frame| matches!(frame, ActivatorFrame::Pressure(_))).count()
    };
    assert!(pressures(&mut fixture) > 0);
    let answer = LeaderFrame::WakeReply { revision: id("hello-1"), answer: WakeAnswer::AtMax };
    fixture.activator.leader_frame(connection, answer);
    fixture.pass(ms(200));
    assert_eq!(pressures(&mut fixture), 1, "it stands");
    fixture.pass(ms(5_000));
    assert_eq!(pressures(&mut fixture), 0);
    assert!(fixture.activator.tick() > ms(10), "nothing spins while it is silent");
    drop((slot, waiting));
    fixture.pass(ms(10));
    assert_eq!(pressures(&mut fixture), 1, "its end");
}
