//! What is said to an owner of slots: what it costs to ask for one, and what may be odd about it.

use super::simulation::ms;
use crate::slots::links::PeerView;
use crate::slots::{Fence, LinkId, PeerId, Slots, View};
use catnap_wire::message::{PodUid, RevisionId};
use catnap_wire::peer::{OpenExchanges, SlotMessage};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Slots, and another activator that is known to them.
fn beside_another() -> (Slots, PeerId) {
    let revision = RevisionId { namespace: "a".into(), name: "b".into(), function_uid: "c".into() };
    let mut slots = Slots::new(revision, &"own".into(), 1, &[], Arc::new(Fence::default()), 0);
    let id = PeerId { pod: "other".into(), boot: 1 };
    let peer = PeerView { id: id.clone(), link: Some(LinkId(1)), candidate: true, counts: true };
    slots.set_view(&View { leaving: false, peers: vec![peer] }, ms(0));
    (slots, id)
}

/// Slots that follow another activator, where so many pods can be used.
fn following(pods: u32) -> Slots {
    let (mut slots, id) = beside_another();
    slots.message(&id, SlotMessage::Claim, ms(0));
    let usable = (0..pods).map(|number| PodUid::from(format!("0d5a9a0e-9b6e-4a54-b1c0-{number:012}")));
    slots.set_usable(usable.collect::<BTreeSet<_>>());
    // By this the owner hears of them all.
    slots.set_demand(1, ms(0));
    assert!(slots.take_outgoing().iter().any(|(_, message)| *message == SlotMessage::Acquire { count: 1 }));
    slots
}

/// The least time that some slots take to be asked for and given up.
fn time(slots: &mut Slots) -> Duration {
    let once = |slots: &mut Slots| {
        let begun = Instant::now();
        for _ in 0..50 {
            slots.set_demand(2, ms(1));
            slots.set_demand(1, ms(1));
        }
        assert_eq!(slots.take_outgoing().len(), 100);
        begun.elapsed()
    };
    (0..10).map(|_| once(slots)).min().unwrap_or_default()
}

#[test]
fn asking_for_a_slot_costs_the_same_however_many_pods_there_are() {
    let (few, many) = (time(&mut following(10)), time(&mut following(20_000)));
    assert!(many < 20 * few + ms(1), "10 pods: {few:?}, 20,000 pods: {many:?}");
}

#[test]
fn the_owner_hears_of_pods_that_come_and_go_with_the_next_slot_that_is_wanted() {
    let mut slots = following(2);
    slots.set_demand(0, ms(1));
    slots.take_outgoing();
    slots.set_usable(BTreeSet::from(["new".into()]));
    assert!(slots.take_outgoing().is_empty(), "nothing is wanted");
    slots.set_demand(1, ms(2));
    let said: Vec<_> = slots.take_outgoing().into_iter().map(|(_, message)| message).collect();
    let [SlotMessage::Usable { added, removed }, SlotMessage::Acquire { count: 1 }] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!((&added[..], removed.len()), (&["new".into()][..], 2));
}

#[test]
fn nothing_that_another_one_says_of_its_exchanges_is_too_odd() {
    let (mut slots, id) = beside_another();
    let open = |pod: &str, count| OpenExchanges { pod: pod.into(), count };
    let open = vec![open("none", 0), open("many", u32::MAX), open("many", 1), open("one", 1)];
    // Whether it may follow is decided by the rank; a drain makes it the one to own.
    slots.set_view(
        &View {
            leaving: false,
            peers: vec![PeerView { id: id.clone(), link: Some(LinkId(1)), candidate: false, counts: true }],
        },
        ms(1),
    );
    slots.message(&id, SlotMessage::Released { turn: 1, limit: 1, open }, ms(1));
    for pod in ["none", "none", "one", "one", "many", "unheard of"] {
        slots.message(&id, SlotMessage::Release { pod: pod.into() }, ms(2));
    }
    let others = |pod: &str| slots.others(&pod.into());
    assert_eq!((others("none"), others("one"), others("many")), (0, 0, u32::MAX - 1));
}
