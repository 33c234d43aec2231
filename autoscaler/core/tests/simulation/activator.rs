//! An activator process: the real state machine of one revision, and what its driver does for it.

use std::time::Duration;

use catnap_activator_core::invariants::{self, Ledger};
use catnap_activator_core::{Budgets, Effect, Pod, Policy, Revision, Route, Start, Ticket, through};
use catnap_wire::{ActivatorFrame, Closed, GateId, Hello, LeaderFrame, PodUid, WakeAnswer, Welcome};

use crate::clock::Clock;
use crate::event::{Event, Message, Process, Question};
use crate::options::Rule;
use crate::world::World;

pub(crate) struct Activator {
    pub(crate) pod: PodUid,
    boot: u64,
    pub(crate) clock: Clock,
    pub(crate) alive: bool,
    /// Told to end: no new requests come.
    draining: bool,
    pub(crate) paused_until: Duration,
    /// The API server's list of activators has it.
    pub(crate) listed: bool,
    revision: Revision<()>,
    /// What its watch told of the pods.
    pub(crate) pods: Vec<Pod>,
    ledger: Ledger,
    pub(crate) link: Option<usize>,
    /// Parts of a welcome that have come.
    welcome: Vec<Closed>,
    leader: Option<usize>,
    next_tick: Duration,
    told_through: Option<u64>,
    /// The gate that it said last it has closed.
    acknowledged: Option<GateId>,
    /// Its GET of `/scale` that is not answered.
    pub(crate) reads: Option<u64>,
}

impl Activator {
    pub(crate) fn is_up(&self) -> bool {
        self.alive && !self.draining
    }

    /// A Service knows only pods that the API server knows, with their addresses.
    pub(crate) fn takes_requests(&self) -> bool {
        self.is_up() && self.listed
    }

    /// It has closed this gate before, and nothing has opened it since.
    pub(crate) fn is_closed_for(&self, gate: GateId) -> bool {
        self.acknowledged == Some(gate) && self.revision.snapshot().gate == "closed"
    }
}

impl World {
    /// `listed`: it has been there for a while.
    pub(crate) fn start_activator(&mut self, listed: bool) {
        let index = self.activators.len();
        self.start_process(format!("activator-{index}").into(), listed);
        let delay = if listed { Duration::ZERO } else { self.random.milliseconds(0, 900) };
        self.agenda.after(delay, Event::Listed { activator: index, listed: true });
    }

    /// The container of a killed activator starts again in the same pod.
    pub(crate) fn restart_activator(&mut self, activator: usize) {
        let pod = self.activators[activator].pod.clone();
        let known = std::mem::take(&mut self.activators[activator].listed);
        self.start_process(pod, true);
        if !known {
            // It was killed before its pod had an address.
            self.tell_activators();
        }
    }

    fn start_process(&mut self, pod: PodUid, listed: bool) {
        let now = self.now();
        let index = self.activators.len();
        let start = if self.without(Rule::ClosedUntilWelcome) {
            Start::Open
        } else {
            Start::Unanswered { since: Duration::ZERO }
        };
        let boot = self.options.seed.wrapping_mul(1_000) + index as u64;
        // Up to 100 microseconds a second, as bad quartz has it; not by the random numbers, so that the rest of the run stays.
        let drift = if self.options.clocks { i64::try_from(boot % 3).unwrap() * 100 - 100 } else { 0 };
        let budgets = Budgets::new(10_000, 1 << 30, 16, 2_000);
        let revision = Revision::new(self.revision.clone(), budgets, start, boot);
        self.activators.push(Activator {
            pod,
            boot,
            clock: Clock::new(now, drift),
            alive: true,
            draining: false,
            paused_until: Duration::ZERO,
            listed,
            revision,
            pods: Vec::new(),
            ledger: Ledger::default(),
            link: None,
            welcome: Vec::new(),
            leader: self.lease.holder,
            next_tick: Duration::MAX,
            told_through: None,
            acknowledged: None,
            reads: None,
        });
        self.note(|| format!("activator {index} starts"));
        let policy = Policy { activation: Duration::from_secs(600), limit: 2, max: 4, ..Policy::default() };
        let route = Route { policy, ..Route::default() };
        self.act(index, |revision, now, out| revision.configure(route, now, out));
        self.choose_first();
        let pods = self.cluster.pods_seen_by_activators();
        self.tell(Process::Activator(index), "pods", Message::Pods(pods));
        for message in [Message::Beat, Message::Connect] {
            let most = if self.random.once_in(3) { 1_500 } else { 100 };
            let delay = self.random.milliseconds(1, most);
            self.agenda.after(delay, Event::To(Process::Activator(index), message));
        }
    }

    fn choose_first(&mut self) {
        let first = self.activators.iter().position(|activator| activator.alive);
        for (index, activator) in self.activators.iter_mut().enumerate() {
            activator.revision.set_first(Some(index) == first);
        }
    }

