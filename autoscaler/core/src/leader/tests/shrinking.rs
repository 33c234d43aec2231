//! Fewer replicas, but not none: who goes, and every way not to.

use std::collections::HashSet;
use std::time::Instant;

use catnap_wire::Pressure;
use rstest::rstest;

use super::*;

mod patience;

const ALL: [&str; 4] = ["p", "q", "r", "s"];

fn facts(of: impl Fn(&str) -> PodFact) -> Vec<PodFact> {
    ALL.iter().map(|uid| of(uid)).collect()
}

/// Later letters are younger.
fn aged(uid: &str) -> PodFact {
    PodFact { created: i64::from(uid.as_bytes()[0]), ..pod(uid) }
}

fn marked(uid: &str, those: &[&str]) -> PodFact {
    PodFact { marked: those.contains(&uid), ..aged(uid) }
}

fn avoid(pods: &[&str]) -> LeaderFrame {
    LeaderFrame::Avoid { revision: id(), pods: pods.iter().map(|uid| PodUid::from(*uid)).collect() }
}

fn drain(pods: &[&str], kept: &[&str]) -> LeaderFrame {
    let uids = |names: &[&str]| names.iter().map(|uid| PodUid::from(*uid)).collect();
    LeaderFrame::Drain { revision: id(), gate: gate(1), pods: uids(pods), kept: uids(kept), replicas: 4 }
}

impl Fixture {
    /// Four replicas of which one would do: by the rate half of them go first. Only `p` has a request.
    fn surplus(pods: Vec<PodFact>) -> Self {
        let mut fixture = Self::new(fact(4, 10, true), &ALL);
        fixture.pods(pods);
        fixture.loads(&[1, 0, 0, 0]);
        while fixture.leader.explain()[0].leaving.is_empty() {
            assert!(fixture.now < ms(75_000), "{:?}", fixture.leader.explain());
            fixture.pass(ms(25));
        }
        fixture
    }

    fn loads(&mut self, in_flight: &[u64; 4]) {
        let pods = ALL.iter().zip(in_flight).map(|(uid, count)| report(uid, *count)).collect();
        self.frame(A, ActivatorFrame::Pods { revision: id(), pods });
    }

    /// The watch shows the cost of `r` and `s`, and it has had its time.
    fn ripe() -> Self {
        let mut fixture = Self::surplus(facts(aged));
        fixture.pods(facts(|uid| marked(uid, &["r", "s"])));
        while !fixture.asks_for_list() {
            assert!(fixture.now < ms(80_000), "{:?}", fixture.leader.explain());
            fixture.pass(ms(25));
        }
        fixture
    }

    /// Everybody was asked to close the gate of `r` and `s`.
    fn draining() -> Self {
        let mut fixture = Self::ripe();
        fixture.list(&["a", "b"]);
        fixture
    }

    /// Everybody has; the write of two is under way.
    fn lowering() -> Self {
        let mut fixture = Self::draining();
        fixture.ack(A);
        fixture.ack(B);
        fixture
    }

    /// It is written, at version 11.
    fn lowered() -> Self {
        let mut fixture = Self::lowering();
        fixture.written(WriteOutcome::Written { resource_version: "11".into() });
        fixture.effects.clear();
        fixture
    }

    fn marks(&self) -> Vec<(String, bool)> {
        let mark = |effect: &Effect| match effect {
            Effect::MarkPod { pod, marked, .. } => Some((pod.to_string(), *marked)),
            _ => None,
        };
        self.effects.iter().filter_map(mark).collect()
    }
}

#[test]
fn those_with_the_fewest_requests_are_avoided_and_the_youngest_of_them() {
    let fixture = Fixture::surplus(facts(aged));
    assert_eq!(fixture.sent(A).last(), Some(&avoid(&["r", "s"])));
    assert_eq!(fixture.sent(B).last(), Some(&avoid(&["r", "s"])));
    let old = facts(|uid| PodFact { created: -i64::from(uid.as_bytes()[0]), ..pod(uid) });
    let fixture = Fixture::surplus(old);
    assert_eq!(fixture.sent(A).last(), Some(&avoid(&["q", "r"])), "p is the youngest, and has a request");
}

