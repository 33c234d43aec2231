//! Scenarios and properties of the whole state machine. Every step checks every invariant.

mod alone;
mod capacity;
mod choosing;
mod closing;
mod holding;
mod properties;
mod shrinking;
mod telling;

use super::*;
use crate::effect::{Scale, ScaleError};
use crate::invariants::{Ledger, check, check_grant};
use crate::pod::Pod;
use catnap_wire::message::{ActivatorFrame, Closed, GateId, LeaderFrame, PodUid, Term, Verdict, WakeAnswer};

/// A revision, the time, and everything that came out of it.
struct Fixture {
    revision: Revision<u64>,
    budgets: Arc<Budgets>,
    now: Duration,
    next_ticket: u64,
    ledger: Ledger,
    open: Vec<Grant>,
    /// All that came out since it was last looked at.
    out: Effects<u64>,
}

const TERM: Term = Term { transitions: 1, boot: 7 };

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

fn gate(number: u64) -> GateId {
    GateId { term: TERM, number }
}

fn revision_id() -> RevisionId {
    RevisionId { namespace: "default".into(), name: "hello-1".into(), function_uid: "u".into() }
}

fn verdict(number: u64, condemned: &[&str]) -> Verdict {
    let condemned = condemned.iter().map(|name| PodUid::from(*name)).collect();
    Verdict { revision: revision_id(), gate: gate(number), condemned }
}

/// A pod that is Ready.
fn ready(name: &str) -> Pod {
    Pod {
        uid: name.into(),
        address: Some(([10, 0, 0, 1], 8080).into()),
        started: true,
        ready: true,
        requires_ready: false,
        terminating: false,
        trouble: None,
    }
}

/// A pod that has its address, and no more.
fn starting(name: &str) -> Pod {
    Pod { started: false, ready: false, ..ready(name) }
}

/// A pod that has no node yet.
fn pending(name: &str, trouble: Option<(Reason, &str)>) -> Pod {
    let trouble = trouble.map(|(reason, detail)| Trouble { reason, detail: detail.into() });
    Pod { address: None, trouble, ..starting(name) }
}

impl Fixture {
    /// Open, without a leader.
    fn new(policy: Policy) -> Self {
        Self::starting_as(Start::Open, policy)
    }

    fn starting_as(start: Start, policy: Policy) -> Self {
        let budgets = Budgets::new(10_000, 1 << 30, 16, 2_000);
        let revision = Revision::new(revision_id(), Arc::clone(&budgets), start, 1);
        let mut fixture = Self {
            revision,
            budgets,
            now: Duration::ZERO,
            next_ticket: 0,
            ledger: Ledger::default(),
            open: Vec::new(),
            out: Effects::new(),
        };
        fixture.configure(Route { policy, ..Route::default() });
        fixture
    }

    /// With a leader that has answered the hello.
    fn led(policy: Policy) -> Self {
        let mut fixture = Self::new(policy);
        fixture.revision.leader_connected(fixture.now);
        fixture.event(|revision, now, out| revision.welcomed(TERM, None, now, out));
        fixture
    }

    fn configure(&mut self, route: Route) {
        self.event(|revision, now, out| revision.configure(route, now, out));
    }

    fn event<T>(&mut self, event: impl FnOnce(&mut Revision<u64>, Duration, &mut Effects<u64>) -> T) -> T {
        let mut out = Effects::new();
        let result = event(&mut self.revision, self.now, &mut out);
        self.ledger.observe(&self.revision, &out).expect("the ledger agrees");
        check(&self.revision).expect("the invariants hold");
        self.open.extend(out.iter().filter_map(|effect| match effect {
            Effect::Grant { grant, .. } => Some(grant.clone()),
            _ => None,
        }));
        self.out.append(&mut out);
        result
    }

    fn arrive(&mut self) -> Arrival {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let arrival = self.revision.arrive(ticket, self.now, || ticket.0);
        match &arrival {
            Arrival::Dispatched(grant) => {
                check_grant(&self.revision, grant).expect("an allowed pod");
                self.open.push(grant.clone());
            }
            Arrival::Held => self.ledger.held(ticket),
            Arrival::Refused(_) | Arrival::NotRouted => {}
        }
        self.event(|_, _, _| ());
        arrival
    }

    fn arrivals(&mut self, count: usize) {
        for _ in 0..count {
            self.arrive();
        }
    }

    fn pods(&mut self, pods: Vec<Pod>) {
        self.event(|revision, now, out| revision.set_pods(pods, now, out));
    }

