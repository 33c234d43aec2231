//! Since when a revision is idle: the latest of all that counts.

use rstest::rstest;

use super::*;

const IDLE: Duration = Duration::from_millis(2_500);
/// A decision without news is made once a second.
const CADENCE: Duration = Duration::from_millis(1_025);

fn policy(min: u32) -> Policy {
    // Nothing but the idle time is to keep it.
    Policy { min, initial: 0, idle_after: IDLE, window: ms(1_000), ..super::policy() }
}

/// One replica of a function that nobody has called for long.
fn resting() -> Fixture {
    let mut fixture = Fixture::new(fact(1, 10, true), &["p"]);
    stage(&mut fixture, 1, Stage::Routed);
    fixture.pass(ms(10_000));
    fixture.effects.clear();
    fixture
}

fn stage(fixture: &mut Fixture, min: u32, stage: Stage) {
    fixture.step(|leader, now| leader.upsert_revision(&id(), policy(min), stage, now));
}

fn lift_floor(fixture: &mut Fixture) {
    stage(fixture, 1, Stage::Routed);
    stage(fixture, 0, Stage::Routed);
}

fn prove(fixture: &mut Fixture) {
    stage(fixture, 0, Stage::Proving);
    stage(fixture, 0, Stage::Routed);
}

fn serve(fixture: &mut Fixture) {
    for in_flight in [1, 0] {
        fixture.frame(A, ActivatorFrame::Pods { revision: id(), pods: vec![report("p", in_flight)] });
    }
}

/// How long the last replica stays from now on.
fn stays(fixture: &mut Fixture) -> Duration {
    let begin = fixture.now;
    while !fixture.asks_for_list() {
        assert!(fixture.now < begin + ms(20_000), "{:?}", fixture.leader.explain());
        fixture.pass(ms(25));
    }
    fixture.now.saturating_sub(begin)
}

fn assert_counted_from_now(fixture: &mut Fixture) {
    let stays = stays(fixture);
    assert!((IDLE..=IDLE + CADENCE).contains(&stays), "{stays:?}");
}

#[test]
fn without_anything_that_counts_it_goes_at_once() {
    let mut fixture = Fixture::new(fact(1, 10, true), &["p"]);
    stage(&mut fixture, 0, Stage::Routed);
    assert!(stays(&mut fixture) <= CADENCE);
}

type Event = fn(&mut Fixture);

#[rstest]
fn the_latest_of_all_counts(
    #[values(lift_floor, prove, serve)] first: Event,
    #[values(lift_floor, prove, serve)] second: Event,
) {
    let mut fixture = resting();
    lift_floor(&mut fixture);
    first(&mut fixture);
    fixture.pass(ms(1_000));
    second(&mut fixture);
    assert_counted_from_now(&mut fixture);
}

#[test]
fn a_second_that_was_measured_counts_from_its_end() {
    let mut fixture = resting();
    lift_floor(&mut fixture);
    fixture.pass(ms(2_000));
    // The activators' clocks are 40 s ahead: this second is over now.
    let index = (fixture.now + ms(40_000)).as_secs() - 1;
    let bucket = catnap_wire::Bucket { index, request_microseconds: 1, arrivals: 1 };
    fixture.frame(B, ActivatorFrame::Buckets { revision: id(), buckets: vec![bucket] });
    assert_counted_from_now(&mut fixture);
}

#[test]
fn a_first_replica_counts_from_its_coming() {
    let mut fixture = Fixture::new(fact(0, 10, true), &[]);
    stage(&mut fixture, 0, Stage::Routed);
    fixture.pass(ms(10_000));
    fixture.learn(fact(1, 11, true));
    fixture.pods(vec![pod("p")]);
    assert_counted_from_now(&mut fixture);
}

/// A leader that began just now, and activators that began this long before it.
fn taken_over(boots: [u64; 2]) -> Fixture {
    let now = ms(60_000);
    let mut leader = Leader::new(TERM, Settings::default(), now);
    leader.upsert_revision(&id(), policy(0), Stage::Routed, now);
    leader.set_scale(&id(), Some(fact(1, 10, true)), now);
    leader.set_pods(&id(), vec![pod("p")], now);
    leader.set_activators(&["a".into(), "b".into()], now);
    let mut fixture = Fixture { leader, now, effects: Vec::new() };
    for ((stream, pod), clock_milliseconds) in [(A, "a"), (B, "b")].into_iter().zip(boots) {
        fixture.step(|leader, now| leader.stream_opened(stream, pod.into(), now));
        let revisions = Vec::new();
        let hello = Hello { boot: stream.0, pod_uid: pod.into(), clock_milliseconds, revisions, more: false };
        fixture.frame(stream, ActivatorFrame::Hello(hello));
    }
    fixture
}

/// How long the last replica stays when each activator tells its own seconds.
fn stays_after(boots: [u64; 2]) -> Duration {
    let mut fixture = taken_over(boots);
    let begin = fixture.now;
    while !fixture.asks_for_list() {
        assert!(fixture.now < begin + ms(20_000), "{:?}", fixture.leader.explain());
        fixture.now += ms(25);
        for (stream, boot) in [A, B].into_iter().zip(boots) {
            if let Some(index) = (fixture.now.saturating_sub(begin) + ms(boot)).as_secs().checked_sub(1) {
                fixture.frame(stream, ActivatorFrame::Through { index });
            }
        }
        fixture.tick();
    }
    fixture.now.saturating_sub(begin)
}

#[test]
fn a_young_leader_counts_from_the_boot_of_the_youngest_activator() {
    let none = stays_after([100_000, 100_000]);
    assert!(none <= 2 * CADENCE, "nobody remembers a request, and both would: {none:?}");
    for boots in [[100_000, 1_000], [1_000, 100_000], [1_000, 1_000]] {
        let stays = stays_after(boots);
        let left = IDLE.saturating_sub(ms(1_000));
        assert!((left..=left + CADENCE).contains(&stays), "{boots:?}: {stays:?}");
    }
}