#[test]
fn many_pods_go_without_comparing_each_with_each() {
    let names: Vec<String> = (0..6_000).map(|number| format!("pod-{number:04}")).collect();
    let uids: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut fixture = Fixture::new(fact(6_000, 10, true), &uids);
    let in_use = |uid: &str| u64::from(uid == "pod-0000");
    let pods = uids.iter().map(|uid| report(uid, in_use(uid))).collect();
    fixture.frame(A, ActivatorFrame::Pods { revision: id(), pods });
    while fixture.leader.explain()[0].leaving.is_empty() {
        assert!(fixture.now < ms(75_000), "{:?}", fixture.leader.explain());
        fixture.pass(ms(25));
    }
    let leaving: HashSet<PodUid> = fixture.leader.explain().remove(0).leaving.into_iter().collect();
    assert_eq!(leaving.len(), 5_900, "more than there may be");
    let marked = |uid: &&str| PodFact { marked: leaving.contains(*uid), ..pod(uid) };
    fixture.pods(uids.iter().map(marked).collect());
    let mut time = |_| {
        let begun = Instant::now();
        fixture.tick();
        begun.elapsed()
    };
    let fastest = (0..10).map(&mut time).min().unwrap_or_default();
    // Thirty million comparisons take half a second.
    assert!(fastest < ms(200), "{fastest:?}");
}

#[test]
fn who_is_not_ready_goes_first_because_the_controller_takes_it_first() {
    let fixture = Fixture::surplus(facts(|uid| PodFact { ready: uid != "q", ..aged(uid) }));
    assert_eq!(fixture.sent(A).last(), Some(&avoid(&["q", "s"])));
    let starting = facts(|uid| PodFact { ready: uid == "p", ..aged(uid) });
    let fixture = Fixture::surplus(starting);
    assert_eq!(fixture.sent(A).last(), Some(&avoid(&["q", "r", "s"])), "which two of them, nobody knows");
}

#[test]
fn with_two_replica_sets_nobody_can_say_which_pods_go() {
    let mut fixture = Fixture::new(ScaleFact { one_replica_set: false, ..fact(4, 10, true) }, &ALL);
    fixture.loads(&[1, 0, 0, 0]);
    fixture.pass(ms(15_000));
    assert!(fixture.leader.explain()[0].leaving.is_empty());
    assert!(fixture.leader.explain()[0].decision.as_ref().is_some_and(|decision| decision.desired < 4));
}

#[test]
fn the_cost_is_set_and_seen_and_has_had_a_second_before_gates_close() {
    let mut fixture = Fixture::surplus(facts(aged));
    fixture.pass(ms(25));
    assert_eq!(fixture.marks(), [("r".to_owned(), true), ("s".to_owned(), true)]);
    fixture.pass(ms(1_900));
    assert!(!fixture.asks_for_list(), "the watch shows nothing of it");
    fixture.pods(facts(|uid| marked(uid, &["r"])));
    fixture.pass(ms(1_900));
    assert!(!fixture.asks_for_list(), "only one of them");
    fixture.pods(facts(|uid| marked(uid, &["r", "s"])));
    fixture.pass(ms(950));
    assert!(!fixture.asks_for_list());
    fixture.pass(ms(150));
    assert!(fixture.asks_for_list());
}

#[test]
fn a_cost_that_does_not_show_is_asked_for_again() {
    let mut fixture = Fixture::surplus(facts(aged));
    fixture.pass(ms(2_900));
    assert_eq!(fixture.marks().len(), 2, "it may still land");
    fixture.pass(ms(200));
    assert_eq!(fixture.marks().len(), 4);
}

