//! The driver with the real core and a fixture for the API server, on tokio's paused clock.

use std::sync::Arc;
use std::time::Duration;

use catnap_autoscaler_api::state::State;
use catnap_autoscaler_core::{PodFact, Policy, Stage, StreamId, Token, WriteOutcome};
use catnap_runtime::CancellationToken;
use catnap_runtime::admin::{DebugQuery, Readiness};
use catnap_runtime::events::Notice;
use catnap_runtime::lease::Leadership;
use catnap_runtime::prometheus_client::encoding::text::encode;
use catnap_runtime::prometheus_client::registry::Registry;
use catnap_runtime::watch::Change;
use catnap_wire::{ActivatorFrame, Hello, LeaderFrame, RevisionId, WakeAnswer};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};

use super::{
    Driver, INPUTS, Input, LAST_ANSWERS, LAST_ZEROS, Opening, Outgoing, REST, Refusal, TICK, Tools, describe,
    pause,
};
use crate::cluster::ClusterChange;
use crate::cluster::fact::{Activator, Deployment, Function, FunctionPod, ReplicaSet, Revision, RevisionKey};
use crate::fixture::{Call, Reply, client, soon};
use crate::marks::MarkClient;
use crate::metrics::Metrics;
use crate::patterns::PatternClient;
use crate::scale::{Answer, ScaleClient};
use crate::watch::Activators;

mod crowd;
mod rates;
mod stopping;

struct Process {
    inputs: mpsc::Sender<Input>,
    election: watch::Sender<Option<Leadership>>,
    notices: mpsc::Receiver<Notice>,
    readiness: Readiness,
    registry: Registry,
    stop: CancellationToken,
    run: JoinHandle<bool>,
    calls: Arc<Mutex<Vec<Call>>>,
}

struct Activated {
    id: StreamId,
    frames: mpsc::Receiver<Result<LeaderFrame, Status>>,
}

fn revision() -> RevisionId {
    RevisionId { namespace: "shop".into(), name: "hello-1".into(), function_uid: "f1".into() }
}

fn deployment(replicas: u32, resource_version: &str) -> Deployment {
    Deployment {
        key: RevisionKey::of(&revision()),
        uid: "d1".into(),
        function_uid: Some("f1".into()),
        replicas,
        resource_version: resource_version.into(),
        observed: true,
    }
}

fn replica_set(replicas: u32) -> ReplicaSet {
    ReplicaSet {
        key: RevisionKey::of(&revision()),
        uid: "s1".into(),
        deployment_uid: Some("d1".into()),
        replicas,
        active: replicas > 0,
        observed: true,
    }
}

fn pod(number: u32) -> FunctionPod {
    FunctionPod {
        key: RevisionKey::of(&revision()),
        function_uid: "f1".into(),
        name: format!("hello-{number}").into(),
        fact: PodFact {
            uid: format!("p{number}").into(),
            terminating: false,
            ready: true,
            created: 0,
            marked: false,
        },
        counts: true,
    }
}

fn scale_object(call: &Call) -> Value {
    let mut object = call.body.clone();
    object["metadata"]["resourceVersion"] = json!("11");
    object
}

