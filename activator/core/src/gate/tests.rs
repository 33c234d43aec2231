use super::*;
use catnap_wire::message::RevisionId;
use rstest::rstest;

pub(super) fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(super) fn gate_id(transitions: u64, number: u64) -> GateId {
    GateId { term: Term { transitions, boot: 7 }, number }
}

pub(super) fn uid(name: &str) -> PodUid {
    PodUid::from(name)
}

pub(super) fn verdict(gate: GateId, condemned: &[&str]) -> Verdict {
    let revision =
        RevisionId { namespace: "default".into(), name: "hello-1".into(), function_uid: "u".into() };
    Verdict { revision, gate, condemned: condemned.iter().map(|name| uid(name)).collect() }
}

/// Closes with nothing in the revision.
pub(super) fn close(
    gate: &mut Gate,
    id: GateId,
    named: &[&str],
    known: &[&str],
    now: Duration,
) -> Option<CloseAnswer> {
    let named: Vec<PodUid> = named.iter().map(|name| uid(name)).collect();
    gate.close(id, &named, known.iter().map(|name| uid(name)), false, false, now)
}

#[test]
fn rule_1_a_new_gate_is_shut_until_the_hello_is_answered() {
    let mut gate = Gate::unanswered(at(0));
    assert!(!gate.admits(&uid("a")));
    assert_eq!(gate.closed(), None);
    gate.welcome(Term::default(), None, at(10));
    assert!(gate.admits(&uid("a")));
}

#[rstest]
#[case::idle(false, false, CloseAnswer::Ack, false)]
#[case::in_flight(true, false, CloseAnswer::Busy, true)]
#[case::held(false, true, CloseAnswer::Busy, true)]
fn a_wish_to_close_is_granted_only_when_nothing_is_there(
    #[case] in_flight: bool,
    #[case] held: bool,
    #[case] answer: CloseAnswer,
    #[case] open: bool,
) {
    let mut gate = Gate::open();
    assert_eq!(gate.close(gate_id(1, 1), &[], std::iter::empty(), in_flight, held, at(0)), Some(answer));
    assert_eq!(gate.is_open(), open);
}

#[test]
fn a_repeated_wish_is_answered_as_before_whatever_is_held_by_then() {
    let mut gate = Gate::open();
    close(&mut gate, gate_id(1, 1), &[], &[], at(0));
    let again = gate.close(gate_id(1, 1), &[], std::iter::empty(), false, true, at(100));
    assert_eq!(again, Some(CloseAnswer::Ack));
    assert!(!gate.is_open(), "the leader may have counted the first answer");
}

#[test]
fn a_gate_that_was_opened_again_never_closes_again() {
    let mut gate = Gate::open();
    assert_eq!(
        gate.close(gate_id(1, 1), &[], std::iter::empty(), true, false, at(0)),
        Some(CloseAnswer::Busy)
    );
    assert_eq!(close(&mut gate, gate_id(1, 1), &[], &[], at(100)), Some(CloseAnswer::Busy));
    assert_eq!(close(&mut gate, gate_id(1, 2), &[], &[], at(200)), Some(CloseAnswer::Ack));
    assert!(gate.open_by(&verdict(gate_id(1, 2), &[]), at(300)));
    assert_eq!(close(&mut gate, gate_id(1, 2), &[], &[], at(400)), Some(CloseAnswer::Busy));
    assert!(gate.is_open());
}

#[test]
fn rule_2_pods_named_and_pods_known_at_the_ack_are_condemned_by_the_zero() {
    let mut gate = Gate::open();
    close(&mut gate, gate_id(1, 1), &["named"], &["known"], at(0));
    assert!(gate.zero_by(&verdict(gate_id(1, 1), &["listed"]), at(100)));
    assert!(!gate.admits(&uid("made since")), "the count was not raised yet");
    assert_eq!(gate.closed(), Some(gate_id(1, 1)));
    gate.raised();
    for pod in ["named", "known", "listed"] {
        assert!(!gate.admits(&uid(pod)), "{pod}");
    }
    assert!(gate.admits(&uid("made since")));
}

#[test]
fn the_leaders_list_is_complete_and_pardons() {
    let mut gate = Gate::open();
    close(&mut gate, gate_id(1, 1), &["a", "b"], &[], at(0));
    gate.zero_by(&verdict(gate_id(1, 1), &["a", "b"]), at(100));
    gate.open_by(&verdict(gate_id(1, 1), &["b"]), at(200));
    assert!(gate.admits(&uid("a")));
    assert!(!gate.admits(&uid("b")));
}

