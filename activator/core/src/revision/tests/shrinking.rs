//! Shrinking to fewer, seen from the activator: what is avoided, and what is closed.

use super::choosing::break_one_off;
use super::*;
use crate::slots::{Links, Member, Neighbours, PeerId};
use catnap_wire::peer::SlotMessage;
use std::time::Instant;

fn avoid(fixture: &mut Fixture, pods: &[&str]) {
    let pods = pods.iter().map(|name| PodUid::from(*name)).collect();
    fixture.leader(&LeaderFrame::Avoid { revision: revision_id(), pods });
}

fn drain(fixture: &mut Fixture, number: u64, pods: &[&str], kept: &[&str]) {
    let uids = |names: &[&str]| names.iter().map(|name| PodUid::from(*name)).collect();
    let (pods, kept) = (uids(pods), uids(kept));
    let frame = LeaderFrame::Drain { revision: revision_id(), gate: gate(number), pods, kept, replicas: 2 };
    fixture.leader(&frame);
}

fn used(fixture: &mut Fixture) -> String {
    let Arrival::Dispatched(grant) = fixture.arrive() else { panic!("there is room") };
    grant.uid.to_string()
}

fn ack(number: u64) -> ActivatorFrame {
    ActivatorFrame::Ack { revision: revision_id(), gate: gate(number) }
}

fn busy(number: u64) -> ActivatorFrame {
    ActivatorFrame::Busy { revision: revision_id(), gate: gate(number) }
}

#[test]
fn a_pod_to_be_avoided_is_used_only_when_no_other_one_has_room() {
    let mut fixture = Fixture::led(limited(2));
    fixture.pods(vec![ready("a"), ready("b")]);
    avoid(&mut fixture, &["a"]);
    assert_eq!([used(&mut fixture), used(&mut fixture), used(&mut fixture)], ["b", "b", "a"]);
    avoid(&mut fixture, &[]);
    assert_eq!(used(&mut fixture), "a");
}

#[test]
fn a_held_request_takes_a_pod_to_be_avoided_rather_than_wait() {
    let mut fixture = Fixture::led(limited(1));
    fixture.pods(vec![ready("a"), ready("b")]);
    fixture.arrivals(3);
    avoid(&mut fixture, &["a"]);
    let on_a = fixture.open.iter().position(|grant| *grant.uid == *"a").unwrap();
    fixture.open.swap(0, on_a);
    fixture.take();
    fixture.finish_one();
    assert_eq!(fixture.granted(), [(2, "a".to_owned())]);
}

#[test]
fn without_a_limit_a_pod_to_be_avoided_gets_nothing() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.pods(vec![ready("a"), ready("b"), ready("c")]);
    avoid(&mut fixture, &["b"]);
    let all: Vec<String> = (0..200).map(|_| used(&mut fixture)).collect();
    assert!(all.iter().all(|uid| uid != "b") && all.contains(&"a".into()) && all.contains(&"c".into()));
    avoid(&mut fixture, &["a", "b", "c"]);
    used(&mut fixture);
}

#[test]
fn who_was_refused_goes_to_a_pod_to_be_avoided_rather_than_to_the_same_one() {
    for limit in [0, 2] {
        let mut fixture = Fixture::led(limited(limit));
        fixture.pods(vec![ready("a"), ready("b")]);
        avoid(&mut fixture, &["b"]);
        assert_eq!(used(&mut fixture), "a");
        let Arrival::Dispatched(again) = fixture.refuse_one() else { panic!("b has room, limit {limit}") };
        assert_eq!(*again.uid, *"b", "limit {limit}");
    }
}

#[test]
fn a_pod_to_be_avoided_is_better_than_one_that_just_failed() {
    for limit in [0, 2] {
        let mut fixture = Fixture::led(limited(limit));
        fixture.pods(vec![ready("a"), ready("b")]);
        avoid(&mut fixture, &["b"]);
        assert_eq!(used(&mut fixture), "a");
        break_one_off(&mut fixture);
        assert_eq!([used(&mut fixture), used(&mut fixture)], ["b", "b"], "limit {limit}");
        fixture.arrivals(10);
        assert!(fixture.open.iter().any(|grant| *grant.uid == *"a"), "b has much to do now, limit {limit}");
    }
}

#[test]
fn a_pod_that_just_failed_is_no_reason_to_use_one_to_be_avoided_beside_others() {
    for limit in [0, 3] {
        let mut fixture = Fixture::led(limited(limit));
        fixture.pods(vec![ready("a"), ready("b"), ready("c")]);
        avoid(&mut fixture, &["c"]);
        fixture.arrivals(2);
        break_one_off(&mut fixture);
        let all: Vec<String> = (0..4).map(|_| used(&mut fixture)).collect();
        assert!(!all.contains(&"c".into()), "{all:?}, limit {limit}");
    }
}

