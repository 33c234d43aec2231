//! A leading autoscaler process: the real leader, its lease, and what its process does for it.

use std::collections::BTreeMap;
use std::time::Duration;

use catnap_autoscaler_core::{
    Effect, Event as LeaderEvent, Leader, Policy, Settings, Stage, StreamId, WriteOutcome,
};
use catnap_wire::{LeaderFrame, PodUid, Term};

use crate::event::{Event, Message, Process, Question};
use crate::options::{Faults, Rule};
use crate::world::World;

/// A lease that was not renewed for so long may be taken.
const LEASE: Duration = Duration::from_secs(6);
const RENEW: Duration = Duration::from_secs(2);
/// A leader stops acting at two thirds of the lease.
const STOP: Duration = Duration::from_secs(4);
/// The write of a pod's cost is not sent later than this after it was asked for.
const MARK_WAITS: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(25);
/// How often time is looked at where it changes nothing.
const REST: Duration = Duration::from_millis(100);

pub(crate) struct LeaderProcess {
    /// `None`: it has ended.
    pub(crate) leader: Option<Leader>,
    started: Duration,
    /// On its own clock.
    ticked: Duration,
    pub(crate) renewed: Duration,
    pub(crate) paused_until: Duration,
    /// Told to end.
    pub(crate) stopping: bool,
    pub(crate) zeros: usize,
    pub(crate) fewer: usize,
    /// Activator pods that its watch has told of; it welcomes no others.
    known: Vec<PodUid>,
    /// Pods that it takes for marked whatever its watch says.
    believed: BTreeMap<PodUid, bool>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lease {
    pub(crate) holder: Option<usize>,
    transitions: u64,
    pub(crate) renewed: Duration,
}

impl World {
    /// A new process leads when the lease is free.
    pub(crate) fn elect(&mut self) {
        self.agenda.after(Duration::from_millis(250), Event::Elect);
        let now = self.now();
        if self.lease.holder.is_some() && now < self.lease.renewed + LEASE {
            return;
        }
        let index = self.leaders.len();
        self.lease = Lease { holder: Some(index), transitions: self.lease.transitions + 1, renewed: now };
        self.note(|| format!("leader {index} is elected"));
        let term = if self.without(Rule::NewTerm) {
            Term { transitions: 1, boot: self.options.seed }
        } else {
            let boot = self.options.seed.wrapping_add(index as u64);
            Term { transitions: self.lease.transitions, boot }
        };
        let mut leader = Leader::new(term, Settings::default(), Duration::ZERO);
        let policy = Policy {
            max: 4,
            limit: 2,
            window: Duration::from_secs(2),
            panic_window: Duration::from_secs(1),
            idle_after: Duration::from_secs(1),
            ..Policy::default()
        };
        let revision = self.revision.clone();
        leader.upsert_revision(&revision, policy, Stage::Routed, Duration::ZERO);
        leader.set_scale(&revision, Some(self.cluster.scale_fact()), Duration::ZERO);
        leader.set_pods(&revision, self.cluster.pod_facts(), Duration::ZERO);
        leader.set_activators(&self.counted_on(self.activator_pods()), Duration::ZERO);
        self.leaders.push(LeaderProcess {
            leader: Some(leader),
            started: now,
            ticked: Duration::ZERO,
            renewed: now,
            paused_until: Duration::ZERO,
            stopping: false,
            zeros: 0,
            fewer: 0,
            known: self.activator_pods(),
            believed: BTreeMap::new(),
        });
        for (delay, message) in [(TICK, Message::Tick), (RENEW, Message::Renew)] {
            self.agenda.after(delay, Event::To(Process::Leader(index), message));
        }
        self.tell_lease();
    }

    pub(crate) fn tell_lease(&mut self) {
        for activator in 0..self.activators.len() {
            self.tell(Process::Activator(activator), "lease", Message::Lease(self.lease.holder));
        }
    }

