//! The learned keep-alive at the leader: what it is taught by, and that it starts replicas ahead of requests.

use catnap_wire::Bucket;

use super::*;
use crate::learned::Learned;
use crate::policy::IdlePolicy;

fn learning() -> Policy {
    Policy { idle_after: ms(10_000), idle_policy: IdlePolicy::Learned { budget: 50 }, ..policy() }
}

impl Fixture {
    /// At zero, with no pod left.
    fn resting(policy: Policy) -> Self {
        let mut fixture = Self::zero();
        fixture.step(|leader, now| {
            leader.set_pods(&id(), Vec::new(), now);
            leader.upsert_revision(&id(), policy, Stage::Routed, now);
        });
        fixture
    }

    /// A request in the second that has just ended, and a minute without one.
    fn request_and_minute(&mut self) {
        let index = (self.now + ms(40_000)).as_secs() - 1;
        let bucket = Bucket { index, request_microseconds: 1_000, arrivals: 1 };
        self.frame(A, ActivatorFrame::Buckets { revision: id(), buckets: vec![bucket] });
        self.effects.clear();
        self.pass(ms(60_000));
    }

    fn raise(&self) -> Option<u32> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::PutScale { replicas, .. } => Some(*replicas),
            _ => None,
        })
    }

    fn learned(&mut self) -> Vec<(String, Learned)> {
        self.leader.patterns().map(|(uid, learned)| (uid.to_string(), learned.clone())).collect()
    }
}

#[test]
fn a_replica_comes_before_the_request_of_a_timer() {
    let mut fixture = Fixture::resting(learning());
    for request in 0..4 {
        fixture.request_and_minute();
        assert_eq!(fixture.raise(), None, "{request} idle times are too few");
    }
    fixture.request_and_minute();
    assert_eq!(fixture.raise(), Some(1));
    let [explanation] = &fixture.leader.explain()[..] else { panic!("one revision") };
    let decision = explanation.decision.as_ref().unwrap();
    assert!(decision.is_ahead(), "{decision:?}");
    let [(uid, _)] = &fixture.learned()[..] else { panic!("one pattern") };
    assert_eq!(uid, "uid");
}

/// What a request asked for has not come without one: only the idle time after it is charged.
#[test]
fn a_cold_start_is_not_charged_as_a_replica_that_nobody_asked_for() {
    let mut fixture = Fixture::resting(learning());
    let terms = learning().terms().unwrap();
    for version in [12_u32, 14] {
        fixture.wake(A, 1);
        fixture.written(WriteOutcome::Written { resource_version: version.to_string().into() });
        fixture.pods(vec![pod("n")]);
        for in_flight in [1, 0] {
            fixture.pass(ms(500));
            let pods = vec![report("n", in_flight)];
            fixture.frame(A, ActivatorFrame::Pods { revision: id(), pods });
        }
        fixture.pods(Vec::new());
        fixture.learn(fact(0, version + 1, true));
        fixture.pass(ms(60_000));
    }
    let [(_, learned)] = &fixture.learned()[..] else { panic!("one pattern") };
    // Of 80 s: nine were waited in vain beyond the first, ten and the second of work earn half, the minute a percent.
    let credit = learned.credit(terms);
    assert!((76.0..78.0).contains(&credit), "{credit}");
}

#[test]
fn nothing_is_learned_unless_the_owner_wants_it() {
    let mut fixture = Fixture::resting(policy());
    for _ in 0..7 {
        fixture.request_and_minute();
        assert_eq!(fixture.raise(), None);
    }
    assert!(fixture.learned().is_empty());
}

#[test]
fn a_new_leader_goes_on_with_what_was_learned() {
    let mut teacher = Fixture::resting(learning());
    for _ in 0..6 {
        teacher.request_and_minute();
    }
    let stored = teacher.learned()[0].1.stored();
    let mut fixture = Fixture::resting(learning());
    let learned = Learned::restored(&stored).unwrap();
    fixture.step(|leader, _| leader.restore_pattern("uid".into(), learned));
    fixture.request_and_minute();
    assert_eq!(fixture.raise(), Some(1), "after the first request");
}

#[test]
fn what_was_learned_goes_with_the_function() {
    let mut fixture = Fixture::resting(learning());
    fixture.step(|leader, _| {
        leader.restore_pattern("uid".into(), Learned::default());
        leader.restore_pattern("gone".into(), Learned::default());
    });
    assert_eq!(fixture.learned().len(), 1);
    fixture.step(|leader, now| leader.upsert_revision(&id(), policy(), Stage::Routed, now));
    assert!(fixture.learned().is_empty());
}