#[test]
fn an_open_of_an_earlier_gate_does_not_open_a_later_one() {
    let mut gate = Gate::open();
    close(&mut gate, gate_id(1, 2), &[], &[], at(0));
    gate.open_by(&verdict(gate_id(1, 1), &[]), at(10));
    assert!(!gate.is_open());
    gate.open_by(&verdict(gate_id(1, 3), &[]), at(20));
    assert!(gate.is_open());
}

#[test]
fn rule_7_a_leader_that_was_replaced_is_not_obeyed() {
    let mut gate = Gate::open();
    gate.welcome(Term { transitions: 2, boot: 1 }, None, at(0));
    assert_eq!(close(&mut gate, gate_id(1, 9), &[], &[], at(10)), None);
    assert!(!gate.open_by(&verdict(gate_id(1, 9), &["a"]), at(10)));
    assert!(!gate.zero_by(&verdict(gate_id(1, 9), &["a"]), at(10)));
    assert!(gate.admits(&uid("a")));
    // The same transition, another process: told apart by its boot.
    let same_transition = GateId { term: Term { transitions: 2, boot: 0 }, number: 1 };
    assert_eq!(close(&mut gate, same_transition, &[], &[], at(10)), None);
}

#[test]
fn rule_11_a_hello_is_answered_by_where_the_leader_stands() {
    let term = Term { transitions: 3, boot: 0 };
    let closed = |zero| Closed { verdict: verdict(gate_id(2, 5), &["listed"]), zero };
    let acked = || {
        let mut gate = Gate::open();
        close(&mut gate, gate_id(2, 5), &["named"], &[], at(0));
        gate.connected();
        gate
    };

    let mut gate = acked();
    gate.welcome(term, Some(&closed(false)), at(100));
    assert!(!gate.is_open());
    gate.raised();
    assert!(!gate.is_open(), "a round is under way");
    gate.zero_by(&verdict(GateId { term, number: 5 }, &[]), at(200));
    assert!(!gate.is_open());
    gate.raised();
    assert!(gate.is_open());

    let mut gate = acked();
    gate.welcome(term, Some(&closed(true)), at(100));
    assert!(!gate.admits(&uid("made since")));
    gate.raised();
    assert!(!gate.admits(&uid("named")) && !gate.admits(&uid("listed")));
    assert!(gate.admits(&uid("made since")));

    let mut gate = acked();
    gate.welcome(term, None, at(100));
    assert!(gate.admits(&uid("named")));
}

#[test]
fn a_frame_before_the_end_of_the_welcome_counts_more_than_its_silence() {
    let mut gate = Gate::unanswered(at(0));
    gate.connected();
    assert_eq!(close(&mut gate, gate_id(1, 1), &["a"], &[], at(10)), Some(CloseAnswer::Ack));
    gate.welcome(Term { transitions: 1, boot: 7 }, None, at(20));
    assert!(!gate.is_open());
}

#[rstest]
#[case::unanswered(Gate::unanswered(at(500)), Some(at(2_500)))]
#[case::open(Gate::open(), None)]
fn rule_5_when_a_get_may_open(#[case] gate: Gate, #[case] from: Option<Duration>) {
    assert_eq!(gate.alone_from(), from);
}

#[test]
fn rule_5_counts_from_the_leaders_last_word_on_the_gate() {
    let mut gate = Gate::open();
    close(&mut gate, gate_id(1, 1), &[], &[], at(1_000));
    close(&mut gate, gate_id(1, 1), &[], &[], at(1_400));
    assert_eq!(gate.alone_from(), Some(at(3_400)));
}

#[test]
fn a_zero_read_alone_condemns_what_was_known_and_waits_for_the_raise() {
    let mut gate = Gate::open();
    close(&mut gate, gate_id(1, 1), &["named"], &["acked"], at(0));
    gate.read_zero(&[uid("known")], true, at(3_000));
    assert!(!gate.admits(&uid("new")));
    assert_eq!(gate.closed(), Some(gate_id(1, 1)));
    gate.raised();
    for pod in ["named", "acked", "known"] {
        assert!(!gate.admits(&uid(pod)), "{pod}");
    }
    assert!(gate.admits(&uid("new")));
}

