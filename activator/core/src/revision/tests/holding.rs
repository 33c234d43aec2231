//! Requests wait, in order, and end early when waiting cannot help.

use super::*;
use rstest::rstest;

#[test]
fn held_requests_are_granted_in_order_when_a_pod_answers() {
    let mut fixture = Fixture::new(Policy::default());
    fixture.arrivals(3);
    fixture.pods(vec![starting("a")]);
    assert!(fixture.granted().is_empty());
    fixture.probed("a", true);
    let granted: Vec<u64> = fixture.granted().into_iter().map(|(ticket, _)| ticket).collect();
    assert_eq!(granted, [0, 1, 2]);
    assert!(matches!(fixture.arrive(), Arrival::Dispatched(_)));
}

#[test]
fn a_request_that_left_is_passed_over() {
    let mut fixture = Fixture::new(limited(1));
    fixture.arrivals(3);
    assert!(fixture.revision.leave(Ticket(0), fixture.now));
    fixture.ledger.left(Ticket(0)).expect("it was held");
    assert!(!fixture.revision.leave(Ticket(0), fixture.now));
    fixture.pods(vec![ready("a")]);
    assert_eq!(fixture.granted(), [(1, "a".to_owned())]);
}

#[test]
fn the_queue_and_the_process_have_a_last_place() {
    let mut fixture = Fixture::new(Policy { max_requests: 2, ..Policy::default() });
    fixture.arrivals(2);
    let Arrival::Refused(trouble) = fixture.arrive() else { panic!("a full queue") };
    assert_eq!(trouble.reason, Reason::QueueFull);

    let share = fixture.budgets.namespace(&"other".into()).share(&"other".into());
    let others: Vec<_> = std::iter::from_fn(|| share.hold(Standing::Admitted).ok()).collect();
    assert_eq!(others.len(), 9_998);
    fixture.configure(Route::default());
    let Arrival::Refused(trouble) = fixture.arrive() else { panic!("a full process") };
    assert_eq!(trouble.reason, Reason::ProcessOverloaded);
    drop(others);
    assert_eq!(fixture.arrive(), Arrival::Held);
}

#[rstest]
#[case::nothing_known(vec![], Reason::ActivationTimeout, "no pod answered within 60 s (0 known)")]
#[case::no_node(
    vec![pending("a", Some((Reason::Unschedulable, "0/2 nodes are available")))],
    Reason::Unschedulable,
    "0/2 nodes are available"
)]
#[case::no_answer(vec![starting("a")], Reason::ActivationTimeout, "no pod answered within 60 s (1 known)")]
fn the_end_of_the_wait_says_what_is_known(
    #[case] pods: Vec<Pod>,
    #[case] reason: Reason,
    #[case] detail: &str,
) {
    let mut fixture = Fixture::new(Policy::default());
    fixture.arrive();
    fixture.pods(pods);
    fixture.pass(ms(59_999));
    assert!(fixture.failed().is_empty());
    fixture.pass(ms(1));
    assert_eq!(fixture.failed(), [(0, reason, detail.to_owned())]);
}

#[test]
fn a_quota_is_named_at_the_end_and_never_ends_the_wait() {
    let trouble = Some(Trouble { reason: Reason::QuotaExceeded, detail: "pods: 10".into() });
    let mut fixture = Fixture::new(Policy::default());
    fixture.configure(Route { trouble, ..Route::default() });
    fixture.arrive();
    fixture.pass(ms(30_000));
    assert!(fixture.failed().is_empty());
    fixture.pass(ms(30_000));
    assert_eq!(fixture.failed(), [(0, Reason::QuotaExceeded, "pods: 10".to_owned())]);
}

#[test]
fn busy_pods_at_the_end_of_the_wait() {
    let mut fixture = Fixture::new(limited(1));
    fixture.pods(vec![ready("a")]);
    fixture.arrivals(2);
    fixture.pass(ms(60_000));
    let failed = fixture.failed();
    assert_eq!(failed, [(1, Reason::ActivationTimeout, "all 1 pods were busy for 60 s".to_owned())]);
}

#[test]
fn a_pod_that_kubernetes_calls_ready_but_that_refuses_is_unreachable() {
    let mut fixture = Fixture::new(limited(1));
    fixture.pods(vec![ready("a")]);
    fixture.arrive();
    assert!(matches!(fixture.refuse_one(), Arrival::Dispatched(_)));
    assert_eq!(fixture.refuse_one(), Arrival::Held);
    fixture.pass(ms(60_000));
    let failed = fixture.failed();
    assert_eq!(failed[0].1, Reason::PodUnreachable);
}

#[test]
fn the_wait_ends_early_when_no_pod_can_come() {
    let broken = |name| pending(name, Some((Reason::ImagePullFailed, "no such image")));
    let mut fixture = Fixture::new(Policy::default());
    fixture.arrive();
    fixture.pods(vec![broken("a"), pending("b", None)]);
    assert!(fixture.failed().is_empty(), "one may still come");
    fixture.pods(vec![broken("a"), broken("b")]);
    assert_eq!(fixture.failed(), [(0, Reason::ImagePullFailed, "no such image".to_owned())]);
    let Arrival::Refused(trouble) = fixture.arrive() else { panic!("still hopeless") };
    assert_eq!(trouble.reason, Reason::ImagePullFailed);
    fixture.pods(vec![]);
    assert_eq!(fixture.arrive(), Arrival::Held, "the next pod may do better");
}

#[test]
fn without_traffic_nothing_is_taken() {
    let mut fixture = Fixture::new(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.configure(Route { routed: false, ..Route::default() });
    assert_eq!(fixture.arrive(), Arrival::NotRouted);
}

#[test]
fn the_phases_of_a_cold_start_are_the_whole_wait() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.arrive();
    fixture.now = ms(20);
    fixture.reply(WakeAnswer::Written { replicas: 1 });
    fixture.now = ms(100);
    fixture.pods(vec![pending("a", None)]);
    fixture.now = ms(500);
    fixture.pods(vec![starting("a")]);
    fixture.now = ms(800);
    fixture.pods(vec![Pod { started: true, ..starting("a") }]);
    fixture.now = ms(1_000);
    fixture.probed("a", true);
    let phases = fixture.open[0].phases.expect("it waited");
    assert!(phases.cold);
    assert_eq!((phases.wake, phases.schedule), (ms(20), ms(480)));
    assert_eq!((phases.start, phases.ready, phases.queue), (ms(300), ms(200), ms(0)));
}
