//! A revision as the threads of the process share it: the state machine behind a short mutex, and its effects carried out.
//!
//! Effects are carried out after the mutex is released: a grant may be dropped at once, which enters the mutex again.

use crate::effect::{Arrival, Effect, Grant};
use crate::function::Function;
use crate::pod::PodKey;
use crate::process::{Command, Process};
use crate::queue::Ticket;
use crate::reason::Trouble;
use crate::revision::{Effects, Revision};
use crate::waiting::{Slot, Waiter, Waiting};
use catnap_wire::message::RevisionId;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// One revision of the process.
#[derive(Debug)]
pub(crate) struct SharedRevision {
    id: RevisionId,
    process: Arc<Process>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    machine: Revision<Waiter>,
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

impl SharedRevision {
    pub(crate) fn new(machine: Revision<Waiter>, process: Arc<Process>) -> Arc<Self> {
        let id = machine.id().clone();
        Arc::new(Self {
            id,
            process,
            inner: Mutex::new(Inner { machine, awake: false, next: Duration::MAX }),
        })
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
        let held_before = inner.machine.held();
        let result = event(&mut inner.machine, now, &mut effects);
        let begins_to_hold = held_before == 0 && inner.machine.held() > 0;
        let urgent = inner.machine.urgent_at().is_some_and(|at| at < inner.next);
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
        self.carry_out(effects);
        result
    }

    /// Looks at the state machine without waking it.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&mut Revision<Waiter>) -> T) -> T {
        look(&mut self.inner.lock().machine)
    }

    /// Does what is due. `Err` when nothing is left that time could change: it is off the list then.
    pub(crate) fn tick(self: &Arc<Self>) -> Result<Option<Duration>, AtRest> {
        let mut effects = Effects::new();
        let mut inner = self.inner.lock();
        let next = inner.machine.tick(self.process.now(), &mut effects);
        inner.next = next.unwrap_or(Duration::MAX);
        inner.awake = !inner.machine.at_rest();
        let awake = inner.awake;
        drop(inner);
        self.carry_out(effects);
        if awake { Ok(next) } else { Err(AtRest) }
    }

    pub(crate) fn arrive(self: &Arc<Self>, function: &Arc<Function>, ticket: Ticket) -> Outcome {
        self.place(function, |machine, now, _, waiting| {
            machine.arrive(ticket, now, || waiting.pair(function, ticket))
        })
    }

    pub(crate) fn retry(self: &Arc<Self>, function: &Arc<Function>, grant: &Grant) -> Outcome {
        self.place(function, |machine, now, effects, waiting| {
            machine.retry(grant, now, || waiting.pair(function, grant.ticket), effects)
        })
    }

    pub(crate) fn finished(self: &Arc<Self>, key: PodKey) {
        self.with(|machine, now, effects| machine.finished(key, now, effects));
    }

    fn place(
        self: &Arc<Self>,
        function: &Arc<Function>,
        event: impl FnOnce(&mut Revision<Waiter>, Duration, &mut Effects<Waiter>, &mut Kept) -> Arrival,
    ) -> Outcome {
        let mut kept = Kept(None);
        let (arrival, protocol, limited) = self.with(|machine, now, effects| {
            let arrival = event(machine, now, effects, &mut kept);
            (arrival, machine.route().protocol, machine.route().policy.limit > 0)
        });
        match (arrival, kept.0) {
            (Arrival::Dispatched(grant), _) => Outcome::Dispatched(Slot::new(
                grant,
                protocol,
                limited,
                Arc::clone(self),
                Arc::clone(function),
            )),
            (Arrival::Held, Some(waiting)) => Outcome::Held(waiting),
            (Arrival::Refused(trouble), _) => Outcome::Refused(trouble),
            (Arrival::NotRouted | Arrival::Held, _) => Outcome::NotRouted,
        }
    }

    fn carry_out(self: &Arc<Self>, effects: Effects<Waiter>) {
        for effect in effects {
            match effect {
                Effect::Grant { waiter, grant } => {
                    let (protocol, limited) =
                        self.peek(|machine| (machine.route().protocol, machine.route().policy.limit > 0));
                    let Waiter { sender, function } = waiter;
                    let slot = Slot::new(grant, protocol, limited, Arc::clone(self), function);
                    // A client that left in this moment: the slot comes back by its own drop.
                    drop(sender.send(Ok(slot)));
                }
                Effect::Fail { ticket: _, waiter, trouble } => waiter.fail(trouble),
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

/// Time changes nothing here until something else happens.
#[derive(Debug)]
pub(crate) struct AtRest;

/// Where the caller's end of a held request is kept while the queue takes the other.
struct Kept(Option<Waiting>);

impl Kept {
    fn pair(&mut self, function: &Arc<Function>, ticket: Ticket) -> Waiter {
        let (waiter, waiting) = Waiting::pair(function, ticket);
        self.0 = Some(waiting);
        waiter
    }
}

impl Waiter {
    pub(crate) fn fail(self, trouble: Trouble) {
        let refusal = self.function.refusal(trouble.reason, trouble.detail);
        // A client that left in this moment needs no answer.
        drop(self.sender.send(Err(refusal)));
    }
}