#[test]
fn many_pods_are_drained_without_comparing_each_with_each() {
    let names: Vec<String> = (0..20_000).map(|number| format!("pod-{number:05}")).collect();
    let uids: Vec<PodUid> = names.iter().map(|name| PodUid::from(&**name)).collect();
    let (kept, going) = uids.split_at(10_000);
    let mut fixture = Fixture::led(limited(1));
    fixture.pods(names.iter().map(|name| ready(name)).collect());
    // Past the checks of the fixture, each of which looks at all pods.
    let mut time = |number| {
        let (pods, kept) = (going.to_vec(), kept.to_vec());
        let frame =
            LeaderFrame::Drain { revision: revision_id(), gate: gate(number), pods, kept, replicas: 20_000 };
        let (begun, mut out) = (Instant::now(), Effects::new());
        fixture.revision.leader_says(&frame, fixture.now, &mut out);
        let took = begun.elapsed();
        assert!(matches!(out[..], [Effect::Send(ActivatorFrame::Ack { .. })]), "{out:?}");
        took
    };
    let new = (1..=5).map(&mut time).min().unwrap_or_default();
    let again = (0..5).map(|_| time(5)).min().unwrap_or_default();
    // A hundred million comparisons take more than a second.
    assert!(new < ms(400) && again < ms(400), "{new:?}, and {again:?} when repeated");
}

#[test]
fn nobody_avoids_a_pod_for_a_leader_that_is_gone() {
    let mut fixture = Fixture::led(limited(2));
    fixture.pods(vec![ready("a"), ready("b")]);
    avoid(&mut fixture, &["a"]);
    fixture.revision.leader_lost(fixture.now);
    assert_eq!(used(&mut fixture), "a");
}

#[test]
fn an_empty_pod_is_drained_and_the_others_go_on() {
    let mut fixture = Fixture::led(limited(1));
    fixture.pods(vec![ready("a"), ready("b")]);
    avoid(&mut fixture, &["a"]);
    assert_eq!(used(&mut fixture), "b");
    fixture.take();
    drain(&mut fixture, 1, &["a"], &["b"]);
    assert_eq!(fixture.sent(), [ack(1)]);
    assert_eq!(fixture.arrive(), Arrival::Held, "b is full, and a is closed");
    fixture.leader(&LeaderFrame::Open(verdict(1, &["a"])));
    assert!(fixture.granted().is_empty(), "a is gone");
    fixture.finish_one();
    assert_eq!(fixture.granted(), [(1, "b".to_owned())]);
}

#[test]
fn a_round_that_ends_with_open_uses_the_pod_again() {
    let mut fixture = Fixture::led(limited(1));
    fixture.pods(vec![ready("a"), ready("b")]);
    fixture.arrive();
    let (kept, going) = if *fixture.open[0].uid == *"a" { ("a", "b") } else { ("b", "a") };
    drain(&mut fixture, 1, &[going], &[kept]);
    fixture.arrive();
    fixture.leader(&LeaderFrame::Open(verdict(1, &[])));
    assert_eq!(fixture.granted(), [(1, going.to_owned())]);
}

#[test]
fn what_is_in_use_or_unknown_or_wanted_is_not_drained() {
    let mut fixture = Fixture::led(limited(1));
    fixture.pods(vec![ready("a"), ready("b")]);
    fixture.arrivals(1);
    fixture.take();
    let in_use = fixture.open[0].uid.to_string();
    let other = if in_use == "a" { "b" } else { "a" };
    drain(&mut fixture, 1, &[&in_use], &[other]);
    assert_eq!(fixture.sent(), [busy(1)]);
    drain(&mut fixture, 2, &["unknown"], &["a", "b"]);
    assert_eq!(fixture.sent(), [busy(2)], "another one would go in its place");
    drain(&mut fixture, 3, &[other], &[]);
    assert_eq!(fixture.sent(), [busy(3)], "in use, and nobody said that it stays");
    fixture.arrivals(2);
    fixture.take();
    drain(&mut fixture, 4, &[other], &[&in_use]);
    assert_eq!(fixture.sent(), [busy(4)], "somebody waits");
}

#[test]
fn what_ends_anyway_is_no_reason_against_a_round() {
    let mut fixture = Fixture::led(limited(1));
    fixture.pods(vec![ready("a"), ready("b"), ready("c")]);
    let ending = used(&mut fixture);
    let names = ["a", "b", "c"];
    let [going, kept] = names.into_iter().filter(|name| **name != *ending).collect::<Vec<_>>()[..] else {
        panic!("two others")
    };
    let pod = |name: &str| Pod { terminating: *name == *ending, ..ready(name) };
    fixture.pods(names.map(pod).into());
    fixture.take();
    drain(&mut fixture, 1, &[going], &[kept]);
    assert_eq!(fixture.sent(), [ack(1)], "its request has its grace");
}

