//! What the leader averages, held against the exact integral of a world in which streams lag, break and begin anew, and
//! activators and leaders are restarted: no second is lost, none counts twice.
//!
//! The measurements are those of the real activator, of one revision. All clocks are the world's and every Hello, which ties
//! them, comes without delay, so the leader knows exactly when each second was, and the averages must be exactly equal.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use catnap_activator_core::{Budgets, Effect, Revision, Route, Start, Ticket, through};
use catnap_autoscaler_core::{Leader, Metric, Observation, Policy, ScaleFact, Settings, Stage, StreamId};
use catnap_wire::{ActivatorFrame, Bucket, Hello, PodUid, RevisionId, Term};
use rstest::rstest;

use crate::random::Random;

const STEP_MICROSECONDS: u64 = 20_000;
const STEP: Duration = Duration::from_micros(STEP_MICROSECONDS);
const RUN: Duration = Duration::from_secs(60);
const WINDOW: u64 = 12;
const PANIC_WINDOW: u64 = 6;
const SEEDS: u64 = 100;

/// Sums by second of the world: request microseconds, arrivals.
type Seconds = BTreeMap<u64, (u64, u64)>;

/// An activator process.
struct Process {
    boot: u64,
    pod: PodUid,
    /// Second of the world in which it started.
    started: u64,
    revision: Revision<()>,
    held: VecDeque<Ticket>,
    /// What it went through, by the world's own count.
    truth: Seconds,
    link: Option<Link>,
    connects_at: Duration,
    told_through: Option<u64>,
}

/// A stream, in order; what is on its way when it breaks is lost.
struct Link {
    stream: StreamId,
    under_way: VecDeque<(Duration, ActivatorFrame)>,
}

/// What the present leader was told by a process: its buckets, and how many seconds are complete.
#[derive(Default)]
struct Told {
    started: u64,
    alive: bool,
    buckets: BTreeMap<u64, Bucket>,
    complete: u64,
}

struct World {
    random: Random,
    now: Duration,
    /// A step ago.
    before: Duration,
    metric: Metric,
    leader: Leader,
    terms: u64,
    streams: u64,
    boots: u64,
    tickets: u64,
    processes: Vec<Process>,
    told: BTreeMap<u64, Told>,
    /// The last decision that was looked at.
    decided: Option<(Duration, Observation)>,
    /// Averages that were compared.
    compared: usize,
}

fn revision() -> RevisionId {
    RevisionId { namespace: "default".into(), name: "hello-1".into(), function_uid: "uid".into() }
}

fn pods(count: usize) -> Vec<PodUid> {
    (0..count).map(|number| format!("activator-{number}").into()).collect()
}

impl World {
    fn new(seed: u64, activators: usize, metric: Metric) -> Self {
        let mut world = Self {
            random: Random::new(seed),
            // No process may have started before the beginning of time.
            now: Duration::from_secs(100),
            before: Duration::from_secs(100),
            metric,
            leader: Leader::new(Term { transitions: 0, boot: 0 }, Settings::default(), Duration::ZERO),
            terms: 0,
            streams: 0,
            boots: 0,
            tickets: 0,
            processes: Vec::new(),
            told: BTreeMap::new(),
            decided: None,
            compared: 0,
        };
        for pod in pods(activators) {
            let process = world.process(pod);
            world.processes.push(process);
        }
        world.restart_leader();
        world
    }

    fn process(&mut self, pod: PodUid) -> Process {
        self.boots += 1;
        let start = Start::Unanswered { since: Duration::ZERO };
        let budgets = Budgets::new(10_000, 1 << 30, 16, 2_000);
        let mut revision = Revision::new(revision(), budgets, start, self.boots);
        let policy = catnap_activator_core::Policy {
            activation: Duration::from_secs(600),
            window: Duration::from_secs(WINDOW),
            ..catnap_activator_core::Policy::default()
        };
        revision.configure(Route { policy, ..Route::default() }, Duration::ZERO, &mut Vec::new());
        Process {
            boot: self.boots,
            pod,
            started: self.now.as_secs(),
            revision,
            held: VecDeque::new(),
            truth: Seconds::new(),
            link: None,
            connects_at: self.now,
            told_through: None,
        }
    }

