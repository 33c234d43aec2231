//! Many functions woken in one moment, before an API server that is quick, throttles, is slow, or whose objects others write
//! all the time: everything is written in the end, once, and nothing piles up on the way.

use std::collections::{BTreeSet, HashMap};

use rstest::rstest;
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::*;
use crate::fixture::slow_client;

const WRITERS: usize = 32;
/// How often an activator repeats a Wake that was answered.
const REPEAT: Duration = Duration::from_millis(500);

fn id(number: usize) -> RevisionId {
    RevisionId { name: format!("hello-{number}").into(), ..revision() }
}

/// How the API server treats a call.
enum Treatment {
    /// It answers after this time. What it was asked for is done first, or only if somebody still waits then.
    Answer { after: Duration, at_once: bool },
    /// It does nothing, and wants to be left alone for two seconds.
    Throttle,
    /// Somebody else writes the object right before.
    Overtake,
}

/// The Deployments' scales, and what was asked of them.
#[derive(Default)]
struct ApiServer {
    state: Mutex<Scales>,
}

#[derive(Default)]
struct Scales {
    /// Replicas and resourceVersion, by the path's end.
    deployments: HashMap<String, (u64, u64)>,
    /// Writes that were accepted.
    accepted: Vec<(String, u64)>,
    puts: usize,
    gets: usize,
    under_way: usize,
    most_under_way: usize,
    most_tasks: usize,
}

/// Counts a call for as long as somebody waits for its answer.
struct UnderWay(Arc<ApiServer>);

impl UnderWay {
    fn new(server: &Arc<ApiServer>) -> Self {
        let mut state = server.state.lock();
        state.under_way += 1;
        state.most_under_way = state.most_under_way.max(state.under_way);
        state.most_tasks = state.most_tasks.max(Handle::current().metrics().num_alive_tasks());
        Self(Arc::clone(server))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.state.lock().under_way -= 1;
    }
}

impl ApiServer {
    fn carry_out(&self, call: &Call, overtaken: bool) -> Reply {
        let mut state = self.state.lock();
        let name = call.path.split('/').nth_back(1).unwrap_or_default().to_owned();
        let (replicas, version) = state.deployments.entry(name.clone()).or_insert((0, 10));
        if overtaken {
            *version += 1;
        }
        if call.method == "PUT" {
            let wanted = call.body["metadata"]["resourceVersion"].as_str();
            if wanted.and_then(|wanted| wanted.parse().ok()) != Some(*version) {
                return Reply::refusal(409, "Conflict");
            }
            *replicas = call.body["spec"]["replicas"].as_u64().unwrap_or(0);
            *version += 1;
            let accepted = (name.clone(), *replicas);
            let scale = scale(&name, *replicas, *version);
            state.accepted.push(accepted);
            return Reply::Json(200, scale);
        }
        Reply::Json(200, scale(&name, *replicas, *version))
    }
}

fn scale(name: &str, replicas: u64, version: u64) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "shop", "resourceVersion": version.to_string() },
        "spec": { "replicas": replicas },
    })
}

/// A process that leads so many functions at rest, each of one request at once in a pod.
struct Crowd {
    process: Process,
    server: Arc<ApiServer>,
    activated: Activated,
    functions: usize,
    greeted: Instant,
    began: Instant,
}

impl Crowd {
    async fn new(
        functions: usize,
        treat: impl Fn(&Call, usize) -> Treatment + Send + Sync + 'static,
    ) -> Self {
        let server = Arc::new(ApiServer::default());
        let api = Arc::clone(&server);
        let treat = Arc::new(treat);
        let client = slow_client(move |call| {
            let (server, treat) = (Arc::clone(&api), Arc::clone(&treat));
            async move {
                let _under_way = UnderWay::new(&server);
                let earlier = {
                    let mut state = server.state.lock();
                    let count = if call.method == "PUT" { &mut state.puts } else { &mut state.gets };
                    *count += 1;
                    *count - 1
                };
                match treat(&call, earlier) {
                    Treatment::Answer { after, at_once: true } => {
                        let reply = server.carry_out(&call, false);
                        sleep(after).await;
                        reply
                    }
                    Treatment::Answer { after, at_once: false } => {
                        sleep(after).await;
                        server.carry_out(&call, false)
                    }
                    Treatment::Throttle => Reply::Throttled("2"),
                    Treatment::Overtake => server.carry_out(&call, true),
                }
            }
        });
        let process = Process::start_with(client, WRITERS);
        let policy = Policy { limit: 1, max: 1_000, ..Policy::default() };
        let revision = |number| Revision {
            name: id(number).name,
            policy: policy.clone(),
            stage: Stage::Routed,
            percent: 100,
        };
        let function = Function {
            namespace: "shop".into(),
            name: "hello".into(),
            uid: "f1".into(),
            schedules: Vec::new(),
            revisions: (0..functions).map(revision).collect(),
        };
        let deployments = (0..functions)
            .map(|number| Deployment {
                key: RevisionKey::of(&id(number)),
                uid: format!("d{number}").into(),
                ..deployment(0, "10")
            })
            .collect();
        // They have been at rest for long: the controllers have acted on it.
        let replica_sets = (0..functions)
            .map(|number| ReplicaSet {
                key: RevisionKey::of(&id(number)),
                uid: format!("s{number}").into(),
                deployment_uid: Some(format!("d{number}").into()),
                ..replica_set(0)
            })
            .collect();
        for change in [
            ClusterChange::Functions(Change::Listed(vec![function])),
            ClusterChange::Deployments(Change::Listed(deployments)),
            ClusterChange::ReplicaSets(Change::Listed(replica_sets)),
            ClusterChange::Pods(Change::Listed(Vec::new())),
            ClusterChange::Activators(Change::Listed(vec![Activator { uid: "a1".into(), live: true }])),
        ] {
            process.put(Input::Cluster(change)).await;
        }
        process.elect(1, LONG);
        let activated = process.greet_with(super::super::OUTGOING_FRAMES).await;
        let (greeted, began) = (Instant::now(), Instant::now());
        Self { process, server, activated, functions, greeted, began }
    }

