use super::*;
use crate::gate::tests::{at, close, gate_id, uid, verdict};
use catnap_wire::message::Term;
use rstest::rstest;

const FREE: Findings = Findings { in_flight: false, objection: false };

fn drain(gate: &mut Gate, id: GateId, found: Findings, now: Duration) -> Option<CloseAnswer> {
    let (pods, kept) = ([uid("a")], [uid("b")]);
    gate.drain(Wish { gate: id, pods: &pods, kept: &kept, replicas: 2 }, found, now)
}

fn drained() -> Gate {
    let mut gate = Gate::open();
    assert_eq!(drain(&mut gate, gate_id(1, 1), FREE, at(0)), Some(CloseAnswer::Ack));
    gate
}

#[test]
fn what_stays_is_used_and_nothing_else() {
    let gate = drained();
    assert!(gate.admits(&uid("b")));
    assert!(!gate.admits(&uid("a")));
    assert!(!gate.admits(&uid("new")), "made in place of one that goes, it may go itself");
    assert_eq!(gate.closed(), None, "the revision is open");
    assert!(!gate.at_rest());
}

#[rstest]
#[case::in_flight(Findings { in_flight: true, ..FREE })]
#[case::objection(Findings { objection: true, ..FREE })]
fn a_pod_that_is_used_is_not_drained(#[case] found: Findings) {
    let mut gate = Gate::open();
    assert_eq!(drain(&mut gate, gate_id(1, 1), found, at(0)), Some(CloseAnswer::Busy));
    assert!(gate.admits(&uid("a")));
    assert_eq!(
        drain(&mut gate, gate_id(1, 1), FREE, at(1)),
        Some(CloseAnswer::Busy),
        "a gate that was refused"
    );
    assert_eq!(drain(&mut gate, gate_id(1, 2), FREE, at(2)), Some(CloseAnswer::Ack));
}

#[test]
fn a_repeated_wish_is_answered_as_before_whatever_is_held_by_then() {
    let mut gate = drained();
    let held = Findings { objection: true, ..FREE };
    assert_eq!(drain(&mut gate, gate_id(1, 1), held, at(100)), Some(CloseAnswer::Ack));
    assert!(!gate.admits(&uid("a")), "the leader may have counted the first answer");
    assert_eq!(gate.alone_from(), Some(at(2_100)));
}

#[test]
fn rule_7_a_leader_that_was_replaced_is_not_obeyed() {
    let mut gate = Gate::open();
    gate.welcome(Term { transitions: 2, boot: 7 }, None, at(0));
    assert_eq!(drain(&mut gate, gate_id(1, 9), FREE, at(1)), None);
    assert!(gate.admits(&uid("a")));
}

#[rstest]
#[case::of_this_gate(1, true)]
#[case::of_an_earlier_one(0, false)]
fn open_ends_it(#[case] number: u64, #[case] open: bool) {
    let mut gate = drained();
    gate.open_by(&verdict(gate_id(1, number), &["c"]), at(10));
    assert_eq!(gate.admits(&uid("a")), open);
    assert!(!gate.admits(&uid("c")));
}

#[test]
fn a_leader_that_knows_of_no_round_ends_it() {
    let mut gate = drained();
    gate.connected();
    gate.welcome(Term { transitions: 2, boot: 8 }, None, at(10));
    assert!(gate.admits(&uid("a")));
}

#[rstest]
#[case::not_written(2, true)]
#[case::written(1, false)]
fn rule_5_alone_it_opens_by_what_the_count_says(#[case] replicas: u32, #[case] open: bool) {
    let mut gate = drained();
    gate.open_alone(replicas, &[uid("a"), uid("b"), uid("other")], at(3_000));
    assert_eq!(gate.admits(&uid("a")), open);
    assert_eq!(gate.admits(&uid("other")), open, "of those known then");
    assert!(gate.admits(&uid("b")));
    assert!(gate.admits(&uid("later")), "the round is over");
    assert!(gate.at_rest());
}

#[test]
fn a_zero_that_is_read_takes_everything() {
    let mut gate = drained();
    gate.read_zero(&[uid("b")], true, at(3_000));
    assert!(gate.is_young(at(4_999)), "it was written just now");
    gate.raised();
    assert!(!gate.admits(&uid("a")) && !gate.admits(&uid("b")));
    assert!(gate.admits(&uid("later")));
}

#[test]
fn a_round_about_all_takes_its_place() {
    let mut gate = drained();
    assert_eq!(close(&mut gate, gate_id(1, 2), &["a", "b"], &[], at(10)), Some(CloseAnswer::Ack));
    assert!(!gate.admits(&uid("b")));
    gate.open_by(&verdict(gate_id(1, 2), &[]), at(20));
    assert!(gate.admits(&uid("a")));
}

#[test]
fn what_is_avoided_is_used_all_the_same_and_forgotten_with_the_stream() {
    let mut gate = Gate::open();
    gate.avoid(&[uid("a")]);
    assert!(gate.admits(&uid("a")) && gate.avoided().contains(&uid("a")));
    gate.connected();
    assert!(gate.avoided().is_empty());
}

#[test]
fn a_repeated_wish_tells_of_what_is_in_flight_by_then() {
    let mut gate = drained();
    let busy = Findings { in_flight: true, ..FREE };
    assert_eq!(drain(&mut gate, gate_id(1, 1), busy, at(100)), Some(CloseAnswer::Busy));
    assert!(!gate.admits(&uid("a")), "the leader says what becomes of it");
}

#[test]
fn a_later_round_that_is_refused_ends_the_one_before() {
    let mut gate = drained();
    let busy = Findings { in_flight: true, ..FREE };
    assert_eq!(drain(&mut gate, gate_id(1, 2), busy, at(100)), Some(CloseAnswer::Busy));
    assert!(gate.admits(&uid("a")), "the leader gave that one up before it began another");
}

#[test]
fn while_all_pods_are_closed_some_of_them_are_not_drained() {
    let mut gate = Gate::open();
    assert_eq!(close(&mut gate, gate_id(1, 1), &["a", "b"], &[], at(0)), Some(CloseAnswer::Ack));
    assert_eq!(drain(&mut gate, gate_id(1, 2), FREE, at(10)), Some(CloseAnswer::Busy));
    assert!(!gate.admits(&uid("b")));
}

#[test]
fn rule_5_what_was_named_goes_even_if_the_watch_shows_it_later() {
    let mut gate = drained();
    gate.open_alone(1, &[uid("b")], at(3_000));
    assert!(!gate.admits(&uid("a")));
    // If it is still there after a while, requests need not wait for ever.
    assert!(!gate.pardon(at(4_900)));
    assert!(gate.pardon(at(5_000)));
    assert!(gate.admits(&uid("a")));
}