#[test]
fn a_cost_that_may_still_be_set_at_a_pod_that_stays_holds_the_round() {
    let mut fixture = Fixture::new(fact(4, 10, true), &ALL);
    fixture.pods(facts(aged));
    fixture.loads(&[1, 0, 1, 1]);
    while fixture.leader.explain()[0].leaving.is_empty() {
        assert!(fixture.now < ms(75_000), "{:?}", fixture.leader.explain());
        fixture.pass(ms(25));
    }
    assert_eq!(fixture.leader.explain()[0].leaving, ["q".into(), "s".into()]);
    fixture.pass(ms(4_500));
    fixture.loads(&[1, 0, 1, 0]);
    fixture.pass(ms(25));
    assert_eq!(fixture.marks(), [("q".to_owned(), true), ("s".to_owned(), true)]);
    let asked = fixture.now;
    // A request comes to s after all, so it is put back, while the write of its cost waits somewhere.
    fixture.loads(&[1, 0, 1, 1]);
    fixture.pass(ms(600));
    assert_eq!(fixture.leader.explain()[0].leaving, ["q".into()]);
    fixture.pods(facts(|uid| marked(uid, &["q"])));
    while !fixture.asks_for_list() {
        assert!(fixture.now < ms(85_000), "{:?}", fixture.leader.explain());
        fixture.pass(ms(25));
    }
    let held = fixture.now.saturating_sub(asked);
    assert!(held >= ms(4_000), "s may have been marked when q was to go: {held:?}");
    assert_eq!(fixture.marks().len(), 2);
}

#[test]
fn all_agree_and_the_lower_count_is_written_once_and_the_others_go_on() {
    let mut fixture = Fixture::draining();
    assert_eq!(fixture.sent(A).last(), Some(&drain(&["r", "s"], &["p", "q"])));
    assert_eq!(fixture.sent(B).last(), Some(&drain(&["r", "s"], &["p", "q"])));
    fixture.ack(A);
    assert!(fixture.puts().is_empty(), "B has not closed");
    fixture.ack(B);
    let (replicas, version, not_after, _) = fixture.puts().remove(0);
    assert_eq!((replicas, &*version, not_after), (2, "10", Some(fixture.now + ms(500))));
    assert!(fixture.leader.is_committing());
    fixture.written(WriteOutcome::Written { resource_version: "11".into() });
    let told = |effect: &Effect| matches!(effect, Effect::Report(Event::ScaledDown { from: 4, to: 2, .. }));
    assert!(fixture.effects.iter().any(told));
    let explanation = fixture.leader.explain().remove(0);
    assert_eq!((explanation.replicas, explanation.changes[0].to), (2, 2));
    assert!(explanation.leaving.is_empty());
}

#[test]
fn rule_12_gates_stay_closed_until_it_is_seen_who_went() {
    let mut fixture = Fixture::lowered();
    fixture.pass(ms(300));
    assert_eq!(fixture.sent(A).iter().filter(|frame| **frame == drain(&["r", "s"], &["p", "q"])).count(), 3);
    fixture.learn(fact(2, 12, true));
    fixture.pass(ms(300));
    let opened =
        |fixture: &Fixture| fixture.sent(A).iter().any(|frame| matches!(frame, LeaderFrame::Open(_)));
    assert!(!opened(&fixture), "the controllers have acted, but all four are still there");
    assert!(fixture.marks().is_empty(), "while they act no cost is taken back");
    let going = facts(|uid| PodFact { terminating: uid > "q", ..marked(uid, &["r", "s"]) });
    fixture.pods(going);
    fixture.pass(ms(25));
    assert!(fixture.sent(A).contains(&LeaderFrame::Open(verdict(1, &["r", "s"]))));
}

#[test]
fn rule_10_one_that_was_named_and_outlives_the_round_is_pardoned() {
    let mut fixture = Fixture::lowered();
    fixture.learn(fact(2, 12, true));
    // Somebody else took q away, and s is the second one that is left.
    fixture.pods(facts(|uid| PodFact { terminating: uid == "q" || uid == "r", ..marked(uid, &["r", "s"]) }));
    fixture.pass(ms(50));
    assert!(fixture.sent(A).contains(&LeaderFrame::Open(verdict(1, &["r"]))));
    assert_eq!(
        fixture.leader.explain()[0].leaving,
        ["s".into()],
        "one more is too many, and this has the cost"
    );
}

#[test]
fn rule_10_one_that_was_named_is_not_pardoned_before_the_controllers_have_acted() {
    let mut fixture = Fixture::lowered();
    fixture.pass(ms(3_900));
    let opened = |fixture: &Fixture| {
        let frames = fixture.sent(A).into_iter();
        frames.filter(|frame| matches!(frame, LeaderFrame::Open(_))).collect::<Vec<_>>()
    };
    assert!(opened(&fixture).is_empty());
    fixture.pass(ms(10_000));
    assert_eq!(opened(&fixture), [LeaderFrame::Open(verdict(1, &["r", "s"]))], "the others are used");
    fixture.learn(fact(2, 12, true));
    fixture.pass(ms(50));
    assert_eq!(opened(&fixture).last(), Some(&LeaderFrame::Open(verdict(1, &[]))));
}

