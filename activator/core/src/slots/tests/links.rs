//! When contact with another activator ends, and with it owning: on one clock, without a network.

use super::simulation::ms;
use crate::slots::{LinkEffect, LinkId, Links, Member, PeerId};
use catnap_wire::peer::PeerFrame;
use std::time::Duration;

fn other() -> PeerId {
    PeerId { pod: "other".into(), boot: 1 }
}

fn member(runs: bool) -> Member {
    Member { id: other(), live: true, runs }
}

/// Ticks every 100 ms from `from` to `to`.
fn pass(links: &mut Links, from: Duration, to: Duration) {
    let mut now = from;
    while now < to {
        now += ms(100);
        links.tick(now);
    }
}

fn is_known(links: &Links) -> bool {
    !links.view().peers.is_empty()
}

fn owns(links: &Links, now: Duration) -> bool {
    links.fence().open(now).is_some()
}

/// In contact at `now`: each has answered the other.
fn meet(links: &mut Links, now: Duration) -> LinkId {
    links.set_members(&[member(true)], false, now);
    let link = links.connected(&other(), now).expect("known");
    links.heard(link, &PeerFrame::Ping { number: 7, met: true }, now);
    answer_pings(links, link, now);
    link
}

fn answer_pings(links: &mut Links, link: LinkId, now: Duration) {
    for effect in links.take_effects() {
        if let LinkEffect::Send(_, PeerFrame::Ping { number, .. }) = effect {
            links.heard(link, &PeerFrame::Pong { number }, now);
        }
    }
}

#[test]
fn alone_nothing_ever_ends() {
    let links = Links::default();
    assert!(owns(&links, ms(u64::from(u32::MAX))));
}

#[test]
fn one_that_was_never_met_is_given_up_after_thirty_seconds_and_one_that_does_not_run_after_five() {
    for (runs, until) in [(true, 30_000), (false, 5_000)] {
        let mut links = Links::default();
        links.set_members(&[member(runs)], false, ms(0));
        pass(&mut links, ms(0), ms(until - 100));
        assert!(is_known(&links), "{runs}");
        pass(&mut links, ms(until - 100), ms(until));
        assert!(!is_known(&links), "{runs}");
    }
}

#[test]
fn owning_stands_still_for_half_a_second_when_another_falls_silent_and_begins_anew_when_it_is_given_up() {
    let mut links = Links::default();
    meet(&mut links, ms(1_000));
    let before = links.fence().open(ms(1_000));
    pass(&mut links, ms(1_000), ms(5_400));
    assert_eq!(links.fence().open(ms(5_499)), before);
    assert!(!owns(&links, ms(5_500)));
    pass(&mut links, ms(5_400), ms(5_900));
    assert!(is_known(&links) && !owns(&links, ms(5_900)));
    pass(&mut links, ms(5_900), ms(6_000));
    assert!(!is_known(&links));
    let after = links.fence().open(ms(6_000));
    assert!(after.is_some() && after != before, "what was owned before has to be claimed anew");
}

#[test]
fn a_pong_counts_from_when_its_ping_was_sent() {
    let mut links = Links::default();
    let link = meet(&mut links, ms(0));
    pass(&mut links, ms(0), ms(2_900));
    // The first of those sent since.
    let pings = links.take_effects();
    let first = pings.into_iter().find_map(|effect| match effect {
        LinkEffect::Send(_, PeerFrame::Ping { number, .. }) => Some(number),
        _ => None,
    });
    let first = first.expect("pings go on");
    links.heard(link, &PeerFrame::Pong { number: first }, ms(2_900));
    let sent = Duration::from_nanos(first);
    assert!(owns(&links, sent + ms(4_499)) && !owns(&links, sent + ms(4_500)));
    let made_up = PeerFrame::Pong { number: u64::MAX };
    links.heard(link, &made_up, ms(2_900));
    assert!(!owns(&links, sent + ms(4_500)), "nobody answers what was not asked yet");
}

#[test]
fn a_process_that_was_stopped_owns_nothing_and_gives_the_others_their_whole_time() {
    let mut links = Links::default();
    meet(&mut links, ms(0));
    pass(&mut links, ms(0), ms(2_000));
    assert!(!owns(&links, ms(20_000)), "before anything else happens");
    pass(&mut links, ms(19_900), ms(24_900));
    assert!(is_known(&links) && !owns(&links, ms(24_900)));
    pass(&mut links, ms(24_900), ms(25_000));
    assert!(!is_known(&links) && owns(&links, ms(25_000)));
    // And again, now that the other one is given up: it may be the other way round by then.
    assert!(!owns(&links, ms(40_000)));
    links.tick(ms(40_000));
    assert!(is_known(&links) && !owns(&links, ms(40_000)));
}

