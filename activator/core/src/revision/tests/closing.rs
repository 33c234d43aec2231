//! Going to zero, seen from the activator.

use super::*;

#[test]
fn an_idle_revision_acks_and_holds_what_comes_after() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.close(1, &["a"]);
    assert_eq!(fixture.sent(), [ActivatorFrame::Ack { revision: revision_id(), gate: gate(1) }]);
    assert_eq!(fixture.arrive(), Arrival::Held);
    fixture.pass(ms(2));
    assert!(fixture.sent().contains(&ActivatorFrame::Wake { revision: revision_id(), held: 1, arrivals: 1 }));
}

#[test]
fn a_request_in_flight_keeps_the_gate_open() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.arrive();
    fixture.close(1, &["a"]);
    assert_eq!(fixture.sent(), [ActivatorFrame::Busy { revision: revision_id(), gate: gate(1) }]);
    assert!(matches!(fixture.arrive(), Arrival::Dispatched(_)));
}

#[test]
fn a_round_that_ends_with_open_grants_what_was_held() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.close(1, &["a"]);
    fixture.arrive();
    fixture.leader(&LeaderFrame::Open(verdict(1, &[])));
    assert_eq!(fixture.granted(), [(0, "a".to_owned())]);
}

#[test]
fn after_a_zero_only_new_pods_are_used_and_only_when_the_count_was_raised() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.close(1, &["a"]);
    fixture.arrive();
    fixture.leader(&LeaderFrame::Zero(verdict(1, &["a"])));
    assert!(fixture.granted().is_empty());
    fixture.pods(vec![ready("a"), ready("b")]);
    assert!(fixture.granted().is_empty(), "the pod may be a replacement that goes too");
    fixture.reply(WakeAnswer::Written { replicas: 1 });
    assert_eq!(fixture.granted(), [(0, "b".to_owned())]);
}

#[test]
fn a_pod_that_came_before_the_zero_was_heard_of_waits_for_the_leader_to_pardon_it() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.close(1, &["a"]);
    fixture.arrive();
    fixture.pods(vec![ready("a"), ready("b")]);
    fixture.leader(&LeaderFrame::Zero(verdict(1, &["a"])));
    fixture.reply(WakeAnswer::Written { replicas: 1 });
    assert!(
        fixture.granted().is_empty(),
        "it may have been made in place of one that went away before the zero"
    );
    fixture.leader(&LeaderFrame::Open(verdict(1, &["a"])));
    assert_eq!(fixture.granted(), [(0, "b".to_owned())]);
}

#[test]
fn a_new_activator_holds_until_its_hello_is_answered() {
    let mut fixture = Fixture::starting_as(Start::Unanswered { since: ms(0) }, Policy::default());
    fixture.revision.leader_connected(fixture.now);
    fixture.pods(vec![ready("a")]);
    assert_eq!(fixture.arrive(), Arrival::Held);
    let closed = Closed { verdict: verdict(3, &[]), zero: false };
    fixture.event(|revision, now, out| revision.welcomed(TERM, Some(&closed), now, out));
    assert!(fixture.granted().is_empty());
    fixture.leader(&LeaderFrame::Open(verdict(3, &[])));
    assert_eq!(fixture.granted(), [(0, "a".to_owned())]);
}

#[test]
fn open_gates_stay_open_without_a_leader() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.revision.leader_lost(fixture.now);
    fixture.pass(ms(60_000));
    assert!(matches!(fixture.arrive(), Arrival::Dispatched(_)));
    assert!(fixture.reads().is_empty());
}

#[test]
fn rule_5_a_leader_that_fell_silent_in_a_round_is_left_alone_for_two_seconds() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.close(1, &["a"]);
    fixture.revision.leader_lost(fixture.now);
    fixture.pass(ms(1_999));
    assert!(fixture.reads().is_empty());
    fixture.pass(ms(1));
    let reads = fixture.reads();
    assert_eq!(reads.len(), 1);
    fixture.read(reads[0], 1);
    assert!(matches!(fixture.arrive(), Arrival::Dispatched(_)), "what was closed did not go");
}

#[test]
fn rule_5_an_early_read_does_not_open() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.close(1, &["a"]);
    fixture.revision.leader_lost(fixture.now);
    fixture.arrive();
    while fixture.revision.held() > 0 {
        fixture.pass(ms(10));
        for attempt in fixture.reads() {
            fixture.read(attempt, 1);
        }
        assert!(fixture.now < ms(3_000), "stranded");
    }
    assert!(fixture.now >= ms(2_000), "the zero might still have landed");
}

#[test]
fn rule_6_a_read_counts_only_for_the_gate_it_was_sent_for() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.close(1, &["a"]);
    fixture.pass(ms(2_000));
    let reads = fixture.reads();
    fixture.leader(&LeaderFrame::Open(verdict(1, &[])));
    fixture.close(2, &["a"]);
    fixture.read(reads[0], 1);
    assert_eq!(fixture.arrive(), Arrival::Held);
}

#[test]
fn rule_3_patience_alone_opens_nothing() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.close(1, &["a"]);
    fixture.arrive();
    for _ in 0..80 {
        fixture.pass(ms(100));
        fixture.reply(WakeAnswer::Queued);
        fixture.close(1, &["a"]);
        for attempt in fixture.reads() {
            fixture.read(attempt, 1);
        }
        assert_eq!(fixture.revision.held(), 1);
    }
}