    /// It dies, or finds its lease too old.
    pub(crate) fn end_leader(&mut self, index: usize) {
        self.note(|| format!("leader {index} ends"));
        self.leaders[index].leader = None;
        for link in 0..self.links.len() {
            if self.links[link].leader == index && self.notice_at_leader(link) {
                self.close_from_leader(link);
            }
        }
    }

    /// A graceful end: the lease is given back when no write of zero can land any more.
    fn stop_when_written(&mut self, index: usize) {
        if self.leaders[index].stopping {
            let now = self.now().saturating_sub(self.leaders[index].started);
            self.lead(index, |leader| leader.resign(now));
        }
        let process = &self.leaders[index];
        if process.stopping && process.leader.as_ref().is_some_and(|leader| !leader.is_committing()) {
            self.end_leader(index);
            if self.lease.holder == Some(index) {
                self.lease.holder = None;
                self.tell_lease();
            }
        }
    }

    pub(crate) fn leader_hears(&mut self, index: usize, message: Message) {
        let world_now = self.now();
        if world_now >= self.leaders[index].renewed + STOP {
            self.end_leader(index);
            return;
        }
        let now = world_now.saturating_sub(self.leaders[index].started);
        let revision = self.revision.clone();
        match message {
            Message::Scale(mut fact) => {
                fact.observed |= self.without(Rule::Observed);
                fact.observed |= self.without(Rule::Acted) && fact.replicas == 0;
                self.lead(index, |leader| leader.set_scale(&revision, Some(fact), now));
            }
            Message::PodFacts(mut pods) => {
                for pod in &mut pods {
                    pod.marked = self.leaders[index].believed.get(&pod.uid).copied().unwrap_or(pod.marked);
                    pod.ready |= self.without(Rule::Unready) && !pod.terminating;
                }
                self.lead(index, |leader| leader.set_pods(&revision, pods, now));
            }
            Message::Activators(pods) => {
                self.leaders[index].known.clone_from(&pods);
                let pods = self.counted_on(pods);
                self.lead(index, |leader| leader.set_activators(&pods, now));
            }
            Message::Opened { link } => {
                let pod = self.activators[self.links[link].activator].pod.clone();
                if self.leaders[index].known.contains(&pod) {
                    self.lead(index, |leader| leader.stream_opened(stream(link), pod, now));
                } else {
                    self.note(|| {
                        format!("leader {index} refuses link {link} of {pod}, which it does not know")
                    });
                    self.refuse_link(link);
                }
            }
            Message::Up { link, frame } if self.arrives_up(link) => {
                self.lead(index, |leader| leader.activator_frame(stream(link), frame, now));
            }
            Message::Lost { link } if self.notice_at_leader(link) => {
                self.note(|| format!("leader {index} has lost link {link}"));
                self.lead(index, |leader| leader.stream_closed(stream(link), now));
            }
            Message::Read(token, outcome) => {
                self.lead(index, |leader| leader.scale_read(token, outcome, now));
            }
            Message::Written(token, outcome) => {
                self.note(|| format!("leader {index} hears of its write: {outcome:?}"));
                self.lead(index, |leader| leader.scale_written(token, outcome, now));
            }
            Message::ListedPods(token, pods) => {
                self.lead(index, |leader| leader.activators_listed(token, pods.as_deref(), now));
            }
            Message::StartPut { replicas, version, not_after, token } => {
                if not_after.is_some_and(|limit| now > limit) && !self.without(Rule::InTime) {
                    self.lead(index, |leader| leader.scale_written(token, WriteOutcome::NotSent, now));
                } else if replicas > 0 && self.options.refused {
                    let refused = Message::Written(token, WriteOutcome::Refused);
                    let delay = self.random.milliseconds(1, 6);
                    self.agenda.after(delay, Event::To(Process::Leader(index), refused));
                } else if not_after.is_some()
                    || !self.sends_late(index, Question::Leader(token), replicas, &version)
                {
                    self.note(|| format!("leader {index} sends PUT {replicas} on {version}"));
                    self.tempt();
                    self.send_put(Process::Leader(index), Question::Leader(token), replicas, version);
                }
            }
            Message::StartMark { pod, marked, not_after } if world_now <= not_after => {
                self.send_mark(index, pod, marked);
            }
            Message::Tick => {
                self.agenda.after(TICK, Event::To(Process::Leader(index), Message::Tick));
                let process = &mut self.leaders[index];
                let has_turn = process.leader.as_ref().is_some_and(|leader| leader.next_turn() <= now);
                if has_turn || now >= process.ticked + REST {
                    process.ticked = now;
                    self.lead(index, |leader| leader.tick(now));
                }
            }
            Message::Renew if self.options.faults == Faults::Leaders => self.send_renewal(index),
            Message::Renewed(sent) => self.renewed(index, sent),
            Message::Renew => {
                self.agenda.after(RENEW, Event::To(Process::Leader(index), Message::Renew));
                self.leaders[index].renewed = world_now;
                if self.lease.holder == Some(index) {
                    self.lease.renewed = world_now;
                }
            }
            _ => {}
        }
        self.stop_when_written(index);
    }

