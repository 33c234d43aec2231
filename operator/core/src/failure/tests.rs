use super::*;
use serde_json::{Value, json};

fn failure_of(status: &Value) -> Option<(Reason, String)> {
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap();
    pod_failure(&pod).map(|failure| (failure.reason, failure.message))
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
    let pod: Pod = serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap();
    let failure = pod_failure(&pod).unwrap();
    let at = |text: &str| failure.problem(text.parse().unwrap()).finality;
    assert_eq!(at("2026-01-01T00:09:59Z"), Finality::Passing);
    assert_eq!(at("2026-01-01T00:10:00Z"), Finality::Final);
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
