//! The loop with a real core between scripted watches, a scripted leader and a scripted API server.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use catnap_activator_core::{Admission, Listener, Settings, SystemClock};
use catnap_activator_http::{Ended, Observer, Outcome};
use catnap_runtime::prometheus_client::registry::Registry;
use catnap_wire::{RevisionId, Term, WakeAnswer, Welcome};
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::metrics::Metrics;

mod several;

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Calls of the API server so far: method and, of a PUT, the count.
type Calls = Arc<Mutex<Vec<(Method, Option<u64>)>>>;

/// Everything around a running loop.
struct Surroundings {
    activator: Arc<Activator>,
    metrics: Arc<Metrics>,
    functions: mpsc::UnboundedSender<Change<Seen>>,
    pods: mpsc::UnboundedSender<Change<FunctionPod>>,
    members: mpsc::UnboundedSender<Change<Member>>,
    leases: mpsc::UnboundedSender<Change<Advertisement>>,
    end: CancellationToken,
    stream: mpsc::Sender<StreamEvent>,
    synced: oneshot::Receiver<()>,
    calls: Calls,
    control: tokio::task::JoinHandle<()>,
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        self.control.abort();
    }
}

fn received<T: Send + 'static>(receiver: mpsc::UnboundedReceiver<T>) -> BoxStream<'static, T> {
    futures::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
        .boxed()
}

/// An API server on which every Deployment rests at zero until somebody raises it.
fn api_server(calls: Calls) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let calls = Arc::clone(&calls);
        async move {
            let method = request.method().clone();
            let sent = http_body_util::BodyExt::collect(request.into_body()).await?.to_bytes();
            let sent: Value = serde_json::from_slice(&sent).unwrap_or_default();
            let wanted = sent["spec"]["replicas"].as_u64();
            calls.lock().unwrap().push((method, wanted));
            let raised =
                calls.lock().unwrap().iter().filter_map(|(_, wanted)| *wanted).max().unwrap_or_default();
            let answer = json!({"metadata": {"resourceVersion": "7"}, "spec": {"replicas": raised}});
            Ok::<_, kube::Error>(Response::new(Body::from(answer.to_string().into_bytes())))
        }
    });
    Client::new(service, "default")
}

fn start() -> Surroundings {
    let (activator, commands) = Activator::new(Settings::new(1, "own"), Arc::new(SystemClock::start()));
    let metrics = Metrics::register(&mut Registry::default(), &activator);
    let calls = Calls::default();
    let (tell_synced, synced) = oneshot::channel();
    let (functions, function_changes) = mpsc::unbounded_channel();
    let (pods, pod_changes) = mpsc::unbounded_channel();
    let (members, member_changes) = mpsc::unbounded_channel();
    let (leases, lease_changes) = mpsc::unbounded_channel();
    let (stream, events) = mpsc::channel(16);
    // No other activator ever connects.
    let (_, peers) = mpsc::channel(1);
    let (directory, _) = Directory::new("own".into());
    let end = CancellationToken::new();
    let control = Control::new(
        Arc::clone(&activator),
        ScaleClient::new(api_server(Arc::clone(&calls))),
        directory,
        Outcomes::new(Arc::clone(&metrics)),
        tell_synced,
    );
    let sources = Sources {
        commands,
        functions: received(function_changes),
        pods: received(pod_changes),
        members: received(member_changes),
        leases: received(lease_changes),
        peers,
        stream: events,
    };
    let control = tokio::spawn(control.run(sources, end.clone()));
    Surroundings { activator, metrics, functions, pods, members, leases, end, stream, synced, calls, control }
}

fn function(name: &str, port: u16) -> Seen {
    let object = json!({
        "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
        "metadata": {"name": name, "namespace": "default", "uid": "function-uid"},
        "spec": {"image": "hello"},
        "status": {
            "revisions": [{"name": "hello-1", "port": port, "protocol": "HTTP1", "state": "Routed"}],
            "traffic": [{"revision": "hello-1", "percent": 100}],
        },
    });
    Seen::trim(serde_json::from_value(object).unwrap()).unwrap()
}

fn pod(address: SocketAddr) -> FunctionPod {
    let object = json!({
        "metadata": {
            "name": "a", "namespace": "default", "uid": "pod-uid",
            "labels": {"catnap.dev/revision": "hello-1", "catnap.dev/function-uid": "function-uid"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "hello-1-6f", "uid": "rs", "controller": true}
            ],
        },
        "status": {"phase": "Pending", "podIP": address.ip()},
    });
    FunctionPod::trim(serde_json::from_value(object).unwrap()).unwrap()
}

fn revision() -> RevisionId {
    RevisionId { namespace: "default".into(), name: "hello-1".into(), function_uid: "function-uid".into() }
}

