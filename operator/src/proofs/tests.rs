use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

type Touched = UnboundedReceiver<Touch<ObjectRef<GuardedFunction>>>;

fn proofs(limit: u32) -> (Proofs, Touched) {
    let (sender, receiver) = unbounded_channel();
    (Proofs::new(limit, sender), receiver)
}

/// A Function that was created at this second, at this resourceVersion.
fn function(name: &str, created: u32, version: u32, status: &Value) -> Function {
    serde_json::from_value(json!({
        "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
        "metadata": {
            "name": name, "namespace": "n", "resourceVersion": version.to_string(),
            "creationTimestamp": format!("2026-01-01T00:00:{created:02}Z"),
        },
        "spec": {"image": "i"}, "status": status,
    }))
    .unwrap()
}

fn fresh(name: &str, created: u32) -> Function {
    function(name, created, 1, &json!({}))
}

/// `reason` is of the condition `RevisionReady`.
fn with_state(name: &str, state: &str, reason: &str) -> Function {
    let status = if reason == "Ready" { "True" } else { "Unknown" };
    let condition = |type_: &str, status: &str, reason: &str| json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({
        "latestCreatedRevision": "r",
        "revisions": [{"name": "r", "port": 1, "protocol": "HTTP1", "state": state}],
        "conditions": [
            condition("RevisionReady", status, reason),
            condition("RoutesReady", "False", "RevisionMissing"),
            condition("Stalled", "True", "RevisionMissing"),
        ],
    });
    function(name, 1, 2, &status)
}

fn of(namespace: &str, mut function: Function) -> Function {
    function.metadata.namespace = Some(namespace.to_owned());
    function
}

fn touched(receiver: &mut Touched) -> Vec<String> {
    std::iter::from_fn(|| receiver.try_recv().ok()).map(|touch| touch.what.name).collect()
}

#[test]
fn the_oldest_that_waits_is_next() {
    let (proofs, mut receiver) = proofs(1);
    assert!(proofs.may_begin(&fresh("first", 5)));
    assert!(proofs.may_begin(&fresh("first", 5)), "asking again changes nothing");
    assert!(!proofs.may_begin(&fresh("young", 9)));
    assert!(!proofs.may_begin(&fresh("old", 2)));
    proofs.observe(&with_state("first", "Proving", "Proving"));
    assert_eq!(touched(&mut receiver), [""; 0]);
    proofs.observe(&with_state("first", "Routed", "Ready"));
    assert_eq!(touched(&mut receiver), ["old"]);
    assert!(!proofs.may_begin(&fresh("young", 9)), "not its turn");
    assert!(proofs.may_begin(&fresh("old", 2)));
}

#[test]
fn a_proof_that_fails_gives_its_place_back_and_a_function_stalled_by_something_else_keeps_it() {
    let (proofs, mut receiver) = proofs(1);
    proofs.observe(&with_state("broken", "Proving", "Proving"));
    assert!(!proofs.may_begin(&fresh("next", 1)), "it is stalled, but by no fault of the revision");
    proofs.observe(&with_state("broken", "Proving", "Unschedulable"));
    assert_eq!(touched(&mut receiver), ["next"]);
    assert!(proofs.may_begin(&fresh("next", 1)));
    assert!(!proofs.may_begin(&with_state("broken", "Proving", "Unschedulable")), "an edit waits in turn");
}

#[test]
fn a_namespace_does_not_keep_another_waiting() {
    let (proofs, mut receiver) = proofs(3);
    for number in 0..3 {
        assert!(proofs.may_begin(&of("a", fresh(&format!("a{number}"), 1))));
    }
    for number in 3..5 {
        assert!(!proofs.may_begin(&of("a", fresh(&format!("a{number}"), 2))));
    }
    for name in ["b0", "b1"] {
        assert!(!proofs.may_begin(&of("b", fresh(name, 9))));
    }
    assert!(!proofs.may_begin(&of("c", fresh("c0", 10))));
    // As many as there are places, whichever of them comes first.
    proofs.forget(&of("a", fresh("a0", 1)));
    proofs.forget(&of("a", fresh("a1", 1)));
    assert_eq!(touched(&mut receiver), ["b0", "b0", "c0"]);
    assert!(proofs.may_begin(&of("c", fresh("c0", 10))));
    for (namespace, name, created) in [("a", "a3", 2), ("b", "b1", 9)] {
        assert!(!proofs.may_begin(&of(namespace, fresh(name, created))));
    }
    assert!(proofs.may_begin(&of("b", fresh("b0", 9))));
    assert_eq!(proofs.count(), (3, 3));
    // Now there is one of each, and the oldest Function is first.
    proofs.forget(&of("a", fresh("a2", 1)));
    assert_eq!(touched(&mut receiver), ["a3"]);
}

