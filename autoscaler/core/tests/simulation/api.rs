//! The API server at work: reads, writes and lists arrive, controllers act, watches tell.

use std::time::Duration;

use catnap_activator_core::{Scale, ScaleError};
use catnap_autoscaler_core::{ReadOutcome, Token, WriteOutcome};
use catnap_wire::PodUid;

use crate::cluster::{LAME_DUCK, Progress};
use crate::event::{Event, Message, Process, Question};
use crate::options::{Faults, Rule};
use crate::world::World;

/// Nobody waits longer for an answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// No write lands later, in milliseconds after it was sent: the first bound that the protocol relies on.
const LANDS: u64 = 1_400;
/// No watch lags more, in milliseconds; with a process paused for 2 s this stays below the second bound, 3 s.
const LAGS: u64 = 900;
/// Pods that were made or deleted are in the status of `/scale` so much later. Always: the random numbers are for the rest.
const COUNTS: Duration = Duration::from_millis(30);

impl World {
    /// A process sends a PUT. It may be lost, land late, or its answer may be lost.
    pub(crate) fn send_put(
        &mut self,
        from: Process,
        question: Question,
        replicas: u32,
        version: std::sync::Arc<str>,
    ) {
        if self.throttles() {
            let after = self.random.milliseconds(1_000, 3_000);
            let message = match question {
                Question::Leader(token) => Message::Written(token, WriteOutcome::Throttled { after }),
                Question::Activator(attempt) => Message::RaisedAlone(attempt, Err(failed())),
            };
            return self.answer_soon(from, message);
        }
        let (delay, answer) = (self.api_delay(LANDS), self.api_delay(LANDS));
        // What loses a write often loses the next one, too.
        let lost = self.api_fault() || (self.losing && !self.quiet && self.random.once_in(2));
        self.losing = lost;
        if lost {
            self.sender_may_pause(from);
        }
        let late = self.without(Rule::InTime) && self.random.once_in(3);
        let delay = if late { self.random.milliseconds(1_000, 4_000) } else { delay };
        let answered = !self.api_fault() && delay + answer < TIMEOUT && !lost;
        if !lost {
            self.agenda.after(delay, Event::Put { from, question, replicas, version, answered });
        }
        if !answered {
            let unknown =
                if self.without(Rule::Unknown) { WriteOutcome::Refused } else { WriteOutcome::Unknown };
            let message = match question {
                Question::Leader(token) => Message::Written(token, unknown),
                Question::Activator(attempt) => Message::RaisedAlone(attempt, Err(failed())),
            };
            self.agenda.after(TIMEOUT, Event::To(from, message));
        }
    }

    pub(crate) fn put_arrives(
        &mut self,
        from: Process,
        question: Question,
        replicas: u32,
        version: &str,
        answered: bool,
    ) {
        let before = self.cluster.replicas;
        if let Process::Leader(leader) = from {
            self.after_term += usize::from(self.lease.holder.is_some_and(|holder| holder != leader));
        }
        let checked = !self.without(Rule::Precondition);
        let outcome = self.cluster.put(replicas, version, checked);
        self.note(|| {
            format!("PUT {replicas} of {from:?} on {version}: {}", outcome.as_deref().unwrap_or("conflict"))
        });
        if outcome.is_some() && before > 0 && replicas == 0 {
            for pod in 0..self.cluster.pods.len() {
                if !self.cluster.pods[pod].is_terminating() {
                    self.must_not_serve(pod, "zero lands");
                }
            }
        }
        if outcome.is_some() && before != replicas {
            self.scale_changed();
            self.controller_later(Event::Copy);
        }
        if answered {
            let message = match question {
                Question::Leader(token) => {
                    let written = |resource_version| WriteOutcome::Written { resource_version };
                    Message::Written(token, outcome.map_or(WriteOutcome::Conflict, written))
                }
                Question::Activator(attempt) => {
                    Message::RaisedAlone(attempt, outcome.map(|_| ()).ok_or(ScaleError::Conflict))
                }
            };
            let delay = self.random.milliseconds(0, 3);
            self.agenda.after(delay, Event::To(from, message));
        }
    }

    /// A leader sends a PATCH of a pod's deletion cost. It may be lost, or land late; the watch is its answer.
    pub(crate) fn send_mark(&mut self, leader: usize, pod: PodUid, marked: bool) {
        if self.without(Rule::CostSeen) {
            self.believe_mark(leader, &pod, marked);
            let delay = self.random.milliseconds(500, 4_000);
            self.agenda.after(delay, Event::Mark { pod, marked });
        } else if !self.api_fault() {
            let delay = self.api_delay(LANDS);
            self.agenda.after(delay, Event::Mark { pod, marked });
        }
    }

