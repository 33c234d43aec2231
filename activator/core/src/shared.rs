//! A revision as the threads of the process share it: the state machine behind a short mutex, and its effects carried out.
//!
//! Effects are carried out after the mutex is released: a grant may be dropped at once, which enters the mutex again.

use crate::activator::RevisionState;
use crate::budget::Standing;
use crate::destination::Destination;
use crate::effect::{Arrival, Effect, Grant};
use crate::pod::{PodKey, Protocol};
use crate::process::{Command, Process};
use crate::queue::Ticket;
use crate::reason::Trouble;
use crate::revision::{Effects, Resting, Revision, Route};
use crate::slots::Neighbours;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::waiting::{Slot, Waiter, Waiting};
use catnap_wire::message::{Closed, Pressure, RevisionId, RevisionReport, Term};
use catnap_wire::peer::PeerFrame;
use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// One revision of the process.
#[derive(Debug)]
pub(crate) struct SharedRevision {
    id: RevisionId,
    process: Arc<Process>,
    /// A Function has it in its status. Others are kept for a while: pods and frames may come before the Function does.
    claimed: AtomicBool,
    inner: Mutex<Inner>,
}

/// In a set by its name, which is then stored once.
#[derive(Debug)]
pub(crate) struct ByName(pub(crate) Arc<SharedRevision>);