impl Process {
    fn start(answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&calls);
        let api = client(move |call| {
            let reply = answer(&call);
            seen.lock().push(call);
            reply
        });
        Self { calls, ..Self::start_with(api, 4) }
    }

    fn start_with(api: kube::Client, writers: usize) -> Self {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let activators = Activators { namespace: "catnap-system".into(), selector: "a=b".into() };
        // What was learned has tests of its own: here its store never answers.
        let patterns =
            PatternClient::new(client(|_| Reply::Silence), "catnap-system", Duration::from_secs(300));
        let scale = ScaleClient::new(api, activators, writers, metrics.clone());
        let (inputs, received) = mpsc::channel(INPUTS);
        let (told, notices) = mpsc::channel(16);
        let (election, leadership) = watch::channel(None);
        let stop = CancellationToken::new();
        let readiness = Readiness::default();
        let marks = MarkClient::new(client(|_| Reply::Silence), metrics.clone());
        let readiness_of = readiness.clone();
        let tools =
            Tools { boot: 5, scale, marks, patterns, notices: told, readiness: readiness_of, metrics };
        let driver = Driver::new(tools, inputs.clone());
        let run = tokio::spawn(driver.run(received, leadership, stop.clone()));
        let calls = Arc::default();
        Self { inputs, election, notices, readiness, registry, stop, run, calls }
    }

    async fn put(&self, input: Input) {
        self.inputs.send(input).await.unwrap();
    }

    /// One function at rest, with one activator.
    async fn sync(&self) {
        self.sync_with(Stage::Routed, 0).await;
    }

    /// One function with so many settled replicas, with one activator.
    async fn sync_with(&self, stage: Stage, replicas: u32) {
        let revision = Revision { name: "hello-1".into(), policy: Policy::default(), stage, percent: 100 };
        let function = Function {
            namespace: "shop".into(),
            name: "hello".into(),
            uid: "f1".into(),
            schedules: Vec::new(),
            revisions: vec![revision],
        };
        for change in [
            ClusterChange::Functions(Change::Listed(vec![function])),
            ClusterChange::Deployments(Change::Listed(vec![deployment(replicas, "10")])),
            ClusterChange::ReplicaSets(Change::Listed(vec![replica_set(replicas)])),
            ClusterChange::Pods(Change::Listed((0..replicas).map(pod).collect())),
            ClusterChange::Activators(Change::Listed(vec![Activator { uid: "a1".into(), live: true }])),
        ] {
            self.put(Input::Cluster(change)).await;
        }
    }

    fn elect(&self, transitions: u64, valid: Duration) {
        self.election.send_replace(Some(Leadership::until(transitions, Instant::now() + valid)));
    }

    async fn open(&self, pod: &str) -> Result<Activated, Refusal> {
        self.open_with(pod, 16).await
    }

    async fn open_with(&self, pod: &str, frames: usize) -> Result<Activated, Refusal> {
        let (frames, received) = mpsc::channel(frames);
        let (answer, answered) = oneshot::channel();
        let outgoing = Outgoing { frames, _ended: CancellationToken::new().drop_guard() };
        self.put(Input::Open(Opening { pod: pod.into(), outgoing, answer })).await;
        let id = soon(answered).await.unwrap()?;
        Ok(Activated { id, frames: received })
    }

    async fn greet(&self) -> Activated {
        self.greet_with(16).await
    }

    async fn greet_with(&self, frames: usize) -> Activated {
        let mut activated = self.open_with("a1", frames).await.unwrap();
        let hello = Hello {
            boot: 1,
            pod_uid: "a1".into(),
            clock_milliseconds: 60_000,
            revisions: vec![],
            more: false,
        };
        self.put(Input::Frame(activated.id, ActivatorFrame::Hello(hello), Instant::now())).await;
        let welcome = soon(activated.frames.recv()).await.unwrap().unwrap();
        assert!(matches!(welcome, LeaderFrame::Welcome(_)), "{welcome:?}");
        activated
    }

    async fn wake(&self, activated: &Activated) {
        let wake = ActivatorFrame::Wake { revision: revision(), held: 1, arrivals: 1 };
        self.put(Input::Frame(activated.id, wake, Instant::now())).await;
    }

    async fn state(&self) -> Value {
        self.state_of(None).await
    }

    async fn state_of(&self, function: Option<&str>) -> Value {
        let (ask, asked) = oneshot::channel();
        self.put(Input::Debug(DebugQuery { function: function.map(str::to_owned) }, ask)).await;
        serde_json::to_value(State::from(soon(asked).await.unwrap())).unwrap()
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        text
    }
}

async fn answer_of(activated: &mut Activated, wanted: fn(&WakeAnswer) -> bool) -> WakeAnswer {
    soon(async {
        loop {
            let frame = activated.frames.recv().await.unwrap().unwrap();
            if let LeaderFrame::WakeReply { answer, .. } = frame
                && wanted(&answer)
            {
                return answer;
            }
        }
    })
    .await
}

const LONG: Duration = Duration::from_secs(3_600);