#[test]
fn who_begins_again_and_again_gives_its_place_to_those_who_wait() {
    let (proofs, mut receiver) = proofs(2);
    for name in ["a0", "a1"] {
        proofs.observe(&of("a", with_state(name, "Proving", "Proving")));
    }
    assert!(proofs.may_begin(&of("a", with_state("a0", "Proving", "Proving"))), "nobody waits");
    proofs.observe(&of("a", function("a0", 1, 3, &json!(with_state("a0", "Proving", "Proving").status))));
    assert!(!proofs.may_begin(&of("b", fresh("b", 9))));
    assert!(!proofs.may_begin(&of("a", with_state("a0", "Proving", "Proving"))), "its namespace has another");
    // Its status tells that it began none.
    proofs.observe(&of("a", with_state("a0", "Routed", "WaitingForProof")));
    assert_eq!(touched(&mut receiver), ["b"]);
    assert!(proofs.may_begin(&of("b", fresh("b", 9))));
}

#[test]
fn a_place_that_was_not_used_is_the_next_ones() {
    let (proofs, mut receiver) = proofs(1);
    assert!(proofs.may_begin(&fresh("a", 1)));
    assert!(!proofs.may_begin(&fresh("b", 2)));
    proofs.not_begun(&fresh("a", 1));
    assert_eq!(touched(&mut receiver), ["b"]);
}

#[test]
fn who_is_gone_occupies_nothing_and_waits_for_nothing() {
    let (proofs, mut receiver) = proofs(1);
    assert!(proofs.may_begin(&fresh("a", 1)));
    for (name, created) in [("b", 2), ("c", 3)] {
        assert!(!proofs.may_begin(&fresh(name, created)));
    }
    proofs.forget(&fresh("b", 2));
    proofs.forget(&fresh("a", 1));
    assert_eq!(touched(&mut receiver), ["c"]);
    assert!(proofs.may_begin(&fresh("c", 3)));
    assert!(!proofs.may_begin(&fresh("d", 4)));
    proofs.retain(|key| key.name == "d");
    assert_eq!(touched(&mut receiver), ["d"]);
}

#[test]
fn a_status_that_was_not_written_keeps_no_place() {
    let (proofs, _receiver) = proofs(1);
    assert!(proofs.may_begin(&fresh("a", 1)));
    // An edit came first: the next look at it asks again.
    proofs.observe(&function("a", 1, 2, &json!({})));
    assert!(proofs.may_begin(&fresh("b", 2)));
}

#[tokio::test(start_paused = true)]
async fn a_proof_that_takes_long_gives_its_place_to_those_who_wait() {
    let (proofs, mut receiver) = proofs(1);
    let endless = with_state("endless", "Proving", "Proving");
    proofs.observe(&endless);
    assert!(!proofs.may_begin(&fresh("next", 2)));
    tokio::time::advance(LONGEST / 2).await;
    // Its pods come and go, and what is known of them with them.
    proofs.observe(&with_state("endless", "Proving", "Unschedulable"));
    proofs.observe(&endless);
    assert_eq!(touched(&mut receiver), ["next"]);
    assert!(!proofs.may_begin(&fresh("next", 2)));
    let start = Instant::now();
    let called = tokio::select! {
        () = proofs.keep_calling() => None,
        touch = receiver.recv() => touch,
    };
    assert_eq!(called.unwrap().what.name, "next");
    assert!(start.elapsed() >= LONGEST / 2 && start.elapsed() <= LONGEST / 2 + CHECK);
    assert!(proofs.may_begin(&fresh("next", 2)));
    assert_eq!(proofs.count(), (1, 0));
    // An edit of it is a proof of its own, in its turn.
    assert!(!proofs.may_begin(&endless));
    proofs.forget(&fresh("next", 2));
    assert!(proofs.may_begin(&endless));
    assert_eq!(proofs.count(), (1, 0));
    proofs.observe(&function("endless", 1, 4, &json!(endless.status)));
    assert!(!proofs.may_begin(&fresh("last", 3)));
}
