//! Which pod takes the next request, when loads differ and when one has just failed.

use super::*;

fn load(fixture: &Fixture, name: &str) -> u32 {
    let state = fixture.revision.snapshot();
    state.pods.iter().find(|pod| *pod.uid == *name).map_or(0, |pod| pod.in_flight)
}

/// The oldest exchange ends without the head of a response.
pub(super) fn break_one_off(fixture: &mut Fixture) -> String {
    let grant = fixture.open.remove(0);
    fixture.event(|revision, now, out| revision.broke_off(grant.key, now, out));
    grant.uid.to_string()
}

fn other(name: &str) -> &'static str {
    if name == "a" { "b" } else { "a" }
}

#[test]
fn of_two_pods_the_one_with_less_to_do_is_next() {
    let mut fixture = Fixture::new(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.arrivals(10);
    fixture.pods(vec![ready("a"), ready("b")]);
    fixture.arrivals(10);
    assert_eq!((load(&fixture, "a"), load(&fixture, "b")), (10, 10));
}

#[test]
fn with_a_limit_the_newcomer_is_filled_up_first() {
    let mut fixture = Fixture::new(limited(10));
    fixture.pods(vec![ready("a")]);
    fixture.arrivals(8);
    fixture.pods(vec![ready("a"), ready("b")]);
    fixture.arrivals(8);
    assert_eq!((load(&fixture, "a"), load(&fixture, "b")), (8, 8));
}

#[test]
fn a_pod_that_just_failed_gets_less_until_it_ends_something_well() {
    for refused in [true, false] {
        let mut fixture = Fixture::new(Policy::default());
        fixture.pods(vec![ready("a"), ready("b")]);
        fixture.arrive();
        let failed = if refused {
            let failed = fixture.open[0].uid.to_string();
            assert!(matches!(fixture.refuse_one(), Arrival::Dispatched(_)));
            failed
        } else {
            break_one_off(&mut fixture)
        };
        fixture.arrivals(500);
        let (less, more) = (load(&fixture, &failed), load(&fixture, other(&failed)));
        // Four times the weight: a fifth of the load.
        assert!((95..=105).contains(&less) && more >= 395, "{less} and {more}");
        let well = fixture.open.iter().position(|grant| *grant.uid == *failed).unwrap();
        fixture.open.swap(0, well);
        fixture.finish_one();
        fixture.arrivals(300);
        let (less, more) = (load(&fixture, &failed), load(&fixture, other(&failed)));
        assert!(less.abs_diff(more) <= 5, "{less} and {more}");
    }
}

#[test]
fn with_a_limit_a_second_attempt_goes_to_another_pod_of_the_same_load() {
    let mut fixture = Fixture::new(limited(2));
    fixture.pods(vec![ready("a"), ready("b")]);
    fixture.arrive();
    let failed = break_one_off(&mut fixture);
    fixture.arrive();
    assert_eq!(load(&fixture, other(&failed)), 1, "the other one has it");
    fixture.arrive();
    assert_eq!(load(&fixture, &failed), 1, "and the one that failed is the one with less to do now");
}

#[test]
fn a_pod_that_breaks_off_is_never_set_aside_for_it() {
    let mut fixture = Fixture::new(Policy::default());
    fixture.pods(vec![ready("a")]);
    for _ in 0..10 {
        assert!(matches!(fixture.arrive(), Arrival::Dispatched(_)), "it is all there is");
        break_one_off(&mut fixture);
    }
}

#[test]
fn a_pod_that_was_set_aside_takes_nothing_new_with_free_slots() {
    let mut fixture = Fixture::new(limited(10));
    fixture.pods(vec![ready("a"), ready("b")]);
    for refused in 0..2 {
        fixture.arrive();
        // It has the fewest exchanges, although it just failed.
        fixture.open.swap(0, refused);
        assert_eq!(*fixture.open[0].uid, *"a");
        let Arrival::Dispatched(again) = fixture.refuse_one() else { panic!("the other one has room") };
        assert_eq!(*again.uid, *"b");
    }
    fixture.arrivals(3);
    assert_eq!((load(&fixture, "a"), load(&fixture, "b")), (0, 5));
}
