//! Several loops with real cores that share a limit over their own streams, under TLS on loopback: how long a slot is free while
//! somebody waits for it, also while activators come and go. Only the API server, the leader and the pods are pretended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use catnap_runtime::listen::listen;
use catnap_runtime::tls::{SelfMade, install_crypto_provider};
use catnap_wire::PodUid;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, sleep_until};

use super::*;
use crate::peers::dial;
use crate::peers::server::Server;
use crate::peers::stream::Streams;

/// Nobody waits longer than this beside a free slot.
const BESIDE_FREE: Duration = Duration::from_millis(100);
/// Tasks by which a slot goes over: who had it, its control loop, the owner's, and that of who gets it. Each may have to wait for
/// its turn on a machine that has other things to do.
const STEPS: u32 = 4;
/// Pods, each with one slot.
const PODS: usize = 2;
/// Callers of each activator: more than there are slots, so that somebody always waits.
const CALLERS: usize = 4;
/// How long a pod takes for a request.
const WORK: Duration = Duration::from_millis(2);
/// Requests between two changes.
const REQUESTS: usize = 300;

/// The pods as their callers see them.
#[derive(Default)]
struct Pods {
    uses: Mutex<Uses>,
    /// Most microseconds by which this machine was late with anything, and how often that was looked at.
    late: AtomicU64,
    looks: AtomicU64,
}

#[derive(Default)]
struct Uses {
    /// Since when each is free; `None` while it has a request.
    free: HashMap<PodUid, Option<Instant>>,
    longest_free: Duration,
    begun: usize,
}

impl Pods {
    fn begin(&self, pod: &PodUid) {
        let mut uses = self.uses.lock().unwrap();
        uses.begun += 1;
        if let Some(free) = uses.free.insert(PodUid::clone(pod), None) {
            let since = free.expect("it has a request already, which is all that it may have");
            uses.longest_free = uses.longest_free.max(since.elapsed());
        }
    }

    fn end(&self, pod: &PodUid) {
        self.uses.lock().unwrap().free.insert(PodUid::clone(pod), Some(Instant::now()));
    }

    /// Counts from now on.
    fn start_over(&self) {
        let mut uses = self.uses.lock().unwrap();
        uses.longest_free = Duration::ZERO;
        uses.free.values_mut().flatten().for_each(|since| *since = Instant::now());
        self.late.store(0, Relaxed);
    }

    /// The longest time that a pod was free, those included that are.
    fn longest_free(&self) -> Duration {
        let uses = self.uses.lock().unwrap();
        assert_eq!(uses.free.len(), PODS, "each has its requests");
        let free = uses.free.values().flatten().map(Instant::elapsed);
        free.fold(uses.longest_free, Duration::max)
    }

    fn begun(&self) -> usize {
        self.uses.lock().unwrap().begun
    }

    /// Waits until so many more requests have begun.
    async fn go_on(&self) {
        let before = self.begun();
        until("requests are served", || self.begun() >= before + REQUESTS).await;
    }

    /// Notes how late this machine is, for ever.
    async fn note_late(self: Arc<Self>) {
        loop {
            let due = Instant::now() + Duration::from_millis(1);
            sleep_until(due).await;
            let late = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.late.fetch_max(late, Relaxed);
            self.looks.fetch_add(1, Relaxed);
        }
    }