impl Borrow<RevisionId> for ByName {
    fn borrow(&self) -> &RevisionId {
        &self.0.id
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ByName {}

#[derive(Debug)]
struct Inner {
    /// What it was when it was last at rest.
    resting: Resting,
    /// The state machine; `None` while it is at rest.
    full: Option<Box<Revision<Waiter>>>,
    /// It is on the list of those that the next tick looks at.
    awake: bool,
    /// When the driver will look at the latest.
    next: Duration,
}

/// What an arrival came to, for the caller to make an [`Admission`](crate::Admission) of.
#[derive(Debug)]
pub(crate) enum Outcome {
    Dispatched(Slot),
    Held(Waiting),
    Refused(Trouble),
    NotRouted,
}

impl Inner {
    fn full(&mut self, id: &RevisionId, process: &Process) -> &mut Revision<Waiter> {
        self.full.get_or_insert_with(|| {
            let connected = process.connection().is_some();
            let budgets = Arc::clone(&process.budgets);
            // A ticket is as good a seed as any: no two are the same.
            let seed = process.settings.boot ^ process.ticket().0;
            let mut machine = Revision::resume(id.clone(), budgets, &self.resting, connected, seed);
            machine.join(process.neighbours(), process.now());
            Box::new(machine)
        })
    }

    /// Gives back memory that is of no use any more.
    fn rest(&mut self, now: Duration) {
        if let Some(machine) = &mut self.full
            && !self.awake
            && machine.can_rest(now)
        {
            self.resting = machine.to_resting();
            self.full = None;
        }
    }
}

impl SharedRevision {
    pub(crate) fn new(id: RevisionId, resting: Resting, process: Arc<Process>) -> Arc<Self> {
        let inner = Inner { resting, full: None, awake: false, next: Duration::MAX };
        Arc::new(Self { id, process, claimed: AtomicBool::new(false), inner: Mutex::new(inner) })
    }

    pub(crate) fn set_claimed(&self, claimed: bool) {
        self.claimed.store(claimed, Ordering::Relaxed);
    }

    pub(crate) fn claimed(&self) -> bool {
        self.claimed.load(Ordering::Relaxed)
    }

    pub(crate) fn id(&self) -> &RevisionId {
        &self.id
    }

    /// Runs an event through the state machine and carries out what it asks for.
    pub(crate) fn with<T>(
        self: &Arc<Self>,
        event: impl FnOnce(&mut Revision<Waiter>, Duration, &mut Effects<Waiter>) -> T,
    ) -> T {
        let mut effects = Effects::new();
        let mut inner = self.inner.lock();
        // Read under the mutex: times then come in their order.
        let now = self.process.now();
        let next = inner.next;
        let machine = inner.full(&self.id, &self.process);
        let held_before = machine.held();
        let result = event(machine, now, &mut effects);
        let begins_to_hold = held_before == 0 && machine.held() > 0;
        let urgent = machine.urgent_at().is_some_and(|at| at < next);
        let how = How::of(machine);
        self.tell_peers(machine);
        if urgent {
            // Once is enough until the driver has looked.
            inner.next = Duration::ZERO;
        }
        if !inner.awake {
            inner.awake = true;
            self.process.add_awake(Arc::clone(self));
        }
        drop(inner);
        if begins_to_hold || urgent {
            self.process.send(Command::Tick);
        }
        self.carry_out(effects, how);
        result
    }

    /// Under the mutex, because the others must hear things in the order in which they happened.
    fn tell_peers(&self, machine: &mut Revision<Waiter>) {
        for (link, message) in machine.take_outgoing() {
            let frame = PeerFrame::Slots { revision: self.id.clone(), message };
            self.process.send(Command::SendPeer { link, frame });
        }
    }

    /// The other activators are others now. What is at rest asks again when it is needed.
    pub(crate) fn set_neighbours(self: &Arc<Self>, neighbours: &Arc<Neighbours>) {
        if self.inner.lock().full.is_some() {
            self.with(|machine, now, effects| machine.set_neighbours(neighbours, now, effects));
        }
    }

    /// Looks at the state machine without changing what time does to it; `None` when it is at rest.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&Revision<Waiter>) -> T) -> Option<T> {
        self.inner.lock().full.as_deref().map(look)
    }

    /// What the leader is to be told of missing capacity.
    pub(crate) fn pressure(&self, now: Duration) -> Option<Pressure> {
        self.inner.lock().full.as_deref_mut()?.pressure(now)
    }

    /// Does what is due. `Err` when nothing is left that time could change: it is off the list then.
    pub(crate) fn tick(self: &Arc<Self>) -> Result<Option<Duration>, AtRest> {
        let mut effects = Effects::new();
        let mut inner = self.inner.lock();
        let now = self.process.now();
        let (next, how) = {
            let machine = inner.full(&self.id, &self.process);
            let next = machine.tick(now, &mut effects);
            self.tell_peers(machine);
            (next, How::of(machine))
        };
        inner.next = next.unwrap_or(Duration::MAX);
        inner.awake = inner.full.as_ref().is_some_and(|machine| !machine.at_rest());
        let awake = inner.awake;
        inner.rest(now);
        drop(inner);
        self.carry_out(effects, how);
        if awake { Ok(next) } else { Err(AtRest) }
    }

    /// Gives back memory that is of no use any more.
    pub(crate) fn rest(&self) {
        self.inner.lock().rest(self.process.now());
    }

    /// Takes new settings, if they are new.
    pub(crate) fn configure(self: &Arc<Self>, route: Route) {
        let same = {
            let mut inner = self.inner.lock();
            match &inner.full {
                Some(machine) => *machine.route() == route,
                None => return inner.resting.configure(route),
            }
        };
        if !same {
            self.with(|machine, now, effects| machine.configure(route, now, effects));
        }
    }

    /// Takes the traffic away.
    pub(crate) fn unroute(self: &Arc<Self>) {
        let route = {
            let inner = self.inner.lock();
            inner.full.as_deref().map_or(inner.resting.route(), Revision::route).clone()
        };
        self.configure(Route { routed: false, ..route });
    }

    pub(crate) fn set_first(&self, first: bool) {
        let mut inner = self.inner.lock();
        match &mut inner.full {
            Some(machine) => machine.set_first(first),
            None => inner.resting.set_first(first),
        }
    }

    /// A stream to the leader is open. Returns what the hello says of the revision.
    pub(crate) fn leader_connected(self: &Arc<Self>) -> Option<RevisionReport> {
        {
            let mut inner = self.inner.lock();
            if inner.full.is_none() {
                inner.resting.leader_connected();
                return inner.resting.report(&self.id);
            }
        }
        let report = self.with(|machine, now, _| {
            machine.leader_connected(now);
            machine.report(now)
        });
        Some(report)
    }

    /// Leaders count their terms from the beginning.
    pub(crate) fn forget_terms(&self) {
        let mut inner = self.inner.lock();
        match &mut inner.full {
            Some(machine) => machine.forget_terms(),
            None => inner.resting.forget_terms(),
        }
    }

    pub(crate) fn leader_lost(&self) {
        let now = self.process.now();
        if let Some(machine) = &mut self.inner.lock().full {
            machine.leader_lost(now);
        }
    }

    /// The hello was answered; `closed` is what the answer lists of this revision.
    pub(crate) fn welcomed(self: &Arc<Self>, term: Term, closed: Option<&Closed>) {
        {
            let mut inner = self.inner.lock();
            if inner.full.is_none() {
                return inner.resting.welcomed(term, closed, self.process.now());
            }
        }
        self.with(|machine, now, effects| machine.welcomed(term, closed, now, effects));
    }

    /// Requests held.
    pub(crate) fn held(&self) -> u64 {
        self.peek(Revision::held).unwrap_or(0)
    }

    /// No pods, no requests and no conversation under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.peek(Revision::is_empty).unwrap_or(true)
    }

