//! `/debug/state`: what the core knows, as JSON for a person with a port-forward.

use catnap_activator_core::{PodSnapshot, RevisionState, Snapshot};
use serde_json::{Value, json};

/// The whole state of the process at one moment.
pub(crate) fn render(snapshot: &Snapshot) -> Value {
    let functions = snapshot.functions.iter();
    json!({
        "leaderConnected": snapshot.leader,
        "draining": snapshot.draining,
        "peers": snapshot
            .peers
            .iter()
            .map(|peer| json!({"id": peer.id.to_string(), "linked": peer.linked, "givenUp": peer.given_up}))
            .collect::<Vec<_>>(),
        "failpoints": catnap_runtime::failpoint::ENABLED,
        "functions": functions
            .map(|function| json!({"name": function.name.to_string(), "heldUnproven": function.pending}))
            .collect::<Vec<_>>(),
        "revisions": snapshot.revisions.iter().map(revision).collect::<Vec<_>>(),
    })
}

fn revision(state: &RevisionState) -> Value {
    json!({
        "revision": state.revision.to_string(),
        "functionUid": &*state.revision.function_uid,
        "gate": state.gate,
        "routed": state.routed,
        "held": state.held,
        "inFlight": state.in_flight,
        "measured": state.measured,
        "arrivals": state.arrivals,
        "slots": state.slots,
        "pods": state.pods.iter().map(pod).collect::<Vec<_>>(),
    })
}

fn pod(pod: &PodSnapshot) -> Value {
    json!({
        "uid": &*pod.uid,
        "address": pod.address.map(|address| address.to_string()),
        "usable": pod.usable,
        "terminating": pod.terminating,
        "setAside": pod.set_aside,
        "condemned": pod.condemned,
        "inFlight": pod.in_flight,
        "elsewhere": pod.elsewhere,
    })
}