    /// Every function is woken at once, and again as long as its activator was not told of replicas. Returns when all were.
    async fn wake(&mut self, held: u64, bound: Duration) -> Duration {
        let mut waiting: BTreeSet<RevisionId> = (0..self.functions).map(id).collect();
        let mut repeat = interval(REPEAT);
        repeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.began = Instant::now();
        while !waiting.is_empty() {
            assert!(self.began.elapsed() < bound, "{} wait after {:?}", waiting.len(), self.began.elapsed());
            tokio::select! {
                biased;
                frame = self.activated.frames.recv() => {
                    let frame = frame.expect("the stream goes on").expect("without an error");
                    if let LeaderFrame::WakeReply { revision, answer: WakeAnswer::Written { .. } } = frame {
                        waiting.remove(&revision);
                    }
                }
                _ = repeat.tick() => {
                    // Its clock showed 60 s at the hello.
                    let through = ActivatorFrame::Through { index: 59 + self.greeted.elapsed().as_secs() };
                    self.process.put(Input::Frame(self.activated.id, through, Instant::now())).await;
                    for revision in &waiting {
                        let wake = ActivatorFrame::Wake { revision: revision.clone(), held, arrivals: held };
                        self.process.put(Input::Frame(self.activated.id, wake, Instant::now())).await;
                    }
                }
            }
        }
        self.began.elapsed()
    }

    /// Each function has its replicas, and nobody wrote any of them twice.
    fn assert_written_once(&self, replicas: u64) {
        let state = self.server.state.lock();
        let names: BTreeSet<&str> = state.accepted.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names.len(), state.accepted.len()), (self.functions, self.functions));
        assert!(state.accepted.iter().all(|(_, written)| *written == replicas), "in one step");
        assert!(state.most_under_way <= WRITERS, "{} calls at once", state.most_under_way);
        // One question of each function, and the few tasks of the process and of this test.
        assert!(state.most_tasks <= self.functions + 16, "{} tasks", state.most_tasks);
        assert!(!self.process.metrics().contains("outcome=\"Refused\""), "nobody was told of a refusal");
    }

    fn calls(&self) -> (usize, usize) {
        let state = self.server.state.lock();
        (state.puts, state.gets)
    }
}

const QUICK: Duration = Duration::from_millis(5);

#[tokio::test(start_paused = true)]
async fn a_thousand_functions_woken_in_one_moment_are_each_written_once_and_as_fast_as_plain_writes() {
    let mut crowd = Crowd::new(1_000, |_, _| Treatment::Answer { after: QUICK, at_once: false }).await;
    let took = crowd.wake(1, Duration::from_secs(5)).await;
    crowd.assert_written_once(1);
    assert_eq!(crowd.calls(), (1_000, 0));
    let plain = QUICK * 1_000_u32.div_ceil(u32::try_from(WRITERS).unwrap());
    assert!(took <= plain.mul_f64(1.2), "{took:?}, {plain:?} for plain writes");
}

#[tokio::test(start_paused = true)]
async fn three_hundred_requests_at_once_are_written_in_one_step() {
    let mut crowd = Crowd::new(1, |_, _| Treatment::Answer { after: QUICK, at_once: false }).await;
    crowd.wake(300, Duration::from_secs(1)).await;
    crowd.assert_written_once(300);
}