impl Surroundings {
    /// Lets every watch give its first list.
    async fn sync(&mut self, functions: Vec<Seen>, pods: Vec<FunctionPod>) {
        self.functions.send(Change::Listed(functions)).unwrap();
        self.pods.send(Change::Listed(pods)).unwrap();
        assert!(self.synced.try_recv().is_err(), "not before the last list");
        self.members.send(Change::Listed(Vec::new())).unwrap();
        self.leases.send(Change::Listed(Vec::new())).unwrap();
        timeout(PATIENCE, &mut self.synced).await.expect("synced in time").unwrap();
    }

    fn admit(&self) -> Admission {
        self.activator.route(Listener::InCluster, "hello.default").unwrap().admit()
    }

    fn hold(&self) -> catnap_activator_core::Waiting {
        match self.admit() {
            Admission::Held(waiting) => waiting,
            other => panic!("held expected, not {other:?}"),
        }
    }

    /// Opens a stream as a leader of term 1 and answers the hello; gives the frames that come.
    async fn connect(&self, capacity: usize) -> mpsc::Receiver<ActivatorFrame> {
        self.connect_to(1, 1, capacity).await
    }

    async fn connect_to(
        &self,
        lease: u64,
        transitions: u64,
        capacity: usize,
    ) -> mpsc::Receiver<ActivatorFrame> {
        let (outgoing, mut frames) = mpsc::channel(capacity);
        self.stream.send(StreamEvent::Connected { lease, outgoing }).await.unwrap();
        let hello = timeout(PATIENCE, frames.recv()).await.expect("a hello in time");
        assert!(matches!(hello, Some(ActivatorFrame::Hello(_))), "{hello:?}");
        let term = Term { transitions, boot: 1 };
        let welcome = LeaderFrame::Welcome(Welcome { term, closed: Vec::new(), more: false });
        self.stream.send(StreamEvent::Frame(welcome)).await.unwrap();
        frames
    }
}

async fn wake_in(frames: &mut mpsc::Receiver<ActivatorFrame>) {
    let found = timeout(PATIENCE, async {
        while let Some(frame) = frames.recv().await {
            if let ActivatorFrame::Wake { revision: woken, held, arrivals } = frame {
                assert_eq!((woken, held, arrivals), (revision(), 1, 1));
                return true;
            }
        }
        false
    });
    assert!(found.await.expect("a wake in time"));
}

#[tokio::test]
async fn a_held_request_wakes_through_the_leader_and_goes_to_the_pod_whose_port_answers() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut surroundings = start();
    let mut frames = surroundings.connect(64).await;
    surroundings.sync(vec![function("hello", address.port())], Vec::new()).await;
    let waiting = surroundings.hold();
    wake_in(&mut frames).await;
    let answer = WakeAnswer::Written { replicas: 1 };
    let written = LeaderFrame::WakeReply { revision: revision(), answer };
    surroundings.stream.send(StreamEvent::Frame(written)).await.unwrap();
    surroundings.pods.send(Change::Applied(pod(address))).unwrap();
    let slot = timeout(PATIENCE, waiting).await.expect("a slot in time").unwrap();
    assert_eq!(slot.address(), address);
    assert!(slot.phases().unwrap().cold);
    assert!(surroundings.calls.lock().unwrap().is_empty(), "the leader wrote");
}

#[tokio::test]
async fn without_a_leader_the_scale_is_read_and_raised_from_here() {
    let mut surroundings = start();
    surroundings.sync(vec![function("hello", 80)], Vec::new()).await;
    let _waiting = surroundings.hold();
    let raised = async {
        while !surroundings.calls.lock().unwrap().contains(&(Method::PUT, Some(1))) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, raised).await.expect("a write in time");
    assert_eq!(surroundings.calls.lock().unwrap()[0], (Method::GET, None), "read first");
}