    pub(crate) fn mark_arrives(&mut self, pod: &PodUid, marked: bool) {
        let Some(pod) = self.cluster.pod(pod).filter(|pod| !self.cluster.pods[*pod].gone) else { return };
        self.note(|| format!("pod-{pod} is marked: {marked}"));
        self.cluster.pods[pod].marked = marked;
        self.pods_changed();
        let seen = match self.random.below(20) {
            0 => self.random.milliseconds(1, LAGS),
            _ => self.random.milliseconds(1, 30),
        };
        self.agenda.after(seen, Event::MarkSeen(pod));
    }

    pub(crate) fn send_get(&mut self, from: Process, question: Question) {
        if self.throttles() || self.api_fault() {
            let message = match question {
                Question::Leader(token) => Message::Read(token, ReadOutcome::Failed),
                Question::Activator(attempt) => Message::ReadAlone(attempt, Err(failed())),
            };
            let delay = self.random.milliseconds(1, 1_000);
            self.agenda.after(delay, Event::To(from, message));
        } else {
            let delay = self.api_delay(450);
            self.agenda.after(delay, Event::Get { from, question });
        }
    }

    pub(crate) fn get_arrives(&mut self, from: Process, question: Question) {
        let scale = self.cluster.scale();
        let Scale { replicas, pods, resource_version } = &scale;
        self.note(|| format!("GET of {from:?}: {replicas}, {pods} pods, at {resource_version}"));
        let message = match question {
            Question::Leader(token) => {
                let resource_version = scale.resource_version;
                let scale = catnap_autoscaler_core::Scale { replicas: scale.replicas, resource_version };
                Message::Read(token, ReadOutcome::Read(scale))
            }
            Question::Activator(attempt) => Message::ReadAlone(attempt, Ok(scale)),
        };
        let delay = self.answer_when_dangerous(from).unwrap_or_else(|| self.api_delay(450));
        self.agenda.after(delay, Event::To(from, message));
    }

    /// A leader lists the activators; it may get no answer.
    pub(crate) fn send_list(&mut self, leader: usize, token: Token) {
        if self.api_fault() {
            let delay = self.random.milliseconds(1, 1_000);
            self.agenda.after(delay, Event::To(Process::Leader(leader), Message::ListedPods(token, None)));
        } else {
            let delay = self.random.milliseconds(1, 6);
            self.agenda.after(delay, Event::List { leader, token });
        }
    }

    pub(crate) fn list_arrives(&mut self, leader: usize, token: Token) {
        let pods = Some(self.counted_on(self.activator_pods()));
        let delay = self.api_delay(450);
        self.agenda.after(delay, Event::To(Process::Leader(leader), Message::ListedPods(token, pods)));
    }

    pub(crate) fn activator_pods(&self) -> Vec<PodUid> {
        let listed = self.activators.iter().filter(|activator| activator.listed);
        listed.map(|activator| activator.pod.clone()).collect()
    }

    /// Those that a round needs.
    pub(crate) fn counted_on(&self, mut activators: Vec<PodUid>) -> Vec<PodUid> {
        if self.without(Rule::Listed) {
            activators.truncate(1);
        }
        activators
    }

    pub(crate) fn listed(&mut self, activator: usize, listed: bool) {
        // A process that was killed so early has a successor in the same pod, which is listed by then.
        self.activators[activator].listed = listed && self.activators[activator].alive;
        self.tell_activators();
    }

    pub(crate) fn tell_activators(&mut self) {
        let pods = self.activator_pods();
        self.tell_leaders("activators", &Message::Activators(pods));
    }

    pub(crate) fn deployment_controller(&mut self) {
        if self.cluster.copy() {
            self.note(|| "the Deployment controller copies the count".into());
            self.scale_changed();
            self.controller_later(Event::Act);
        }
    }

    pub(crate) fn replica_set_controller(&mut self) {
        let now = self.now();
        let (made, deleted) = self.cluster.act(now);
        for pod in &made {
            let starts = self.random.milliseconds(100, 1_500);
            self.agenda.after(starts, Event::PodStarts(*pod));
        }
        for pod in &deleted {
            let uid = self.cluster.pods[*pod].uid.clone();
            self.note(|| format!("the ReplicaSet controller deletes {uid}"));
            if !self.cluster.pods[*pod].doomed {
                self.must_not_serve(*pod, "a pod is deleted");
            }
            self.pod_deleted(*pod);
        }
        if !made.is_empty() || !deleted.is_empty() {
            self.pods_changed();
            self.agenda.after(COUNTS, Event::Count);
        }
        self.scale_changed();
    }