    pub(crate) fn kill_activator(&mut self, index: usize) {
        self.note(|| format!("activator {index} is killed"));
        self.activators[index].alive = false;
        self.orphan_requests_of(index);
        if let Some(link) = self.activators[index].link.take() {
            self.close_from_activator(link);
        }
        self.choose_first();
    }

    /// SIGTERM: it serves what it has and then ends.
    pub(crate) fn drain_activator(&mut self, index: usize) {
        self.activators[index].draining = true;
    }

    pub(crate) fn activator_hears(&mut self, index: usize, message: Message) {
        match message {
            Message::Pods(pods) => {
                self.activators[index].pods.clone_from(&pods);
                self.act(index, |revision, now, out| revision.set_pods(pods, now, out));
            }
            Message::Lease(holder) => self.follow(index, holder),
            Message::Connect => self.connect(index),
            Message::Down { link, frame } if self.arrives_down(link) => self.frame_from_leader(index, frame),
            Message::Lost { link } if self.notice_at_activator(link) => self.leader_lost(index),
            Message::ReadAlone(attempt, mut result) => {
                self.activators[index].reads = None;
                if let (Ok(scale), true) = (&mut result, self.without(Rule::Acted)) {
                    scale.pods = 0;
                }
                self.act(index, |revision, now, out| revision.scale_read(attempt, result, now, out));
            }
            Message::RaisedAlone(attempt, result) => {
                let believes = self.without(Rule::Acted) && result.is_ok();
                self.act(index, |revision, now, out| revision.scale_raised(attempt, result, now, out));
                if believes {
                    // It takes its own write for the leader's word.
                    let (revision, answer) = (self.revision.clone(), WakeAnswer::Written { replicas: 1 });
                    let frame = LeaderFrame::WakeReply { revision, answer };
                    self.act(index, |revision, now, out| revision.leader_says(&frame, now, out));
                }
            }
            Message::Tick if self.now() >= self.activators[index].next_tick => {
                self.activators[index].next_tick = Duration::MAX;
                self.act(index, |_, _, _| ());
            }
            Message::Beat => self.beat(index),
            Message::Request(request) => self.request_arrives(index, request),
            Message::Reach { request, grant } => self.reach_pod(index, request, &grant),
            Message::Finished(request, grant) => self.finished(index, request, &grant),
            Message::Probed(uid, answered) => {
                self.act(index, |revision, now, out| revision.probed(&uid, answered, now, out));
            }
            _ => {}
        }
    }

    /// One step of the state machine, and what comes of it.
    pub(crate) fn act<T>(
        &mut self,
        index: usize,
        step: impl FnOnce(&mut Revision<()>, Duration, &mut Vec<Effect<()>>) -> T,
    ) -> Option<T> {
        let world_now = self.now();
        let activator = &mut self.activators[index];
        if !activator.alive {
            return None;
        }
        let now = activator.clock.shows(world_now);
        let mut effects = Vec::new();
        let before: Option<Ticket> = activator.revision.held_tickets().last();
        let result = step(&mut activator.revision, now, &mut effects);
        if let Some(ticket) = activator.revision.held_tickets().last().filter(|last| Some(*last) > before) {
            activator.ledger.held(ticket);
        }
        let stepped = activator.ledger.observe(&activator.revision, &effects);
        let mut ticked = Vec::new();
        let next = activator.revision.tick(now, &mut ticked);
        let checked = stepped
            .and_then(|()| activator.ledger.observe(&activator.revision, &ticked))
            .and_then(|()| invariants::check(&activator.revision));
        if let Some(next) = next {
            let at = activator.clock.when(next).max(world_now + Duration::from_micros(100));
            if at < activator.next_tick {
                activator.next_tick = at;
                self.agenda.at(at, Event::To(Process::Activator(index), Message::Tick));
            }
        }
        if let Err(violation) = checked {
            self.violate(violation.to_string());
        }
        for effect in effects.into_iter().chain(ticked) {
            self.perform(index, effect);
        }
        Some(result)
    }

    fn perform(&mut self, index: usize, effect: Effect<()>) {
        let process = Process::Activator(index);
        match effect {
            Effect::Grant { grant, .. } => self.granted(index, grant),
            Effect::Fail { ticket, trouble, .. } => {
                let request = self.request_of(ticket);
                self.violate(format!("request {request} failed: {trouble:?}"));
            }
            Effect::Send(frame) => self.send_frame(index, frame),
            Effect::ReadScale { attempt } => {
                self.activators[index].reads = Some(attempt);
                self.send_get(process, Question::Activator(attempt));
            }
            Effect::RaiseScale { attempt, replicas, resource_version } => {
                self.send_put(process, Question::Activator(attempt), replicas, resource_version);
            }
            Effect::Probe(probe) => {
                let now = self.now();
                let pod = self.cluster.pod(&probe.uid);
                let answered = pod.is_some_and(|pod| self.cluster.pods[pod].answers(now));
                let delay = self.random.milliseconds(0, 3);
                self.agenda.after(delay, Event::To(process, Message::Probed(probe.uid, answered)));
            }
        }
    }

