//! Waking without the leader.

use super::*;

/// One held request, no leader, and the read that follows.
fn read_alone(policy: Policy) -> (Fixture, u64) {
    let mut fixture = Fixture::new(policy);
    fixture.arrive();
    fixture.pass(ms(1));
    assert!(fixture.take().is_empty(), "what comes together is told together");
    fixture.pass(ms(1));
    let reads = fixture.reads();
    assert_eq!(reads.len(), 1);
    (fixture, reads[0])
}

#[test]
fn without_a_leader_the_scale_is_read_and_raised_at_once() {
    let (mut fixture, attempt) = read_alone(Policy { wake: 3, ..Policy::default() });
    fixture.read(attempt, 0);
    assert_eq!(fixture.raises(), [(attempt, 3, format!("v{attempt}"))]);
    fixture.raised(attempt, Ok(()));
    fixture.pods(vec![ready("a")]);
    assert_eq!(fixture.granted(), [(0, "a".to_owned())]);
}

#[test]
fn never_more_than_the_most_allowed() {
    let (mut fixture, attempt) = read_alone(Policy { wake: 3, max: 2, ..Policy::default() });
    fixture.read(attempt, 0);
    assert_eq!(fixture.raises()[0].1, 2);
}

#[test]
fn a_conflict_reads_again_at_once_and_a_failure_later_and_later() {
    let (mut fixture, attempt) = read_alone(Policy::default());
    fixture.read(attempt, 0);
    fixture.raised(attempt, Err(ScaleError::Conflict));
    fixture.take();
    fixture.pass(ms(20));
    let mut attempt = fixture.reads()[0];
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let failed = Err(ScaleError::Failed("refused".into()));
        fixture.event(|revision, now, out| revision.scale_read(attempt, failed, now, out));
        let from = fixture.now;
        attempt = loop {
            fixture.pass(ms(1));
            if let [attempt] = fixture.reads()[..] {
                break attempt;
            }
        };
        pauses.push(fixture.now.saturating_sub(from).as_millis());
    }
    assert!(pauses[0] >= 50 && pauses[0] < 70, "{pauses:?}");
    assert!(pauses.is_sorted() && *pauses.last().expect("eight") <= 3_760, "{pauses:?}");
}

#[test]
fn a_scale_above_zero_opens_a_gate_that_nobody_answered() {
    let mut fixture = Fixture::starting_as(Start::Unanswered { since: ms(0) }, Policy::default());
    fixture.now = ms(2_000);
    fixture.pods(vec![ready("a")]);
    assert_eq!(fixture.arrive(), Arrival::Held);
    fixture.pass(ms(2));
    let reads = fixture.reads();
    fixture.read(reads[0], 1);
    assert_eq!(fixture.granted(), [(0, "a".to_owned())]);
}

#[test]
fn a_zero_condemns_the_pods_known_when_the_read_was_sent() {
    let mut fixture = Fixture::starting_as(Start::Unanswered { since: ms(0) }, Policy::default());
    fixture.now = ms(2_000);
    fixture.pods(vec![ready("old")]);
    fixture.arrive();
    fixture.pass(ms(2));
    let attempt = fixture.reads()[0];
    fixture.pods(vec![ready("old"), ready("new")]);
    fixture.read(attempt, 0);
    assert!(fixture.granted().is_empty(), "the new one may be a replacement that goes too");
    fixture.raised(attempt, Ok(()));
    assert_eq!(fixture.granted(), [(0, "new".to_owned())]);
}

#[test]
fn a_pod_that_outlived_the_zero_is_pardoned_in_the_end() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.leader(&LeaderFrame::Zero(verdict(1, &["a"])));
    fixture.revision.leader_lost(fixture.now);
    fixture.arrive();
    for _ in 0..100 {
        fixture.pass(ms(50));
        for effect in fixture.take() {
            match effect {
                Effect::ReadScale { attempt } => fixture.read(attempt, 1),
                Effect::Grant { .. } => {
                    assert!(fixture.now >= ms(2_000));
                    return;
                }
                _ => {}
            }
        }
    }
    panic!("stranded");
}