#[test]
fn one_that_comes_back_ends_what_was_owned_without_it() {
    let mut links = Links::default();
    let link = meet(&mut links, ms(0));
    links.lost(link, ms(100));
    pass(&mut links, ms(100), ms(6_000));
    let alone = links.fence().open(ms(6_000));
    assert!(alone.is_some());
    let again = links.connected(&other(), ms(6_000)).expect("known");
    answer_pings(&mut links, again, ms(6_001));
    let together = links.fence().open(ms(6_001));
    assert!(together.is_some() && together != alone);
}

#[test]
fn good_bye_is_answered_by_hanging_up_and_nobody_waits_for_it_any_more() {
    let mut links = Links::default();
    let link = meet(&mut links, ms(0));
    links.take_effects();
    assert!(links.heard(link, &PeerFrame::Bye, ms(10)));
    assert!(links.take_effects().contains(&LinkEffect::Close(link)));
    let view = links.view();
    assert!(!view.peers[0].counts && !view.peers[0].candidate);
    assert!(owns(&links, ms(4_000)));
}

#[test]
fn another_start_of_the_same_pod_is_another_one() {
    let mut links = Links::default();
    meet(&mut links, ms(0));
    let next = Member { id: PeerId { boot: 2, ..other() }, live: true, runs: true };
    links.set_members(std::slice::from_ref(&next), false, ms(1_000));
    let candidates = |links: &Links| {
        let peers = links.view().peers.into_iter().filter(|peer| peer.candidate);
        peers.map(|peer| peer.id.boot).collect::<Vec<_>>()
    };
    assert_eq!(candidates(&links), [2]);
    assert_eq!(links.view().peers.len(), 2, "what the first one had open still counts");
    pass(&mut links, ms(1_000), ms(6_000));
    assert_eq!(links.view().peers.len(), 1);
    links.set_members(&[], false, ms(6_100));
    assert!(links.connected(&next.id, ms(6_200)).is_none(), "its pod is gone");
    assert!(is_known(&links), "its process may not be");
    pass(&mut links, ms(6_100), ms(11_100));
    assert!(!is_known(&links) && !links.knows(&next.id));
}

#[test]
fn one_that_said_good_bye_is_forgotten_with_its_pod() {
    let mut links = Links::default();
    let link = meet(&mut links, ms(0));
    links.heard(link, &PeerFrame::Bye, ms(10));
    links.set_members(&[], false, ms(20));
    assert!(!links.knows(&other()));
}

#[test]
fn whose_own_pod_is_gone_owns_nothing_whoever_answers() {
    let mut links = Links::default();
    meet(&mut links, ms(0));
    links.set_members(&[member(true)], true, ms(100));
    assert!(!owns(&links, ms(100)) && links.view().leaving);
    pass(&mut links, ms(100), ms(20_000));
    assert!(!is_known(&links) && !owns(&links, ms(20_000)));
}

#[test]
fn only_the_moment_in_which_owning_is_allowed_again_is_told() {
    let mut links = Links::default();
    let link = meet(&mut links, ms(0));
    let before = links.fence().open(ms(0));
    links.set_members(&[member(true)], true, ms(100));
    for now in [200, 1_300, 2_400] {
        let (_, changed) = links.tick(ms(now));
        assert!(!changed, "at {now} ms all is as it was");
        answer_pings(&mut links, link, ms(now));
    }
    links.set_members(&[member(true)], false, ms(2_500));
    let after = links.fence().open(ms(2_500));
    assert!(after.is_some() && after != before, "what was owned before has to be claimed anew");

    // The other falls silent: owning ends, and begins again when it is given up.
    let mut now = ms(2_500);
    while owns(&links, now) {
        now += ms(100);
        assert!(!links.tick(now).1);
    }
    while is_known(&links) {
        now += ms(100);
        assert_eq!(links.tick(now).1, !is_known(&links));
    }
    assert!(owns(&links, now));
}

#[test]
fn a_process_that_stood_still_for_long_owns_nothing_even_if_nobody_else_ran_before() {
    let mut links = Links::default();
    links.set_members(&[member(false)], false, ms(0));
    pass(&mut links, ms(0), ms(10_000));
    assert!(owns(&links, ms(29_999)) && !owns(&links, ms(30_000)));
}