    pub(crate) fn send_frame(&mut self, index: usize, frame: ActivatorFrame) {
        if let Some(link) = self.activators[index].link {
            self.note(|| format!("activator {index} says {frame:?}"));
            if let ActivatorFrame::Ack { gate, .. } = frame {
                self.activators[index].acknowledged = Some(gate);
                self.tempt();
            }
            self.send_up(link, frame);
        }
    }

    /// Every 100 ms: pressure, and the watermark when a second is over.
    fn beat(&mut self, index: usize) {
        self.agenda.after(Duration::from_millis(100), Event::To(Process::Activator(index), Message::Beat));
        self.act(index, |_, _, _| ());
        let now = self.activators[index].clock.shows(self.now());
        if let Some(pressure) = self.activators[index].revision.pressure(now) {
            self.send_frame(index, ActivatorFrame::Pressure(vec![pressure]));
        }
        let through = through(now);
        if self.activators[index].link.is_some() && through > self.activators[index].told_through {
            self.activators[index].told_through = through;
            if let (Some(link), Some(through)) = (self.activators[index].link, through) {
                self.send_up(link, ActivatorFrame::Through { index: through });
            }
        }
        let ended = self.requests.iter().all(|request| request.activator != index || request.has_ended());
        if self.activators[index].draining && ended {
            self.kill_activator(index);
            let delay = self.random.milliseconds(0, 500);
            self.agenda.after(delay, Event::Listed { activator: index, listed: false });
        }
    }

    fn follow(&mut self, index: usize, holder: Option<usize>) {
        self.activators[index].leader = holder;
        let link = self.activators[index].link;
        if let Some(link) = link.filter(|link| Some(self.links[*link].leader) != holder) {
            self.notice_at_activator(link);
            self.close_from_activator(link);
            self.leader_lost(index);
        }
    }

    fn connect(&mut self, index: usize) {
        if self.activators[index].link.is_some() {
            return;
        }
        let leader = self.activators[index].leader.filter(|leader| self.leaders[*leader].leader.is_some());
        let Some(leader) = leader else {
            let delay = self.random.milliseconds(50, 300);
            self.agenda.after(delay, Event::To(Process::Activator(index), Message::Connect));
            return;
        };
        let link = self.open_link(index, leader);
        let now = self.activators[index].clock.shows(self.now());
        let activator = &mut self.activators[index];
        activator.link = Some(link);
        activator.welcome.clear();
        activator.revision.leader_connected(now);
        let report = activator.revision.report(now);
        let at_rest = report.held == 0
            && report.in_flight == 0
            && report.closed.is_none()
            && report.buckets.is_empty()
            && report.idle_milliseconds.is_none();
        let hello = Hello {
            boot: activator.boot,
            pod_uid: activator.pod.clone(),
            clock_milliseconds: u64::try_from(now.as_millis()).unwrap(),
            revisions: if at_rest { Vec::new() } else { vec![report] },
            more: false,
        };
        self.send_frame(index, ActivatorFrame::Hello(hello));
        self.act(index, |_, _, _| ());
    }

    fn leader_lost(&mut self, index: usize) {
        self.note(|| format!("activator {index} has lost its leader"));
        self.activators[index].link = None;
        self.act(index, |revision, now, _| revision.leader_lost(now));
        let delay = self.random.milliseconds(10, 400);
        self.agenda.after(delay, Event::To(Process::Activator(index), Message::Connect));
    }

    fn frame_from_leader(&mut self, index: usize, frame: LeaderFrame) {
        let frame = self.altered(frame);
        self.note(|| format!("activator {index} hears {frame:?}"));
        match frame {
            LeaderFrame::Welcome(Welcome { term, closed, more }) => {
                self.activators[index].welcome.extend(closed);
                if !more {
                    let all = std::mem::take(&mut self.activators[index].welcome);
                    let own = all.iter().find(|closed| closed.verdict.revision == self.revision).cloned();
                    self.act(index, |revision, now, out| revision.welcomed(term, own.as_ref(), now, out));
                }
                self.forget_condemned(index);
            }
            // It seems to say nothing.
            LeaderFrame::WakeReply { answer: WakeAnswer::Queued, .. } if self.without(Rule::LeaderTalks) => {}
            LeaderFrame::Close { ref revision, gate, .. } if self.answers_close(index, revision, gate) => {}
            LeaderFrame::Drain { ref revision, gate, .. } if self.answers_drain(index, revision, gate) => {}
            frame => {
                self.act(index, |revision, now, out| revision.leader_says(&frame, now, out));
                if matches!(frame, LeaderFrame::Zero(_)) {
                    self.forget_condemned(index);
                }
            }
        }
    }
}