    fn probed(&mut self, uid: &str, answered: bool) {
        self.event(|revision, now, out| revision.probed(&uid.into(), answered, now, out));
    }

    fn leader(&mut self, frame: &LeaderFrame) {
        self.event(|revision, now, out| revision.leader_says(frame, now, out));
    }

    fn reply(&mut self, answer: WakeAnswer) {
        self.leader(&LeaderFrame::WakeReply { revision: revision_id(), answer });
    }

    fn close(&mut self, number: u64, pods: &[&str]) {
        let pods = pods.iter().map(|name| PodUid::from(*name)).collect();
        self.leader(&LeaderFrame::Close { revision: revision_id(), gate: gate(number), pods });
    }

    fn read(&mut self, attempt: u64, replicas: u32) {
        self.read_beside(attempt, replicas, replicas);
    }

    /// The controllers have counted this many pods.
    fn read_beside(&mut self, attempt: u64, replicas: u32, pods: u32) {
        let scale = Scale { replicas, pods, resource_version: format!("v{attempt}").into() };
        self.event(|revision, now, out| revision.scale_read(attempt, Ok(scale), now, out));
    }

    fn raised(&mut self, attempt: u64, result: Result<(), ScaleError>) {
        self.event(|revision, now, out| revision.scale_raised(attempt, result, now, out));
    }

    fn finish_one(&mut self) {
        let grant = self.open.remove(0);
        self.event(|revision, now, out| revision.finished(grant.key, now, out));
    }

    /// The oldest exchange's connection is refused.
    fn refuse_one(&mut self) -> Arrival {
        let grant = self.open.remove(0);
        let mut out = Effects::new();
        let arrival = self.revision.retry(&grant, self.now, || grant.ticket.0, &mut out);
        match &arrival {
            Arrival::Dispatched(again) => self.open.push(again.clone()),
            Arrival::Held => self.ledger.held(grant.ticket),
            Arrival::Refused(_) | Arrival::NotRouted => {}
        }
        self.event(|_, _, now_out| now_out.append(&mut out));
        arrival
    }

    /// Moves the time on, ticking at every moment that the revision names.
    fn pass(&mut self, step: Duration) {
        let end = self.now + step;
        loop {
            let next = self.event(Revision::tick);
            let next = next.map_or(end, |next| next.max(self.now + ms(1)));
            if next >= end {
                break;
            }
            self.now = next;
        }
        self.now = end;
        self.event(Revision::tick);
    }

    /// Everything that came out since the last look.
    fn take(&mut self) -> Effects<u64> {
        std::mem::take(&mut self.out)
    }

    fn granted(&mut self) -> Vec<(u64, String)> {
        let granted = self.take().into_iter().filter_map(|effect| match effect {
            Effect::Grant { waiter, grant } => Some((waiter, grant.uid.to_string())),
            _ => None,
        });
        granted.collect()
    }

    fn failed(&mut self) -> Vec<(u64, Reason, String)> {
        let failed = self.take().into_iter().filter_map(|effect| match effect {
            Effect::Fail { waiter, trouble, .. } => {
                Some((waiter, trouble.reason, trouble.detail.to_string()))
            }
            _ => None,
        });
        failed.collect()
    }

    fn sent(&mut self) -> Vec<ActivatorFrame> {
        let sent = self.take().into_iter().filter_map(|effect| match effect {
            Effect::Send(frame) => Some(frame),
            _ => None,
        });
        sent.collect()
    }

    /// Attempts to read the scale.
    fn reads(&mut self) -> Vec<u64> {
        let reads = self.take().into_iter().filter_map(|effect| match effect {
            Effect::ReadScale { attempt } => Some(attempt),
            _ => None,
        });
        reads.collect()
    }

    /// Attempts to raise it: number, replicas, resourceVersion.
    fn raises(&mut self) -> Vec<(u64, u32, String)> {
        let raises = self.take().into_iter().filter_map(|effect| match effect {
            Effect::RaiseScale { attempt, replicas, resource_version } => {
                Some((attempt, replicas, resource_version.to_string()))
            }
            _ => None,
        });
        raises.collect()
    }

    fn probes(&mut self) -> Vec<String> {
        let probes = self.take().into_iter().filter_map(|effect| match effect {
            Effect::Probe(probe) => Some(probe.uid.to_string()),
            _ => None,
        });
        probes.collect()
    }
}

fn limited(limit: u32) -> Policy {
    Policy { limit, ..Policy::default() }
}