    pub(crate) fn snapshot(&self) -> RevisionState {
        let inner = self.inner.lock();
        inner.full.as_ref().map_or_else(|| inner.resting.snapshot(&self.id), |machine| machine.snapshot())
    }

    pub(crate) fn arrive(
        self: &Arc<Self>,
        destination: &Destination,
        ticket: Ticket,
        standing: Standing,
    ) -> Outcome {
        self.place(destination, |machine, now, _, waiting| {
            machine.arrive_as(standing, ticket, now, || waiting.pair(destination, ticket, standing))
        })
    }

    /// `stays`: it may be sent to this revision again.
    pub(crate) fn retry(self: &Arc<Self>, destination: &Destination, grant: &Grant, stays: bool) -> Outcome {
        self.place(destination, |machine, now, effects, waiting| {
            if !stays {
                machine.failed(grant, now, effects);
                return Arrival::NotRouted;
            }
            machine.retry(grant, now, || waiting.pair(destination, grant.ticket, Standing::Admitted), effects)
        })
    }

    pub(crate) fn finished(self: &Arc<Self>, key: PodKey) {
        self.with(|machine, now, effects| machine.finished(key, now, effects));
    }

    pub(crate) fn broke_off(self: &Arc<Self>, key: PodKey) {
        self.with(|machine, now, effects| machine.broke_off(key, now, effects));
    }

    fn place(
        self: &Arc<Self>,
        destination: &Destination,
        event: impl FnOnce(&mut Revision<Waiter>, Duration, &mut Effects<Waiter>, &mut Kept) -> Arrival,
    ) -> Outcome {
        let mut kept = Kept(None);
        let (arrival, how) = self.with(|machine, now, effects| {
            let arrival = event(machine, now, effects, &mut kept);
            (arrival, How::of(machine))
        });
        match (arrival, kept.0) {
            (Arrival::Dispatched(grant), _) => {
                Outcome::Dispatched(Slot::new(grant, how, Arc::clone(self), destination.clone()))
            }
            (Arrival::Held, Some(waiting)) => Outcome::Held(waiting),
            (Arrival::Refused(trouble), _) => Outcome::Refused(trouble),
            (Arrival::NotRouted | Arrival::Held, _) => Outcome::NotRouted,
        }
    }

    fn carry_out(self: &Arc<Self>, effects: Effects<Waiter>, how: How) {
        for effect in effects {
            match effect {
                Effect::Grant { waiter, grant } => {
                    let Waiter { sender, destination } = waiter;
                    let slot = Slot::new(grant, how, Arc::clone(self), destination);
                    // A client that left in this moment: the slot comes back by its own drop.
                    drop(sender.send(Ok(slot)));
                }
                Effect::Fail { ticket: _, waiter, trouble } => waiter.fail(trouble, Some(&self.id)),
                Effect::Send(frame) => self.process.send_frame(frame),
                Effect::ReadScale { attempt } => {
                    self.process.send(Command::ReadScale { revision: self.id.clone(), attempt });
                }
                Effect::RaiseScale { attempt, replicas, resource_version } => {
                    let revision = self.id.clone();
                    self.process.send(Command::RaiseScale { revision, attempt, replicas, resource_version });
                }
                Effect::Probe(probe) => {
                    self.process.send(Command::Probe { revision: self.id.clone(), probe });
                }
            }
        }
    }
}

/// What a slot says of its revision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub(crate) protocol: Protocol,
    pub(crate) limited: bool,
}

impl How {
    fn of(machine: &Revision<Waiter>) -> Self {
        let route = machine.route();
        Self { protocol: route.protocol, limited: route.policy.limit > 0 }
    }
}

/// Time changes nothing here until something else happens.
#[derive(Debug)]
pub(crate) struct AtRest;

/// Where the caller's end of a held request is kept while the queue takes the other.
struct Kept(Option<Waiting>);

impl Kept {
    fn pair(&mut self, destination: &Destination, ticket: Ticket, standing: Standing) -> Waiter {
        let (waiter, waiting) = Waiting::pair(destination, ticket, standing);
        self.0 = Some(waiting);
        waiter
    }
}

impl Waiter {
    /// Answers the request, which waited for `revision` if for any.
    pub(crate) fn fail(self, trouble: Trouble, revision: Option<&RevisionId>) {
        let refusal = self.destination.function().refusal_of(trouble, revision);
        // A client that left in this moment needs no answer.
        drop(self.sender.send(Err(refusal)));
    }
}
