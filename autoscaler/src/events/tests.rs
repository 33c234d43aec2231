use std::time::Duration;

use tokio::time::Instant;

use super::{Aggregator, Notice, QUIET, Subject, event};

fn notice(name: &str, reason: &'static str, note: &str) -> Notice {
    let subject = Subject { namespace: "shop".into(), name: name.into(), uid: name.into() };
    Notice { subject, reason, warning: false, note: note.into() }
}

#[test]
fn the_first_of_a_kind_is_told_at_once_and_the_last_of_a_minute_at_its_end() {
    let mut aggregator = Aggregator::default();
    let now = Instant::now();
    let first = notice("hello", "ScaledUp", "1 to 2");
    assert_eq!(aggregator.offer(first.clone(), now), Some(first));
    assert_eq!(aggregator.offer(notice("hello", "ScaledUp", "2 to 3"), now), None);
    assert_eq!(aggregator.offer(notice("hello", "ScaledUp", "3 to 4"), now), None);
    assert_eq!(aggregator.due(now + QUIET - Duration::from_millis(1)), []);
    let due = aggregator.due(now + QUIET);
    assert_eq!(due, [notice("hello", "ScaledUp", "3 to 4 (the last of 2 within a minute)")]);
    // Telling it began another minute.
    assert_eq!(aggregator.offer(notice("hello", "ScaledUp", "4 to 5"), now + QUIET), None);
}

#[test]
fn other_kinds_and_other_functions_have_minutes_of_their_own() {
    let mut aggregator = Aggregator::default();
    let now = Instant::now();
    for told in
        [notice("hello", "ScaledUp", ""), notice("hello", "Woken", ""), notice("other", "ScaledUp", "")]
    {
        assert!(aggregator.offer(told, now).is_some());
    }
}

#[test]
fn a_quiet_minute_is_forgotten() {
    let mut aggregator = Aggregator::default();
    let now = Instant::now();
    aggregator.offer(notice("hello", "ScaledUp", ""), now);
    assert_eq!(aggregator.due(now + QUIET), []);
    assert!(aggregator.quiet.is_empty());
}

#[test]
fn a_note_is_cut_at_what_kubernetes_takes() {
    let event = event(&notice("hello", "ScaledUp", &"é".repeat(1_000)), "catnap-autoscaler-0");
    let note = event.note.unwrap();
    assert!(note.len() <= 1_024);
    assert!(note.starts_with('é'));
}
