//! A decision allocates nothing once its buffers are as large as they get: ten thousand revisions are decided every second.

use std::time::Duration;

use allocation_counter::measure;
use catnap_autoscaler_core::{
    History, Leader, Observation, PodFact, Policy, ScaleFact, Settings, Stage, StreamId, decide,
};
use catnap_wire::{ActivatorFrame, Bucket, Hello, RevisionId, Term};

const STREAM: StreamId = StreamId(1);

fn id() -> RevisionId {
    RevisionId { namespace: "shop".into(), name: "hello-1".into(), function_uid: "uid".into() }
}

fn policy() -> Policy {
    Policy { limit: 10, down_delay: Duration::from_secs(60), ..Policy::default() }
}

#[test]
fn a_decision_allocates_nothing_in_steady_state() {
    let (policy, settings) = (policy(), Settings::default());
    let mut history = History::default();
    let mut decide_for = |seconds: std::ops::Range<u32>| {
        for second in seconds {
            // Demand that comes and goes, so that needs fall and rise, with panic and without.
            let demand = f64::from(second % 40);
            let observation = Observation {
                replicas: 5,
                stable: demand * 2.0,
                panic: demand * 5.0,
                ready: 5,
                pressed: u64::from(second % 7),
                busy: true,
                ..Observation::default()
            };
            let now = Duration::from_secs(second.into());
            let before = std::mem::take(&mut history);
            history = decide(&policy, Stage::Routed, &settings, before, &observation, now).0;
        }
    };
    decide_for(0..400);
    let allocations = measure(|| decide_for(400..800));
    assert_eq!(allocations.count_total, 0, "{allocations:?}");
}

/// A leader of one revision with three replicas, and an activator that has said hello.
fn leader(policy: Policy) -> Leader {
    let (id, activator) = (id(), "activator");
    let mut leader = Leader::new(Term { transitions: 1, boot: 1 }, Settings::default(), Duration::ZERO);
    leader.upsert_revision(&id, policy, Stage::Routed, Duration::ZERO);
    let scale =
        ScaleFact { replicas: 3, resource_version: "1".into(), observed: true, one_replica_set: true };
    leader.set_scale(&id, Some(scale), Duration::ZERO);
    let pod = |number: u8| PodFact {
        uid: format!("pod-{number}").into(),
        terminating: false,
        ready: true,
        created: 0,
        marked: false,
    };
    leader.set_pods(&id, (0..3).map(pod).collect(), Duration::ZERO);
    leader.set_activators(&[activator.into()], Duration::ZERO);
    leader.stream_opened(STREAM, activator.into(), Duration::ZERO);
    let hello = Hello {
        boot: 7,
        pod_uid: activator.into(),
        clock_milliseconds: 0,
        revisions: Vec::new(),
        more: false,
    };
    leader.activator_frame(STREAM, ActivatorFrame::Hello(hello), Duration::ZERO);
    leader
}

/// A second with requests is over.
fn tell(leader: &mut Leader, second: u64) {
    let (now, index) = (Duration::from_secs(second), second - 1);
    let buckets = vec![Bucket { index, request_microseconds: 20_000_000, arrivals: 100 }];
    leader.activator_frame(STREAM, ActivatorFrame::Buckets { revision: id(), buckets }, now);
    leader.activator_frame(STREAM, ActivatorFrame::Through { index }, now);
    leader.take_effects();
}

#[test]
fn a_second_of_the_leader_allocates_nothing_in_steady_state() {
    let mut leader = leader(policy());
    let mut allocated = 0;
    for second in 1..=600 {
        tell(&mut leader, second);
        let tick = measure(|| leader.tick(Duration::from_secs(second)));
        let effects = leader.take_effects();
        if second > 300 {
            assert!(effects.is_empty(), "steady, at second {second}: {effects:?}");
            allocated += tick.count_total;
        }
    }
    let decision = leader.explain().remove(0).decision.expect("it was decided");
    assert_eq!(decision.desired, 3, "{decision:?}");
    assert_eq!(allocated, 0);
}

/// What one revision that is never quiet keeps of one activator: two windows, of 24 bytes a second, in a buffer that doubles.
#[test]
fn the_longest_window_keeps_two_hundred_kilobytes() {
    let bytes = |window: u64| {
        let mut kept = None;
        let memory = measure(|| {
            let window = Duration::from_secs(window);
            let mut leader = leader(Policy { window, ..policy() });
            for second in 1..=4 * window.as_secs() {
                tell(&mut leader, second);
                leader.tick(Duration::from_secs(second));
                leader.take_effects();
            }
            kept = Some(leader);
        });
        drop(kept);
        memory.bytes_current
    };
    let (minute, hour) = (bytes(60), bytes(3_600));
    assert!(minute < 40_000, "{minute} bytes with all that is kept of a revision");
    assert!(hour - minute < 200_000, "{} bytes more", hour - minute);
}