#[rstest]
#[case::busy(|fixture: &mut Fixture| fixture.frame(B, ActivatorFrame::Busy { revision: id(), gate: gate(1) }))]
#[case::wake(|fixture: &mut Fixture| fixture.wake(B, 1))]
#[case::pressure(|fixture: &mut Fixture| {
    let pressure = Pressure { revision: id(), held: 1, in_flight: 1, standing: false };
    fixture.frame(B, ActivatorFrame::Pressure(vec![pressure]));
})]
#[case::lost_stream(|fixture: &mut Fixture| fixture.step(|leader, now| leader.stream_closed(B, now)))]
#[case::stranger(|fixture: &mut Fixture| fixture.join(StreamId(3), "c"))]
#[case::time(|fixture: &mut Fixture| fixture.pass(ms(500)))]
#[case::somebody_wrote_the_count(|fixture: &mut Fixture| fixture.learn(fact(3, 11, true)))]
#[case::a_pod_that_stays_is_not_ready_any_more(|fixture: &mut Fixture| {
    fixture.pods(facts(|uid| PodFact { ready: uid != "q", ..marked(uid, &["r", "s"]) }));
    fixture.pass(ms(25));
})]
#[case::the_revision_is_gone(|fixture: &mut Fixture| {
    fixture.step(|leader, now| leader.remove_revision(&id(), now));
})]
fn a_round_about_some_is_given_up(#[case] event: fn(&mut Fixture)) {
    let mut fixture = Fixture::draining();
    fixture.ack(A);
    event(&mut fixture);
    assert!(fixture.sent(A).contains(&LeaderFrame::Open(verdict(1, &[]))));
    fixture.ack(B);
    assert!(fixture.puts().is_empty());
}

#[test]
fn rounds_that_fail_take_their_time() {
    let mut fixture = Fixture::draining();
    let mut begun = Vec::new();
    for round in 1..=4 {
        fixture.frame(B, ActivatorFrame::Busy { revision: id(), gate: gate(round) });
        begun.push(fixture.now);
        fixture.effects.clear();
        while !fixture.asks_for_list() {
            fixture.pass(ms(25));
        }
        fixture.list(&["a", "b"]);
    }
    let pauses: Vec<_> = begun.windows(2).map(|pair| pair[1].saturating_sub(pair[0]).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4]);
}

#[test]
fn who_does_not_get_empty_is_put_back_and_another_goes() {
    let mut fixture = Fixture::surplus(facts(aged));
    fixture.loads(&[0, 0, 1, 0]);
    fixture.effects.clear();
    fixture.pass(ms(4_900));
    assert_eq!(fixture.leader.explain()[0].leaving, ["r".into(), "s".into()]);
    assert!(fixture.marks().is_empty(), "r is in use, and s waits for it");
    fixture.pass(ms(200));
    assert_eq!(fixture.leader.explain()[0].leaving, ["s".into()]);
    assert_eq!(fixture.marks(), [("s".to_owned(), true)], "s goes alone");
    fixture.loads(&[0, 0, 1, 1]);
    fixture.pass(ms(1_100));
    assert_eq!(fixture.leader.explain()[0].leaving, ["p".into(), "q".into()], "others go first");
}

#[test]
fn a_need_that_rises_takes_the_pods_back_before_new_ones_start() {
    let mut fixture = Fixture::ripe();
    fixture.effects.clear();
    let pressure = || {
        ActivatorFrame::Pressure(vec![Pressure { revision: id(), held: 30, in_flight: 20, standing: false }])
    };
    for _ in 0..3 {
        fixture.frame(A, pressure());
        fixture.pass(ms(50));
    }
    let place = |wanted: &dyn Fn(&Effect) -> bool| fixture.effects.iter().position(wanted);
    let back = place(&|effect| matches!(effect, Effect::Send { frame, .. } if *frame == avoid(&[])));
    let raised = place(&|effect| matches!(effect, Effect::PutScale { replicas: 5, .. }));
    assert!(back.is_some() && raised.is_some() && back < raised, "{:?}", fixture.effects);
    assert_eq!(fixture.marks(), [("r".to_owned(), false), ("s".to_owned(), false)]);
}

