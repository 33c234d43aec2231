//! The run: arrivals, ends, pods that become ready, and looks of the scaler, in the order of time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::{Outcome, Request, Scaler, Seen, Workload};

/// Something that is certain to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Ready { pod: usize },
    Done { pod: usize },
}

#[derive(Clone, Copy, Debug)]
struct Pod {
    number: usize,
    created: Duration,
    ready: bool,
    in_flight: u32,
    /// Its creation, or the end of its last request.
    waits_since: Duration,
}

struct Run<'a, S> {
    workload: &'a Workload,
    scaler: S,
    pods: Vec<Pod>,
    held: VecDeque<Request>,
    due: BinaryHeap<Reverse<(Duration, Due)>>,
    look: Option<Duration>,
    created: usize,
    outcome: Outcome,
}

/// Runs a workload against a scaler.
pub fn simulate(workload: &Workload, scaler: impl Scaler) -> Outcome {
    let mut run = Run {
        workload,
        scaler,
        pods: Vec::new(),
        held: VecDeque::new(),
        due: BinaryHeap::new(),
        look: None,
        created: 0,
        outcome: Outcome::default(),
    };
    let mut arrivals = workload.requests.iter().peekable();
    loop {
        let due = run.due.peek().map(|Reverse((at, _))| *at);
        let arrival = arrivals.peek().map(|request| request.at);
        // What ends makes room for what comes at the same moment, and the scaler sees both.
        let Some(now) =
            [due, arrival, run.look].into_iter().flatten().min().filter(|at| *at < workload.until)
        else {
            break;
        };
        if due == Some(now) {
            if let Some(Reverse((_, due))) = run.due.pop() {
                run.happened(due, now);
            }
        } else if arrival == Some(now) {
            if let Some(request) = arrivals.next() {
                run.arrived(*request, now);
            }
        } else {
            run.look = None;
            run.decide(now);
        }
    }
    for pod in std::mem::take(&mut run.pods) {
        run.count_pod(&pod, workload.until);
    }
    run.outcome
}

impl<S: Scaler> Run<'_, S> {
    fn seen(&self) -> Seen {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Seen {
            replicas: number(self.pods.len()),
            ready: number(self.pods.iter().filter(|pod| pod.ready).count()),
            in_flight: self.pods.iter().map(|pod| pod.in_flight).sum(),
            held: number(self.held.len()),
        }
    }

    fn arrived(&mut self, request: Request, now: Duration) {
        let first = self.seen().requests() == 0;
        self.held.push_back(request);
        self.dispatch(now);
        self.scaler.requests(now, self.seen().requests());
        if first || !self.held.is_empty() {
            self.decide(now);
        }
    }

    fn happened(&mut self, due: Due, now: Duration) {
        match due {
            Due::Ready { pod } => {
                // A pod that was removed while it started is not there any more.
                if let Some(pod) = self.pods.iter_mut().find(|other| other.number == pod) {
                    pod.ready = true;
                }
                self.dispatch(now);
            }
            Due::Done { pod } => {
                if let Some(pod) = self.pods.iter_mut().find(|other| other.number == pod) {
                    pod.in_flight -= 1;
                    pod.waits_since = now;
                }
                self.dispatch(now);
                let requests = self.seen().requests();
                self.scaler.requests(now, requests);
                if requests == 0 {
                    self.decide(now);
                }
            }
        }
    }

    fn dispatch(&mut self, now: Duration) {
        let capacity = self.workload.capacity;
        while !self.held.is_empty() {
            let free = self.pods.iter_mut().filter(|pod| pod.ready && pod.in_flight < capacity);
            let Some(pod) = free.min_by_key(|pod| pod.in_flight) else { return };
            let Some(request) = self.held.pop_front() else { return };
            pod.in_flight += 1;
            self.due.push(Reverse((now + request.takes, Due::Done { pod: pod.number })));
            if request.at >= self.workload.counted_from {
                self.outcome.requests += 1;
                if request.at < now {
                    self.outcome.waits.push(now.saturating_sub(request.at));
                }
            }
        }
    }

    fn decide(&mut self, now: Duration) {
        let step = self.scaler.decide(now, self.seen());
        self.look = step.again.map(|again| again.max(now + Duration::from_micros(1)));
        let wanted = usize::try_from(step.replicas).unwrap_or(usize::MAX);
        let before = self.pods.len();
        while self.pods.len() < wanted {
            let number = self.created;
            self.created += 1;
            let pod = Pod { number, created: now, ready: false, in_flight: 0, waits_since: now };
            self.pods.push(pod);
            self.due.push(Reverse((now + self.workload.start(number), Due::Ready { pod: number })));
        }
        while self.pods.len() > wanted {
            let Some(idle) = self.pods.iter().rposition(|pod| pod.in_flight == 0) else { break };
            let pod = self.pods.remove(idle);
            self.count_pod(&pod, now);
            if now >= self.workload.counted_from {
                self.outcome.vain += now.saturating_sub(pod.waits_since);
            }
        }
        if self.pods.len() != before && now >= self.workload.counted_from {
            self.outcome.changes += 1;
        }
    }

    fn count_pod(&mut self, pod: &Pod, removed: Duration) {
        self.outcome.pod_time += removed.saturating_sub(pod.created.max(self.workload.counted_from));
    }
}
