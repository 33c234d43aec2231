//! `/debug/state`: what the core knows, as JSON for a person with a port-forward. Bounded: of many revisions those that have
//! requests come first, and the rest is counted.

use std::cmp::Reverse;
use std::future::ready;
use std::sync::Arc;

use catnap_activator_core::{Activator, FunctionName, FunctionState, PodSnapshot, RevisionState, Snapshot};
use catnap_runtime::admin::{DebugQuery, DebugState, Rendering};
use futures::FutureExt;
use serde_json::{Value, json};

use crate::metrics::{ColdStart, ColdStarts};

/// Revisions, and Functions, that are shown.
const SHOWN: usize = 500;
/// Pods of a revision that are shown, those with exchanges first.
const SHOWN_PODS: usize = 20;

/// Tells of these, whenever it is asked.
pub(crate) fn of(activator: &Arc<Activator>, cold_starts: &Arc<ColdStarts>) -> DebugState {
    let (activator, cold_starts) = (Arc::clone(activator), Arc::clone(cold_starts));
    Arc::new(move |query| ready(tell(Arc::clone(&activator), Arc::clone(&cold_starts), query)).boxed())
}

/// Takes and renders the state of the process; of one Function, with its last cold starts.
fn tell(activator: Arc<Activator>, cold_starts: Arc<ColdStarts>, query: DebugQuery) -> Rendering {
    Box::new(move || {
        let asked = query.function.is_some().then_some(&*cold_starts);
        render(&take(&activator, &query), asked)
    })
}

/// The state of the process at one moment; `query.function`: of this Function only, as `<namespace>/<name>`.
fn take(activator: &Activator, query: &DebugQuery) -> Snapshot {
    match &query.function {
        None => activator.snapshot(),
        Some(function) => {
            // What has no namespace is no Function's name.
            let (namespace, name) = function.split_once('/').unwrap_or(("", function));
            activator.snapshot_of(&FunctionName { namespace: namespace.into(), name: name.into() })
        }
    }
}

fn render(snapshot: &Snapshot, cold_starts: Option<&ColdStarts>) -> Value {
    let mut functions: Vec<_> = snapshot.functions.iter().collect();
    let mut revisions: Vec<_> = snapshot.revisions.iter().collect();
    // Both sorts keep the order of the names.
    revisions.sort_by_key(|state| state.held == 0 && state.in_flight == 0);
    let (function_count, revision_count) = (functions.len(), revisions.len());
    functions.sort_by_key(|function| function.pending == 0);
    functions.truncate(SHOWN);
    revisions.truncate(SHOWN);
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
            .iter()
            .map(|state| function(state, cold_starts))
            .collect::<Vec<_>>(),
        "revisions": revisions.iter().copied().map(revision).collect::<Vec<_>>(),
        "leftOut": {
            "functions": function_count - functions.len(),
            "revisions": revision_count - revisions.len(),
        },
    })
}

fn function(state: &FunctionState, cold_starts: Option<&ColdStarts>) -> Value {
    let traffic =
        state.traffic.iter().map(|share| json!({"revision": &*share.revision, "percent": share.percent}));
    let tags = state.tags.iter().map(|tag| json!({"tag": &*tag.tag, "revision": &*tag.revision}));
    let hosts = state.hosts.iter().map(|host| json!({"host": &*host.host, "tag": host.tag.as_deref()}));
    let mut told = json!({
        "name": state.name.to_string(),
        "traffic": traffic.collect::<Vec<_>>(),
        "tags": tags.collect::<Vec<_>>(),
        "hosts": hosts.collect::<Vec<_>>(),
        "heldUnproven": state.pending,
    });
    if let Some(cold_starts) = cold_starts {
        let last = cold_starts.of(&state.uid);
        told["coldStarts"] = last.iter().map(ColdStart::tell).collect();
    }
    told
}