    /// By how much this machine was late with anything until now.
    async fn late(&self) -> Duration {
        let looks = self.looks.load(Relaxed);
        until("it was looked at", || self.looks.load(Relaxed) > looks).await;
        Duration::from_micros(self.late.load(Relaxed))
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let looking = async {
        let mut look = interval(Duration::from_millis(2));
        while !condition() {
            look.tick().await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// One activator, and those who call it.
struct One {
    uid: &'static str,
    boot: u64,
    activator: Arc<Activator>,
    address: SocketAddr,
    certificate: Arc<SelfMade>,
    members: mpsc::UnboundedSender<Change<Member>>,
    leases: mpsc::UnboundedSender<Change<Advertisement>>,
    /// Which would end the watches.
    _others: (mpsc::UnboundedSender<Change<Seen>>, mpsc::UnboundedSender<Change<FunctionPod>>),
    synced: oneshot::Receiver<()>,
    end: CancellationToken,
    control: JoinSet<()>,
    _around: JoinSet<()>,
    callers: JoinSet<()>,
    done: CancellationToken,
}

impl One {
    /// Starts one, whose function has its pods at `port`.
    fn start(uid: &'static str, boot: u64, port: u16) -> Self {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let certificate = Arc::new(SelfMade::generate("catnap-activator").unwrap());
        let (activator, commands) = Activator::new(Settings::new(boot, uid), Arc::new(SystemClock::start()));
        let metrics = Metrics::register(&mut Registry::default(), &activator);
        let (directory, known) = Directory::new(uid.into());
        let (tell_peers, peers) = mpsc::channel(4_096);
        let streams = Streams::new(tell_peers);
        let server = Server::new(&certificate, known.clone(), streams.clone()).unwrap();
        let (functions, function_changes) = mpsc::unbounded_channel();
        let (pods, pod_changes) = mpsc::unbounded_channel();
        let (members, member_changes) = mpsc::unbounded_channel();
        let (leases, lease_changes) = mpsc::unbounded_channel();
        let (tell_stream, stream) = mpsc::channel(16);
        let mut around = JoinSet::new();
        around.spawn(server.serve(listener, CancellationToken::new()));
        around.spawn(dial::keep_connected(uid.into(), Arc::clone(&certificate), known, streams));
        around.spawn(lead(tell_stream));
        let (tell_synced, synced) = oneshot::channel();
        let scale = ScaleClient::new(api_server(Calls::default()));
        let control =
            Control::new(Arc::clone(&activator), scale, directory, Outcomes::new(metrics), tell_synced);
        let sources = Sources {
            commands,
            functions: received(function_changes),
            pods: received(pod_changes),
            members: received(member_changes),
            leases: received(lease_changes),
            peers,
            stream,
        };
        let end = CancellationToken::new();
        let mut controls = JoinSet::new();
        controls.spawn(control.run(sources, end.clone()));
        functions.send(Change::Listed(vec![limited(port)])).unwrap();
        pods.send(Change::Listed((0..PODS).map(ready).collect())).unwrap();
        Self {
            uid,
            boot,
            activator,
            address,
            certificate,
            members,
            leases,
            _others: (functions, pods),
            synced,
            end,
            control: controls,
            _around: around,
            callers: JoinSet::new(),
            done: CancellationToken::new(),
        }
    }

    fn advertisement(&self) -> Advertisement {
        let (address, fingerprint) = (self.address, self.certificate.fingerprint());
        Advertisement { pod: self.uid.into(), boot: self.boot, address, fingerprint }
    }

    fn member(&self) -> Member {
        let status = running("activator");
        let pod = json!({"metadata": {"uid": self.uid}, "status": status});
        Member::trim(serde_json::from_value(pod).unwrap()).unwrap()
    }

    /// What it is to the function's slots.
    fn role(&self) -> Option<&'static str> {
        self.activator.snapshot().revisions.first()?.slots
    }

    /// Nobody is let in before it knows the others, as by the process itself.
    async fn is_called(&mut self, pods: &Arc<Pods>) {
        timeout(PATIENCE, &mut self.synced).await.expect("everything is known in time").unwrap();
        for _ in 0..CALLERS {
            let (activator, pods) = (Arc::clone(&self.activator), Arc::clone(pods));
            self.callers.spawn(call(activator, pods, self.done.clone()));
        }
    }

    /// Returns when each of its callers has its last answer.
    async fn is_called_no_more(&mut self) {
        self.done.cancel();
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
    }
}

/// Asks again and again.
async fn call(activator: Arc<Activator>, pods: Arc<Pods>, done: CancellationToken) {
    while !done.is_cancelled() {
        let function = activator.route(Listener::InCluster, "hello.default").unwrap();
        let slot = match function.admit() {
            Admission::Dispatch(slot) => slot,
            Admission::Held(waiting) => timeout(PATIENCE, waiting).await.expect("a slot in time").unwrap(),
            Admission::Refused(refusal) => panic!("{refusal:?}"),
        };
        pods.begin(slot.pod());
        sleep(WORK).await;
        pods.end(slot.pod());
        slot.finished();
    }
}

/// A leader that greets, and for which there are always enough pods.
async fn lead(stream: mpsc::Sender<StreamEvent>) {
    let (outgoing, mut frames) = mpsc::channel(1_024);
    stream.send(StreamEvent::Connected { lease: 1, outgoing }).await.unwrap();
    while let Some(frame) = frames.recv().await {
        let answer = match frame {
            ActivatorFrame::Hello(_) => {
                let term = Term { transitions: 1, boot: 1 };
                LeaderFrame::Welcome(Welcome { term, closed: Vec::new(), more: false })
            }
            ActivatorFrame::Wake { revision, .. } => {
                LeaderFrame::WakeReply { revision, answer: WakeAnswer::Written { replicas: 2 } }
            }
            _ => continue,
        };
        // The loop may be on its way out.
        let _ = stream.send(StreamEvent::Frame(answer)).await;
    }
}

/// Status of a pod with this container.
fn running(container: &str) -> Value {
    json!({
        "phase": "Running", "podIP": "127.0.0.1",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{
            "name": container, "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {}},
        }],
    })
}

/// A function whose pods take one request at a time.
fn limited(port: u16) -> Seen {
    let revision = json!({
        "name": "hello-1", "port": port, "protocol": "HTTP1", "concurrencyLimit": 1, "state": "Routed",
    });
    let object = json!({
        "apiVersion": "catnap.dev/v1alpha1", "kind": "Function",
        "metadata": {"name": "hello", "namespace": "default", "uid": "function-uid"},
        "spec": {"image": "hello"},
        "status": {"revisions": [revision], "traffic": [{"revision": "hello-1", "percent": 100}]},
    });
    Seen::trim(serde_json::from_value(object).unwrap()).unwrap()
}

/// One of its pods.
fn ready(number: usize) -> FunctionPod {
    let object = json!({
        "metadata": {
            "name": format!("hello-1-6f-{number}"), "namespace": "default", "uid": format!("pod-{number}"),
            "labels": {"catnap.dev/revision": "hello-1", "catnap.dev/function-uid": "function-uid"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "hello-1-6f", "uid": "rs", "controller": true}
            ],
        },
        "status": running("function"),
    });
    FunctionPod::trim(serde_json::from_value(object).unwrap()).unwrap()
}

/// Shows each of them all that there are.
fn introduce(all: &[One]) {
    for one in all {
        one.members.send(Change::Listed(all.iter().map(One::member).collect())).unwrap();
        one.leases.send(Change::Listed(all.iter().map(One::advertisement).collect())).unwrap();
    }
}

/// Waits until one of them owns the slots and all others follow.
async fn agreed(all: &[One]) {
    until("one owns the slots, and the others follow", || {
        let roles: Vec<_> = all.iter().filter_map(One::role).collect();
        let count = |role: &str| roles.iter().filter(|other| **other == role).count();
        count("owner") == 1 && count("following") == all.len() - 1
    })
    .await;
}

#[tokio::test]
async fn nobody_waits_beside_a_free_slot_while_activators_come_and_go() {
    install_crypto_provider();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pods = Arc::<Pods>::default();
    let mut around = JoinSet::new();
    // Whoever holds requests looks whether the pods answer.
    around.spawn(async move { while listener.accept().await.is_ok() {} });
    around.spawn(Arc::clone(&pods).note_late());
    let mut all = vec![One::start("a", 1, port), One::start("b", 2, port), One::start("c", 3, port)];
    introduce(&all);
    for one in &mut all {
        one.is_called(&pods).await;
    }
    agreed(&all).await;
    pods.go_on().await;

    pods.start_over();
    pods.go_on().await;
    all.push(One::start("d", 4, port));
    introduce(&all);
    for one in all.iter_mut().skip(3) {
        one.is_called(&pods).await;
    }
    agreed(&all).await;
    pods.go_on().await;
    let owner = all.iter().position(|one| one.role() == Some("owner")).expect("an owner");
    let mut leaving = all.swap_remove(owner);
    leaving.activator.drain();
    agreed(&all).await;
    leaving.is_called_no_more().await;
    leaving.end.cancel();
    let ended = timeout(PATIENCE, leaving.control.join_next()).await.expect("an end in time");
    ended.expect("a loop").unwrap();
    introduce(&all);
    drop(leaving);
    pods.go_on().await;

    let longest = pods.longest_free();
    let late = pods.late().await;
    assert!(
        longest <= BESIDE_FREE + STEPS * late,
        "a slot was free for {longest:?} while others waited, on a machine that was late by {late:?}"
    );
    for one in &mut all {
        one.is_called_no_more().await;
    }
}
