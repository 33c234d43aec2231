//! A new revision taking over, step by step.

use serde_json::json;

use super::script::{Script, play};
use crate::condition::{REVISION_READY, find};

pub(super) fn steps(percent: i32) -> serde_json::Value {
    json!({"rollout": {"stepPercent": percent, "interval": "10s"}})
}

#[test]
fn all_at_once_waits_for_the_size_that_it_needs() {
    play(
        json!({}),
        &[
            ("ready a 5", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "a100 b->100/5 RollingOut"),
            ("ready b 4", "a100 b->100/5 RollingOut"),
            ("ready b 5", "b100 (b) Ready"),
        ],
    );
}

#[test]
fn quarters_to_the_end() {
    play(
        steps(25),
        &[
            ("known", "a100 Ready"),
            ("ready a 8", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "a100 b->25/2 RollingOut"),
            ("ready b 2", "a75 b25 (b) RollingOut"),
            ("wait 9", "a75 b25 (b) RollingOut"),
            ("wait 1", "a75 b25 b->50/4 RollingOut"),
            // What it grows by while it waits does not raise the bar.
            ("wants b 4", "a75 b25 b->50/4 RollingOut"),
            ("ready b 4", "a50 b50 (b) RollingOut"),
            ("ready a 4", "a50 b50 (b) RollingOut"),
            ("wait 10", "a50 b50 b->75/6 RollingOut"),
            ("ready b 6", "a25 b75 (b) RollingOut"),
            ("ready a 2", "a25 b75 (b) RollingOut"),
            ("wait 10", "a25 b75 b->100/8 RollingOut"),
            ("ready b 8", "b100 (b) Ready"),
            ("wait 9", "b100 (b) Ready"),
            ("wait 1", "b100 a:Retiring Ready"),
            ("ready a 0", "b100 Ready"),
        ],
    );
}

#[test]
fn less_load_needs_fewer_replicas() {
    play(
        steps(50),
        &[
            ("known", "a100 Ready"),
            ("ready a 8", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "a100 b->50/4 RollingOut"),
            ("ready a 2", "a50 b50 (b) RollingOut"),
        ],
    );
}

#[test]
fn at_rest_there_is_no_size_to_wait_for() {
    play(
        json!({}),
        &[
            ("ready a 0", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "b100 (b) Ready"),
            ("wait 60", "b100 Ready"),
        ],
    );
}

#[test]
fn a_revision_without_a_ready_replica_never_has_everything_for_good() {
    play(
        json!({}),
        &[
            ("known", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "b100 (b) Ready"),
            ("pass 55", "b100 (b) Ready"),
            ("unready b 1", "b100 (b) Ready"),
            ("pass 10", "b100 (b) RollingOut"),
            ("ready b 1", "b100 a:Retiring Ready"),
        ],
    );
    play(
        json!({}),
        &[
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "b100 (b) Ready"),
            ("unready b 2", "b100 (b) Ready"),
            ("pass 59", "b100 (b) Ready"),
            ("pass 1", "a100 b:Retiring RolloutFailed!"),
        ],
    );
}

#[test]
fn a_revision_that_rests_has_no_replica_to_be_ready() {
    play(
        json!({}),
        &[
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "b100 (b) Ready"),
            ("ready b 0", "b100 (b) Ready"),
            ("pass 60", "b100 a:Retiring Ready"),
        ],
    );
}

#[test]
fn it_is_said_that_no_replica_was_ready() {
    let mut script = Script::new(json!({"timeouts": {"activation": "2m"}}));
    for event in ["known", "image b", "ready b 1", "unready b 1", "pass 119"] {
        script.happens(event);
    }
    assert_eq!(script.summary(), "b100 (b) RollingOut", "as long as a request may wait");
    let (a, b) = (script.name("a"), script.name("b"));
    let said = |script: &Script| find(&script.status().conditions, REVISION_READY).unwrap().message.clone();
    assert_eq!(
        said(&script),
        format!(
            "{b} takes 100 percent of the requests and has no ready replica: they go to {a} again if that lasts"
        )
    );
    script.happens("pass 1");
    assert_eq!(script.summary(), "a100 b:Retiring RolloutFailed!");
    assert_eq!(
        said(&script),
        format!(
            "{b} had no ready replica for 120 s. All requests go to {a} again; edit the Function, or set the annotation \
             catnap.dev/retry to a new value to try once more"
        )
    );
}

