//! Random sequences of events: every invariant after every event, and an end for everybody.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Event {
    Arrive,
    Leave(usize),
    Finish,
    Refuse,
    /// For each of four pods: absent, without address, starting, ready, terminating, broken.
    Pods([u8; 4]),
    Probed(u8, bool),
    Close(u64),
    Open(u64, u8),
    Zero(u64, u8),
    Welcome(Option<(u64, u8, bool)>),
    Reply(u8),
    Link(bool),
    Read(u32),
    Raised(bool),
    Route(bool),
    Limit(u32),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Arrive),
        2 => (0_usize..8).prop_map(Event::Leave),
        5 => Just(Event::Finish),
        2 => Just(Event::Refuse),
        4 => prop::array::uniform4(0_u8..6).prop_map(Event::Pods),
        4 => (0_u8..4, any::<bool>()).prop_map(|(pod, answered)| Event::Probed(pod, answered)),
        2 => (0_u64..6).prop_map(Event::Close),
        2 => (0_u64..6, 0_u8..16).prop_map(|(gate, pods)| Event::Open(gate, pods)),
        2 => (0_u64..6, 0_u8..16).prop_map(|(gate, pods)| Event::Zero(gate, pods)),
        1 => prop::option::of((0_u64..6, 0_u8..16, any::<bool>())).prop_map(Event::Welcome),
        2 => (0_u8..4).prop_map(Event::Reply),
        1 => any::<bool>().prop_map(Event::Link),
        2 => (0_u32..3).prop_map(Event::Read),
        1 => any::<bool>().prop_map(Event::Raised),
        1 => prop::bool::weighted(0.8).prop_map(Event::Route),
        1 => (0_u32..4).prop_map(Event::Limit),
        6 => prop_oneof![0_u64..20, 100_u64..3_000].prop_map(Event::Pass),
    ]
}

fn names(bits: u8) -> Vec<&'static str> {
    ["a", "b", "c", "d"]
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, name)| name)
        .collect()
}

fn pods(kinds: [u8; 4]) -> Vec<Pod> {
    let pods = ["a", "b", "c", "d"].into_iter().zip(kinds).filter_map(|(name, kind)| match kind {
        0 => None,
        1 => Some(pending(name, None)),
        2 => Some(starting(name)),
        3 => Some(ready(name)),
        4 => Some(Pod { terminating: true, ..ready(name) }),
        _ => Some(pending(name, Some((Reason::CrashLoop, "exit 1")))),
    });
    pods.collect()
}

/// What is outstanding towards the surroundings.
#[derive(Default)]
struct Outstanding {
    reads: Vec<u64>,
    raises: Vec<u64>,
}

