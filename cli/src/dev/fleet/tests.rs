//! Counts written, replicas started and stopped, without any process.

use std::sync::Mutex;

use super::*;

type Started = Arc<Mutex<Vec<(PodUid, CancellationToken)>>>;

fn fleet() -> (Fleet, Started) {
    let started = Started::default();
    let record = Arc::clone(&started);
    let start: Start = Box::new(move |uid, _, stop| record.lock().unwrap().push((uid, stop)));
    (Fleet::new("hello", start), started)
}

fn write(fleet: &mut Fleet, replicas: u32) {
    let (_, version) = fleet.scale();
    fleet.write(replicas, &version).unwrap();
}

fn stopped(started: &Started) -> Vec<String> {
    let started = started.lock().unwrap();
    started.iter().filter(|(_, stop)| stop.is_cancelled()).map(|(uid, _)| uid.to_string()).collect()
}

#[test]
fn a_write_starts_replicas_with_an_address_each() {
    let (mut fleet, started) = fleet();
    write(&mut fleet, 3);
    assert_eq!(started.lock().unwrap().len(), 3);
    let pods = fleet.pods();
    let ports: std::collections::BTreeSet<_> = pods.iter().map(|pod| pod.address.unwrap().port()).collect();
    assert_eq!(ports.len(), 3);
    assert!(pods.iter().all(|pod| !pod.ready && !pod.started && !pod.terminating));
    assert_eq!(fleet.counts(), (0, 3));
}

#[test]
fn a_stale_write_is_refused_and_changes_nothing() {
    let (mut fleet, started) = fleet();
    let (_, version) = fleet.scale();
    fleet.write(1, &version).unwrap();
    assert_eq!(fleet.write(0, &version), Err(Conflict));
    assert_eq!(fleet.scale().0, 1);
    assert_eq!(stopped(&started), Vec::<String>::new());
}

#[test]
fn those_that_are_not_ready_go_first_then_the_youngest() {
    let (mut fleet, started) = fleet();
    write(&mut fleet, 3);
    for uid in ["hello-2", "hello-3"] {
        fleet.told(&uid.into(), Event::Started);
        fleet.told(&uid.into(), Event::Ready(true));
    }
    assert_eq!(fleet.counts(), (2, 3));
    write(&mut fleet, 2);
    assert_eq!(stopped(&started), ["hello-1"]);
    write(&mut fleet, 1);
    assert_eq!(stopped(&started), ["hello-1", "hello-3"]);
    assert!(fleet.pods().iter().any(|pod| pod.terminating), "they are seen until they are gone");
    fleet.told(&"hello-1".into(), Event::Gone);
    fleet.told(&"hello-3".into(), Event::Gone);
    assert_eq!(fleet.pods().len(), 1);
}

#[test]
fn a_replica_that_ends_although_it_is_wanted_is_replaced() {
    let (mut fleet, started) = fleet();
    write(&mut fleet, 1);
    fleet.told(&"hello-1".into(), Event::Gone);
    assert_eq!(started.lock().unwrap().last().unwrap().0, "hello-2".into());
    assert_eq!(fleet.counts(), (0, 1));
}

#[test]
fn a_crash_is_not_ready_and_carries_its_trouble_until_the_next_start() {
    let (mut fleet, _) = fleet();
    write(&mut fleet, 1);
    let uid: PodUid = "hello-1".into();
    fleet.told(&uid, Event::Started);
    fleet.told(&uid, Event::Ready(true));
    let trouble = Trouble { reason: catnap_activator_core::Reason::CrashLoop, detail: "ended".into() };
    fleet.told(&uid, Event::Crashed(Some(trouble.clone())));
    assert_eq!(fleet.pods()[0].trouble, Some(trouble));
    assert!(!fleet.pods()[0].ready);
    fleet.told(&uid, Event::Started);
    assert_eq!(fleet.pods()[0].trouble, None);
}

#[test]
fn renewed_replicas_are_as_many_others() {
    let (mut fleet, started) = fleet();
    write(&mut fleet, 2);
    fleet.renew();
    assert_eq!(stopped(&started), ["hello-1", "hello-2"]);
    assert_eq!((started.lock().unwrap().len(), fleet.counts(), fleet.scale().0), (4, (0, 2), 2));
    fleet.stop_all();
    fleet.renew();
    assert_eq!((started.lock().unwrap().len(), fleet.counts()), (4, (0, 0)));
}
