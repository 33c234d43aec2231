use proptest::prelude::*;

use super::*;

fn claimant(path: &str) -> Claimant {
    let (namespace, name) = path.split_once('/').unwrap();
    Claimant { namespace: namespace.into(), name: name.into() }
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn age(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn wishes(hosts: &[&str]) -> Vec<Wish> {
    hosts.iter().map(|text| Wish { host: host(text), had: false }).collect()
}

impl Book {
    /// `namespace/name`, made at a second, asks for these.
    fn asks(&mut self, who: &str, created: i64, hosts: &[&str]) {
        self.observe(&claimant(who), &format!("{who}@{created}"), age(created), wishes(hosts));
    }

    fn settled(&mut self) -> Vec<String> {
        self.settle().iter().map(ToString::to_string).collect()
    }

    /// Who has it, as somebody who asks for it is told.
    fn said(&self, who: &str, text: &str) -> String {
        match self.verdict(&claimant(who), &host(text)) {
            ClaimState::Has => "has it".into(),
            ClaimState::Taken { host, by } => format!("{by} has {host}"),
            ClaimState::Unsettled => "unsettled".into(),
        }
    }
}

#[test]
fn the_oldest_first_claim_wins_in_whatever_order_they_are_seen() {
    for order in [["a/young", "b/old"], ["b/old", "a/young"]] {
        let mut book = Book::default();
        for who in order {
            book.asks(who, if who == "b/old" { 1 } else { 2 }, &["x.example.com"]);
        }
        assert_eq!(book.said("b/old", "x.example.com"), "unsettled");
        book.settle();
        assert_eq!(book.said("b/old", "x.example.com"), "has it");
        assert_eq!(book.said("a/young", "x.example.com"), "b/old has x.example.com");
    }
}

#[test]
fn of_the_same_age_the_first_by_name_wins() {
    let mut book = Book::default();
    for who in ["b/a", "a/z", "a/y"] {
        book.asks(who, 1, &["x.example.com"]);
    }
    book.settle();
    assert_eq!(book.said("a/y", "x.example.com"), "has it");
}

#[test]
fn age_is_nothing_against_who_has_it() {
    let mut book = Book::default();
    book.asks("a/young", 9, &["x.example.com"]);
    assert_eq!(book.settled(), ["a/young"]);
    book.asks("b/old", 1, &["x.example.com"]);
    assert_eq!(book.settled(), ["b/old"], "it is told why not");
    assert_eq!(book.said("b/old", "x.example.com"), "a/young has x.example.com");
    book.asks("b/old", 1, &["x.example.com"]);
    assert!(book.settled().is_empty(), "nothing changed");
}

#[test]
fn after_a_change_of_leader_who_had_it_keeps_it() {
    let mut book = Book::default();
    book.asks("b/old", 1, &["x.example.com"]);
    let had = vec![Wish { host: host("x.example.com"), had: true }];
    book.observe(&claimant("a/young"), "uid", age(9), had.clone());
    book.settle();
    assert_eq!(book.said("a/young", "x.example.com"), "has it");

    // Two statuses that say so, which only an older version or somebody else can have written.
    let mut book = Book::default();
    book.observe(&claimant("a/young"), "uid", age(9), had.clone());
    book.observe(&claimant("b/old"), "uid", age(1), had);
    book.settle();
    assert_eq!(book.said("b/old", "x.example.com"), "has it");
}

#[test]
fn what_is_given_up_goes_to_the_oldest_who_waits() {
    let mut book = Book::default();
    book.asks("a/first", 1, &["x.example.com", "y.example.com"]);
    book.asks("b/third", 3, &["x.example.com"]);
    book.asks("c/second", 2, &["x.example.com"]);
    book.settle();
    book.asks("a/first", 1, &["y.example.com"]);
    assert_eq!(book.settled(), ["b/third", "c/second"]);
    assert_eq!(book.said("c/second", "x.example.com"), "has it");
    assert_eq!(book.said("b/third", "x.example.com"), "c/second has x.example.com");
    assert_eq!(book.said("a/first", "y.example.com"), "has it");
    assert_eq!(book.said("a/first", "x.example.com"), "unsettled", "it does not ask");
}

#[test]
fn a_function_that_is_made_again_stands_at_the_end() {
    let mut book = Book::default();
    book.asks("a/hello", 1, &["x.example.com"]);
    book.asks("b/other", 2, &["x.example.com"]);
    book.settle();
    // Another UID under the same name, whether its deletion was seen or not.
    book.asks("a/hello", 3, &["x.example.com"]);
    book.settle();
    assert_eq!(book.said("b/other", "x.example.com"), "has it");
    assert_eq!(book.said("a/hello", "x.example.com"), "b/other has x.example.com");
    book.forget(&claimant("b/other"));
    book.settle();
    assert_eq!(book.said("a/hello", "x.example.com"), "has it");
    assert_eq!(book.said("b/other", "x.example.com"), "unsettled");
}

#[test]
fn a_wildcard_and_what_is_below_it_are_one_between_namespaces() {
    let mut book = Book::default();
    book.asks("a/wild", 1, &["*.example.com"]);
    book.asks("b/below", 2, &["x.example.com", "*.x.example.com"]);
    book.asks("b/beside", 3, &["example.com", "x.example-com.org"]);
    book.asks("c/around", 4, &["*.com.org", "*.example.org"]);
    book.settle();
    for text in ["x.example.com", "*.x.example.com"] {
        assert_eq!(book.said("b/below", text), "a/wild has *.example.com");
    }
    assert_eq!(book.said("b/beside", "example.com"), "has it");
    book.forget(&claimant("a/wild"));
    book.settle();
    assert_eq!(book.said("b/below", "*.x.example.com"), "has it");

    book.asks("a/wild", 5, &["*.example.com", "*.example.org"]);
    book.settle();
    assert_eq!(book.said("a/wild", "*.example.com"), "b/below has x.example.com");
    assert_eq!(book.said("a/wild", "*.example.org"), "c/around has *.example.org");
}

#[test]
fn inside_a_namespace_the_longer_name_is_another_host() {
    let mut book = Book::default();
    book.asks("a/wild", 1, &["*.example.com"]);
    book.asks("a/below", 2, &["x.example.com", "*.x.example.com"]);
    book.asks("a/again", 3, &["x.example.com"]);
    book.settle();
    assert_eq!(book.said("a/below", "x.example.com"), "has it");
    assert_eq!(book.said("a/below", "*.x.example.com"), "has it");
    assert_eq!(book.said("a/again", "x.example.com"), "a/below has x.example.com");
}

#[test]
fn one_more_who_waits_costs_no_look_at_the_others() {
    let mut book = Book::default();
    book.asks("a/first", 1, &["*.example.com"]);
    for number in 0..100 {
        book.asks(&format!("b/n{number}"), 2, &["x.example.com", "*.example.com"]);
    }
    book.settle();
    book.asks("c/last", 3, &["x.example.com"]);
    assert_eq!(book.clone().unsettled().len(), 1);
    assert_eq!(book.settled(), ["c/last"]);
    book.asks("a/first", 1, &[]);
    assert_eq!(book.clone().unsettled().len(), 201, "what is given up is looked at by all");
}

#[derive(Clone, Debug)]
enum Step {
    Asks { who: usize, again: u8, hosts: Vec<(usize, bool)> },
    Goes { who: usize },
}

const WHO: [&str; 6] = ["a/a", "a/b", "b/a", "b/b", "c/a", "c/b"];
const HOSTS: [&str; 8] = [
    "x.com.org",
    "*.com.org",
    "*.org.net",
    "a.x.com.org",
    "*.x.com.org",
    "b.x.com.org",
    "x.com-a.org",
    "org.net",
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wishes = proptest::collection::vec((0..HOSTS.len(), any::<bool>()), 0..4);
    let asks =
        (0..WHO.len(), 0..2_u8, wishes).prop_map(|(who, again, hosts)| Step::Asks { who, again, hosts });
    let goes = (0..WHO.len()).prop_map(|who| Step::Goes { who });
    proptest::collection::vec(prop_oneof![4 => asks, 1 => goes], 1..30)
}

fn take(book: &mut Book, step: &Step) {
    match step {
        Step::Asks { who, again, hosts } => {
            let wishes =
                hosts.iter().map(|(index, had)| Wish { host: host(HOSTS[*index]), had: *had }).collect();
            let created = age(i64::try_from(*who).unwrap() % 3 + i64::from(*again) * 10);
            book.observe(&claimant(WHO[*who]), &format!("{who}-{again}"), created, wishes);
        }
        Step::Goes { who } => book.forget(&claimant(WHO[*who])),
    }
}

fn check(book: &Book) -> Result<(), TestCaseError> {
    for (one, holder) in &book.held {
        for (other, other_holder) in &book.held {
            let conflict = one.overlaps(other) && holder.namespace != other_holder.namespace;
            prop_assert!(!conflict, "{holder} has {one} and {other_holder} has {other}");
        }
        let asks =
            book.asking.get(holder).is_some_and(|asking| asking.wishes.iter().any(|wish| wish.host == *one));
        prop_assert!(asks, "{holder} does not ask for {one}");
    }
    for (place, obstacle) in book.waiting.values().flatten() {
        let (host, by) = obstacle.as_ref().unwrap();
        prop_assert_eq!(book.held.get(host), Some(by), "{:?} waits for nothing", place);
        prop_assert!(host.overlaps(&place.host));
    }
    for (who, asking) in &book.asking {
        for wish in &asking.wishes {
            prop_assert_ne!(book.verdict(who, &wish.host), ClaimState::Unsettled);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn nobody_has_what_another_namespace_has_and_nobody_waits_for_nothing(steps in steps()) {
        let mut book = Book::default();
        for step in &steps {
            let before = book.clone();
            take(&mut book, step);
            let changed = book.settle();
            check(&book)?;
            let actor = match step {
                Step::Asks { who, .. } | Step::Goes { who } => claimant(WHO[*who]),
            };
            for (host, holder) in before.held.iter().filter(|(_, holder)| **holder != actor) {
                prop_assert_eq!(book.held.get(host), Some(holder), "{} lost {}", holder, host);
            }
            for (who, asking) in &book.asking {
                for wish in &asking.wishes {
                    let told = before.verdict(who, &wish.host) == book.verdict(who, &wish.host)
                        || changed.contains(who);
                    prop_assert!(told || *who == actor, "{who} was not told about {}", wish.host);
                }
            }
            prop_assert!(book.settle().is_empty(), "settled twice");
        }
    }

    #[test]
    fn the_order_in_which_a_new_leader_sees_them_changes_nothing(steps in steps(), reversed in any::<bool>()) {
        let mut last: std::collections::BTreeMap<usize, &Step> = std::collections::BTreeMap::new();
        for step in &steps {
            if let Step::Asks { who, .. } = step {
                last.insert(*who, step);
            }
        }
        let mut seen: Vec<_> = last.into_values().collect();
        let mut one = Book::default();
        for step in &seen {
            take(&mut one, step);
        }
        one.settle();
        if reversed {
            seen.reverse();
        } else {
            let first = seen.len().min(1);
            seen.rotate_left(first);
        }
        let mut other = Book::default();
        for step in &seen {
            take(&mut other, step);
        }
        other.settle();
        prop_assert_eq!(one.held, other.held);
    }
}
