//! Revisions that `spec.traffic` names.

use serde_json::json;

use super::script::{Script, play};
use crate::{
    condition::{ROUTES_READY, find},
    fixtures::edit,
};

/// `a` is history, `b` serves.
fn second() -> Vec<(&'static str, &'static str)> {
    vec![
        ("image b", "a100 b:Proving Proving"),
        ("ready b 1", "b100 (b) Ready"),
        ("wait 60", "b100 a:Retiring Ready"),
        ("ready a 0", "b100 Ready"),
    ]
}

#[test]
fn going_back_to_what_is_only_history() {
    let mut lines = second();
    lines.extend([
        ("traffic a=100", "b100 a:Proving Proving"),
        ("ready a 1", "a100 b:Retiring Ready"),
        ("ready b 0", "a100 Ready"),
        // And forward again, the same way.
        ("traffic", "a100 b:Proving Proving"),
        ("ready b 1", "b100 a:Retiring Ready"),
    ]);
    play(json!({}), &lines);
}

#[test]
fn a_new_revision_proves_itself_beside_named_ones_and_takes_nothing() {
    let mut lines = second();
    lines.extend([
        ("traffic b=100", "b100 Ready"),
        ("image c", "b100 c:Proving Proving"),
        ("ready c 1", "b100 Ready"),
        ("ready c 0", "b100 Ready"),
        ("traffic latest=100", "b100 c:Proving Proving"),
        ("ready c 1", "c100 b:Retiring Ready"),
    ]);
    play(json!({}), &lines);
}

#[test]
fn a_canary_takes_its_share_of_the_latest() {
    play(
        json!({}),
        &[
            ("ready a 20", "a100 Ready"),
            ("traffic a=90 latest=10:next", "a90 a10:next Ready"),
            ("image b", "a90 a10:next b:Proving Proving"),
            ("ready b 1", "a90 a10:next b->10/2 RollingOut"),
            ("ready b 2", "a90 b10:next (b) Ready"),
            ("wait 60", "a90 b10:next Ready"),
            ("traffic latest=100", "b100 a:Retiring Ready"),
        ],
    );
}

#[test]
fn a_tag_changes_hands_with_the_last_step() {
    play(
        json!({"rollout": {"stepPercent": 50, "interval": "10s"}}),
        &[
            ("known", "a100 Ready"),
            ("traffic latest=100:stable", "a100:stable Ready"),
            ("image b", "a100:stable b:Proving Proving"),
            ("ready b 2", "a50:stable b50 (b) RollingOut"),
            ("wait 10", "b100:stable (b) Ready"),
            ("wait 10", "b100:stable a:Retiring Ready"),
        ],
    );
}

#[test]
fn only_the_share_of_the_latest_is_rolled() {
    play(
        json!({"rollout": {"stepPercent": 50, "interval": "10s"}}),
        &[
            ("known", "a100 Ready"),
            ("traffic a=70 latest=30", "a70 a30 Ready"),
            ("image b", "a70 a30 b:Proving Proving"),
            ("ready b 1", "a70 a15 b15 (b) RollingOut"),
            ("traffic a=90 latest=10", "a90 b10 (b) Ready"),
            ("traffic a=100", "a100 b:Retiring Ready"),
        ],
    );
}

#[test]
fn what_an_edit_adds_to_the_latest_goes_to_the_one_that_has_it() {
    play(
        json!({}),
        &[
            ("known", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "b100 (b) Ready"),
            ("traffic a=80 latest=20", "a80 b20 (b) Ready"),
            ("traffic latest=100", "b100 (b) Ready"),
            ("traffic a=80 latest=20", "a80 b20 (b) Ready"),
            ("wait 60", "a80 b20 Ready"),
        ],
    );
}

#[test]
fn a_tag_alone_keeps_a_revision_routed() {
    let mut lines = second();
    lines.extend([
        ("traffic latest=100 a=0:old", "b100 a:Proving Proving"),
        ("ready a 1", "b100 a0:old Ready"),
        ("ready a 0", "b100 a0:old Ready"),
        ("traffic latest=100", "b100 a:Retiring Ready"),
    ]);
    // One look later a resting revision is gone.
    *lines.last_mut().unwrap() = ("traffic latest=100", "b100 Ready");
    play(json!({}), &lines);
}

#[test]
fn a_revision_that_is_missing_changes_nothing_and_is_said() {
    let mut script = Script::new(json!({}));
    script.happens("traffic hello-nothing=100");
    assert_eq!(script.summary(), "a100 RevisionMissing!");
    let said = find(&script.status().conditions, ROUTES_READY).unwrap();
    assert!(said.message.contains("hello-nothing"), "{}", said.message);
    // Nor does what the spec says besides it.
    script.happens("image b");
    script.happens("ready b 1");
    assert_eq!(script.summary(), "b100 (b) RevisionMissing!");
    script.happens("traffic a=100");
    assert_eq!(script.summary(), "a100 b:Retiring Ready");
}

#[test]
fn a_named_revision_that_fails_leaves_requests_where_they_were() {
    let mut lines = second();
    lines.extend([
        ("traffic a=100", "b100 a:Proving Proving"),
        ("failing a", "b100 a:Proving ImagePullFailed!"),
        ("wait 600", "b100 a:Proving ImagePullFailed!"),
        ("ready a 1", "a100 b:Retiring Ready"),
    ]);
    play(json!({}), &lines);
}

#[test]
fn named_revisions_stay_in_the_history() {
    let mut script = Script::new(json!({"revisionHistoryLimit": 0}));
    script.happens("image b");
    script.happens("ready b 1");
    let first = script.name("a");
    script.happens("traffic latest=100");
    edit(&mut script.function, |function| {
        function.spec.traffic = serde_json::from_value(
            json!([{"latest": true, "percent": 100}, {"revision": first, "percent": 0, "tag": "old"}]),
        )
        .unwrap();
    });
    for event in ["wait 60", "ready a 0", "wait 1"] {
        script.happens(event);
    }
    assert!(script.world.record(&first).is_some());
    script.happens("traffic latest=100");
    script.happens("wait 1");
    assert!(script.world.record(&first).is_none());
}

#[test]
fn going_back_and_forth_keeps_the_history_in_order() {
    let mut script = Script::new(json!({}));
    for (letter, number) in [("b", 2), ("a", 3), ("b", 4)] {
        script.happens(&format!("image {letter}"));
        script.happens(&format!("ready {letter} 1"));
        let name = script.name(letter);
        assert_eq!(script.world.record(&name).unwrap().revision, number, "{letter}");
        let digest = |name: &str| script.world.record(name).unwrap().metadata.annotations.clone();
        assert!(digest(&name).is_some());
    }
    assert_eq!(script.world.observed.controller_revisions.len(), 2);
}
