//! A running server with a driver that has a leader at hand which wakes everything at once.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use catnap_activator_core::{
    Activator, Command, FunctionName, FunctionPolicy, FunctionRoute, Listener, Phases, Pod, Protocol, Reason,
    RevisionRoute, RevisionState, Settings, SystemClock, Timeouts, Trouble,
};
use catnap_activator_http::{Config, Ended, Handle, Observer, Outcome, Server};
use catnap_wire::message::{ActivatorFrame, LeaderFrame, RevisionId, Term, WakeAnswer, Welcome};
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;

const SOON: Duration = Duration::from_secs(20);

/// Fails the test when it takes too long.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(SOON, future).await;
    done.unwrap_or_else(|_| panic!("not in time: {what}\n{}", threads()))
}

/// What the threads of this process are at.
fn threads() -> String {
    // Without descriptors there is nothing to be read.
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of = |task: std::fs::DirEntry| {
        ["comm", "stat", "wchan"]
            .map(|file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default().trim().to_owned())
            .join(" | ")
    };
    tasks.map(of).collect::<Vec<_>>().join("\n")
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let looking = async {
        let mut look = tokio::time::interval(Duration::from_millis(2));
        while !condition() {
            look.tick().await;
        }
    };
    within(what, looking).await;
}

/// What the observer was told.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) ended: Mutex<Vec<Summary>>,
    pub(crate) unparsable: Mutex<Vec<Reason>>,
    pub(crate) turned_away: AtomicUsize,
    pub(crate) under_way: AtomicI64,
    /// Requests by the thread that began them.
    pub(crate) threads: Mutex<BTreeMap<String, usize>>,
    /// How often each worker was looked at.
    pub(crate) looks: Mutex<BTreeMap<usize, usize>>,
    /// A worker refused requests when it was looked at the last time.
    pub(crate) refuses: AtomicBool,
    /// A worker that begins a request while somebody has it does not go on.
    pub(crate) gate: Mutex<()>,
    /// The worker of the next number below ends when it is looked at, and has.
    pub(crate) ends: AtomicUsize,
    pub(crate) ended_as_wanted: AtomicBool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) function: Option<String>,
    pub(crate) revision: Option<RevisionId>,
    pub(crate) status: Option<u16>,
    pub(crate) outcome: Outcome,
    pub(crate) attempts: u32,
    pub(crate) held: Option<Duration>,
    pub(crate) phases: Option<Phases>,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
}

impl Observer for Counts {
    fn began(&self) {
        self.under_way.fetch_add(1, SeqCst);
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        *self.threads.lock().entry(thread).or_default() += 1;
        drop(self.gate.lock());
    }

    fn ended(&self, exchange: &Ended<'_>) {
        self.ended.lock().push(Summary {
            function: exchange.function.map(|function| function.name().to_string()),
            revision: exchange.revision.cloned(),
            status: exchange.status,
            outcome: exchange.outcome,
            attempts: exchange.attempts,
            held: exchange.held,
            phases: exchange.phases,
            request_bytes: exchange.request_bytes,
            response_bytes: exchange.response_bytes,
        });
        self.under_way.fetch_sub(1, SeqCst);
    }

    fn unparsable(&self, exchange: &Ended<'_>) {
        let Outcome::Refused(reason) = exchange.outcome else { panic!("{exchange:?}") };
        assert_eq!((exchange.status, exchange.attempts), (Some(reason.status()), 0));
        self.unparsable.lock().push(reason);
    }

    fn turned_away(&self) {
        self.turned_away.fetch_add(1, SeqCst);
    }

    fn looked_at(&self, worker: usize, busy: f64, refuses: bool) {
        assert!((0.0..=1.0).contains(&busy), "{busy}");
        if worker + 1 == self.ends.load(SeqCst) {
            self.ended_as_wanted.store(true, SeqCst);
            panic!("as the test wants it");
        }
        self.refuses.store(refuses, SeqCst);
        *self.looks.lock().entry(worker).or_default() += 1;
    }
}

/// How a function of a test is.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) protocol: Protocol,
    pub(crate) limit: u32,
    pub(crate) max_requests: usize,
    pub(crate) activation: Duration,
    pub(crate) stalled: Option<Trouble>,
    pub(crate) timeouts: Timeouts,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            protocol: Protocol::Http1,
            limit: 0,
            max_requests: 1_000,
            activation: Duration::from_secs(60),
            stalled: None,
            timeouts: Timeouts::default(),
        }
    }
}

pub(crate) struct Bed {
    pub(crate) activator: Arc<Activator>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) handle: Handle,
}

impl Bed {
    /// One worker, listening in the cluster and at the edge.
    pub(crate) fn start() -> Self {
        Self::configured(|_| {})
    }

    pub(crate) fn configured(configure: impl FnOnce(&mut Config)) -> Self {
        Self::with_settings(|_| {}, configure)
    }