/// A leader that has written the zero and falls silent, a request that comes right after, and the read that follows.
fn wake_after_zero() -> (Fixture, u64) {
    let mut fixture = Fixture::led(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.close(1, &["a"]);
    fixture.leader(&LeaderFrame::Zero(verdict(1, &["a"])));
    fixture.revision.leader_lost(fixture.now);
    fixture.arrive();
    fixture.take();
    fixture.pass(ms(2));
    let attempt = fixture.reads()[0];
    (fixture, attempt)
}

#[test]
fn rule_13_a_zero_on_which_nobody_has_acted_is_not_raised_alone() {
    let (mut fixture, attempt) = wake_after_zero();
    fixture.read_beside(attempt, 0, 1);
    assert!(fixture.raises().is_empty(), "the pod that was given up would stay");
    let mut reads = Vec::new();
    while fixture.now < ms(2_000) {
        fixture.pass(ms(1));
        for attempt in fixture.reads() {
            reads.push(fixture.now);
            fixture.read_beside(attempt, 0, 1);
            assert_eq!(fixture.raises().len(), usize::from(fixture.now >= ms(2_000)));
        }
    }
    assert!(reads.len() > 3 && reads[0] < ms(100), "{reads:?}");
    assert_eq!(reads.last(), Some(&ms(2_000)), "then they must have acted, or nobody ever does");
}

#[test]
fn rule_13_after_a_raise_of_a_young_zero_nothing_is_used_without_the_leader_until_it_is_old() {
    let (mut fixture, attempt) = wake_after_zero();
    fixture.read_beside(attempt, 0, 0);
    assert_eq!(fixture.raises().len(), 1, "and the raise does not wait");
    fixture.raised(attempt, Ok(()));
    fixture.pods(vec![ready("b")]);
    let mut granted = Vec::new();
    while granted.is_empty() {
        assert!(fixture.now <= ms(2_000), "stranded");
        fixture.pass(ms(1));
        for effect in fixture.take() {
            match effect {
                Effect::ReadScale { attempt } => fixture.read(attempt, 1),
                Effect::Grant { grant, .. } => granted.push((fixture.now, grant.uid.to_string())),
                _ => {}
            }
        }
        granted.extend(fixture.granted().into_iter().map(|(_, uid)| (fixture.now, uid)));
    }
    assert_eq!(granted, [(ms(2_000), "b".to_owned())]);
}

#[test]
fn rule_13_a_zero_of_two_seconds_ago_is_woken_from_at_once() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.pods(vec![ready("a")]);
    fixture.close(1, &["a"]);
    fixture.leader(&LeaderFrame::Zero(verdict(1, &["a"])));
    fixture.pods(vec![]);
    fixture.revision.leader_lost(fixture.now);
    fixture.pass(ms(2_000));
    fixture.take();
    fixture.arrive();
    fixture.pass(ms(2));
    let attempt = fixture.reads()[0];
    fixture.read(attempt, 0);
    assert_eq!(fixture.raises().len(), 1);
    fixture.raised(attempt, Ok(()));
    fixture.pods(vec![ready("b")]);
    assert_eq!(fixture.granted(), [(0, "b".to_owned())]);
}

#[test]
fn the_second_activator_gives_the_first_a_head_start() {
    let mut fixture = Fixture::new(Policy::default());
    fixture.revision.set_first(false);
    fixture.arrive();
    fixture.pass(ms(251));
    assert!(fixture.reads().is_empty());
    fixture.pass(ms(1));
    assert_eq!(fixture.reads().len(), 1);
}

#[test]
fn a_silent_leader_is_given_a_quarter_of_a_second() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.arrive();
    fixture.pass(ms(251));
    assert!(fixture.reads().is_empty());
    fixture.pass(ms(1));
    assert_eq!(fixture.reads().len(), 1);
}

#[test]
fn rule_4_patience_runs_on_through_queued_and_starts_again_with_written() {
    for (answer, first_read) in
        [(WakeAnswer::Queued, Some(3_000)), (WakeAnswer::Written { replicas: 1 }, None)]
    {
        let mut fixture = Fixture::led(Policy::default());
        fixture.arrive();
        let mut read_at = None;
        while fixture.now < ms(5_000) {
            fixture.pass(ms(20));
            for effect in fixture.take() {
                match effect {
                    Effect::Send(ActivatorFrame::Wake { .. }) => fixture.reply(answer),
                    Effect::ReadScale { .. } => {
                        read_at.get_or_insert(fixture.now);
                    }
                    _ => {}
                }
            }
        }
        assert_eq!(read_at, first_read.map(ms), "{answer:?}");
    }
}

#[test]
fn the_process_has_sixteen_conversations_at_once() {
    let budgets = Budgets::new(10_000, 1 << 30, 16, 2_000);
    let mut revisions: Vec<Revision<u64>> = (0..20)
        .map(|number| Revision::new(revision_id(), Arc::clone(&budgets), Start::Open, number))
        .collect();
    let mut out = Effects::new();
    for (number, revision) in revisions.iter_mut().enumerate() {
        assert_eq!(revision.arrive(Ticket(0), ms(0), || 0), Arrival::Held);
        // Whoever finds no place looks again when one is free, and until then only for the end of the hold.
        assert_eq!(revision.tick(ms(2), &mut out), Some(ms(60_000)), "{number}");
        assert_eq!(revision.urgent_at(), None, "{number}");
    }
    assert_eq!(out.len(), 16);
    let failed = Err(ScaleError::Failed("refused".into()));
    revisions[0].scale_read(1, failed, ms(3), &mut out);
    revisions[19].tick(ms(3), &mut out);
    assert_eq!(out.len(), 17);
}

#[test]
fn an_answer_to_nobody_changes_nothing() {
    let (mut fixture, attempt) = read_alone(Policy::default());
    fixture.raised(attempt, Ok(()));
    fixture.read(attempt + 1, 0);
    assert!(fixture.raises().is_empty());
    fixture.read(attempt, 0);
    fixture.read(attempt, 0);
    assert_eq!(fixture.raises().len(), 1);
}

#[test]
fn what_is_unrouted_does_not_wake() {
    let mut fixture = Fixture::led(Policy::default());
    fixture.arrive();
    fixture.configure(Route { routed: false, ..Route::default() });
    fixture.pass(ms(5_000));
    let woken = fixture
        .take()
        .into_iter()
        .any(|effect| matches!(effect, Effect::Send(ActivatorFrame::Wake { .. }) | Effect::ReadScale { .. }));
    assert!(!woken);
}
