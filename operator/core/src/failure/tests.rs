use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{function, now, seconds, stored_record};

fn failure_of(status: &Value) -> Option<(Reason, String)> {
    failure_at(status, None, 0)
}

fn failure_at(status: &Value, record: Option<&RevisionRecord>, second: i64) -> Option<(Reason, String)> {
    pod_failure(&pod(status), record, seconds(second)).map(|failure| (failure.reason, failure.message))
}

fn pod(status: &Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap()
}

/// A pod whose containers run since `now()`.
fn running(containers: &[(&str, bool)]) -> Value {
    let containers: Vec<_> = containers
        .iter()
        .map(|(name, ready)| {
            json!({
                "name": name, "image": "x", "imageID": "", "ready": ready, "restartCount": 0,
                "state": {"running": {"startedAt": now()}},
            })
        })
        .collect();
    json!({"containerStatuses": containers, "conditions": [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": now()},
        {"type": "Ready", "status": "False", "lastTransitionTime": now()},
    ]})
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"containerStatuses": [{
        "name": "function", "image": "example/x", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": message}},
    }]})
}

#[test]
fn waiting_containers_tell_why() {
    for (word, reason) in [
        ("ErrImagePull", Reason::ImagePullFailed),
        ("ImagePullBackOff", Reason::ImagePullFailed),
        ("InvalidImageName", Reason::ImagePullFailed),
        ("ErrImageNeverPull", Reason::ImagePullFailed),
        ("CrashLoopBackOff", Reason::CrashLoop),
        ("CreateContainerConfigError", Reason::ContainerCannotStart),
        ("RunContainerError", Reason::ContainerCannotStart),
    ] {
        assert_eq!(failure_of(&waiting(word, "")).unwrap().0, reason, "{word}");
    }
    for word in ["ContainerCreating", "PodInitializing"] {
        assert_eq!(failure_of(&waiting(word, "")), None, "{word}");
    }
}

#[test]
fn an_attempt_and_the_back_off_after_it_say_the_same() {
    let attempt = failure_of(&waiting("ErrImagePull", "no such host"));
    let back_off = failure_of(&waiting(
        "ImagePullBackOff",
        "Back-off pulling image \"example/x\": ErrImagePull: no such host",
    ));
    assert_eq!(attempt, back_off);
    assert_eq!(attempt.unwrap().1, "the image example/x cannot be pulled: no such host");
}

#[test]
fn a_crash_loop_is_seen_between_two_back_offs() {
    let running = |restarts: i32, ready: bool| {
        json!({"containerStatuses": [{
            "name": "function", "image": "x", "imageID": "", "ready": ready, "restartCount": restarts,
            "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 2, "reason": "Error"}},
        }]})
    };
    assert_eq!(failure_of(&running(1, false)), None);
    assert_eq!(failure_of(&running(5, true)), None);
    let (reason, message) = failure_of(&running(2, false)).unwrap();
    assert_eq!(
        (reason, message.as_str()),
        (Reason::CrashLoop, "the container ends again and again: exit code 2 Error")
    );
}

#[test]
fn no_room_is_passing_for_ten_minutes() {
    let status = json!({"conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    let failure = pod_failure(&pod(&status), None, now()).unwrap();
    let at = |text: &str| failure.problem(text.parse().unwrap()).finality;
    assert_eq!(at("2026-01-01T00:09:59Z"), Finality::Passing);
    assert_eq!(at("2026-01-01T00:10:00Z"), Finality::Final);
}

#[test]
fn a_pod_that_nobody_says_anything_of_is_told_of() {
    let scheduled = |status: &str, reason: &str, since: i64| {
        json!({"conditions": [{
            "type": "PodScheduled", "status": status, "reason": reason, "lastTransitionTime": seconds(since),
        }]})
    };
    for (status, since, expected, words) in [
        (json!({"phase": "Pending"}), 0, Reason::Unschedulable, "no scheduler has looked at the pod"),
        (scheduled("False", "SchedulingGated", 0), 0, Reason::Unschedulable, "the pod has scheduling gates"),
        (
            json!({"conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "SchedulerError", "message": "binding rejected",
            }]}),
            0,
            Reason::Unschedulable,
            "binding rejected",
        ),
        // Not from its creation on where it waited for its node.
        (
            scheduled("True", "", 300),
            300,
            Reason::NeverReady,
            "the kubelet of the pod's node has not begun with it",
        ),
    ] {
        let mut pod = pod(&status);
        pod.metadata.creation_timestamp = Some(Time(now()));
        assert_eq!(pod_failure(&pod, None, seconds(since + 44)), None, "{words}");
        assert_eq!(slow_at(&pod), Some(seconds(since + 45)));
        let failure = pod_failure(&pod, None, seconds(since + 45)).unwrap();
        assert_eq!(failure.reason, expected);
        assert!(failure.message.starts_with(words), "{}", failure.message);
        assert_eq!(failure.problem(seconds(since + 599)).finality, Finality::Passing);
        assert_eq!(failure.problem(seconds(since + 600)).finality, Finality::Final);
        pod.status.as_mut().unwrap().container_statuses = Some(vec![ContainerStatus::default()]);
        assert_eq!(pod_failure(&pod, None, seconds(since + 45)), None, "kubelet has begun");
    }
}

