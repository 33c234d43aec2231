//! What is not yet to be done, or not so often: pods in use, facts that do not agree, rounds that fail.

use super::*;

fn leaving(fixture: &Fixture) -> Vec<String> {
    fixture.leader.explain()[0].leaving.iter().map(ToString::to_string).collect()
}

/// What is put back, and when, for so long.
fn turns(fixture: &mut Fixture, length: Duration) -> Vec<(u64, String)> {
    let (begin, mut turns) = (fixture.now, Vec::new());
    let mut before = leaving(fixture).concat();
    while fixture.now < begin + length {
        fixture.pass(ms(25));
        let now = leaving(fixture).concat();
        if now != before && !now.is_empty() {
            turns.push((
                fixture.now.saturating_sub(begin).as_millis().div_ceil(1_000).try_into().unwrap(),
                now.clone(),
            ));
        }
        before = now;
    }
    turns
}

#[test]
fn a_stream_on_each_pod_keeps_them_all_and_they_are_tried_less_and_less() {
    let mut fixture = Fixture::surplus(facts(aged));
    fixture.loads(&[1, 1, 1, 1]);
    fixture.effects.clear();
    let turns = turns(&mut fixture, ms(1_000_000));
    let names: Vec<&str> = turns.iter().map(|(_, pods)| pods.as_str()).collect();
    assert_eq!(names[..5], ["pq", "rs", "pq", "rs", "pq"], "each has its turn: {turns:?}");
    let times: Vec<u64> = std::iter::once(0).chain(turns.iter().map(|(at, _)| *at)).collect();
    let lengths: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let expected = [5, 5, 10, 10, 20, 20, 40, 40, 80, 80, 160, 160, 160];
    assert!(
        lengths.iter().zip(expected).all(|(length, expected)| length.abs_diff(expected) <= 1),
        "{lengths:?}"
    );
    assert!(lengths.len() >= expected.len(), "{lengths:?}");
    assert!(fixture.marks().is_empty() && !fixture.asks_for_list(), "nobody is empty");
}

#[test]
fn pauses_between_rounds_that_fail_end_growing_and_begin_anew_after_one_that_does_not() {
    let mut fixture = Fixture::draining();
    let mut begun = Vec::new();
    for round in 1..=9 {
        fixture.frame(B, ActivatorFrame::Busy { revision: id(), gate: gate(round) });
        begun.push(fixture.now);
        fixture.effects.clear();
        while !fixture.asks_for_list() {
            fixture.pass(ms(25));
        }
        fixture.list(&["a", "b"]);
    }
    let pauses = |begun: &[Duration]| -> Vec<u64> {
        begun.windows(2).map(|pair| pair[1].saturating_sub(pair[0]).as_secs()).collect()
    };
    assert_eq!(pauses(&begun), [1, 2, 4, 8, 16, 32, 32, 32]);
    // This one does not fail.
    for stream in [A, B] {
        fixture.frame(stream, ActivatorFrame::Ack { revision: id(), gate: gate(10) });
    }
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    fixture.learn(fact(2, 12, true));
    fixture.pods(vec![aged("p"), aged("q")]);
    while leaving(&fixture).is_empty() {
        fixture.pass(ms(25));
    }
    let marked = leaving(&fixture);
    fixture.pods(["p", "q"].map(|uid| PodFact { marked: marked[0] == uid, ..aged(uid) }).into());
    let mut begun = Vec::new();
    for round in 11..=13 {
        fixture.effects.clear();
        while !fixture.asks_for_list() {
            fixture.pass(ms(25));
        }
        fixture.list(&["a", "b"]);
        fixture.frame(B, ActivatorFrame::Busy { revision: id(), gate: gate(round) });
        begun.push(fixture.now);
    }
    assert_eq!(pauses(&begun), [1, 2]);
}