#[test]
fn a_pod_that_comes_in_the_middle_is_not_used() {
    let mut fixture = Fixture::led(limited(1));
    fixture.pods(vec![ready("a"), ready("b")]);
    drain(&mut fixture, 1, &["a"], &["b"]);
    fixture.pods(vec![ready("a"), ready("b"), ready("new")]);
    assert_eq!(used(&mut fixture), "b");
    assert_eq!(fixture.arrive(), Arrival::Held);
    fixture.leader(&LeaderFrame::Open(verdict(1, &["a"])));
    assert_eq!(fixture.granted(), [(1, "new".to_owned())]);
}

#[test]
fn the_others_hold_on_while_all_that_stay_are_away_and_a_wake_tells_of_it() {
    let mut fixture = Fixture::led(limited(1));
    fixture.pods(vec![ready("a"), ready("b")]);
    drain(&mut fixture, 1, &["a"], &["b"]);
    fixture.pods(vec![ready("a")]);
    assert_eq!(fixture.arrive(), Arrival::Held);
    fixture.pass(ms(5));
    assert!(fixture.sent().contains(&ActivatorFrame::Wake { revision: revision_id(), held: 1, arrivals: 1 }));
}

#[test]
fn rule_5_a_silent_leader_is_overruled_by_what_the_count_says() {
    for (replicas, then) in [(2, "a"), (1, "b")] {
        let mut fixture = Fixture::led(limited(1));
        fixture.pods(vec![ready("a"), ready("b")]);
        drain(&mut fixture, 1, &["a"], &["b"]);
        fixture.pass(ms(1_900));
        assert!(fixture.reads().is_empty());
        fixture.pass(ms(200));
        let [attempt] = fixture.reads()[..] else { panic!("it looks at the count") };
        fixture.read(attempt, replicas);
        assert_eq!(used(&mut fixture), then);
        assert_eq!(fixture.revision.snapshot().gate, "open");
    }
}

#[test]
fn a_hello_tells_what_is_drained_as_not_in_use() {
    let mut fixture = Fixture::led(limited(1));
    fixture.pods(vec![ready("a"), ready("b")]);
    drain(&mut fixture, 1, &["a"], &["b"]);
    let now = fixture.now;
    let report = fixture.event(|revision, _, _| revision.report(now));
    let usable: Vec<_> = report.pods.iter().map(|pod| (&*pod.uid, pod.usable)).collect();
    assert_eq!(usable, [("a", false), ("b", true)]);
    assert_eq!(report.closed, None);
}

/// Another activator appears, and asks this one, which owns the slots, for some, with either pod. The pods that it is granted.
fn asked_by_another(fixture: &mut Fixture, count: u32) -> Vec<String> {
    let other = PeerId { pod: "other".into(), boot: 1 };
    let mut links = Links::default();
    links.set_members(&[Member { id: other.clone(), live: true, runs: true }], false, fixture.now);
    links.connected(&other, fixture.now).expect("known");
    let fence = Arc::clone(links.fence());
    let neighbours = Arc::new(Neighbours { own: "own".into(), fence, view: links.view() });
    fixture.event(|revision, now, out| revision.set_neighbours(&neighbours, now, out));
    let pods = vec!["a".into(), "b".into()];
    for message in [
        SlotMessage::Released { turn: 1, limit: 0, open: Vec::new() },
        SlotMessage::Usable { added: pods, removed: Vec::new() },
        SlotMessage::Acquire { count },
    ] {
        fixture.event(|revision, now, out| revision.peer_says(&other, message, now, out));
    }
    grants(fixture)
}

fn grants(fixture: &mut Fixture) -> Vec<String> {
    let granted = fixture.revision.take_outgoing().into_iter().filter_map(|(_, message)| match message {
        SlotMessage::Grant { pod, .. } => Some(pod.to_string()),
        _ => None,
    });
    granted.collect()
}

#[test]
fn an_activator_that_comes_in_the_middle_is_granted_no_pod_that_is_closed() {
    let mut fixture = Fixture::led(limited(2));
    fixture.pods(vec![ready("a"), ready("b")]);
    let kept = used(&mut fixture);
    let going = if kept == "a" { "b" } else { "a" };
    drain(&mut fixture, 1, &[going], &[&kept]);
    assert_eq!(asked_by_another(&mut fixture, 2), [&*kept], "and one of the two waits");
    fixture.leader(&LeaderFrame::Open(verdict(1, &[])));
    assert_eq!(grants(&mut fixture), [going]);
}

#[test]
fn an_activator_that_comes_later_is_granted_what_is_avoided_only_after_everything_else() {
    for avoided in ["a", "b"] {
        let mut fixture = Fixture::led(limited(2));
        fixture.pods(vec![ready("a"), ready("b")]);
        avoid(&mut fixture, &[avoided]);
        let other = if avoided == "a" { "b" } else { "a" };
        assert_eq!(used(&mut fixture), other);
        assert_eq!(asked_by_another(&mut fixture, 2), [other, avoided]);
    }
}
