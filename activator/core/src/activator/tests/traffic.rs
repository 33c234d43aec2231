//! Several revisions of one Function at once: how its requests are split, and which of them may stay where they are.

use super::*;
use crate::route::TagRoute;
use proptest::prelude::*;

const NAMES: [&str; 3] = ["hello-1", "hello-2", "hello-3"];

/// All revisions, without a limit; these shares, and these tags.
fn split(shares: &[(&str, u32)], tags: &[(&str, &str)]) -> FunctionRoute {
    let share = |(revision, percent): &(&str, u32)| Share { revision: (*revision).into(), percent: *percent };
    let tag = |(tag, revision): &(&str, &str)| TagRoute { tag: (*tag).into(), revision: (*revision).into() };
    FunctionRoute {
        traffic: shares.iter().map(share).collect(),
        tags: tags.iter().map(tag).collect(),
        revisions: NAMES.iter().map(|name| revision(name, 0)).collect(),
        policy: FunctionPolicy { max_requests: 10_000, ..FunctionPolicy::default() },
        ..route(None, &[])
    }
}

impl Fixture {
    fn with_traffic(shares: &[(&str, u32)], tags: &[(&str, &str)]) -> Self {
        let (fixture, _) = Self::serving();
        fixture.activator.upsert_function(split(shares, tags));
        fixture
    }

    /// Every revision has a pod.
    fn warm(&self) {
        for name in NAMES {
            self.activator.set_pods(&id(name), vec![pod(&format!("{name}-pod"))]);
        }
    }

    fn admit_to(&self, host: &str) -> Admission {
        self.activator.route(Listener::InCluster, host).expect("a destination").admit()
    }

    fn hold_at(&self, host: &str) -> Waiting {
        match self.admit_to(host) {
            Admission::Held(waiting) => waiting,
            other => panic!("not held: {other:?}"),
        }
    }

    /// Requests held by each revision.
    fn held(&self) -> [u64; 3] {
        let snapshot = self.activator.snapshot();
        let held =
            |name| snapshot.revisions.iter().find(|state| state.revision == id(name)).map(|state| state.held);
        NAMES.map(|name| held(name).unwrap_or(0))
    }
}

/// How far a count lies from its part of all, in standard deviations of the binomial distribution.
fn deviations(count: u64, all: u64, part: f64) -> f64 {
    let (count, all) = (count as f64, all as f64);
    (count - all * part).abs() / (all * part * (1.0 - part)).sqrt()
}

#[test]
fn requests_are_split_by_percent() {
    for percent in [1, 10, 50] {
        let fixture = Fixture::with_traffic(&[("hello-1", 100 - percent), ("hello-2", percent)], &[]);
        fixture.warm();
        let mut second = 0;
        for _ in 0..10_000 {
            second += u64::from(fixture.dispatch().revision() == &id("hello-2"));
        }
        let off = deviations(second, 10_000, f64::from(percent) / 100.0);
        assert!(off < 4.0, "{second} of 10000 at {percent} percent: {off} standard deviations");
    }
}

#[test]
fn what_is_held_from_cold_is_split_and_each_revision_wakes() {
    let mut fixture = Fixture::with_traffic(&[("hello-1", 90), ("hello-2", 10)], &[]);
    fixture.frames();
    let waits: Vec<_> = (0..2_000).map(|_| fixture.hold()).collect();
    let [first, second, third] = fixture.held();
    assert_eq!((first + second, third), (2_000, 0));
    assert!(deviations(second, 2_000, 0.1) < 4.0, "{second}");
    fixture.pass(ms(2));
    let mut woken: Vec<_> = fixture
        .frames()
        .into_iter()
        .filter_map(|frame| match frame {
            ActivatorFrame::Wake { revision, held, .. } => Some((revision, held)),
            _ => None,
        })
        .collect();
    woken.sort();
    assert_eq!(woken, [(id("hello-1"), first), (id("hello-2"), second)]);
    // One is up: only its own requests go there.
    fixture.activator.set_pods(&id("hello-2"), vec![pod("b")]);
    let answered: Vec<_> = waits.into_iter().filter_map(FutureExt::now_or_never).collect();
    assert_eq!(answered.len() as u64, second);
    assert!(answered.iter().flatten().all(|slot| slot.revision() == &id("hello-2")));
}