#[tokio::test]
async fn a_leader_that_does_not_read_is_given_up_and_a_new_stream_begins_with_a_hello() {
    let mut surroundings = start();
    let mut frames = surroundings.connect(1).await;
    // The first second's frame fills the only place, the next one finds none.
    surroundings.sync(vec![function("hello", 80)], Vec::new()).await;
    let _waiting = surroundings.hold();
    let closed = async {
        while !frames.is_closed() && !surroundings.activator.snapshot().leader {
            tokio::task::yield_now().await;
        }
        while surroundings.activator.snapshot().leader {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closed).await.expect("given up in time");
    while frames.recv().await.is_some() {}
    surroundings.connect(64).await;
}

#[tokio::test]
async fn the_stream_of_a_leader_that_was_replaced_is_let_go_unless_its_lease_is_new() {
    let mut surroundings = start();
    surroundings.sync(vec![function("hello", 80)], Vec::new()).await;
    let _first = surroundings.connect_to(1, 7, 64).await;
    let mut second = surroundings.connect_to(1, 6, 64).await;
    let ended = async { while second.recv().await.is_some() {} };
    timeout(PATIENCE, ended).await.expect("let go in time");
    let mut third = surroundings.connect_to(2, 1, 64).await;
    let _waiting = surroundings.hold();
    wake_in(&mut third).await;
}

#[tokio::test]
async fn a_function_that_is_deleted_fails_what_it_holds() {
    let mut surroundings = start();
    let mut frames = surroundings.connect(64).await;
    surroundings.sync(vec![function("hello", 80)], Vec::new()).await;
    let waiting = surroundings.hold();
    wake_in(&mut frames).await;
    surroundings.functions.send(Change::Deleted(function("hello", 80))).unwrap();
    let refusal = timeout(PATIENCE, waiting).await.expect("an end in time").unwrap_err();
    assert_eq!(refusal.reason.name(), "Deleted");
    assert!(surroundings.activator.route(Listener::InCluster, "hello.default").is_err());
}

#[tokio::test]
async fn watches_that_end_leave_everything_as_it_was() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut surroundings = start();
    let _frames = surroundings.connect(64).await;
    surroundings.sync(vec![function("hello", address.port())], vec![pod(address)]).await;
    let slot = timeout(PATIENCE, surroundings.hold()).await.expect("a slot in time").unwrap();
    drop(slot);
    (surroundings.functions, _) = mpsc::unbounded_channel();
    (surroundings.pods, _) = mpsc::unbounded_channel();
    (surroundings.members, _) = mpsc::unbounded_channel();
    tokio::task::yield_now().await;
    assert!(matches!(surroundings.admit(), Admission::Dispatch(_)), "still served");
}

#[tokio::test]
async fn without_other_activators_the_end_is_at_once() {
    let mut surroundings = start();
    surroundings.end.cancel();
    timeout(PATIENCE, &mut surroundings.control).await.unwrap().unwrap();
}

/// The revision, how many of its requests ended, and how many with an error.
async fn told(frames: &mut mpsc::Receiver<ActivatorFrame>) -> Vec<(String, u64, u64)> {
    let outcomes = async {
        loop {
            if let Some(ActivatorFrame::Outcomes(outcomes)) = frames.recv().await {
                return outcomes;
            }
        }
    };
    let outcomes = timeout(PATIENCE, outcomes).await.expect("outcomes in time");
    outcomes.into_iter().map(|of| (of.revision.name.to_string(), of.ended, of.errors)).collect()
}

impl Surroundings {
    fn answered(&self, status: u16) {
        let function = self.activator.route(Listener::InCluster, "hello.default").unwrap();
        self.metrics.began();
        self.metrics.ended(&Ended {
            function: Some(function.function()),
            revision: Some(&revision()),
            status: Some(status),
            grpc_status: None,
            outcome: Outcome::Answered,
            duration: Duration::ZERO,
            first_byte: None,
            held: None,
            phases: None,
            attempts: 1,
            request_bytes: 0,
            response_bytes: 0,
            details: None,
        });
    }

    async fn count(&self, revisions: Vec<RevisionId>) {
        self.stream.send(StreamEvent::Frame(LeaderFrame::Count { revisions })).await.unwrap();
    }
}

#[tokio::test]
async fn the_leader_is_told_how_requests_end_where_it_asks_and_only_what_is_new() {
    let mut surroundings = start();
    let mut frames = surroundings.connect(64).await;
    surroundings.sync(vec![function("hello", 80)], Vec::new()).await;
    surroundings.answered(200);
    let none = RevisionId { name: "hello-2".into(), ..revision() };
    surroundings.count(vec![none.clone(), revision()]).await;
    let of = |name: &str, ended, errors| (name.to_owned(), ended, errors);
    assert_eq!(told(&mut frames).await, [of("hello-1", 1, 0), of("hello-2", 0, 0)], "each once");
    surroundings.answered(503);
    assert_eq!(told(&mut frames).await, [of("hello-1", 2, 1)], "what is new");
    let other = RevisionId { name: "hello-3".into(), ..revision() };
    surroundings.count(vec![revision(), other]).await;
    assert_eq!(told(&mut frames).await, [of("hello-3", 0, 0)], "the others are known");
    // Another leader knows nothing, and has not asked.
    let mut frames = surroundings.connect_to(1, 2, 64).await;
    surroundings.answered(200);
    surroundings.count(vec![revision()]).await;
    assert_eq!(told(&mut frames).await, [of("hello-1", 3, 1)], "all since this process started");
}
