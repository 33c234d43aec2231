//! What the leader is told, and when.

use super::*;
use catnap_wire::message::{Bucket, PodReport, Pressure};

fn wakes(fixture: &mut Fixture) -> Vec<u64> {
    let held = fixture.sent().into_iter().filter_map(|frame| match frame {
        ActivatorFrame::Wake { held, .. } => Some(held),
        _ => None,
    });
    held.collect()
}

#[test]
fn a_burst_is_told_in_one_frame_and_growth_soon_after() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.arrivals(20);
    fixture.pass(ms(2));
    assert_eq!(wakes(&mut fixture), [20]);
    fixture.arrivals(5);
    fixture.pass(ms(9));
    assert!(wakes(&mut fixture).is_empty());
    fixture.pass(ms(1));
    assert_eq!(wakes(&mut fixture), [25]);
}

#[test]
fn a_burst_that_trickles_in_is_told_when_it_pauses_or_after_ten_milliseconds() {
    let mut fixture = Fixture::led(Policy::default());
    for _ in 0..4 {
        fixture.arrivals(5);
        fixture.pass(ms(1));
    }
    assert!(wakes(&mut fixture).is_empty());
    fixture.pass(ms(1));
    assert_eq!(wakes(&mut fixture), [20]);

    let mut fixture = Fixture::led(Policy::default());
    for _ in 0..20 {
        fixture.arrivals(1);
        fixture.pass(ms(1));
    }
    assert_eq!(wakes(&mut fixture).first(), Some(&10));
}

#[test]
fn a_wake_is_repeated_while_it_lasts_and_on_a_new_stream() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.arrive();
    fixture.pass(ms(202));
    assert_eq!(wakes(&mut fixture), [1, 1, 1]);
    fixture.reply(WakeAnswer::Queued);
    fixture.pass(ms(400));
    assert!(wakes(&mut fixture).is_empty());
    fixture.revision.leader_lost(fixture.now);
    fixture.revision.leader_connected(fixture.now);
    fixture.pass(ms(0));
    assert_eq!(wakes(&mut fixture), [1]);
    fixture.pods(vec![ready("a")]);
    fixture.pass(ms(2_000));
    assert!(wakes(&mut fixture).is_empty(), "there is a pod");
}

#[test]
fn finished_seconds_are_told_once_and_everything_again_in_a_hello() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.now = ms(250);
    fixture.pods(vec![ready("a")]);
    fixture.arrive();
    fixture.pass(ms(1_750));
    fixture.finish_one();
    let buckets = |fixture: &mut Fixture| -> Vec<Bucket> {
        let buckets = fixture.sent().into_iter().filter_map(|frame| match frame {
            ActivatorFrame::Buckets { buckets, .. } => Some(buckets),
            _ => None,
        });
        buckets.flatten().collect()
    };
    fixture.pass(ms(3_000));
    let expected = [
        Bucket { index: 0, request_microseconds: 750_000, arrivals: 1 },
        Bucket { index: 1, request_microseconds: 1_000_000, arrivals: 0 },
    ];
    assert_eq!(buckets(&mut fixture), expected);
    let report = fixture.revision.report(fixture.now);
    assert_eq!(report.buckets, expected);
    assert_eq!(report.idle_milliseconds, Some(3_000));
    assert!(fixture.revision.at_rest());
}

#[test]
fn pods_are_told_when_they_change_and_loads_once_a_second() {
    let mut fixture = Fixture::led(Policy::default());
    let pods = |fixture: &mut Fixture| -> Vec<Vec<PodReport>> {
        let pods = fixture.sent().into_iter().filter_map(|frame| match frame {
            ActivatorFrame::Pods { pods, .. } => Some(pods),
            _ => None,
        });
        pods.collect()
    };
    let report = |usable, in_flight| PodReport { uid: "a".into(), usable, in_flight };
    fixture.pods(vec![starting("a")]);
    fixture.pass(ms(0));
    assert_eq!(pods(&mut fixture), [[report(false, 0)]]);
    fixture.pods(vec![ready("a")]);
    fixture.pass(ms(0));
    assert_eq!(pods(&mut fixture), [[report(true, 0)]]);
    fixture.arrive();
    fixture.pass(ms(999));
    assert!(pods(&mut fixture).is_empty());
    fixture.pass(ms(1));
    assert_eq!(pods(&mut fixture), [[report(true, 1)]]);
}

#[test]
fn a_pod_behind_a_closed_gate_still_counts_as_usable() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.close(1, &["a"]);
    assert!(fixture.revision.report(fixture.now).pods[0].usable);
}

#[test]
fn pressure_is_held_requests_beside_full_pods() {
    let mut fixture = Fixture::led(limited(1));
    fixture.arrivals(3);
    assert_eq!(fixture.revision.pressure(fixture.now), None, "no pod: a wake");
    fixture.pods(vec![ready("a")]);
    let expected = Pressure { revision: revision_id(), held: 2, in_flight: 1 };
    assert_eq!(fixture.revision.pressure(fixture.now), Some(expected));
}