    fn restart_leader(&mut self) {
        self.terms += 1;
        let term = Term { transitions: self.terms, boot: self.terms };
        let policy = Policy {
            metric: self.metric,
            // Averages are what is looked at: no count is ever changed.
            min: 1,
            max: 1,
            window: Duration::from_secs(WINDOW),
            panic_window: Duration::from_secs(PANIC_WINDOW),
            ..Policy::default()
        };
        self.leader = Leader::new(term, Settings::default(), self.now);
        self.leader.upsert_revision(&revision(), policy, Stage::Routed, self.now);
        let scale =
            ScaleFact { replicas: 1, resource_version: "1".into(), observed: true, one_replica_set: true };
        self.leader.set_scale(&revision(), Some(scale), self.now);
        self.leader.set_activators(&pods(self.processes.len()), self.now);
        self.told.clear();
        for process in 0..self.processes.len() {
            self.break_link(process);
        }
    }

    fn break_link(&mut self, process: usize) {
        let pause = self.random.milliseconds(0, 1_500);
        let process = &mut self.processes[process];
        if let Some(link) = process.link.take() {
            self.leader.stream_closed(link.stream, self.now);
        }
        let own = self.now.saturating_sub(Duration::from_secs(process.started));
        process.revision.leader_lost(own);
        process.connects_at = self.now + pause;
    }

    fn step(&mut self) {
        self.before = self.now;
        self.now += STEP;
        for process in 0..self.processes.len() {
            self.load(process);
            self.talk(process);
            self.deliver(process);
        }
        self.leader.tick(self.now);
        self.compare();
        self.fault();
    }

    /// Requests were there for one step more; then some come, and some leave.
    fn load(&mut self, process: usize) {
        let arrivals = if self.random.once_in(15) { self.random.below(4) } else { 0 };
        // Now and then nobody is there for a while.
        let leaving = if (self.now.as_secs() / 9).is_multiple_of(3) { 3 } else { 25 };
        let (second, requests) = (self.before.as_secs(), self.processes[process].held.len() as u64);
        let process = &mut self.processes[process];
        if requests > 0 {
            process.truth.entry(second).or_default().0 += requests * STEP_MICROSECONDS;
        }
        let own = self.now.saturating_sub(Duration::from_secs(process.started));
        if !process.held.is_empty()
            && self.random.once_in(leaving)
            && let Some(ticket) = process.held.pop_front()
        {
            assert!(process.revision.leave(ticket, own), "it is held");
        }
        for _ in 0..arrivals {
            let ticket = Ticket(self.tickets);
            self.tickets += 1;
            process.revision.arrive(ticket, own, || ());
            process.held.push_back(ticket);
            process.truth.entry(self.now.as_secs()).or_default().1 += 1;
        }
    }