#[test]
fn rule_9_an_unknown_outcome_is_settled_by_the_same_write() {
    let mut fixture = Fixture::lowering();
    fixture.written(WriteOutcome::Unknown);
    fixture.effects.clear();
    fixture.pass(ms(50));
    // It has landed, as the watch tells before anybody else.
    fixture.learn(fact(2, 11, false));
    fixture.pass(ms(100));
    assert_eq!(fixture.gate(), "Commit");
    fixture.ack(A);
    fixture.ack(B);
    fixture.list(&["a", "b"]);
    let (replicas, version, ..) = fixture.puts().remove(0);
    assert_eq!((replicas, &*version), (2, "10"));
    fixture.written(WriteOutcome::Conflict);
    fixture.read(2, 11);
    let explanation = fixture.leader.explain().remove(0);
    assert_eq!(explanation.replicas, 2, "it was ours");
    let changes: Vec<_> = explanation.changes.iter().map(|change| (change.from, change.to)).collect();
    assert_eq!(changes, [(4, 2)]);
    let foreign = |effect: &Effect| matches!(effect, Effect::Report(Event::ForeignScale { .. }));
    assert!(!fixture.effects.iter().any(foreign), "{:?}", fixture.effects);
    assert_eq!(fixture.gate(), "Up");
}

#[test]
fn a_conflict_with_another_count_opens_when_the_controllers_have_seen_it() {
    let mut fixture = Fixture::lowering();
    fixture.written(WriteOutcome::Conflict);
    fixture.read(4, 12);
    fixture.learn(fact(4, 12, true));
    fixture.effects.clear();
    fixture.pass(ms(25));
    assert!(fixture.sent(A).contains(&LeaderFrame::Open(verdict(1, &[]))));
}

#[rstest]
#[case::commit(Fixture::lowering())]
#[case::settling(Fixture::lowered())]
fn rule_11_who_connects_in_the_middle_does_not_use_what_goes(#[case] mut fixture: Fixture) {
    fixture.effects.clear();
    fixture.join(StreamId(3), "c");
    let mut sent = fixture.sent(StreamId(3));
    sent.retain(|frame| !matches!(frame, LeaderFrame::Avoid { .. }));
    assert_eq!(sent[0], LeaderFrame::Open(verdict(0, &["r", "s"])), "whatever it answers to the wish");
    assert_eq!(sent[1], drain(&["r", "s"], &["p", "q"]));
    assert!(matches!(&sent[2], LeaderFrame::Welcome(welcome) if welcome.closed.is_empty()), "{sent:?}");
}

#[test]
fn who_connects_before_hears_whom_to_avoid() {
    let mut fixture = Fixture::surplus(facts(aged));
    fixture.join(StreamId(3), "c");
    assert_eq!(fixture.sent(StreamId(3))[0], avoid(&["r", "s"]));
}

#[test]
fn a_new_leader_takes_back_the_costs_of_the_one_before() {
    let mut fixture = Fixture::new(fact(4, 10, true), &ALL);
    fixture.pods(facts(|uid| marked(uid, &["s"])));
    fixture.loads(&[1, 0, 0, 0]);
    fixture.pass(ms(25));
    assert_eq!(fixture.marks(), [("s".to_owned(), false)]);
}

#[test]
fn a_count_above_the_maximum_is_corrected() {
    let mut fixture = Fixture::new(fact(2, 10, true), &["p", "q"]);
    let lower = Policy { max: 1, ..policy() };
    fixture.step(|leader, now| leader.upsert_revision(&id(), lower, Stage::Routed, now));
    let reports = vec![report("p", 1), report("q", 0)];
    fixture.frame(A, ActivatorFrame::Pods { revision: id(), pods: reports });
    fixture.pass(ms(25));
    assert_eq!(fixture.leader.explain()[0].leaving, ["q".into()]);
}

#[test]
fn nothing_goes_while_an_activator_is_silent() {
    let mut fixture = Fixture::surplus(facts(aged));
    fixture.step(|leader, now| leader.stream_closed(B, now));
    fixture.pass(ms(1_100));
    assert!(fixture.leader.explain()[0].leaving.is_empty());
    assert_eq!(fixture.sent(A).last(), Some(&avoid(&[])));
}
