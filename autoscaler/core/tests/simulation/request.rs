//! Requests: where they arrive, what becomes of them, and that a pod can answer.

use std::time::Duration;

use catnap_activator_core::{Arrival, Grant, Ticket};

use crate::event::{Event, Message, Process};
use crate::options::Load;
use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not at its activator yet.
    Coming,
    Held,
    /// Granted a pod; the connection is on its way.
    Dispatched,
    Serving,
    /// The pod is done; the activator does not know yet.
    Served,
    Ended,
    /// Its activator was killed.
    Orphaned,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) activator: usize,
    pub(crate) stage: Stage,
    duration: Duration,
    /// What it was granted last.
    pub(crate) grant: Option<Grant>,
    /// Times it reached a pod.
    sent: u32,
}

impl Request {
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended | Stage::Orphaned)
    }

    /// It is at a pod or on its way to one.
    pub(crate) fn is_in_flight(&self) -> bool {
        matches!(self.stage, Stage::Dispatched | Stage::Serving)
    }
}

impl World {
    /// Requests come in bursts with pauses around the idle time, which is where it is dangerous.
    pub(crate) fn arrive(&mut self) {
        if self.quiet {
            return;
        }
        if self.options.load == Load::Steady {
            self.request_somewhere(Duration::ZERO);
            let pause = self.random.milliseconds(20, 250);
            self.agenda.after(pause, Event::Arrive);
            return;
        }
        for _ in 0..=self.random.below(3) {
            let delay = self.random.milliseconds(0, 30);
            self.request_somewhere(delay);
        }
        let pause = match self.random.below(4) {
            0 => self.random.milliseconds(1, 400),
            1 => self.random.milliseconds(1_000, 3_000),
            _ => self.random.milliseconds(2_000, 9_000),
        };
        self.agenda.after(pause, Event::Arrive);
    }

    /// More requests at once than one replica takes, and one of them for long; then it takes some time for the need to fall.
    pub(crate) fn surge(&mut self) {
        if self.quiet {
            return;
        }
        for _ in 0..self.random.below(10) {
            let (delay, duration) = (self.random.milliseconds(0, 30), self.random.milliseconds(300, 900));
            self.long_request_somewhere(delay, duration);
        }
        let (delay, duration) = (self.random.milliseconds(0, 800), self.random.milliseconds(3_000, 12_000));
        self.long_request_somewhere(delay, duration);
        let pause = self.random.milliseconds(6_000, 12_000);
        self.agenda.after(pause, Event::Surge);
    }

    fn long_request_somewhere(&mut self, delay: Duration, duration: Duration) {
        let before = self.requests.len();
        self.request_somewhere(delay);
        if let Some(request) = self.requests.get_mut(before) {
            request.duration = duration;
        }
    }

    /// One request at an activator that lives.
    pub(crate) fn request_somewhere(&mut self, delay: Duration) {
        let alive: Vec<usize> =
            (0..self.activators.len()).filter(|index| self.activators[*index].takes_requests()).collect();
        if let Some(activator) = self.random.choose(&alive).filter(|_| !self.quiet) {
            self.new_request_after(delay, activator);
        }
    }

    pub(crate) fn new_request(&mut self, activator: usize) {
        self.new_request_after(Duration::ZERO, activator);
    }

    fn new_request_after(&mut self, delay: Duration, activator: usize) {
        let duration = match self.random.below(6) {
            0 => self.random.milliseconds(500, 4_000),
            _ => self.random.milliseconds(1, 60),
        };
        let number = self.requests.len();
        self.requests.push(Request { activator, stage: Stage::Coming, duration, grant: None, sent: 0 });
        self.agenda.after(delay, Event::To(Process::Activator(activator), Message::Request(number)));
    }