/// It takes so many calls in each second.
#[tokio::test(start_paused = true)]
async fn a_throttling_server_delays_and_is_left_alone() {
    const TAKEN: usize = 40;
    let began = Instant::now();
    let taken: Mutex<HashMap<u64, usize>> = Mutex::default();
    let mut crowd = Crowd::new(1_000, move |_, _| {
        let mut taken = taken.lock();
        let taken = taken.entry(began.elapsed().as_secs()).or_default();
        *taken += 1;
        if *taken <= TAKEN { Treatment::Answer { after: QUICK, at_once: false } } else { Treatment::Throttle }
    })
    .await;
    let took = crowd.wake(1, Duration::from_secs(120)).await;
    crowd.assert_written_once(1);
    let (puts, gets) = crowd.calls();
    let seconds = usize::try_from(took.as_secs()).unwrap() + 1;
    assert!(puts <= 1_000 + WRITERS * seconds && gets == 0, "{puts} writes and {gets} reads in {took:?}");
    assert!(crowd.process.metrics().contains("outcome=\"Throttled\""));
}

#[rstest]
#[case::which_lands_what_nobody_waits_for(true)]
#[case::which_drops_what_nobody_waits_for(false)]
#[tokio::test(start_paused = true)]
async fn a_server_that_answers_after_five_seconds_delays(#[case] at_once: bool) {
    let slow = Duration::from_secs(5);
    let mut crowd = Crowd::new(200, move |_, _| Treatment::Answer { after: slow, at_once }).await;
    crowd.wake(1, Duration::from_secs(90)).await;
    crowd.assert_written_once(1);
    let (puts, gets) = crowd.calls();
    assert!(puts + gets <= 5 * 200, "{puts} writes and {gets} reads");
}

/// The first 3,000 writes meet an object that somebody else has just written.
#[tokio::test(start_paused = true)]
async fn a_storm_of_conflicts_delays_and_every_function_is_written_once() {
    let mut crowd = Crowd::new(1_000, |call, earlier| {
        if call.method == "PUT" && earlier < 3_000 {
            Treatment::Overtake
        } else {
            Treatment::Answer { after: QUICK, at_once: false }
        }
    })
    .await;
    crowd.wake(1, Duration::from_secs(20)).await;
    crowd.assert_written_once(1);
    let (puts, gets) = crowd.calls();
    assert_eq!(puts, 4_000);
    assert_eq!(gets, 3_000, "each conflict is read once");
}

#[tokio::test(start_paused = true)]
async fn of_many_revisions_those_at_rest_are_left_out_first() {
    let crowd = Crowd::new(1_000, |_, _| Treatment::Answer { after: QUICK, at_once: false }).await;
    let names = |state: &Value| -> BTreeSet<String> {
        let revisions = state["revisions"].as_array().unwrap().iter();
        revisions.map(|each| each["revision"].as_str().unwrap().to_owned()).collect()
    };
    let woken: BTreeSet<String> = (0..20).map(|number| id(number * 50).name.to_string()).collect();
    for name in &woken {
        let revision = RevisionId { name: name.as_str().into(), ..revision() };
        let wake = ActivatorFrame::Wake { revision, held: 1, arrivals: 1 };
        crowd.process.put(Input::Frame(crowd.activated.id, wake, Instant::now())).await;
    }
    let state = crowd.process.state().await;
    assert_eq!((names(&state).len(), &state["leftOut"]), (500, &json!(500)));
    assert!(names(&state).is_superset(&woken), "{:?}", names(&state));
    let of_function = crowd.process.state_of(Some("shop/hello")).await;
    assert_eq!((names(&of_function).len(), &of_function["leftOut"]), (500, &json!(500)));
    for other in ["shop/other", "other/hello", "hello"] {
        assert_eq!(names(&crowd.process.state_of(Some(other)).await), BTreeSet::new(), "{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_activator_that_says_nothing_is_counted() {
    let process = Process::start(|_| Reply::Silence);
    process.sync().await;
    process.elect(1, LONG);
    let silent = |process: &Process, count| {
        process.metrics().contains(&format!("catnap_autoscaler_activators_silent {count}\n"))
    };
    process.state().await;
    assert!(silent(&process, 0));
    let began = Instant::now();
    while !silent(&process, 1) {
        assert!(began.elapsed() < Duration::from_secs(32));
        tokio::time::advance(Duration::from_millis(100)).await;
        process.state().await;
    }
    assert!(began.elapsed() >= Duration::from_secs(29), "{:?}", began.elapsed());
    // It counts again once it keeps up: its clock showed 60 s at the hello.
    let (activated, greeted) = (process.greet().await, Instant::now());
    while !silent(&process, 0) {
        assert!(greeted.elapsed() < Duration::from_secs(20));
        tokio::time::advance(Duration::from_millis(100)).await;
        let index = 59 + greeted.elapsed().as_secs();
        process.put(Input::Frame(activated.id, ActivatorFrame::Through { index }, Instant::now())).await;
        process.state().await;
    }
}
