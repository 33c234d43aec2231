//! Shrinking to fewer while several activators share a limit: the owner of the slots grants what it knows to be closed to
//! nobody, and whoever is granted what it has itself closed gives it back. Each may hear of the round first.

use super::*;
use catnap_wire::message::PodUid;

const TERM: Term = Term { transitions: 1, boot: 1 };

fn gate(number: u64) -> GateId {
    GateId { term: TERM, number }
}

fn uids(pods: &[&str]) -> Vec<PodUid> {
    pods.iter().map(|uid| PodUid::from(*uid)).collect()
}

fn avoid(pods: &[&str]) -> LeaderFrame {
    LeaderFrame::Avoid { revision: id("hello-1"), pods: uids(pods) }
}

/// A round about two pods of which `a` is to go.
fn drain(number: u64) -> LeaderFrame {
    let (pods, kept) = (uids(&["a"]), uids(&["b"]));
    LeaderFrame::Drain { revision: id("hello-1"), gate: gate(number), pods, kept, replicas: 2 }
}

fn open(number: u64, condemned: &[&str]) -> LeaderFrame {
    let condemned = uids(condemned);
    LeaderFrame::Open(Verdict { revision: id("hello-1"), gate: gate(number), condemned })
}

impl Several {
    /// Two activators with the pods `a` and `b`; which of them owns the slots, and the other one.
    fn sharing() -> (Self, usize, usize) {
        let mut several = Self::new(2);
        several.set_pods(&["a", "b"]);
        several.dispatch_once_to_find_the_owner();
        let owner = several.owner();
        (several, owner, 1 - owner)
    }

    /// The leader says it to this one; what follows is not yet on its way.
    fn hears(&self, index: usize, frame: LeaderFrame) {
        self.activators[index].0.leader_frame(self.streams[index], frame);
    }

    fn leader(&mut self, index: usize, frame: LeaderFrame) {
        self.hears(index, frame);
        self.deliver();
    }

    /// Its answer to the round.
    fn agreed(&mut self, index: usize, number: u64) -> Option<bool> {
        let told = std::mem::take(&mut self.told).into_iter().filter(|(of, _)| *of == index);
        let mut answers = told.filter_map(|(_, frame)| match frame {
            ActivatorFrame::Ack { gate: of, .. } => (of == gate(number)).then_some(true),
            ActivatorFrame::Busy { gate: of, .. } => (of == gate(number)).then_some(false),
            _ => None,
        });
        answers.next()
    }
}

fn on(slot: &Slot) -> &str {
    slot.pod()
}

#[test]
fn the_owner_grants_what_is_to_be_avoided_only_when_nothing_else_has_room() {
    let (mut several, owner, other) = Several::sharing();
    for (avoided, preferred) in [("a", "b"), ("b", "a")] {
        // The one that asks has not heard of it.
        several.leader(owner, avoid(&[avoided]));
        let first = several.dispatched(other);
        let second = several.dispatched(other);
        assert_eq!((on(&first), on(&second)), (preferred, avoided));
        // The next request anywhere waits for what is not avoided, or for what is: whichever is free first.
        let mut third = several.held(other);
        several.end(second);
        let third_slot = granted(&mut third).expect("one is free");
        assert_eq!(on(&third_slot), avoided, "rather than wait");
        several.end(third_slot);
        several.end(first);
    }
}

#[test]
fn the_owner_grants_no_pod_that_it_has_closed_and_grants_it_when_it_opens() {
    let (mut several, owner, other) = Several::sharing();
    several.leader(owner, drain(1));
    assert_eq!(several.agreed(owner, 1), Some(true));
    let on_b = several.dispatched(other);
    assert_eq!(on(&on_b), "b");
    let mut waiting = [several.held(other), several.held(owner)];
    several.leader(owner, open(1, &[]));
    let slot = granted(&mut waiting[0]).expect("it came first");
    assert_eq!(on(&slot), "a");
    assert!(granted(&mut waiting[1]).is_none(), "both are in use");
    several.end(on_b);
    assert_eq!(on(&granted(&mut waiting[1]).expect("its turn")), "b");
}