#[test]
fn with_both_broken_nothing_moves_at_all() {
    play(
        json!({}),
        &[
            ("known", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "b100 (b) Ready"),
            ("unready a 1", "b100 (b) Ready"),
            ("unready b 1", "b100 (b) Ready"),
            ("pass 600", "b100 (b) RollingOut"),
            ("ready a 1", "a100 b:Retiring RolloutFailed!"),
        ],
    );
}

#[test]
fn a_gap_delays_a_step_and_does_not_begin_the_interval_anew() {
    play(
        json!({"rollout": {"stepPercent": 50, "interval": "1h"}}),
        &[
            ("known", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 2", "a50 b50 (b) RollingOut"),
            ("wait 3590", "a50 b50 (b) RollingOut"),
            ("unseen unknown", "a50 b50 (b) RollingOut"),
            ("pass 20", "a50 b50 (b) RolloutWaiting"),
            ("unseen known", "a50 b50 (b) RolloutWaiting"),
            // What the gap may have hidden is given a moment to show.
            ("pass 9", "a50 b50 (b) RollingOut"),
            ("pass 1", "b100 (b) Ready"),
        ],
    );
}

#[test]
fn a_gap_at_the_end_is_waited_for() {
    play(
        steps(100),
        &[
            ("known", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "b100 (b) Ready"),
            ("pass 9", "b100 (b) Ready"),
            ("unseen unknown", "b100 (b) Ready"),
            ("pass 5", "b100 (b) Ready"),
            ("unseen counted b 50 50", "b100 (b) Ready"),
            ("pass 1", "a100 b:Retiring RolloutFailed!"),
        ],
    );
}

#[test]
fn another_operator_watches_for_an_interval_of_its_own() {
    play(
        steps(50),
        &[
            ("known", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 2", "a50 b50 (b) RollingOut"),
            ("counted b 30 2", "a50 b50 (b) RollingOut"),
            ("wait 30", "a50 b50 (b) RollingOut"),
            ("restart", "a50 b50 (b) RolloutWaiting"),
            ("wait 2", "a50 b50 (b) RolloutWaiting"),
            ("known", "a50 b50 (b) RollingOut"),
            ("pass 9", "a50 b50 (b) RollingOut"),
            ("pass 1", "b100 (b) Ready"),
        ],
    );
}

#[test]
fn errors_that_the_old_one_has_too_hold_nobody() {
    play(
        steps(50),
        &[
            ("counted a 10 0", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "a50 b50 (b) RollingOut"),
            ("counted a 110 50", "a50 b50 (b) RollingOut"),
            ("counted b 100 50", "a50 b50 (b) RollingOut"),
            ("counted b 200 101", "a100 b:Retiring RolloutFailed!"),
        ],
    );
}

#[test]
fn while_nobody_counts_nothing_moves_and_it_is_said() {
    play(
        steps(50),
        &[
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "a100 (b) RolloutWaiting"),
            ("known", "a50 b50 (b) RollingOut"),
            ("ready b 2", "a50 b50 (b) RollingOut"),
            ("unknown", "a50 b50 (b) RolloutWaiting"),
            ("wait 100", "a50 b50 (b) RolloutWaiting"),
            // What the gap may have hidden is given a moment to show.
            ("known", "a50 b50 (b) RollingOut"),
            ("wait 9", "a50 b50 (b) RollingOut"),
            ("wait 1", "b100 (b) Ready"),
            ("unknown", "b100 (b) Ready"),
            ("wait 19", "b100 (b) Ready"),
            // Nothing is left to wait for it.
            ("wait 1", "b100 a:Retiring Ready"),
        ],
    );
}

#[test]
fn an_edit_meanwhile_replaces_the_one_that_takes_over() {
    play(
        steps(50),
        &[
            ("known", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "a50 b50 (b) RollingOut"),
            ("image c", "a100 b:Retiring c:Proving Proving"),
            ("ready c 2", "a50 c50 (c) b:Retiring RollingOut"),
            ("wait 10", "c100 (c) b:Retiring Ready"),
            // All of it has moved: from here the next one goes on.
            ("image d", "c100 a:Retiring b:Retiring d:Proving Proving"),
            ("ready d 1", "c50 d50 (d) a:Retiring b:Retiring RollingOut"),
            ("image c", "c100 a:Retiring b:Retiring d:Retiring Ready"),
        ],
    );
}

#[test]
fn going_back_by_an_edit_while_the_last_step_is_watched() {
    play(
        json!({}),
        &[
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "b100 (b) Ready"),
            ("image a", "a100 (a) Ready"),
            ("wait 60", "a100 b:Retiring Ready"),
        ],
    );
}