#[test]
fn deployments_tell_about_pods_that_are_never_made() {
    let failure = |message: &str| {
        let deployment = json!({"metadata": {}, "status": {"conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message},
        ]}});
        deployment_failure(&serde_json::from_value(deployment).unwrap()).unwrap().reason
    };
    assert_eq!(
        failure("pods \"a\" is forbidden: exceeded quota: q, requested: pods=1"),
        Reason::QuotaExceeded
    );
    assert_eq!(failure("pods \"a\" is forbidden: violates PodSecurity \"restricted\""), Reason::PodRejected);
}

#[test]
fn a_pod_that_is_slow_to_get_ready_is_told_of_with_the_check_that_it_misses() {
    let status = running(&[("function", false)]);
    let tcp = stored_record(&function(json!({"port": 9000})));
    let http = stored_record(&function(json!({"readiness": {"path": "/healthz"}})));
    assert_eq!(failure_at(&status, Some(&tcp), 44), None);
    assert_eq!(slow_at(&pod(&status)), Some(seconds(45)));
    let (reason, message) = failure_at(&status, Some(&tcp), 45).unwrap();
    assert_eq!(reason, Reason::NeverReady);
    assert!(
        message.starts_with(
            "the container function runs and is not ready: nothing accepts connections on port 9000;"
        ),
        "{message}"
    );
    let (_, message) = failure_at(&status, Some(&http), 45).unwrap();
    assert!(
        message.ends_with("GET /healthz on port 8080 is not answered with a status from 200 to 399"),
        "{message}"
    );
    let own_probe = RevisionRecord { requires_ready: true, ..tcp };
    let (_, message) = failure_at(&status, Some(&own_probe), 45).unwrap();
    assert!(message.ends_with("its readiness or startup probe does not pass"), "{message}");
}

#[test]
fn a_sidecar_that_is_not_ready_is_named() {
    let status = running(&[("function", true), ("proxy", false)]);
    let (_, message) = failure_at(&status, None, 45).unwrap();
    assert!(message.starts_with("the container proxy runs and is not ready"), "{message}");
}

#[test]
fn a_pod_that_was_ready_has_its_time_again() {
    let mut status = running(&[("function", false)]);
    status["conditions"][1]["lastTransitionTime"] = json!(seconds(1_000));
    assert_eq!(failure_at(&status, None, 1_044), None);
    assert!(failure_at(&status, None, 1_045).is_some());
}

#[test]
fn a_container_that_is_not_made_is_told_of_too() {
    let mut status = waiting("ContainerCreating", "");
    assert_eq!(failure_at(&status, None, 10_000), None, "nobody says since when");
    status["conditions"] = json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": now()}]);
    assert_eq!(failure_at(&status, None, 44), None);
    let (reason, message) = failure_at(&status, None, 45).unwrap();
    assert_eq!(reason, Reason::NeverReady);
    assert!(message.contains("a volume cannot be mounted"), "{message}");
}

#[test]
fn a_slow_start_may_still_come_to_its_end() {
    let failure = pod_failure(&pod(&running(&[("function", false)])), None, seconds(45)).unwrap();
    assert_eq!(failure.problem(seconds(599)).finality, Finality::Passing);
    assert_eq!(failure.problem(seconds(600)).finality, Finality::Final);
}