#[test]
fn what_is_held_stays_while_its_revision_has_a_share_and_is_split_when_not() {
    let fixture = Fixture::with_traffic(&[("hello-1", 100)], &[]);
    let waits: Vec<_> = (0..1_000).map(|_| fixture.hold()).collect();
    fixture.activator.upsert_function(split(&[("hello-1", 1), ("hello-2", 99)], &[]));
    assert_eq!(fixture.held(), [1_000, 0, 0]);
    fixture.activator.upsert_function(split(&[("hello-2", 50), ("hello-3", 50)], &[]));
    let [first, second, third] = fixture.held();
    assert_eq!((first, second + third), (0, 1_000));
    assert!(deviations(second, 1_000, 0.5) < 4.0, "{second}");
    let arrivals: Vec<_> =
        fixture.activator.snapshot().revisions.iter().map(|state| state.arrivals).collect();
    assert_eq!(arrivals, [1_000, 0, 0], "who moves does not arrive again");
    fixture.warm();
    let slots: Vec<_> = waits.into_iter().map(slot).collect();
    assert!(slots.iter().all(|slot| slot.revision() != &id("hello-1")));
}

#[test]
fn a_tag_leads_to_its_revision_whatever_the_shares_are() {
    let mut fixture = Fixture::with_traffic(&[("hello-1", 100)], &[("next", "hello-2")]);
    fixture.frames();
    let waiting = fixture.hold_at("next-hello.default");
    assert_eq!(fixture.held(), [0, 1, 0]);
    fixture.pass(ms(2));
    let wake = ActivatorFrame::Wake { revision: id("hello-2"), held: 1, arrivals: 1 };
    assert!(fixture.frames().contains(&wake));
    fixture.warm();
    assert_eq!(slot(waiting).revision(), &id("hello-2"));
    for _ in 0..100 {
        assert_eq!(fixture.dispatch().revision(), &id("hello-1"));
        let Admission::Dispatch(slot) = fixture.admit_to("Next-Hello.default.svc.cluster.local:80") else {
            panic!("a pod is there")
        };
        assert_eq!((slot.revision(), slot.function()), (&id("hello-2"), &hello()));
    }
}

#[test]
fn who_came_by_a_tag_follows_it_and_who_did_not_stays_with_the_shares() {
    let fixture = Fixture::with_traffic(&[("hello-1", 50), ("hello-2", 50)], &[("next", "hello-2")]);
    let tagged = fixture.hold_at("next-hello.default");
    let waits: Vec<_> = (0..100).map(|_| fixture.hold()).collect();
    let [first, second, _] = fixture.held();
    assert!(second > 1, "some came by their share");
    // The revision keeps its tag alone.
    fixture.activator.upsert_function(split(&[("hello-1", 100)], &[("next", "hello-2")]));
    assert_eq!(fixture.held(), [first + second - 1, 1, 0]);
    // The tag moves.
    fixture.activator.upsert_function(split(&[("hello-1", 100)], &[("next", "hello-3")]));
    assert_eq!(fixture.held(), [100, 0, 1]);
    // The tag goes, its revision stays.
    fixture.activator.upsert_function(split(&[("hello-1", 50), ("hello-3", 50)], &[]));
    assert_eq!(fixture.held(), [100, 0, 1]);
    // Now nothing has the name that it asked for.
    fixture.activator.upsert_function(split(&[("hello-1", 100)], &[]));
    let refusal = refusal(tagged);
    assert_eq!(
        (refusal.reason, &*refusal.detail),
        (Reason::UnknownHost, "the function has no tag next any more")
    );
    fixture.warm();
    assert!(waits.into_iter().map(slot).all(|slot| slot.revision() == &id("hello-1")));
}

