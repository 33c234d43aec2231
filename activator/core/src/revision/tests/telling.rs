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
    let expected = Pressure { revision: revision_id(), held: 2, in_flight: 1, standing: false };
    assert_eq!(fixture.revision.pressure(fixture.now), Some(expected));
}

/// What is told of pressure at the next tenth of a second: requests, and whether it stands.
fn pressed(fixture: &mut Fixture) -> Option<(u64, bool)> {
    fixture.pass(ms(100));
    let pressure = fixture.revision.pressure(fixture.now)?;
    Some((pressure.held + pressure.in_flight, pressure.standing))
}

/// Ends of pressure that were told.
fn ends(fixture: &mut Fixture) -> usize {
    let frames = fixture.sent();
    let over = |frame: &&ActivatorFrame| matches!(frame, ActivatorFrame::Pressure(list) if list[0].held == 0);
    frames.iter().filter(over).count()
}

#[test]
fn three_hundred_requests_at_once_are_told_in_one_frame_with_their_number() {
    let mut fixture = Fixture::led(Policy { max_requests: 1_000, ..limited(1) });
    fixture.now = ms(999);
    fixture.arrivals(150);
    fixture.pass(ms(1));
    // The next second begins in the middle of the burst.
    fixture.arrivals(150);
    fixture.pass(ms(2));
    let wakes: Vec<_> =
        fixture.sent().into_iter().filter(|frame| matches!(frame, ActivatorFrame::Wake { .. })).collect();
    assert_eq!(wakes, [ActivatorFrame::Wake { revision: revision_id(), held: 300, arrivals: 300 }]);
}

#[test]
fn a_wake_that_lasts_tells_the_arrivals_of_a_second() {
    let mut fixture = Fixture::led(Policy::default());
    let mut told = Vec::new();
    for _ in 0..40 {
        fixture.arrive();
        fixture.pass(ms(100));
        told.extend(fixture.sent().into_iter().filter_map(|frame| match frame {
            ActivatorFrame::Wake { arrivals, .. } => Some(arrivals),
            _ => None,
        }));
    }
    assert_eq!(told.first(), Some(&1));
    assert!(told.iter().all(|arrivals| *arrivals <= 10), "ten a second, however long it lasts: {told:?}");
    assert_eq!(told.last(), Some(&10));
}

#[test]
fn pressure_is_silent_after_the_leader_said_that_there_can_be_no_more() {
    let mut fixture = Fixture::led(limited(1));
    fixture.pods(vec![ready("a")]);
    fixture.arrivals(3);
    assert_eq!(pressed(&mut fixture), Some((3, false)));
    assert_eq!(pressed(&mut fixture), Some((3, false)), "repeated until it is answered");
    fixture.reply(WakeAnswer::AtMax);
    assert_eq!(pressed(&mut fixture), Some((3, true)), "the last word");
    fixture.arrivals(5);
    for _ in 0..20 {
        assert_eq!(pressed(&mut fixture), None);
    }
    fixture.configure(Route { policy: Policy { max: 7, ..limited(1) }, ..Route::default() });
    assert_eq!(pressed(&mut fixture), Some((8, false)), "there may be more now");
    fixture.reply(WakeAnswer::AtMax);
    assert_eq!(pressed(&mut fixture), Some((8, true)));
    fixture.revision.leader_lost(fixture.now);
    fixture.revision.leader_connected(fixture.now);
    assert_eq!(pressed(&mut fixture), Some((8, false)), "a new stream knows nothing");
}

#[test]
fn pressure_is_silent_while_pods_are_pending_for_all_that_was_told() {
    let mut fixture = Fixture::led(limited(1));
    fixture.pods(vec![ready("a"), pending("b", None)]);
    fixture.arrivals(2);
    assert_eq!(pressed(&mut fixture), Some((2, false)));
    assert_eq!(pressed(&mut fixture), Some((2, true)));
    assert_eq!(pressed(&mut fixture), None);
    fixture.arrivals(2);
    assert_eq!(pressed(&mut fixture), Some((4, false)), "more than was told");
    assert_eq!(pressed(&mut fixture), Some((4, true)));
    assert_eq!(pressed(&mut fixture), None);
    fixture.pods(vec![ready("a"), ready("b")]);
    assert_eq!(pressed(&mut fixture), Some((4, false)), "they have come, and there is still no room");
    assert_eq!(pressed(&mut fixture), Some((4, false)));
}

