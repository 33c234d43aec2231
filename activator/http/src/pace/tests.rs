use super::*;

const LONGEST: Duration = Duration::from_secs(60);

/// A connection that is looked at once a second: in which second it is late, when so many bytes move in each.
fn late_after(pace: &Pace, received: u64, sent: u64) -> Option<u64> {
    let start = Instant::now();
    (0..1_000).find(|second| {
        let so_far = SoFar { received: second * received, sent: second * sent };
        pace.is_late(so_far, LONGEST, start + Duration::from_secs(*second))
    })
}

#[test]
fn who_is_not_waited_for_is_never_late() {
    assert_eq!(late_after(&Pace::default(), 0, 0), None);
}

#[test]
fn a_slow_reader_is_late_after_its_time() {
    let pace = Pace::default();
    pace.sending(true);
    assert_eq!(late_after(&pace, 0, 0), Some(60));
    assert_eq!(late_after(&pace, 0, LEAST_BYTES_A_SECOND - 1), Some(60), "a drop now and then buys no time");
    assert_eq!(late_after(&pace, 0, LEAST_BYTES_A_SECOND), None);
    pace.sending(false);
    assert_eq!(late_after(&pace, 0, 0), None);
}

#[test]
fn an_upload_of_known_length_must_not_dawdle() {
    let pace = Pace::default();
    pace.awaits(Some(Upload::Sized));
    assert_eq!(late_after(&pace, 100, 0), Some(60));
    assert_eq!(late_after(&pace, LEAST_BYTES_A_SECOND, 0), None);
    pace.awaits(Some(Upload::Unsized));
    assert_eq!(late_after(&pace, 0, 0), Some(60));
    assert_eq!(late_after(&pace, 1, 0), None, "events come when they happen");
    pace.awaits(None);
    assert_eq!(late_after(&pace, 0, 0), None);
}

#[test]
fn a_window_that_stays_closed_is_late() {
    let pace = Pace::default();
    let start = Instant::now();
    let is_late = |seconds: u64| {
        let so_far = SoFar { sent: 99 * seconds, ..SoFar::default() };
        pace.is_late(so_far, LONGEST, start + Duration::from_secs(seconds))
    };
    pace.set_window_closed(true);
    assert!(!is_late(0));
    pace.delivered(60 * LEAST_BYTES_A_SECOND);
    assert!(!is_late(60), "enough left in this minute");
    pace.delivered(LEAST_BYTES_A_SECOND);
    assert!(is_late(120), "pings are not");
    pace.set_window_closed(false);
    assert!(!is_late(121));
}

#[test]
fn waiting_for_something_else_begins_anew() {
    let pace = Pace::default();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    pace.awaits(Some(Upload::Sized));
    assert!(!pace.is_late(SoFar::default(), LONGEST, at(0)));
    pace.awaits(None);
    pace.sending(true);
    assert!(!pace.is_late(SoFar::default(), LONGEST, at(60)));
    assert!(pace.is_late(SoFar::default(), LONGEST, at(120)));
}
