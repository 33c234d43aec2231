//! Limits, choice of pods, retries, probes, and the spreading of what was held.

use super::*;
use std::collections::BTreeMap;

#[test]
fn a_limit_is_exact_and_the_least_loaded_pod_is_next() {
    let mut fixture = Fixture::new(limited(2));
    fixture.pods(vec![ready("a"), ready("b")]);
    fixture.arrivals(5);
    let mut loads: BTreeMap<String, usize> = BTreeMap::new();
    for grant in &fixture.open {
        *loads.entry(grant.uid.to_string()).or_default() += 1;
    }
    assert_eq!(loads, BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 2)]));
    assert_eq!(fixture.revision.held(), 1);
    fixture.finish_one();
    assert_eq!(fixture.granted().len(), 1);
}

#[test]
fn without_a_limit_load_is_spread() {
    let mut fixture = Fixture::new(Policy::default());
    fixture.pods((0..10).map(|number| ready(&number.to_string())).collect());
    fixture.arrivals(1_000);
    let state = fixture.revision.snapshot();
    let most = state.pods.iter().map(|pod| pod.in_flight).max();
    assert!(most <= Some(115), "{most:?}");
}

#[test]
fn a_pod_that_goes_takes_nothing_new_and_frees_what_it_had() {
    let mut fixture = Fixture::new(limited(1));
    fixture.pods(vec![ready("a")]);
    fixture.arrivals(2);
    fixture.pods(vec![Pod { terminating: true, ..ready("a") }]);
    fixture.pods(vec![]);
    assert_eq!(fixture.revision.in_flight(), 1, "its exchange goes on");
    fixture.finish_one();
    assert!(fixture.granted().is_empty());
    assert_eq!(fixture.revision.in_flight(), 0);
    fixture.pods(vec![ready("b")]);
    assert_eq!(fixture.granted(), [(1, "b".to_owned())]);
}

#[test]
fn a_refused_request_goes_to_another_pod() {
    let mut fixture = Fixture::new(limited(1));
    fixture.pods(vec![ready("a"), ready("b")]);
    fixture.arrive();
    let refused = fixture.open[0].uid.clone();
    let Arrival::Dispatched(again) = fixture.refuse_one() else { panic!("the other pod is free") };
    assert_ne!(again.uid, refused);
}

#[test]
fn a_refused_request_keeps_its_place_in_the_order() {
    let mut fixture = Fixture::new(limited(1));
    fixture.pods(vec![ready("a"), ready("b")]);
    fixture.arrivals(3);
    let first = fixture.open[0].ticket.0;
    assert!(matches!(fixture.refuse_one(), Arrival::Dispatched(_)), "nothing else is free");
    fixture.open.rotate_left(1);
    assert_eq!(fixture.refuse_one(), Arrival::Held);
    fixture.finish_one();
    assert_eq!(fixture.granted().into_iter().map(|(ticket, _)| ticket).collect::<Vec<_>>(), [first]);
}

#[test]
fn two_refusals_set_a_pod_aside_until_a_probe_succeeds() {
    let mut fixture = Fixture::new(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.arrive();
    assert!(matches!(fixture.refuse_one(), Arrival::Dispatched(_)), "once may be chance");
    assert_eq!(fixture.refuse_one(), Arrival::Held);
    fixture.pass(ms(0));
    assert_eq!(fixture.probes(), ["a"]);
    fixture.probed("a", false);
    fixture.pass(ms(999));
    assert!(fixture.probes().is_empty(), "once a second");
    fixture.pass(ms(1));
    assert_eq!(fixture.probes(), ["a"]);
    fixture.probed("a", true);
    assert_eq!(fixture.granted(), [(0, "a".to_owned())]);
}

#[test]
fn without_a_token_the_next_probe_is_due_when_there_is_one() {
    let mut fixture = Fixture::new(Policy::default());
    fixture.pods((0..300).map(|number| starting(&number.to_string())).collect());
    fixture.arrive();
    let mut out = Effects::new();
    // A tenth of a second's worth goes at once; the leader is none, so that the read is next.
    fixture.now = ms(2);
    let next = fixture.revision.tick(fixture.now, &mut out);
    assert_eq!(out.iter().filter(|effect| matches!(effect, Effect::Probe(_))).count(), 200);
    assert!(next > Some(fixture.now) && next < Some(ms(3)), "{next:?}");
}

/// A pod that is Ready with a readiness path, set aside after two refusals, and the request that waits for it.
fn set_aside() -> Fixture {
    let mut fixture = Fixture::new(Policy::default());
    fixture.configure(Route { readiness_path: "/ready".into(), ..Route::default() });
    fixture.pods(vec![ready("a")]);
    fixture.arrive();
    fixture.refuse_one();
    assert_eq!(fixture.refuse_one(), Arrival::Held);
    fixture
}

#[test]
fn a_pod_that_was_set_aside_is_asked_for_a_connection_and_not_for_a_fast_answer() {
    let mut fixture = set_aside();
    fixture.pass(ms(0));
    let probes: Vec<_> = fixture
        .take()
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Probe(probe) => Some((probe.path, probe.timeout)),
            _ => None,
        })
        .collect();
    assert_eq!(probes, [("".into(), ms(1_000))]);
    fixture.probed("a", true);
    assert_eq!(fixture.granted(), [(0, "a".to_owned())]);
}