    pub(crate) fn with_settings(
        set: impl FnOnce(&mut Settings),
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let mut settings = Settings::new(7, "own-pod");
        set(&mut settings);
        let (activator, commands) = Activator::new(settings, Arc::new(SystemClock::start()));
        drive(&activator, commands);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = Config::new(vec![(Listener::InCluster, any), (Listener::Edge, any)]);
        // Other tests run beside this one: how busy a worker is says nothing, but where that is what is tried.
        config.busy_limit = 1.0;
        configure(&mut config);
        let counts = Arc::new(Counts::default());
        let observer: Arc<dyn Observer> = Arc::clone(&counts) as _;
        let handle = Server::start(config, Arc::clone(&activator), observer).unwrap();
        Self { activator, counts, handle }
    }

    /// The in-cluster listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.addresses()[0].1
    }

    pub(crate) fn edge(&self) -> SocketAddr {
        self.handle.addresses()[1].1
    }

    /// Makes a function `<name>.default` without pods.
    pub(crate) fn function(&self, name: &str, setup: Setup) {
        let Setup { protocol, limit, max_requests, activation, stalled, timeouts } = setup;
        let revision: Arc<str> = format!("{name}-1").into();
        let revision = RevisionRoute { protocol, concurrency_limit: limit, ..RevisionRoute::new(revision) };
        let route = FunctionRoute {
            policy: FunctionPolicy { max_requests, activation, timeouts, ..FunctionPolicy::default() },
            ..FunctionRoute::of_one(function_name(name), format!("uid-{name}").into(), revision)
        };
        self.activator.upsert_function(match stalled {
            None => route,
            stalled => FunctionRoute { stalled, traffic: vec![], ..route },
        });
    }

    /// Makes a function that has these pods already.
    pub(crate) fn function_with(&self, name: &str, setup: Setup, pods: &[SocketAddr]) {
        self.function(name, setup);
        self.pods(name, pods);
    }

    /// The function's pods are these now, all Ready.
    pub(crate) fn pods(&self, name: &str, addresses: &[SocketAddr]) {
        set_pods(&self.activator, name, addresses);
    }

    /// State of the function's revision.
    pub(crate) fn state(&self, name: &str) -> RevisionState {
        let id = revision(name);
        let mut revisions = self.activator.snapshot().revisions.into_iter();
        revisions.find(|state| state.revision == id).unwrap()
    }

    pub(crate) async fn until_held(&self, name: &str, count: u64) {
        until("requests are held", || self.state(name).held == count).await;
    }

    /// The only request's end.
    pub(crate) async fn until_ended(&self, count: usize) -> Vec<Summary> {
        until("requests ended", || self.counts.ended.lock().len() >= count).await;
        self.counts.ended.lock().clone()
    }
}

/// The function's pods are these now, all Ready.
pub(crate) fn set_pods(activator: &Activator, name: &str, addresses: &[SocketAddr]) {
    let pods = addresses.iter().map(|address| Pod {
        uid: format!("pod-{}", address.port()).into(),
        address: Some(*address),
        started: true,
        ready: true,
        requires_ready: false,
        terminating: false,
        trouble: None,
    });
    activator.set_pods(&revision(name), pods.collect());
}

pub(crate) fn function_name(name: &str) -> FunctionName {
    FunctionName { namespace: "default".into(), name: name.into() }
}

pub(crate) fn revision(name: &str) -> RevisionId {
    RevisionId {
        namespace: "default".into(),
        name: format!("{name}-1").into(),
        function_uid: format!("uid-{name}").into(),
    }
}

/// Carries out the core's commands on a thread of its own, until the core is gone.
fn drive(activator: &Arc<Activator>, mut commands: UnboundedReceiver<Command>) {
    let mut connection = activator.leader_connected();
    activator.leader_frame(
        connection,
        LeaderFrame::Welcome(Welcome { term: Term::default(), closed: vec![], more: false }),
    );
    let activator = Arc::downgrade(activator);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            loop {
                let Some(wait) = activator.upgrade().map(|activator| activator.tick()) else { return };
                let Ok(command) = tokio::time::timeout(wait, commands.recv()).await else { continue };
                let (Some(command), Some(activator)) = (command, activator.upgrade()) else { return };
                match command {
                    Command::Send { connection: of, frame: ActivatorFrame::Wake { revision, .. } } => {
                        connection = of;
                        let answer = WakeAnswer::Written { replicas: 1 };
                        activator.leader_frame(connection, LeaderFrame::WakeReply { revision, answer });
                    }
                    Command::Probe { revision, probe } => {
                        let answered = catnap_activator_http::probe(&probe).await.is_ok();
                        activator.probed(&revision, &probe.uid, answered);
                    }
                    // The leader wakes, sooner or later.
                    Command::ReadScale { .. }
                    | Command::RaiseScale { .. }
                    | Command::Tick
                    | Command::Send { .. }
                    | Command::Disconnect { .. }
                    | Command::SendPeer { .. }
                    | Command::ClosePeer { .. } => {}
                }
            }
        });
    });
}
