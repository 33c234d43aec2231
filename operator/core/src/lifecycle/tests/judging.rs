//! How a new revision that takes over in steps is judged by its requests, and going back.

use serde_json::json;

use super::rollouts::steps;
use super::script::{Script, play};
use crate::condition::{REVISION_READY, find};

#[test]
fn a_bad_one_goes_back_at_once_and_stays_there() {
    play(
        steps(25),
        &[
            ("known", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "a75 b25 (b) RollingOut"),
            ("counted a 300 3", "a75 b25 (b) RollingOut"),
            ("counted b 39 39", "a75 b25 (b) RollingOut"),
            ("counted b 40 40", "a100 b:Retiring RolloutFailed!"),
            ("wait 600", "a100 b:Retiring RolloutFailed!"),
            ("ready b 0", "a100 RolloutFailed!"),
            // The counts of the first try are not those of the second.
            ("retry now", "a100 b:Proving Proving"),
            ("ready b 1", "a75 b25 (b) RollingOut"),
            ("counted b 100 41", "a75 b25 (b) RollingOut"),
            ("wait 10", "a50 b50 (b) RollingOut"),
            ("counted b 200 140", "a100 b:Retiring RolloutFailed!"),
            ("ready b 0", "a100 RolloutFailed!"),
            ("edit", "a100 b:Proving Proving"),
        ],
    );
}

#[test]
fn it_is_said_why_with_both_rates() {
    let mut script = Script::new(steps(100));
    for event in ["known", "counted a 1000 10", "image b", "ready b 1", "counted a 1200 11", "counted b 80 9"]
    {
        script.happens(event);
    }
    assert_eq!(script.summary(), "a100 b:Retiring RolloutFailed!");
    let said = find(&script.status().conditions, REVISION_READY).unwrap().message.clone();
    let (a, b) = (script.name("a"), script.name("b"));
    assert_eq!(
        said,
        format!(
            "{b} failed 11.2 percent of 80 requests (9), {a} 0.5 percent of 200 requests (1); rollout.maxErrorPercent allows 5. \
             All requests go to {a} again; edit the Function, or set the annotation catnap.dev/retry to a new value to try once more"
        )
    );
    script.happens("wait 5");
    assert_eq!(find(&script.status().conditions, REVISION_READY).unwrap().message, said, "remembered");
}

#[test]
fn too_few_requests_judge_nothing_and_hold_the_next_step() {
    play(
        steps(50),
        &[
            ("known", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "a50 b50 (b) RollingOut"),
            ("counted b 5 1", "a50 b50 (b) RollingOut"),
            ("ready b 2", "a50 b50 (b) RollingOut"),
            ("wait 3600", "a50 b50 (b) RollingOut"),
            ("counted b 20 1", "b100 (b) Ready"),
            ("counted b 30 3", "b100 (b) Ready"),
            ("wait 99", "b100 (b) Ready"),
            // All requests are there already, and there will be no others.
            ("wait 1", "b100 a:Retiring Ready"),
        ],
    );
}

#[test]
fn few_requests_of_which_most_failed_go_back_in_the_end() {
    play(
        steps(100),
        &[
            ("known", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "b100 (b) Ready"),
            ("unseen counted b 5 3", "b100 (b) Ready"),
            ("pass 99", "b100 (b) Ready"),
            ("pass 1", "a100 b:Retiring RolloutFailed!"),
        ],
    );
    play(
        steps(50),
        &[
            ("known", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "a50 b50 (b) RollingOut"),
            ("unseen counted b 39 39", "a50 b50 (b) RollingOut"),
            ("pass 99", "a50 b50 (b) RollingOut"),
            ("pass 1", "a100 b:Retiring RolloutFailed!"),
        ],
    );
}

#[test]
fn one_step_is_judged_by_what_is_known_a_moment_later() {
    play(
        json!({}),
        &[
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "b100 (b) Ready"),
            ("pass 2", "b100 (b) Ready"),
            ("unseen known", "b100 (b) Ready"),
            ("pass 10", "b100 (b) Ready"),
            ("unseen counted b 60 60", "b100 (b) Ready"),
            ("pass 1", "a100 b:Retiring RolloutFailed!"),
        ],
    );
}

#[test]
fn what_is_known_before_a_step_judges_its_first_request() {
    play(
        json!({"rollout": {"interval": "24h"}}),
        &[
            ("unseen known", "a100 Ready"),
            ("image b", "a100 b:Proving Proving"),
            ("ready b 1", "b100 (b) Ready"),
            ("unseen counted b 40 40", "b100 (b) Ready"),
            ("pass 1", "a100 b:Retiring RolloutFailed!"),
        ],
    );
}

#[test]
fn a_revision_that_proves_itself_is_asked_about_already() {
    let mut script = Script::new(json!({}));
    let compared = |script: &mut Script| {
        let at = script.now();
        script.world.step(&mut script.function, at).0.compared
    };
    assert_eq!(compared(&mut script), None, "nothing moves");
    script.happens("image b");
    let pair = Some([script.name("a"), script.name("b")]);
    assert_eq!(compared(&mut script), pair);
    script.happens("ready b 1");
    assert_eq!(compared(&mut script), pair);
    script.happens("wait 60");
    assert_eq!(compared(&mut script), None);
}

#[test]
fn nothing_is_asked_about_a_revision_that_waits_for_its_first_request() {
    let mut script = Script::new(json!({"scale": {"initial": 0}}));
    script.happens("ready a 0");
    script.happens("image b");
    script.happens("wait 1");
    let at = script.now();
    let (plan, report) = script.world.step(&mut script.function, at);
    assert_eq!((plan.compared, report.next_look), (None, None));
    assert_eq!(script.summary(), "b100 (b) Unproven");
}
