//! Which rule is named as the one that set the number.

use super::*;

#[rstest]
#[case::what_waits_asks_for_less_than_the_window(30.0, 0.0, 5, "Stable", 3)]
#[case::what_waits_asks_for_more(30.0, 0.0, 45, "Pressed", 5)]
#[case::panic_asks_for_no_more(50.0, 50.0, 0, "Stable", 5)]
#[case::panic_asks_for_more(30.0, 90.0, 0, "Panic", 9)]
fn the_rule_that_binds_is_the_one_that_set_the_number(
    #[case] stable: f64,
    #[case] panic: f64,
    #[case] pressed: u64,
    #[case] rule: &str,
    #[case] desired: u32,
) {
    let policy = Policy { limit: 10, ..ten() };
    let observation = Observation { pressed, busy: true, ..averages(stable, panic, 2) };
    let decision = decided(&policy, Stage::Routed, &observation);
    assert_eq!((decision.rule().unwrap().name(), decision.desired), (rule, desired), "{decision:?}");
}

#[test]
fn what_keeps_the_last_replica_and_what_lets_it_go_is_named() {
    let hold = Hold { from: Duration::ZERO, until: seconds(9), percent: 97 };
    let rule = |idle, outlook| {
        let observation = Observation { idle, outlook, ..averages(0.5, 0.0, 1) };
        decided(&ten(), Stage::Routed, &observation).rule().unwrap().clone()
    };
    assert_eq!(rule(false, Outlook::Unknown), Reason::NotIdle);
    assert_eq!(rule(false, Outlook::Likely(hold)), Reason::Likely(hold));
    assert_eq!(rule(true, Outlook::Unlikely(hold)), Reason::Unlikely(hold));
    assert_eq!(
        Reason::Unlikely(hold).to_string(),
        "learned: 97 percent of the idle times end within 9 s, and that has passed: 0"
    );
    assert_eq!(rule(true, Outlook::Unknown), Reason::Idle);
}