#[test]
fn one_that_has_closed_a_pod_asks_for_others_only_and_leaves_it_to_whoever_has_not() {
    let (mut several, owner, other) = Several::sharing();
    several.leader(other, drain(1));
    assert_eq!(several.agreed(other, 1), Some(true));
    let on_b = several.dispatched(other);
    assert_eq!(on(&on_b), "b");
    let mut waiting = several.held(other);
    let on_a = several.dispatched(owner);
    assert_eq!(on(&on_a), "a", "nobody else has taken it");
    // The owner's own request is why it does not agree, and the round is over.
    several.leader(owner, drain(1));
    assert_eq!(several.agreed(owner, 1), Some(false));
    several.leader(other, open(1, &[]));
    several.end(on_a);
    assert_eq!(on(&granted(&mut waiting).expect("it is open again")), "a");
}

#[test]
fn whoever_waits_for_a_grant_that_is_on_its_way_agrees_to_a_round_and_uses_what_stays() {
    let (mut several, _, other) = Several::sharing();
    let function = several.activators[other].0.route(Listener::InCluster, "hello.default").expect("found");
    let Admission::Held(mut waiting) = function.admit() else { panic!("it has to ask") };
    several.hears(other, drain(1));
    several.deliver();
    assert_eq!(several.agreed(other, 1), Some(true), "at a high rate there is always one that waits");
    assert_eq!(on(&granted(&mut waiting).expect("b is free")), "b");
}

#[test]
fn whoever_has_waited_too_long_for_a_grant_does_not_agree_to_a_round() {
    let (mut several, _, other) = Several::sharing();
    let function = several.activators[other].0.route(Listener::InCluster, "hello.default").expect("found");
    let Admission::Held(mut waiting) = function.admit() else { panic!("it has to ask") };
    several.clock.advance(ms(20));
    several.hears(other, drain(1));
    several.deliver();
    assert_eq!(several.agreed(other, 1), Some(false));
    assert!(granted(&mut waiting).is_some(), "with either pod");
}

#[test]
fn a_grant_that_nobody_waits_for_any_more_does_not_open_a_pod_that_was_closed_meanwhile() {
    let (mut several, owner, other) = Several::sharing();
    let function = several.activators[other].0.route(Listener::InCluster, "hello.default").expect("found");
    let Admission::Held(waiting) = function.admit() else { panic!("it has to ask") };
    // Its client leaves, and the next one comes when the pod is closed; the grant is still on its way.
    drop(waiting);
    several.hears(other, drain(1));
    let Admission::Held(mut next) = function.admit() else { panic!("it has to ask") };
    several.deliver();
    assert_eq!(several.agreed(other, 1), Some(true));
    assert_eq!(on(&granted(&mut next).expect("b is free")), "b");
    // What was given back is not counted: the owner may use it, and only once.
    let on_a = several.dispatched(owner);
    assert_eq!(on(&on_a), "a");
}

#[test]
fn what_is_condemned_is_granted_to_nobody_whoever_hears_it_first() {
    for owner_first in [true, false] {
        let (mut several, owner, other) = Several::sharing();
        for index in [owner, other] {
            several.leader(index, drain(1));
        }
        let order = if owner_first { [owner, other] } else { [other, owner] };
        several.leader(order[0], open(1, &["a"]));
        let on_b = several.dispatched(other);
        let mut waiting = [several.held(other), several.held(owner)];
        several.leader(order[1], open(1, &["a"]));
        assert_eq!(on(&on_b), "b");
        assert!(waiting.iter_mut().all(|one| granted(one).is_none()), "a is gone");
        several.end(on_b);
        let slot = granted(&mut waiting[0]).expect("its turn");
        assert_eq!(on(&slot), "b");
    }
}