#[test]
fn pressure_that_stands_is_told_anew_when_half_of_it_is_left() {
    let mut fixture = Fixture::led(limited(8));
    fixture.pods(vec![ready("a"), pending("b", None)]);
    fixture.arrivals(24);
    assert_eq!(pressed(&mut fixture), Some((24, false)));
    assert_eq!(pressed(&mut fixture), Some((24, true)));
    for left in (13..24).rev() {
        fixture.finish_one();
        assert_eq!(pressed(&mut fixture), None, "{left} are left");
    }
    fixture.finish_one();
    assert_eq!(pressed(&mut fixture), Some((12, true)));
    assert_eq!(pressed(&mut fixture), None);
    fixture.arrivals(3);
    assert_eq!(pressed(&mut fixture), Some((15, false)), "more than was told last");
}

#[test]
fn the_end_of_pressure_is_told_once_whether_it_stands_or_not() {
    let mut fixture = Fixture::led(limited(1));
    fixture.pods(vec![ready("a")]);
    fixture.arrivals(2);
    pressed(&mut fixture);
    fixture.reply(WakeAnswer::AtMax);
    assert_eq!(pressed(&mut fixture), Some((2, true)));
    assert_eq!(ends(&mut fixture), 0);
    fixture.finish_one();
    fixture.pass(ms(0));
    assert_eq!(ends(&mut fixture), 1, "the one that was held is in flight");
    fixture.finish_one();
    fixture.pass(ms(3_000));
    assert_eq!(ends(&mut fixture), 0);
    fixture.configure(Route { policy: Policy { max: 7, ..limited(1) }, ..Route::default() });
    fixture.arrivals(2);
    assert_eq!(pressed(&mut fixture), Some((2, false)));
    fixture.finish_one();
    fixture.pass(ms(0));
    assert_eq!(ends(&mut fixture), 1);
    // Waits that nobody was told of have no end to tell.
    fixture.arrive();
    fixture.finish_one();
    fixture.pass(ms(0));
    assert_eq!(ends(&mut fixture), 0);
}

#[test]
fn pressure_of_another_moment_is_told_again_though_there_can_be_no_more() {
    let mut fixture = Fixture::led(limited(1));
    fixture.pods(vec![ready("a")]);
    fixture.arrivals(2);
    pressed(&mut fixture);
    fixture.reply(WakeAnswer::AtMax);
    for moment in 0..3 {
        assert_eq!(pressed(&mut fixture), Some((2, true)), "moment {moment}");
        assert_eq!(pressed(&mut fixture), None, "moment {moment}");
        fixture.finish_one();
        fixture.pass(ms(0));
        assert_eq!(ends(&mut fixture), 1, "moment {moment}");
        fixture.finish_one();
        assert_eq!(pressed(&mut fixture), None, "nothing waits");
        fixture.arrivals(2);
    }
}

#[test]
fn pressure_of_another_moment_is_told_anew_while_the_same_pods_are_pending() {
    let mut fixture = Fixture::led(limited(1));
    fixture.pods(vec![ready("a"), pending("b", None)]);
    for moment in 0..3 {
        fixture.arrivals(2);
        // What the leader was told before has ended there: the first word is none that stands.
        assert_eq!(pressed(&mut fixture), Some((2, false)), "moment {moment}");
        assert_eq!(pressed(&mut fixture), Some((2, true)), "moment {moment}");
        assert_eq!(pressed(&mut fixture), None, "moment {moment}");
        fixture.finish_one();
        fixture.pass(ms(0));
        assert_eq!(ends(&mut fixture), 1, "moment {moment}");
        fixture.finish_one();
    }
}