    fn pod_deleted(&mut self, pod: usize) {
        if self.cluster.pods[pod].has_started() {
            self.agenda.after(LAME_DUCK, Event::PodStops(pod));
        } else {
            self.agenda.after(Duration::from_millis(100), Event::PodStops(pod));
        }
    }

    /// Somebody else deletes a pod that may serve: it has its lame-duck time and its grace.
    pub(crate) fn evict(&mut self, pod: usize) {
        let now = self.now();
        self.cluster.delete(pod, now);
        self.pod_deleted(pod);
        self.pods_changed();
        self.scale_changed();
        self.controller_later(Event::Act);
    }

    pub(crate) fn pod_starts(&mut self, pod: usize) {
        if !self.cluster.pods[pod].is_terminating() {
            self.note(|| format!("pod-{pod} answers"));
            self.cluster.pods[pod].progress = Progress::Answers;
            self.pods_changed();
            let ready = self.random.milliseconds(10, 1_100);
            self.agenda.after(ready, Event::PodReady(pod));
        }
    }

    pub(crate) fn pod_ready(&mut self, pod: usize) {
        if !self.cluster.pods[pod].is_terminating() {
            self.cluster.pods[pod].progress = Progress::Ready;
            self.cluster.touch();
            self.pods_changed();
            self.scale_changed();
        }
    }

    pub(crate) fn pod_stops(&mut self, pod: usize) {
        self.note(|| format!("pod-{pod} stops answering"));
        self.pod_may_go(pod);
    }

    /// A pod that was told to end is gone when its last request has ended.
    pub(crate) fn pod_may_go(&mut self, pod: usize) {
        let now = self.now();
        let entry = &mut self.cluster.pods[pod];
        if entry.is_terminating() && !entry.gone && !entry.answers(now) && entry.serving.is_empty() {
            entry.gone = true;
            self.pods_changed();
        }
    }

    fn scale_changed(&mut self) {
        let fact = self.cluster.scale_fact();
        self.tell_leaders("scale", &Message::Scale(fact));
    }

    fn pods_changed(&mut self) {
        let facts = self.cluster.pod_facts();
        self.tell_leaders("pods", &Message::PodFacts(facts));
        let pods = self.cluster.pods_seen_by_activators();
        for activator in 0..self.activators.len() {
            self.tell(Process::Activator(activator), "pods", Message::Pods(pods.clone()));
        }
    }

    fn tell_leaders(&mut self, kind: &'static str, message: &Message) {
        for leader in 0..self.leaders.len() {
            self.tell(Process::Leader(leader), kind, message.clone());
        }
    }

    /// A watch tells a process, in order and some time later.
    pub(crate) fn tell(&mut self, process: Process, kind: &'static str, message: Message) {
        let late = self.without(Rule::WatchLag) && self.random.once_in(4);
        let lag = match self.random.below(20) {
            _ if late => self.random.milliseconds(1_000, 9_000),
            0 => self.random.milliseconds(1, LAGS),
            _ => self.random.milliseconds(1, 30),
        };
        let last = self.last_seen.get(&(process, kind)).copied().unwrap_or_default();
        let at = (self.now() + lag).max(last);
        self.last_seen.insert((process, kind), at);
        self.agenda.at(at, Event::To(process, message));
    }

    fn controller_later(&mut self, event: Event) {
        let delay = if self.random.once_in(10) {
            self.random.milliseconds(1, LAGS)
        } else {
            self.random.milliseconds(1, 20)
        };
        self.agenda.after(delay, event);
    }

    /// Milliseconds are the most that it may take.
    pub(crate) fn api_delay(&mut self, most: u64) -> Duration {
        let slow = self.options.faults != Faults::None && !self.quiet && self.random.once_in(15);
        if slow { self.random.milliseconds(1, most) } else { self.random.milliseconds(1, 6) }
    }

    fn throttles(&mut self) -> bool {
        self.options.throttled && !self.quiet && self.random.once_in(3)
    }

    fn answer_soon(&mut self, to: Process, message: Message) {
        let delay = self.random.milliseconds(1, 6);
        self.agenda.after(delay, Event::To(to, message));
    }

    pub(crate) fn api_fault(&mut self) -> bool {
        self.options.faults != Faults::None && !self.quiet && self.random.once_in(12)
    }
}

fn failed() -> ScaleError {
    ScaleError::Failed("no answer".into())
}