#[tokio::test(start_paused = true)]
async fn a_wake_is_written_in_the_same_instant_and_answered() {
    let mut process = Process::start(|call| Reply::Json(200, scale_object(call)));
    process.sync().await;
    process.elect(1, LONG);
    let mut activated = process.greet().await;
    let begin = Instant::now();
    process.wake(&activated).await;
    let answer = answer_of(&mut activated, |answer| matches!(answer, WakeAnswer::Written { .. })).await;
    assert_eq!(answer, WakeAnswer::Written { replicas: 1 });
    assert_eq!(begin.elapsed(), Duration::ZERO, "nothing waited for a tick");
    {
        let calls = process.calls.lock();
        let [put] = calls.as_slice() else { panic!("one request, not {calls:?}") };
        assert_eq!((put.method.as_str(), &put.body["metadata"]["resourceVersion"]), ("PUT", &json!("10")));
    }
    let notice = soon(process.notices.recv()).await.unwrap();
    assert_eq!((notice.reason, &*notice.subject.name), ("Woken", "hello"));
    assert!(process.metrics().contains("catnap_autoscaler_wake_seconds_count 1"), "{}", process.metrics());
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_read_and_written_again() {
    let process = Process::start(|call| {
        if call.method == "GET" {
            let metadata = json!({ "name": "hello-1", "namespace": "shop", "resourceVersion": "12" });
            return Reply::Json(200, json!({ "metadata": metadata, "spec": { "replicas": 0 } }));
        }
        if call.body["metadata"]["resourceVersion"] == "10" {
            return Reply::refusal(409, "Conflict");
        }
        let mut object = call.body.clone();
        object["metadata"]["resourceVersion"] = json!("13");
        Reply::Json(200, object)
    });
    process.sync().await;
    process.elect(1, LONG);
    let mut activated = process.greet().await;
    process.wake(&activated).await;
    answer_of(&mut activated, |answer| matches!(answer, WakeAnswer::Written { .. })).await;
    let methods: Vec<_> = process.calls.lock().iter().map(|call| call.method.clone()).collect();
    assert_eq!(methods, ["PUT", "GET", "PUT"]);
    assert!(process.metrics().contains("catnap_autoscaler_wake_seconds_count 1"), "{}", process.metrics());
}

#[test]
fn time_is_looked_at_often_where_it_changes_something_and_seldom_where_all_rest() {
    let at = Duration::from_secs(60);
    let part = Duration::from_millis(50);
    assert_eq!(pause(at, Duration::ZERO, false), TICK, "something is under way");
    assert_eq!(pause(at, at, false), TICK);
    assert_eq!(pause(at, at + part, false), part, "until the turn");
    assert_eq!(pause(at, at + LONG, false), REST);
    assert_eq!(pause(at, Duration::MAX, false), REST);
    assert_eq!(pause(at, Duration::MAX, true), TICK, "who stops is in a hurry");
}

#[tokio::test(start_paused = true)]
async fn it_leads_only_when_elected_and_synced() {
    let process = Process::start(|_| Reply::Silence);
    process.elect(1, LONG);
    assert_eq!(process.open("a1").await.err(), Some(Refusal::NotLeading));
    assert!(!process.readiness.get());
    process.sync().await;
    assert_eq!(process.open("stranger").await.err(), Some(Refusal::UnknownPod));
    assert!(process.readiness.get());
    process.greet().await;
    assert_eq!(process.state().await["term"]["transitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn streams_end_with_the_term_and_the_next_term_begins_anew() {
    let process = Process::start(|_| Reply::Silence);
    process.sync().await;
    process.elect(1, Duration::from_secs(4));
    let mut activated = process.greet().await;
    // Nobody says that leadership is over: it runs out by the clock.
    let ended = soon(async {
        loop {
            if let Err(status) = activated.frames.recv().await.unwrap() {
                return status;
            }
        }
    })
    .await;
    assert_eq!(ended.code(), Code::Unavailable);
    assert_eq!(process.open("a1").await.err(), Some(Refusal::NotLeading));
    assert_eq!(process.state().await["leading"], false);
    process.elect(2, LONG);
    process.greet().await;
    assert_eq!(process.state().await["term"]["transitions"], 2);
}

/// The lease is lost and won again in the same term, as after a freeze: an answer to the leader before is not for this one.
#[tokio::test(start_paused = true)]
async fn an_answer_of_the_reign_before_is_not_taken() {
    let process = Process::start(|_| Reply::Silence);
    process.sync().await;
    process.elect(1, Duration::from_secs(4));
    let activated = process.greet().await;
    process.wake(&activated).await;
    process.state().await;
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(process.state().await["leading"], false);
    process.elect(1, LONG);
    let mut activated = process.greet().await;
    process.wake(&activated).await;
    let written = WriteOutcome::Written { resource_version: "77".into() };
    process.put(Input::Answered(1, Answer::Written(Token(1), written))).await;
    process.state().await;
    while let Ok(frame) = activated.frames.try_recv() {
        let frame = frame.unwrap();
        let written = matches!(frame, LeaderFrame::WakeReply { answer: WakeAnswer::Written { .. }, .. });
        assert!(!written, "{frame:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wake_is_measured_from_the_moment_it_came() {
    let process = Process::start(|call| Reply::Json(200, scale_object(call)));
    process.sync().await;
    process.elect(1, LONG);
    let mut activated = process.greet().await;
    let came = Instant::now();
    tokio::time::advance(Duration::from_millis(15)).await;
    let wake = ActivatorFrame::Wake { revision: revision(), held: 1, arrivals: 1 };
    process.put(Input::Frame(activated.id, wake, came)).await;
    answer_of(&mut activated, |answer| matches!(answer, WakeAnswer::Written { .. })).await;
    assert!(process.metrics().contains("catnap_autoscaler_wake_seconds_sum 0.015"), "{}", process.metrics());
}

#[tokio::test(start_paused = true)]
async fn an_activator_that_breaks_the_protocol_is_disconnected() {
    let process = Process::start(|_| Reply::Silence);
    process.sync().await;
    process.elect(1, LONG);
    let mut activated = process.open("a1").await.unwrap();
    process.put(Input::Frame(activated.id, ActivatorFrame::Through { index: 1 }, Instant::now())).await;
    let ended = soon(activated.frames.recv()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::InvalidArgument);
    assert!(soon(activated.frames.recv()).await.is_none());
    assert_eq!(process.state().await["streams"], 0);
}

#[tokio::test(start_paused = true)]
async fn an_activator_that_does_not_take_its_frames_is_disconnected() {
    let process = Process::start(|_| Reply::Silence);
    process.sync().await;
    process.elect(1, LONG);
    let activated = process.greet().await;
    soon(async {
        // Every repetition of a Wake is answered, and nobody takes the answers.
        while process.state().await["streams"] == 1 {
            process.wake(&activated).await;
        }
    })
    .await;
}