    /// It takes a pod for marked, or not, before the watch has said so.
    pub(crate) fn believe_mark(&mut self, index: usize, pod: &PodUid, marked: bool) {
        self.leaders[index].believed.insert(pod.clone(), marked);
        let facts = Message::PodFacts(self.cluster.pod_facts());
        self.agenda.after(Duration::from_millis(1), Event::To(Process::Leader(index), facts));
    }

    fn lead(&mut self, index: usize, step: impl FnOnce(&mut Leader)) {
        let Some(leader) = &mut self.leaders[index].leader else { return };
        step(leader);
        for effect in leader.take_effects() {
            self.carry_out(index, effect);
        }
    }

    fn refuse_link(&mut self, link: usize) {
        if self.notice_at_leader(link) {
            self.close_from_leader(link);
        }
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Send { stream: StreamId(link), frame } => {
                if matches!(
                    frame,
                    LeaderFrame::Close { .. } | LeaderFrame::Drain { .. } | LeaderFrame::Zero(_)
                ) {
                    self.tempt();
                }
                self.send_down(usize::try_from(link).unwrap(), frame);
            }
            Effect::Disconnect { stream: StreamId(link), reason } => {
                self.note(|| format!("leader {index} ends link {link}: {reason}"));
                self.refuse_link(usize::try_from(link).unwrap());
            }
            Effect::ReadScale { token, .. } => self.send_get(Process::Leader(index), Question::Leader(token)),
            Effect::PutScale { replicas, resource_version: version, not_after, token, .. } => {
                let queued = match self.random.below(20) {
                    0 => self.random.milliseconds(0, 800),
                    _ => self.random.milliseconds(0, 2),
                };
                let start = Message::StartPut { replicas, version, not_after, token };
                self.agenda.after(queued, Event::To(Process::Leader(index), start));
            }
            Effect::MarkPod { pod, marked, .. } => {
                let queued = match self.random.below(10) {
                    0 => self.random.milliseconds(0, 2_000),
                    _ => Duration::ZERO,
                };
                let start = Message::StartMark { pod, marked, not_after: self.now() + MARK_WAITS };
                self.agenda.after(queued, Event::To(Process::Leader(index), start));
            }
            Effect::ListActivators { token } => self.send_list(index, token),
            Effect::Report(event) => {
                if matches!(event, LeaderEvent::ScaledToZero { .. }) {
                    self.leaders[index].zeros += 1;
                }
                if matches!(event, LeaderEvent::ScaledDown { .. }) {
                    self.leaders[index].fewer += 1;
                }
                self.note(|| format!("leader {index} reports {event:?}"));
            }
        }
    }
}

fn stream(link: usize) -> StreamId {
    StreamId(link as u64)
}