#[rstest]
#[case::a_request_is_held(|fixture: &mut Fixture| fixture.wake(B, 1))]
#[case::there_is_no_room(|fixture: &mut Fixture| {
    let pressure = Pressure { revision: id(), held: 1, in_flight: 1, standing: true };
    fixture.frame(B, ActivatorFrame::Pressure(vec![pressure]));
})]
#[case::one_that_is_to_go_is_in_use(|fixture: &mut Fixture| fixture.loads(&[1, 0, 1, 0]))]
#[case::one_that_is_to_stay_is_not_ready(|fixture: &mut Fixture| {
    fixture.pods(facts(|uid| PodFact { ready: uid != "q", ..marked(uid, &["r", "s"]) }));
})]
#[case::one_that_is_to_stay_has_the_cost_too(|fixture: &mut Fixture| {
    fixture.pods(facts(|uid| marked(uid, &["q", "r", "s"])));
})]
#[case::a_pod_is_not_known(|fixture: &mut Fixture| {
    fixture.pods(facts(|uid| marked(uid, &["r", "s"])).into_iter().skip(1).collect());
})]
fn no_round_begins_while(#[case] event: fn(&mut Fixture)) {
    let mut fixture = Fixture::surplus(facts(aged));
    fixture.pods(facts(|uid| marked(uid, &["r", "s"])));
    fixture.pass(ms(900));
    event(&mut fixture);
    fixture.pass(ms(300));
    assert!(!fixture.asks_for_list(), "{:?}", fixture.leader.explain());
}

#[test]
fn victims_are_told_once_as_long_as_they_are_the_same() {
    let mut fixture = Fixture::surplus(facts(aged));
    fixture.pass(ms(3_000));
    for stream in [A, B] {
        let frames = fixture.sent(stream);
        let told = frames.iter().filter(|frame| matches!(frame, LeaderFrame::Avoid { .. }));
        assert_eq!(told.count(), 1, "{frames:?}");
    }
}

#[test]
fn one_that_went_by_itself_is_replaced_as_a_victim() {
    let mut fixture = Fixture::surplus(facts(aged));
    fixture.pods(facts(|uid| marked(uid, &["r", "s"])));
    fixture.pass(ms(500));
    // Somebody deleted r, and the controller made t, which is the youngest, in its place.
    let mut pods: Vec<_> =
        facts(|uid| marked(uid, &["s"])).into_iter().filter(|pod| *pod.uid != *"r").collect();
    pods.push(aged("t"));
    fixture.pods(pods);
    fixture.pass(ms(1_100));
    assert_eq!(leaving(&fixture), ["s", "t"]);
    assert!(!fixture.asks_for_list(), "t has no cost yet");
}

#[test]
fn a_need_that_rises_a_little_keeps_as_many_of_the_pods() {
    let mut fixture = Fixture::surplus(facts(aged));
    fixture.pods(facts(|uid| marked(uid, &["r", "s"])));
    fixture.effects.clear();
    // Three of four.
    for standing in [false, true] {
        let pressure = Pressure { revision: id(), held: 1, in_flight: 24, standing };
        fixture.frame(A, ActivatorFrame::Pressure(vec![pressure]));
        fixture.pass(ms(100));
    }
    assert_eq!(leaving(&fixture), ["s"]);
    assert_eq!(fixture.marks(), [("r".to_owned(), false)]);
}

#[test]
fn of_more_that_are_not_ready_only_as_many_go_as_are_too_many() {
    let starting = |uid: &str| PodFact { ready: uid == "p", ..aged(uid) };
    let mut fixture = Fixture::surplus(facts(starting));
    let seen = |uid: &str| PodFact { marked: uid != "p", ..starting(uid) };
    fixture.pods(facts(seen));
    while !fixture.asks_for_list() {
        assert!(fixture.now < ms(80_000), "{:?}", fixture.leader.explain());
        fixture.pass(ms(25));
    }
    fixture.list(&["a", "b"]);
    assert_eq!(fixture.sent(A).last(), Some(&drain(&["q", "r", "s"], &["p"])));
    fixture.ack(A);
    fixture.ack(B);
    assert_eq!(fixture.puts().remove(0).0, 2);
}

#[rstest]
#[case::the_controllers_have_not_seen_the_count(fact(4, 11, false), &ALL)]
#[case::there_are_more_than_the_count_says(fact(3, 11, true), &ALL)]
#[case::there_are_fewer(fact(4, 11, true), &["p", "q", "r"])]
fn nobody_is_chosen_while(#[case] scale: ScaleFact, #[case] pods: &[&str]) {
    let mut fixture = Fixture::new(fact(4, 10, true), &ALL);
    fixture.learn(scale);
    fixture.pods(pods.iter().map(|uid| aged(uid)).collect());
    fixture.loads(&[1, 0, 0, 0]);
    fixture.pass(ms(15_000));
    assert!(leaving(&fixture).is_empty(), "{:?}", fixture.leader.explain());
}