fn revision(state: &RevisionState) -> Value {
    let mut pods: Vec<_> = state.pods.iter().collect();
    pods.sort_by_key(|pod| Reverse(pod.in_flight));
    pods.truncate(SHOWN_PODS);
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
        "pods": pods.iter().copied().map(pod).collect::<Vec<_>>(),
        "podsLeftOut": state.pods.len() - pods.len(),
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use catnap_activator_core::{
        FunctionRoute, HostRoute, ManualClock, Phases, RevisionRoute, Settings, Share, TagRoute,
    };
    use catnap_wire::RevisionId;

    use super::*;

    fn pod(number: usize) -> PodSnapshot {
        PodSnapshot {
            uid: format!("00000000-0000-0000-0000-{number:012}").as_str().into(),
            address: Some(([10, 0, 0, 1], 8080).into()),
            usable: true,
            terminating: false,
            set_aside: false,
            condemned: false,
            in_flight: u32::try_from(number).unwrap(),
            elsewhere: 0,
        }
    }

    /// `count` Functions with a revision of `pods` pods each; every thousandth holds a request.
    fn snapshot(count: usize, pods: usize) -> Snapshot {
        let id = |number: usize| RevisionId {
            namespace: "default".into(),
            name: format!("hello-{number:05}-1").into(),
            function_uid: format!("uid-{number}").into(),
        };
        let revision = |number: usize| RevisionState {
            revision: id(number),
            gate: "open",
            routed: true,
            held: u64::from(number % 1_000 == 999),
            in_flight: 0,
            measured: 0,
            arrivals: 0,
            slots: None,
            limit: 0,
            pods: (0..pods).map(pod).collect(),
        };
        let function = |number: usize| FunctionState {
            name: FunctionName { namespace: "default".into(), name: format!("hello-{number:05}").into() },
            uid: format!("uid-{number}").into(),
            revisions: vec![id(number)],
            traffic: vec![Share { revision: id(number).name, percent: 100 }],
            tags: vec![TagRoute { tag: "next".into(), revision: id(number).name }],
            hosts: vec![HostRoute { host: "shop.example.com".into(), tag: None }],
            pending: 0,
        };
        Snapshot {
            leader: true,
            draining: false,
            peers: vec![],
            functions: (0..count).map(function).collect(),
            revisions: (0..count).map(revision).collect(),
        }
    }

    #[test]
    fn a_few_are_shown_in_full() {
        let state = render(&snapshot(2, 3), None);
        assert_eq!(state["leaderConnected"], true);
        let function = json!({
            "name": "default/hello-00001",
            "traffic": [{"revision": "hello-00001-1", "percent": 100}],
            "tags": [{"tag": "next", "revision": "hello-00001-1"}],
            "hosts": [{"host": "shop.example.com", "tag": null}],
            "heldUnproven": 0,
        });
        assert_eq!(state["functions"][1], function);
        let revision = &state["revisions"][1];
        assert_eq!(revision["functionUid"], "uid-1");
        assert_eq!(revision["gate"], "open");
        assert_eq!(revision["pods"].as_array().unwrap().len(), 3);
        assert_eq!(revision["pods"][0]["inFlight"], 2, "the busiest first");
        assert_eq!(revision["pods"][0]["address"], "10.0.0.1:8080");
        assert_eq!(revision["podsLeftOut"], 0);
        assert_eq!(state["leftOut"], json!({"functions": 0, "revisions": 0}));
    }

    #[test]
    fn of_many_those_with_requests_come_first_and_the_rest_is_counted() {
        let state = render(&snapshot(10_000, 100), None);
        let names: Vec<&str> = state["revisions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|each| each["revision"].as_str().unwrap())
            .collect();
        assert_eq!(names.len(), 500);
        assert_eq!(names[..2], ["default/hello-00999-1", "default/hello-01999-1"]);
        assert_eq!(names[10], "default/hello-00000-1");
        assert_eq!(state["leftOut"], json!({"functions": 9_500, "revisions": 9_500}));
        assert_eq!(state["revisions"][0]["podsLeftOut"], 80);
        let size = format!("{state:#}").len();
        assert!(size < 6 << 20, "{size} bytes");
    }

    /// An activator with these Functions, each with a revision.
    fn activator(names: &[&str]) -> Arc<Activator> {
        let (activator, _commands) =
            Activator::new(Settings::new(1, "own"), Arc::new(ManualClock::default()));
        for name in names {
            let name = FunctionName { namespace: "default".into(), name: (*name).into() };
            let revision = RevisionRoute::new(format!("{}-1", name.name).into());
            activator.upsert_function(FunctionRoute::of_one(name.clone(), name.name, revision));
        }
        activator
    }

    #[test]
    fn of_one_function_its_last_cold_starts_are_told() {
        let (activator, cold_starts) = (activator(&["hello", "other"]), Arc::<ColdStarts>::default());
        let start = ColdStart {
            began: Instant::now(),
            revision: "hello-1".into(),
            phases: Phases { cold: true, wake: Duration::from_millis(9), ..Phases::default() },
            status: Some(200),
            reason: "",
            requests: 1,
        };
        // The UID of each is its name.
        cold_starts.keep(&"hello".into(), start.clone());
        let later = start.began + Duration::from_secs(60);
        cold_starts.keep(&"hello".into(), ColdStart { began: later, status: Some(503), ..start });
        let asked = |function: Option<&str>| {
            let query = DebugQuery { function: function.map(str::to_owned) };
            tell(Arc::clone(&activator), Arc::clone(&cold_starts), query)()
        };
        let told = asked(Some("default/hello"));
        let told = &told["functions"][0]["coldStarts"];
        assert_eq!((&told[0]["status"], &told[1]["status"]), (&json!(503), &json!(200)), "{told}");
        assert_eq!(told[1]["phases"]["wake"], 9.0);
        assert_eq!(asked(Some("default/other"))["functions"][0]["coldStarts"], json!([]));
        assert_eq!(asked(None)["functions"][0].get("coldStarts"), None, "it would be long");
    }

    #[test]
    fn of_one_function_nothing_else_is_copied() {
        let activator = activator(&["hello", "hello-1", "other"]);
        let asked =
            |function: Option<&str>| take(&activator, &DebugQuery { function: function.map(str::to_owned) });
        let all = asked(None);
        assert_eq!((all.functions.len(), all.revisions.len()), (3, 3));
        let Snapshot { functions, revisions, .. } = asked(Some("default/hello"));
        assert_eq!((&functions[..], &revisions[..]), (&all.functions[..1], &all.revisions[..1]));
        assert_eq!(revisions[0].revision.name.as_ref(), "hello-1");
        for none in ["default/gone", "other/hello", "hello", "", "default/hello/1"] {
            let Snapshot { functions, revisions, .. } = asked(Some(none));
            assert!(functions.is_empty() && revisions.is_empty(), "{none}: {functions:?} {revisions:?}");
        }
    }
}