#[test]
fn a_request_that_is_sent_again_stays_with_its_revision_while_that_has_a_share() {
    let fixture = Fixture::with_traffic(&[("hello-1", 50), ("hello-2", 50)], &[]);
    for name in NAMES {
        fixture.activator.set_pods(&id(name), vec![pod(&format!("{name}-a")), pod(&format!("{name}-b"))]);
    }
    for _ in 0..100 {
        let first = fixture.dispatch();
        let revision = first.revision().clone();
        let before = Arc::clone(first.pod());
        let Admission::Dispatch(second) = first.connect_failed() else { panic!("there is another pod") };
        assert_eq!(second.revision(), &revision);
        assert_ne!(*second.pod(), before);
        second.finished();
        let destination =
            fixture.activator.route(Listener::InCluster, "hello.default").expect("a destination");
        let Admission::Dispatch(third) = destination.admit_again(Some(&revision)) else { panic!("a pod") };
        assert_eq!(third.revision(), &revision);
    }
}

#[test]
fn a_request_that_is_sent_again_leaves_a_revision_that_lost_its_share() {
    let fixture = Fixture::with_traffic(&[("hello-1", 100)], &[]);
    fixture.warm();
    let (refused, other) = (fixture.dispatch(), fixture.dispatch());
    fixture.activator.upsert_function(split(&[("hello-2", 100)], &[("old", "hello-1")]));
    let Admission::Held(moved) = refused.connect_failed() else { panic!("it moves as held requests do") };
    assert_eq!(slot(moved).revision(), &id("hello-2"));
    drop(other);
    let destination = fixture.activator.route(Listener::InCluster, "hello.default").expect("a destination");
    let Admission::Dispatch(again) = destination.admit_again(Some(&id("hello-1"))) else { panic!("a pod") };
    assert_eq!(again.revision(), &id("hello-2"));
    let states = fixture.activator.snapshot().revisions;
    let first = states.iter().find(|state| state.revision == id("hello-1")).expect("known");
    assert_eq!((first.in_flight, first.measured), (0, 0));
}

#[test]
fn a_request_that_moved_is_refused_for_the_revision_it_moved_to() {
    let fixture = Fixture::with_traffic(&[("hello-1", 100)], &[]);
    fixture.activator.set_pods(&id("hello-1"), vec![pod("a")]);
    let unlucky = fixture.dispatch();
    fixture.activator.upsert_function(split(&[("hello-2", 100)], &[]));
    let Admission::Held(moved) = unlucky.connect_failed() else { panic!("the other one has no pod") };
    fixture.pass(FunctionPolicy::default().activation);
    let refusal = refusal(moved);
    assert_eq!((refusal.reason, refusal.revision), (Reason::ActivationTimeout, Some(id("hello-2"))));
}

#[test]
fn exchanges_go_on_when_their_revision_goes() {
    let fixture = Fixture::with_traffic(&[("hello-1", 100)], &[]);
    fixture.warm();
    let open = fixture.dispatch();
    fixture.activator.upsert_function(split(&[("hello-2", 100)], &[]));
    assert_eq!(fixture.dispatch().revision(), &id("hello-2"));
    let only = FunctionRoute { revisions: vec![revision("hello-2", 0)], ..split(&[("hello-2", 100)], &[]) };
    fixture.activator.upsert_function(only);
    let in_flight = || {
        let states = fixture.activator.snapshot().revisions;
        states.iter().find(|state| state.revision == id("hello-1")).map(|state| state.in_flight)
    };
    assert_eq!(in_flight(), Some(1));
    open.finished();
    assert_eq!(in_flight(), Some(0));
}

#[test]
fn shares_of_unknown_revisions_go_to_the_others() {
    let fixture = Fixture::with_traffic(&[("hello-9", 90), ("hello-2", 10)], &[("next", "hello-9")]);
    fixture.warm();
    for _ in 0..100 {
        assert_eq!(fixture.dispatch().revision(), &id("hello-2"));
    }
    let Admission::Refused(refusal) = fixture.admit_to("next-hello.default") else {
        panic!("nobody is there")
    };
    assert_eq!(refusal.reason, Reason::UnknownHost);
}

