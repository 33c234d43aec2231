//! Who gets places and bytes, and that none is lost.

use super::*;

#[test]
fn a_permit_is_free_again_when_dropped() {
    let budgets = Budgets::new(1, 1_000, 1, 1);
    let share = budgets.namespace(&"a".into()).share(&"one".into());
    let permit = share.hold(Standing::New).expect("a place");
    assert_eq!(budgets.held(), 1);
    assert_eq!(share.hold(Standing::New).expect_err("full"), Trouble::overloaded());
    drop(permit);
    assert_eq!(budgets.held(), 0);
    share.hold(Standing::New).expect("the place that is free again");
}

/// Permits of the function until one is refused, and why that one is.
fn fill(budgets: &Arc<Budgets>, namespace: &str, function: &str) -> (Vec<HeldPermit>, Trouble) {
    let mut permits = Vec::new();
    loop {
        // Asked for anew each time, as each of its queues does.
        match budgets.namespace(&namespace.into()).share(&function.into()).hold(Standing::New) {
            Ok(permit) => permits.push(permit),
            Err(trouble) => return (permits, trouble),
        }
    }
}

#[test]
fn a_function_leaves_places_for_others_of_its_namespace_and_those_for_other_namespaces() {
    let budgets = Budgets::new(1_000, 1_000, 1, 1);
    let (flood, refused) = fill(&budgets, "a", "flood");
    assert_eq!((flood.len(), refused), (334, Trouble::function_share_used(334, 332)));
    let (neighbour, refused) = fill(&budgets, "a", "neighbour");
    assert_eq!((neighbour.len(), refused), (111, Trouble::function_share_used(111, 110)));
    assert!(fill(&budgets, "a", "flood").0.is_empty(), "it has more than its share by now");
    assert_eq!(fill(&budgets, "b", "other").0.len(), 185, "a third of what is free");
    drop(flood);
    assert_eq!(fill(&budgets, "b", "other").0.len(), 297, "what is given back is for all");
}

#[test]
fn a_namespace_of_many_functions_holds_no_more_than_what_is_free() {
    let budgets = Budgets::new(1_000, 1_000, 1, 1);
    let many: Vec<_> = (0..100).map(|number| fill(&budgets, "a", &number.to_string())).collect();
    assert_eq!(many.iter().map(|(permits, _)| permits.len()).sum::<usize>(), 500);
    assert_eq!(many[99].1, Trouble::share_used(500, 500));
    assert_eq!(fill(&budgets, "b", "other").0.len(), 167);
}

#[test]
fn bytes_are_shared_like_places() {
    let budgets = Budgets::new(1, 1_000, 1, 1);
    let (first, second) = (
        budgets.namespace(&"a".into()).share(&"one".into()),
        budgets.namespace(&"b".into()).share(&"one".into()),
    );
    let neighbour = budgets.namespace(&"a".into()).share(&"two".into());
    let permit = first.hold_bytes(300, Standing::New).expect("less than a third");
    assert_eq!(
        first.hold_bytes(100, Standing::New).expect_err("more than a third"),
        Trouble::bytes_used(300, 300, 700)
    );
    let small = first.hold_bytes(30, Standing::New).expect("a third of all");
    assert!(first.hold_bytes(10, Standing::New).is_err());
    let beside = neighbour.hold_bytes(100, Standing::New).expect("a third of what its namespace may have");
    assert!(neighbour.hold_bytes(30, Standing::New).is_err());
    let other = second.hold_bytes(190, Standing::New).expect("a third of what is left");
    assert!(second.hold_bytes(1, Standing::New).is_err());
    assert_eq!(budgets.held_bytes(), 620);
    drop((permit, beside, other));
    assert_eq!(budgets.held_bytes(), 30);
    second.hold_bytes(320, Standing::New).expect("a third of what is free");
    drop(small);
    assert!(first.hold_bytes(usize::MAX, Standing::New).is_err());
    assert_eq!(budgets.held_bytes(), 0);
}

#[test]
fn who_was_admitted_before_is_not_refused_for_the_share() {
    let budgets = Budgets::new(10, 1_000, 1, 1);
    let (first, _) = fill(&budgets, "a", "one");
    let share = budgets.namespace(&"a".into()).share(&"one".into());
    let again: Vec<_> = std::iter::from_fn(|| share.hold(Standing::Admitted).ok()).collect();
    assert_eq!((first.len(), again.len()), (4, 6));
    assert_eq!(share.hold(Standing::Admitted).expect_err("full"), Trouble::overloaded());
}