    pub(crate) fn request_arrives(&mut self, activator: usize, request: usize) {
        self.note(|| format!("request {request} arrives at activator {activator}"));
        // Counted up over all activators at arrival, so a later one has the larger ticket everywhere.
        let ticket = Ticket(self.tickets.len() as u64);
        self.tickets.push(request);
        match self.act(activator, |revision, now, _| revision.arrive(ticket, now, || ())) {
            Some(Arrival::Dispatched(grant)) => self.granted(activator, grant),
            // The same event may have granted it already.
            Some(Arrival::Held) => {
                if matches!(self.requests[request].stage, Stage::Coming) {
                    self.requests[request].stage = Stage::Held;
                }
            }
            Some(other) => self.violate(format!("request {request} was turned away: {other:?}")),
            None => {}
        }
    }

    pub(crate) fn request_of(&self, ticket: Ticket) -> usize {
        self.tickets[usize::try_from(ticket.0).unwrap()]
    }

    pub(crate) fn granted(&mut self, activator: usize, grant: Grant) {
        let request = self.request_of(grant.ticket);
        self.note(|| format!("request {request}: activator {activator} sends it to {}", grant.uid));
        self.requests[request].stage = Stage::Dispatched;
        self.requests[request].grant = Some(grant.clone());
        let delay = self.random.milliseconds(0, 1);
        self.agenda.after(delay, Event::To(Process::Activator(activator), Message::Reach { request, grant }));
    }

    /// The connection for a granted request reaches its pod.
    pub(crate) fn reach_pod(&mut self, activator: usize, request: usize, grant: &Grant) {
        let now = self.now();
        let pod = self.cluster.pod(&grant.uid).filter(|pod| self.cluster.pods[*pod].answers(now));
        let Some(pod) = pod else {
            self.violate(format!("request {request} was sent to {}, which cannot answer", grant.uid));
            return;
        };
        let entry = &mut self.requests[request];
        entry.stage = Stage::Serving;
        entry.sent += 1;
        let (duration, sent) = (entry.duration, entry.sent);
        if sent > 1 {
            self.violate(format!("request {request} was sent {sent} times"));
        }
        self.note(|| format!("request {request} of activator {activator} is at its pod"));
        self.cluster.pods[pod].serving.insert(request);
        self.agenda.after(duration, Event::Served(request));
    }

    /// A pod is done with a request.
    pub(crate) fn served(&mut self, request: usize) {
        if self.requests[request].stage != Stage::Serving {
            return;
        }
        let Some(grant) = self.requests[request].grant.clone() else { return };
        self.requests[request].stage = Stage::Served;
        self.leave_pod(request);
        let process = Process::Activator(self.requests[request].activator);
        let delay = self.random.milliseconds(0, 2);
        self.agenda.after(delay, Event::To(process, Message::Finished(request, grant)));
    }

    fn leave_pod(&mut self, request: usize) {
        for pod in 0..self.cluster.pods.len() {
            if self.cluster.pods[pod].serving.remove(&request) {
                self.pod_may_go(pod);
            }
        }
    }

    pub(crate) fn finished(&mut self, activator: usize, request: usize, grant: &Grant) {
        self.note(|| format!("request {request} has ended at activator {activator}"));
        self.requests[request].stage = Stage::Ended;
        self.act(activator, |revision, now, out| revision.finished(grant.key, now, out));
    }

    /// An activator was killed, and the connections of its clients and to its pods with it.
    pub(crate) fn orphan_requests_of(&mut self, activator: usize) {
        for request in 0..self.requests.len() {
            if self.requests[request].activator == activator && !self.requests[request].has_ended() {
                self.requests[request].stage = Stage::Orphaned;
                self.leave_pod(request);
            }
        }
    }

    /// Catnap's zero has landed, or its pod is deleted for it: nothing may be in flight there.
    pub(crate) fn must_not_serve(&mut self, pod: usize, what: &str) {
        let uid = self.cluster.pods[pod].uid.clone();
        let victim = self.requests.iter().position(|request| {
            request.is_in_flight() && request.grant.as_ref().is_some_and(|grant| grant.uid == uid)
        });
        if let Some(request) = victim {
            self.violate(format!("{what} while request {request} is in flight to {uid}"));
        }
    }
}
