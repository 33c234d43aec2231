//! From a leader's explanation to the JSON of `/debug/state`, and from that to what a person reads, as `golden.json` and
//! `golden.txt` have them.

use catnap_autoscaler_core::learned::Hold;
use catnap_autoscaler_core::{Decision, Metric, Observation, Policy, Stage};
use catnap_wire::RevisionId;

use super::*;

const JSON: &str = include_str!("golden.json");
const TEXT: &str = include_str!("golden.txt");

fn id(name: &str, function_uid: &str) -> RevisionId {
    RevisionId { namespace: "shop".into(), name: name.into(), function_uid: function_uid.into() }
}

fn explanation() -> Explanation {
    let metric = Metric::Concurrency;
    let hold = Hold { from: Duration::ZERO, until: Duration::from_secs(5), percent: 97 };
    let pressed = Reason::Pressed { requests: 61, capacity: 10, need: 7 };
    Explanation {
        revision: id("hello-1", "uid"),
        replicas: 3,
        gate: "Up",
        leaving: vec!["pod-3".into()],
        policy: Some((
            Policy {
                max: 5,
                target: 10,
                shift: Some(Shift { percent: 25, awaited: 4 }),
                ..Policy::default()
            },
            Stage::Routed,
        )),
        decided_at: Duration::from_millis(99_600),
        observation: Some(Observation {
            arriving: 0,
            replicas: 3,
            stable: 12.5,
            panic: 60.0,
            ready: 3,
            arrivals: 9,
            pressed: 61,
            busy: true,
            outlook: Outlook::Likely(hold),
            ..Observation::default()
        }),
        decision: Some(Decision {
            desired: 5,
            panic: true,
            at_max: true,
            reasons: [
                Reason::Stable { metric, average: 12.5, goal: 7.0, need: 2 },
                Reason::Panic { metric, average: 60.0, need: 9 },
                Reason::Max(5),
            ]
            .into_iter()
            .collect(),
            binding: 2,
        }),
        changes: vec![
            Change { at: Duration::from_secs(98), from: 1, to: 3, reasons: [pressed, Reason::Max(5)].into() },
            Change { at: Duration::from_millis(37_500), from: 0, to: 1, reasons: [].into() },
        ],
    }
}

fn state() -> State {
    let now = Duration::from_secs(100);
    let bare = Explanation {
        revision: id("other-1", "other"),
        replicas: 0,
        gate: "Zero",
        leaving: Vec::new(),
        policy: None,
        decided_at: Duration::ZERO,
        observation: None,
        decision: None,
        changes: Vec::new(),
    };
    State {
        leading: true,
        synced: None,
        term: Some(LeadingTerm { transitions: 7, boot: format!("{:016x}", 255) }),
        streams: 2,
        revisions: vec![Explained::of(&explanation(), Some("hello"), now), Explained::of(&bare, None, now)],
        left_out: 0,
    }
}

#[test]
fn what_is_told_is_what_is_read() {
    assert_eq!(serde_json::to_string_pretty(&state()).unwrap(), JSON.trim_end());
    assert_eq!(serde_json::from_str::<State>(JSON).unwrap(), state());
}

#[test]
fn a_person_sees_the_decision_its_inputs_and_the_last_changes() {
    let state: State = serde_json::from_str(JSON).unwrap();
    let text: String = state.of("shop", "hello").iter().map(ToString::to_string).collect();
    assert_eq!(text, TEXT);
}

#[test]
fn what_is_not_known_yet_is_said() {
    let state: State = serde_json::from_str(JSON).unwrap();
    assert_eq!(
        state.revisions[1].to_string(),
        "other-1: 0 replicas, stage in no status, gate Zero\n  nothing is decided yet\n  no change since this autoscaler leads\n"
    );
    assert!(state.of("shop", "other").is_empty(), "whose Function is not known, nobody asks for");
}

#[test]
fn a_process_that_does_not_lead_says_so() {
    let state = State { synced: Some(true), ..State::default() };
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(text, r#"{"leading":false,"synced":true,"streams":0,"revisions":[]}"#);
    assert!(serde_json::from_str::<State>("{}").is_err());
}