    /// What the process sends.
    fn talk(&mut self, process: usize) {
        let (now, stream) = (self.now, StreamId(self.streams));
        let process = &mut self.processes[process];
        let own = now.saturating_sub(Duration::from_secs(process.started));
        let mut frames = Vec::new();
        if process.link.is_none() && now >= process.connects_at {
            self.streams += 1;
            self.leader.stream_opened(stream, process.pod.clone(), now);
            process.link = Some(Link { stream, under_way: VecDeque::new() });
            process.revision.leader_connected(own);
            process.told_through = None;
            frames.push(ActivatorFrame::Hello(Hello {
                boot: process.boot,
                pod_uid: process.pod.clone(),
                clock_milliseconds: u64::try_from(own.as_millis()).unwrap(),
                revisions: vec![process.revision.report(own)],
                more: false,
            }));
        }
        let mut effects = Vec::new();
        process.revision.tick(own, &mut effects);
        frames.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Send(frame) => Some(frame),
            _ => None,
        }));
        if process.told_through < through(own) {
            process.told_through = through(own);
            frames.extend(through(own).map(|index| ActivatorFrame::Through { index }));
        }
        let Some(link) = &mut process.link else { return };
        for frame in frames {
            let delay = match self.random.below(40) {
                _ if matches!(frame, ActivatorFrame::Hello(_)) => Duration::ZERO,
                0 => self.random.milliseconds(0, 2_500),
                _ => self.random.milliseconds(0, 80),
            };
            let after = link.under_way.back().map_or(now, |(at, _)| *at);
            link.under_way.push_back((after.max(now + delay), frame));
        }
    }

    fn deliver(&mut self, process: usize) {
        loop {
            let process = &mut self.processes[process];
            let Some(link) = &mut process.link else { return };
            let Some((_, frame)) = link.under_way.pop_front_if(|(at, _)| *at <= self.now) else { return };
            let stream = link.stream;
            let told = self.told.entry(process.boot).or_default();
            (told.started, told.alive) = (process.started, true);
            match &frame {
                ActivatorFrame::Hello(hello) => {
                    let buckets = hello.revisions.iter().flat_map(|report| &report.buckets);
                    told.buckets.extend(buckets.map(|bucket| (bucket.index, *bucket)));
                    told.complete = told.complete.max(hello.clock_milliseconds / 1_000);
                }
                ActivatorFrame::Buckets { buckets, .. } => {
                    told.buckets.extend(buckets.iter().map(|bucket| (bucket.index, *bucket)));
                }
                ActivatorFrame::Through { index } => told.complete = told.complete.max(index + 1),
                _ => {}
            }
            self.leader.activator_frame(stream, frame, self.now);
            self.compare();
        }
    }

    /// Whatever was decided just now was decided from what really was.
    fn compare(&mut self) {
        self.leader.take_effects();
        let explanation = self.leader.explain().pop();
        let decided =
            explanation.and_then(|it| it.observation.map(|observation| (it.decided_at, observation)));
        let is_news = decided != self.decided;
        self.decided.clone_from(&decided);
        let complete = decided.filter(|(_, observation)| is_news && !observation.incomplete);
        let Some((_, observation)) = complete else { return };
        let alive = self.told.values().filter(|told| told.alive);
        let watermark = alive.map(|told| told.started + told.complete).min().unwrap();
        let seconds = self.seconds();
        let sum = |from: u64, to: u64| {
            seconds.range(from..to).fold((0, 0), |sum, (_, one)| (sum.0 + one.0, sum.1 + one.1))
        };
        let start = watermark - WINDOW;
        let first = seconds.range(start..watermark).next().map_or(start, |(second, _)| *second);
        let quiet = seconds.range(first - WINDOW..first).next().is_none();
        let window = if quiet { watermark - first } else { WINDOW };
        let average = |window: u64| {
            let (microseconds, arrivals) = sum(watermark - window, watermark);
            match self.metric {
                Metric::Concurrency => microseconds as f64 / 1_000_000.0 / window as f64,
                Metric::RequestRate => arrivals as f64 / window as f64,
            }
        };
        let expected = (average(window), average(PANIC_WINDOW.min(window)), sum(watermark - 1, watermark).1);
        let told = (observation.stable, observation.panic, observation.arrivals);
        let equal = |one: f64, other: f64| (one - other).abs() < 1e-9;
        assert!(
            equal(told.0, expected.0) && equal(told.1, expected.1) && told.2 == expected.2,
            "at {:?}, up to second {watermark}, over {window} s: {told:?}, not {expected:?}",
            self.now
        );
        self.compared += 1;
    }

    /// Of processes that live: what they went through. Of those that ended: what they had told this leader.
    fn seconds(&self) -> Seconds {
        let mut seconds = Seconds::new();
        let mut add = |second: u64, (microseconds, arrivals): (u64, u64)| {
            let sums = seconds.entry(second).or_default();
            *sums = (sums.0 + microseconds, sums.1 + arrivals);
        };
        for process in &self.processes {
            process.truth.iter().for_each(|(second, sums)| add(*second, *sums));
        }
        for told in self.told.values().filter(|told| !told.alive) {
            for (index, bucket) in &told.buckets {
                add(told.started + index, (bucket.request_microseconds, bucket.arrivals));
            }
        }
        seconds
    }

    fn fault(&mut self) {
        let process = usize::try_from(self.random.below(self.processes.len() as u64)).unwrap();
        if self.random.once_in(150) {
            self.break_link(process);
        }
        // Its clock begins with a second of the world, as the leader can know it only then.
        if self.now.subsec_millis() == 0 && self.random.once_in(30) {
            let pod = self.processes[process].pod.clone();
            self.break_link(process);
            if let Some(told) = self.told.get_mut(&self.processes[process].boot) {
                told.alive = false;
            }
            self.processes[process] = self.process(pod);
        }
        if self.random.once_in(900) {
            self.restart_leader();
        }
    }
}

#[rstest]
fn averages_are_exact(
    #[values(1, 2, 3)] activators: usize,
    #[values(Metric::Concurrency, Metric::RequestRate)] metric: Metric,
) {
    let only = crate::number_from("SEED");
    let mut compared = 0;
    for seed in only.map_or(0..SEEDS, |seed| seed..seed + 1) {
        println!("SEED={seed}");
        let mut world = World::new(seed, activators, metric);
        let end = world.now + RUN;
        while world.now < end {
            world.step();
        }
        compared += world.compared;
    }
    println!("{compared} averages");
    assert!(only.is_some() || compared > 10 * usize::try_from(SEEDS).unwrap(), "only {compared} averages");
}