#[test]
fn the_state_shows_shares_tags_and_hosts() {
    let host = crate::HostRoute { host: "Shop.example.com".into(), tag: Some("next".into()) };
    let route = split(&[("hello-1", 90), ("hello-2", 10)], &[("next", "hello-2")]);
    let fixture = Fixture::with_traffic(&[], &[]);
    fixture.activator.upsert_function(FunctionRoute { hosts: vec![host.clone()], ..route.clone() });
    let shown = &fixture.activator.snapshot().functions[0];
    assert_eq!((&shown.traffic, &shown.tags), (&route.traffic, &route.tags));
    assert_eq!(shown.hosts, [crate::HostRoute { host: "shop.example.com".into(), ..host }]);
}

/// What may happen to a Function and its requests.
#[derive(Clone, Debug)]
enum Event {
    /// Percents of the revisions, then where two tags lead.
    Traffic([u32; 3], [Option<usize>; 2]),
    Arrive(Option<usize>),
    /// The oldest of those who wait leaves.
    Leave,
    /// A revision has so many pods.
    Pods(usize, usize),
    /// The oldest exchange ends, or could not connect.
    End(bool),
    /// A request of an exchange that broke off comes again.
    Again,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let percent = prop_oneof![Just(0), 1..=100_u32];
    let traffic = (prop::array::uniform3(percent), prop::array::uniform2(prop::option::of(0..3_usize)));
    let event = prop_oneof![
        2 => traffic.prop_map(|(percents, tags)| Event::Traffic(percents, tags)),
        6 => prop::option::of(0..2_usize).prop_map(Event::Arrive),
        1 => Just(Event::Leave),
        1 => (0..3_usize, 0..3_usize).prop_map(|(revision, pods)| Event::Pods(revision, pods)),
        2 => any::<bool>().prop_map(Event::End),
        1 => Just(Event::Again),
    ];
    prop::collection::vec(event, 0..60)
}

const TAGS: [&str; 2] = ["next", "old"];