#[test]
fn bytes_of_who_was_admitted_before_are_not_refused_for_the_share() {
    let budgets = Budgets::new(1, 1_000, 1, 1);
    let share = budgets.namespace(&"a".into()).share(&"one".into());
    let _first = share.hold_bytes(300, Standing::New).expect("less than a third");
    let again = share.hold_bytes(700, Standing::Admitted).expect("as much as is free");
    let refused = share.hold_bytes(1, Standing::Admitted).expect_err("full");
    assert_eq!(refused, Trouble::bytes_used(1_000, 1_000, 0));
    drop(again);
    assert!(share.hold_bytes(701, Standing::Admitted).is_err(), "more than is free");
    assert_eq!(budgets.held_bytes(), 300);
}

/// What a function gets that holds nothing, while others hold all that they may.
fn gets(namespace: &str, full: impl Iterator<Item = (String, String)>) -> usize {
    let budgets = Budgets::new(100_000, 1_000, 1, 1);
    let _full: Vec<_> = full.map(|(namespace, name)| fill(&budgets, &namespace, &name)).collect();
    fill(&budgets, namespace, "other").0.len()
}

#[test]
fn after_many_that_flood_there_is_something_left_for_who_holds_little() {
    let functions = (0..30).map(|number| ("a".to_owned(), number.to_string()));
    assert_eq!(gets("a", functions), 97, "of the same namespace");
    let namespaces = (0..60).map(|number| (number.to_string(), "one".to_owned()));
    assert_eq!(gets("b", namespaces), 97, "of another one");
}

#[test]
fn so_it_is_with_bytes() {
    let budgets = Budgets::new(1, 1 << 20, 1, 1);
    let namespace = budgets.namespace(&"a".into());
    let shares: Vec<_> = (0..20).map(|number| namespace.share(&number.to_string().into())).collect();
    let flood = |share: &Arc<Share>| -> Vec<_> {
        std::iter::from_fn(|| share.hold_bytes(64, Standing::New).ok()).collect()
    };
    let held: Vec<_> = shares.iter().map(flood).collect();
    assert_eq!(held[0].len(), (1 << 20) / 64 / 3);
    assert_eq!(held[19].len(), 16, "a thousandth, when the others have flooded");
}

#[test]
fn who_holds_nothing_is_forgotten() {
    let budgets = Budgets::new(10, 1_000, 1, 1);
    let namespace = budgets.namespace(&"a".into());
    let (permits, _) = fill(&budgets, "a", "one");
    assert_eq!(namespace.shares.lock().len(), 1);
    drop(permits);
    assert_eq!(namespace.shares.lock().len(), 0);
    assert_eq!(budgets.namespaces.lock().len(), 1);
    drop(namespace);
    assert_eq!(budgets.namespaces.lock().len(), 0);
}

#[test]
fn threads_never_hold_more_than_there_are_places() {
    let budgets = Budgets::new(100, 1_000, 1, 1);
    std::thread::scope(|scope| {
        for (namespace, function) in [("a", "one"), ("a", "one"), ("a", "two"), ("b", "one")] {
            let share = budgets.namespace(&namespace.into()).share(&function.into());
            scope.spawn(move || {
                for _ in 0..1_000 {
                    let permits: Vec<_> = (0..60).map_while(|_| share.hold(Standing::New).ok()).collect();
                    assert!(share.namespace.budgets.held() <= 100);
                    drop(permits);
                }
            });
        }
    });
    assert_eq!(budgets.held(), 0);
    assert_eq!(fill(&budgets, "a", "one").0.len(), 34, "nothing is lost or counted twice");
}

#[test]
fn who_finds_no_token_is_told_when_there_is_one() {
    let budgets = Budgets::new(1, 1_000, 1, 3);
    let mut now = Duration::ZERO;
    for _ in 0..10 {
        if budgets.probe(now).is_ok() {
            now = budgets.probe(now).expect_err("the only one is taken");
        } else {
            now = budgets.probe(now).expect_err("none yet");
        }
        assert!(now <= Duration::from_secs(5), "{now:?}");
    }
    assert!(now >= Duration::from_secs(3), "{now:?}");
}

#[test]
fn probes_are_limited_by_the_second() {
    let budgets = Budgets::new(1, 1_000, 1, 2_000);
    let allowed = |milliseconds: u64| {
        (0..1_000).take_while(|_| budgets.probe(Duration::from_millis(milliseconds)).is_ok()).count()
    };
    assert_eq!(allowed(0), 200);
    assert_eq!(allowed(10), 20);
    assert_eq!(allowed(5_000), 200);
}