#[test]
fn a_pod_that_must_be_ready_is_neither_probed_nor_used_before() {
    let must = |is_ready: bool| Pod { ready: is_ready, requires_ready: true, ..ready("a") };
    let mut fixture = Fixture::new(Policy::default());
    fixture.pods(vec![must(false)]);
    fixture.arrivals(1);
    fixture.pass(ms(0));
    assert_eq!(fixture.probes(), [""; 0]);
    fixture.probed("a", true);
    assert!(fixture.granted().is_empty(), "that its port answers is not enough");
    fixture.pods(vec![must(true)]);
    assert_eq!(fixture.granted(), [(0, "a".to_owned())]);
    fixture.pods(vec![must(false)]);
    fixture.arrivals(1);
    fixture.probed("a", true);
    assert!(fixture.granted().is_empty(), "it is not Ready any more");
}

#[test]
fn a_pod_that_was_set_aside_is_used_again_once_it_becomes_ready() {
    let mut fixture = set_aside();
    fixture.pods(vec![Pod { ready: false, ..ready("a") }]);
    assert!(fixture.granted().is_empty());
    fixture.pods(vec![ready("a")]);
    assert_eq!(fixture.granted(), [(0, "a".to_owned())]);
}

#[test]
fn a_container_that_started_anew_has_no_refusals_but_has_to_answer() {
    let mut fixture = set_aside();
    fixture.pass(ms(0));
    fixture.pods(vec![starting("a")]);
    fixture.pods(vec![Pod { ready: false, ..ready("a") }]);
    fixture.take();
    fixture.probed("a", true);
    assert!(fixture.granted().is_empty(), "only its port answered");
    fixture.pass(ms(0));
    assert_eq!(fixture.probes(), ["a"], "at once, not after a second");
    fixture.probed("a", true);
    assert_eq!(fixture.granted(), [(0, "a".to_owned())]);
}

#[test]
fn a_retry_ends_with_the_activation() {
    let mut fixture = Fixture::new(Policy::default());
    fixture.pods(vec![ready("a"), ready("b")]);
    fixture.arrive();
    fixture.now = ms(60_000);
    let Arrival::Refused(trouble) = fixture.refuse_one() else { panic!("too late") };
    assert_eq!(trouble.reason, Reason::ConnectFailed);
    assert_eq!(fixture.revision.in_flight(), 0);
}

#[test]
fn only_who_holds_probes_and_one_attempt_at_a_time() {
    let mut fixture = Fixture::new(Policy::default());
    fixture.pods(vec![starting("a")]);
    fixture.pass(ms(100));
    assert!(fixture.probes().is_empty(), "nothing is held");
    fixture.arrive();
    fixture.pass(ms(40));
    assert_eq!(fixture.probes(), ["a"], "the first has not ended");
    fixture.probed("a", false);
    fixture.pass(ms(4));
    assert!(fixture.probes().is_empty());
    fixture.pass(ms(1));
    assert_eq!(fixture.probes(), ["a"]);
}

#[test]
fn a_pod_that_is_not_ready_any_more_has_to_answer_again() {
    let mut fixture = Fixture::new(Policy::default());
    fixture.pods(vec![ready("a")]);
    assert!(matches!(fixture.arrive(), Arrival::Dispatched(_)));
    fixture.pods(vec![Pod { ready: false, ..ready("a") }]);
    assert_eq!(fixture.arrive(), Arrival::Held);
    fixture.pass(ms(0));
    fixture.probed("a", true);
    assert_eq!(fixture.granted(), [(1, "a".to_owned())]);
}

/// Twenty held requests, a target of five, four pods on their way.
fn cold_burst() -> Fixture {
    let mut fixture = Fixture::led(Policy { target: 5, ..Policy::default() });
    fixture.arrivals(20);
    fixture.reply(WakeAnswer::Written { replicas: 4 });
    fixture.pods(vec![ready("a"), starting("b"), starting("c"), starting("d")]);
    fixture
}

#[test]
fn held_requests_wait_for_their_share_of_the_pods_on_their_way() {
    let mut fixture = cold_burst();
    assert_eq!(fixture.granted().len(), 5);
    for name in ["b", "c", "d"] {
        fixture.probed(name, true);
    }
    let state = fixture.revision.snapshot();
    assert_eq!(state.pods.iter().map(|pod| pod.in_flight).collect::<Vec<_>>(), [5, 5, 5, 5]);
}

#[test]
fn held_requests_do_not_wait_longer_than_a_second_for_their_share() {
    let mut fixture = cold_burst();
    fixture.pass(ms(999));
    assert_eq!(fixture.revision.held(), 15);
    fixture.pass(ms(1));
    assert_eq!(fixture.revision.held(), 0);
}