proptest! {
    /// Whatever the traffic does: who waits is held exactly once, and not where nothing leads to; everybody is served in the
    /// end, or told that the tag is gone.
    #[test]
    fn nobody_is_lost_while_the_traffic_changes(events in events()) {
        let fixture = Fixture::with_traffic(&[("hello-1", 100)], &[("next", "hello-2"), ("old", "hello-1")]);
        // Each with whether it came by a tag.
        let mut waits: Vec<(bool, Waiting)> = Vec::new();
        let mut slots: Vec<(bool, Slot)> = Vec::new();
        let (mut percents, mut tags) = ([100, 0, 0], [Some(1), Some(0)]);
        let place = |by_tag, admission, waits: &mut Vec<_>, slots: &mut Vec<_>| match admission {
            Admission::Dispatch(slot) => slots.push((by_tag, slot)),
            Admission::Held(waiting) => waits.push((by_tag, waiting)),
            Admission::Refused(refusal) => assert_eq!(refusal.reason, Reason::UnknownHost),
        };
        let told = |percents: [u32; 3], tags: [Option<usize>; 2]| {
            let shares: Vec<_> = NAMES.into_iter().zip(percents).collect();
            let tags: Vec<_> =
                TAGS.into_iter().zip(tags).filter_map(|(tag, of)| Some((tag, NAMES[of?]))).collect();
            split(&shares, &tags)
        };
        for event in events {
            match event {
                Event::Traffic(new, leads) => {
                    (percents, tags) = (new, leads);
                    fixture.activator.upsert_function(told(percents, tags));
                }
                Event::Arrive(tag) => {
                    let host = tag.map_or("hello.default".to_owned(), |tag| format!("{}-hello.default", TAGS[tag]));
                    let found = fixture.activator.route(Listener::InCluster, &host);
                    prop_assert_eq!(found.is_ok(), tag.is_none_or(|tag| tags[tag].is_some()));
                    if let Ok(found) = found {
                        place(tag.is_some(), found.admit(), &mut waits, &mut slots);
                    }
                }
                Event::Leave if !waits.is_empty() => drop(waits.remove(0)),
                Event::Pods(revision, count) => {
                    let pods = (0..count).map(|number| pod(&format!("{revision}-{number}"))).collect();
                    fixture.activator.set_pods(&id(NAMES[revision]), pods);
                }
                Event::End(true) if !slots.is_empty() => slots.remove(0).1.finished(),
                Event::End(false) if !slots.is_empty() => {
                    let (by_tag, slot) = slots.remove(0);
                    place(by_tag, slot.connect_failed(), &mut waits, &mut slots);
                }
                Event::Again if !slots.is_empty() => {
                    let (_, mut broken) = slots.remove(0);
                    broken.broke_off();
                    let revision = broken.revision().clone();
                    drop(broken);
                    let found = fixture.activator.route(Listener::InCluster, "hello.default").expect("found");
                    place(false, found.admit_again(Some(&revision)), &mut waits, &mut slots);
                }
                Event::Leave | Event::End(_) | Event::Again => {}
            }
            let mut still = Vec::new();
            for (by_tag, mut waiting) in waits {
                match (&mut waiting).now_or_never() {
                    None => still.push((by_tag, waiting)),
                    Some(Ok(slot)) => slots.push((by_tag, slot)),
                    Some(Err(refusal)) => prop_assert_eq!(refusal.reason, Reason::UnknownHost),
                }
            }
            waits = still;
            let held = fixture.held();
            let pending = fixture.activator.snapshot().functions[0].pending;
            prop_assert_eq!(held.iter().sum::<u64>() + pending as u64, waits.len() as u64);
            prop_assert_eq!(fixture.activator.held(), waits.len());
            prop_assert!(pending == 0 || percents.iter().sum::<u32>() == 0, "somebody has traffic");
            let by_tag = waits.iter().filter(|(by_tag, _)| *by_tag).count() as u64;
            for (revision, held) in held.into_iter().enumerate().filter(|(of, _)| percents[*of] == 0) {
                let most = if tags.contains(&Some(revision)) { by_tag } else { 0 };
                prop_assert!(held <= most, "{held} at {revision}: {percents:?} {tags:?}");
            }
        }
        drop(slots);
        for name in NAMES {
            fixture.activator.set_pods(&id(name), vec![pod(&format!("{name}-last"))]);
        }
        fixture.activator.upsert_function(told([30, 30, 40], [Some(0), Some(1)]));
        fixture.pass(ms(1_000));
        for (_, waiting) in waits {
            prop_assert!(waiting.now_or_never().is_some_and(|answer| answer.is_ok()));
        }
        for state in fixture.activator.snapshot().revisions {
            prop_assert_eq!((state.held, state.in_flight, state.measured), (0, 0, 0));
        }
    }
}

#[test]
fn who_has_waited_longest_is_probed_for_first() {
    // One attempt at once, and one each tenth of a second.
    let mut fixture =
        Fixture::with(Settings { max_probes_per_second: 10, ..Settings::new(5, "activator-1") });
    let connection = fixture.activator.leader_connected();
    fixture.welcome(connection, Vec::new());
    let tags = [("second", "hello-2"), ("third", "hello-3")];
    fixture.activator.upsert_function(split(&[("hello-1", 100)], &tags));
    let starting = |uid: &str| vec![Pod { ready: false, started: false, ..pod(uid) }];
    let _first = fixture.hold();
    fixture.activator.set_pods(&id("hello-1"), starting("of-first"));
    fixture.pass(ms(1));
    let left = fixture.hold_at("second-hello.default");
    fixture.pass(ms(1));
    let _third = fixture.hold_at("third-hello.default");
    fixture.pass(ms(1));
    // The second one is the first of the two to have waited, and not the one that waits for longest.
    let _second = fixture.hold_at("second-hello.default");
    drop(left);
    fixture.activator.set_pods(&id("hello-2"), starting("of-second"));
    fixture.activator.set_pods(&id("hello-3"), starting("of-third"));
    fixture.pass(ms(230));
    let probed: Vec<String> = fixture
        .commands()
        .into_iter()
        .filter_map(|command| match command {
            Command::Probe { probe, .. } => Some(probe.uid.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(probed, ["of-first", "of-third", "of-second"]);
}