fn apply(fixture: &mut Fixture, outstanding: &mut Outstanding, event: &Event) {
    match *event {
        Event::Arrive => drop(fixture.arrive()),
        Event::Leave(index) => {
            let ticket = fixture.revision.held_tickets().nth(index);
            if let Some(ticket) = ticket {
                assert!(fixture.revision.leave(ticket, fixture.now));
                fixture.ledger.left(ticket).expect("it was held");
            }
        }
        Event::Finish if !fixture.open.is_empty() => fixture.finish_one(),
        Event::Refuse if !fixture.open.is_empty() => drop(fixture.refuse_one()),
        Event::Finish | Event::Refuse => {}
        Event::Pods(kinds) => fixture.pods(pods(kinds)),
        Event::Probed(pod, answered) => fixture.probed(["a", "b", "c", "d"][usize::from(pod)], answered),
        Event::Close(number) => fixture.close(number, &["a"]),
        Event::Open(number, bits) => fixture.leader(&LeaderFrame::Open(verdict(number, &names(bits)))),
        Event::Zero(number, bits) => fixture.leader(&LeaderFrame::Zero(verdict(number, &names(bits)))),
        Event::Welcome(listed) => {
            let closed =
                listed.map(|(number, bits, zero)| Closed { verdict: verdict(number, &names(bits)), zero });
            fixture.event(|revision, now, out| revision.welcomed(TERM, closed.as_ref(), now, out));
        }
        Event::Reply(kind) => fixture.reply(match kind {
            0 => WakeAnswer::Queued,
            1 => WakeAnswer::Written { replicas: 2 },
            2 => WakeAnswer::Open,
            _ => WakeAnswer::AtMax,
        }),
        Event::Link(true) => fixture.revision.leader_connected(fixture.now),
        Event::Link(false) => fixture.revision.leader_lost(fixture.now),
        Event::Read(replicas) => {
            if let Some(attempt) = outstanding.reads.pop() {
                fixture.read(attempt, replicas);
            }
        }
        Event::Raised(true) => {
            if let Some(attempt) = outstanding.raises.pop() {
                fixture.raised(attempt, Ok(()));
            }
        }
        Event::Raised(false) => {
            if let Some(attempt) = outstanding.raises.pop() {
                fixture.raised(attempt, Err(ScaleError::Conflict));
            }
        }
        Event::Route(routed) => {
            let route = Route { routed, ..fixture.revision.route().clone() };
            fixture.configure(route);
        }
        Event::Limit(target) => {
            let mut route = fixture.revision.route().clone();
            route.policy.target = target;
            fixture.configure(route);
        }
        Event::Pass(milliseconds) => fixture.pass(ms(milliseconds)),
    }
    for effect in fixture.take() {
        match effect {
            Effect::ReadScale { attempt } => outstanding.reads.push(attempt),
            Effect::RaiseScale { attempt, .. } => outstanding.raises.push(attempt),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_happens_breaks_an_invariant(
        limit in 0_u32..4,
        answered in any::<bool>(),
        events in prop::collection::vec(event(), 1..120),
    ) {
        let start = if answered { Start::Open } else { Start::Unanswered { since: ms(0) } };
        let policy = Policy { limit, max_requests: 12, activation: ms(10_000), ..Policy::default() };
        let mut fixture = Fixture::starting_as(start, policy);
        let mut outstanding = Outstanding::default();
        for event in events {
            apply(&mut fixture, &mut outstanding, &event);
        }
        // Whatever happened: nobody waits beyond the activation timeout, and nothing is counted for ever.
        fixture.pass(ms(10_000));
        prop_assert_eq!(fixture.revision.held(), 0);
        while !fixture.open.is_empty() {
            fixture.finish_one();
        }
        prop_assert_eq!(fixture.revision.in_flight(), 0);
        prop_assert_eq!(fixture.budgets.held(), 0);
    }

    /// With a scale that can be read and written and pods that follow it, everybody is served, whatever a leader did before
    /// it fell silent.
    #[test]
    fn nobody_is_stranded_when_the_leader_falls_silent(
        limit in 0_u32..4,
        events in prop::collection::vec(event(), 1..60),
    ) {
        let policy = Policy { limit, activation: ms(600_000), ..Policy::default() };
        let mut fixture = Fixture::led(policy);
        let mut outstanding = Outstanding::default();
        for event in events {
            apply(&mut fixture, &mut outstanding, &event);
        }
        fixture.revision.leader_lost(fixture.now);
        fixture.configure(Route { policy: fixture.revision.route().policy.clone(), ..Route::default() });
        fixture.pods(vec![]);
        for attempt in outstanding.reads.into_iter().chain(outstanding.raises) {
            let failed = || Err(ScaleError::Failed("lost".into()));
            fixture.event(|revision, now, out| revision.scale_read(attempt, failed(), now, out));
            fixture.raised(attempt, Err(ScaleError::Failed("lost".into())));
        }
        fixture.arrive();
        let (mut replicas, mut made) = (0, 0);
        for _ in 0..400 {
            fixture.pass(ms(50));
            for effect in fixture.take() {
                match effect {
                    Effect::ReadScale { attempt } => fixture.read(attempt, replicas),
                    Effect::RaiseScale { attempt, replicas: wanted, .. } => {
                        replicas = wanted;
                        made += 1;
                        fixture.raised(attempt, Ok(()));
                        fixture.pods(vec![ready(&format!("new {made}"))]);
                    }
                    Effect::Probe(probe) => fixture.probed(&probe.uid, true),
                    _ => {}
                }
            }
            while !fixture.open.is_empty() {
                fixture.finish_one();
            }
        }
        prop_assert_eq!(fixture.revision.held(), 0);
    }
}