#[test]
fn a_replica_that_is_lost_before_the_first_step_is_waited_for() {
    play(
        json!({}),
        &[
            ("ready a 3", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "a100 b->100/3 RollingOut"),
            ("failing b", "a100 b:Proving ImagePullFailed!"),
            ("wait 60", "a100 b:Retiring ImagePullFailed!"),
        ],
    );
}

#[test]
fn nothing_goes_back_to_a_revision_that_is_broken_itself() {
    play(
        steps(50),
        &[
            ("known", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "a50 b50 (b) RollingOut"),
            ("failing a", "a50 b50 (b) RollingOut"),
            ("counted b 100 50", "a50 b50 (b) RollingOut"),
            ("ready b 2", "a50 b50 (b) RollingOut"),
            ("wait 10", "b100 (b) Ready"),
        ],
    );
}

#[test]
fn a_revision_that_loses_all_its_replicas_goes_back() {
    play(
        steps(50),
        &[
            ("known", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "a50 b50 (b) RollingOut"),
            ("failing b", "a100 b:Retiring ImagePullFailed!"),
        ],
    );
}

#[test]
fn unproven_it_has_everything_until_its_first_wake_fails() {
    let unproven = json!({"scale": {"initial": 0}});
    play(
        unproven.clone(),
        &[
            ("ready a 7", "a100 Ready"),
            ("image b", "b100 (b) Unproven"),
            ("wait 9000", "b100 (b) Unproven"),
            ("failing b", "a100 b:Retiring ImagePullFailed!"),
            ("ready b 0", "a100 ImagePullFailed!"),
            ("edit", "b100 (b) Unproven"),
        ],
    );
    play(
        unproven,
        &[
            ("image b", "b100 (b) Unproven"),
            ("wait 9000", "b100 (b) Unproven"),
            // From here on it is watched.
            ("ready b 1", "b100 (b) Ready"),
            ("pass 59", "b100 (b) Ready"),
            ("ready b 0", "b100 (b) Ready"),
            ("ready b 1", "b100 (b) Ready"),
            ("pass 1", "b100 a:Retiring Ready"),
            ("failing b", "b100 a:Retiring ImagePullFailed!"),
        ],
    );
}

#[test]
fn unproven_it_is_judged_by_its_first_requests_too() {
    play(
        json!({"scale": {"initial": 0}}),
        &[
            ("image b", "b100 (b) Unproven"),
            ("wait 9000", "b100 (b) Unproven"),
            ("unready b 1", "b100 (b) Unproven"),
            ("known", "b100 (b) Unproven"),
            ("ready b 1", "b100 (b) Ready"),
            ("unseen counted b 40 40", "b100 (b) Ready"),
            ("pass 1", "a100 b:Retiring RolloutFailed!"),
        ],
    );
    play(
        json!({"scale": {"initial": 0}}),
        &[
            ("image b", "b100 (b) Unproven"),
            ("unready b 1", "b100 (b) Unproven"),
            ("pass 60", "a100 b:Retiring RolloutFailed!"),
        ],
    );
}

#[test]
fn more_than_a_revision_may_have_is_not_waited_for() {
    play(
        json!({"scale": {"max": 4}, "rollout": {"stepPercent": 50, "interval": "10s"}}),
        &[
            ("known", "a100 Ready"),
            ("ready a 9", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "a100 b->50/2 RollingOut"),
        ],
    );
}