#[rstest]
#[case::open(false, None, 5_000)]
#[case::after_the_ack(true, None, 5_000)]
#[case::of_which_it_heard_before(true, Some(2_000), 4_000)]
fn rule_13_a_zero_is_young_for_two_seconds_after_it_came(
    #[case] acked: bool,
    #[case] zero: Option<u64>,
    #[case] until: u64,
) {
    let mut gate = Gate::open();
    if acked {
        close(&mut gate, gate_id(1, 1), &["a"], &[], at(1_000));
    }
    if let Some(zero) = zero {
        gate.zero_by(&verdict(gate_id(1, 1), &["a"]), at(zero));
    }
    // The answer to another hello, by the next leader.
    let closed = Closed { verdict: verdict(gate_id(2, 1), &["a"]), zero: true };
    gate.welcome(closed.verdict.gate.term, Some(&closed), at(3_000));
    assert_eq!(gate.alone_from(), Some(at(until)));
    gate.raised_alone(at(until - 1));
    assert!(!gate.is_open(), "what nobody named may go with it");
    gate.raised_alone(at(until));
    assert!(gate.admits(&uid("made since")));
}

#[test]
fn rule_13_a_zero_of_a_welcome_is_as_young_as_the_silence_before_it() {
    let mut gate = Gate::unanswered(at(500));
    let closed = Closed { verdict: verdict(gate_id(1, 1), &["a"]), zero: true };
    gate.welcome(closed.verdict.gate.term, Some(&closed), at(600));
    assert_eq!(gate.alone_from(), Some(at(2_500)));
    gate.raised_alone(at(2_499));
    assert!(!gate.is_open(), "it may have been written just before the process started");
    gate.raised_alone(at(2_500));
    assert!(gate.admits(&uid("made since")));

    let mut gate = Gate::unanswered(at(500));
    gate.welcome(closed.verdict.gate.term, Some(&closed), at(3_000));
    gate.raised_alone(at(3_001));
    assert!(gate.is_open(), "it was written long ago");
}

#[rstest]
#[case::no_pods(true, true)]
#[case::pods(false, false)]
fn rule_13_a_zero_that_was_there_before_is_old_when_no_pods_are_left(#[case] acted: bool, #[case] old: bool) {
    let mut gate = Gate::unanswered(at(0));
    gate.read_zero(&[], acted, at(3_000));
    assert_eq!(gate.is_young(at(4_999)), !old);
    gate.read_zero(&[], false, at(4_999));
    gate.raised_alone(at(5_000));
    assert_eq!(gate.is_open(), !old, "the time runs from when it was first seen to be young");
}

#[test]
fn rule_13_the_leaders_word_counts_at_any_time() {
    let mut gate = Gate::open();
    gate.zero_by(&verdict(gate_id(1, 1), &["a"]), at(0));
    assert!(gate.is_young(at(1)));
    gate.raised();
    assert!(gate.admits(&uid("made since")));
}

#[test]
fn condemned_pods_are_pardoned_alone_only_when_they_outlived_the_zero() {
    let mut gate = Gate::unanswered(at(0));
    gate.read_zero(&[uid("a")], true, at(3_000));
    gate.raised();
    assert!(!gate.pardon(at(4_999)));
    assert!(!gate.admits(&uid("a")));
    assert!(gate.pardon(at(5_000)));
    assert!(gate.admits(&uid("a")));
}

#[test]
fn a_pod_that_is_gone_is_forgotten() {
    let mut gate = Gate::open();
    gate.zero_by(&verdict(gate_id(1, 1), &["a"]), at(0));
    gate.forget(&uid("a"));
    assert!(!gate.condemned(&uid("a")));
}

#[test]
fn rule_2_a_pod_known_when_the_zero_is_heard_of_is_condemned_until_the_leader_pardons_it() {
    let mut gate = Gate::open();
    close(&mut gate, gate_id(1, 1), &["named"], &[], at(0));
    gate.zero_by(&verdict(gate_id(1, 1), &["named"]), at(100));
    gate.condemn_at_zero([uid("unnamed")].into_iter());
    gate.raised();
    assert!(!gate.admits(&uid("unnamed")) && gate.admits(&uid("new")));
    gate.open_by(&verdict(gate_id(1, 1), &["named"]), at(200));
    assert!(gate.admits(&uid("unnamed")));
}

#[test]
fn an_open_gate_condemns_nothing_at_a_zero_that_it_did_not_obey() {
    let mut gate = Gate::open();
    gate.condemn_at_zero([uid("a")].into_iter());
    assert!(gate.admits(&uid("a")));
}
