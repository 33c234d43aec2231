//! One revision in one activator: its queue, its pods, its gate, its waking and its measurements, as one state machine.
//!
//! No lock, no clock and no I/O: events come in with the time, what is to be done goes out as [`Effect`]s. The process puts
//! each behind a short mutex; a simulation drives the same object with handles of its own.

mod leader;
mod pods;
mod resting;
mod slots;
mod ticking;
mod waking;

use crate::activator::{PodSnapshot, RevisionState};
use crate::budget::{Budgets, HeldPermit, Namespace, Standing};
use crate::capacity::Capacity;
use crate::effect::{Arrival, Effect, Grant};
use crate::gate::Gate;
use crate::measure::Measure;
use crate::phases;
use crate::pod::{PodKey, Protocol};
use crate::pressure::Pressing;
use crate::queue::{Held, Queue, Ticket};
use crate::random::Random;
use crate::reason::{Reason, Trouble};
use crate::settings::Policy;
use crate::slots::{Neighbours, Slots};
use crate::wake::Wake;
use catnap_wire::message::{PodReport, RevisionId};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use resting::Resting;

/// Where effects go.
pub type Effects<W> = Vec<Effect<W>>;

/// What the gate of a new revision starts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A leader is connected, has answered the hello, and has said nothing of this revision.
    Open,
    /// Nobody has said anything since then, which was the start of the process or the end of the last stream.
    Unanswered {
        /// Since when.
        since: Duration,
    },
}

impl Start {
    fn gate(self) -> Gate {
        match self {
            Self::Open => Gate::open(),
            Self::Unanswered { since } => Gate::unanswered(since),
        }
    }
}

/// What a revision is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Live settings.
    pub policy: Policy,
    /// How its pods speak.
    pub protocol: Protocol,
    /// Path of its readiness check; empty: a TCP connection is enough.
    pub readiness_path: Arc<str>,
    /// It has traffic: only then does it take new requests and wake.
    pub routed: bool,
    /// What is known to be wrong with the Function; it names the reason when an activation times out.
    pub trouble: Option<Trouble>,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            protocol: Protocol::default(),
            readiness_path: "".into(),
            routed: true,
            trouble: None,
        }
    }
}

/// How the leader is connected, and what it was told.
#[derive(Debug, Default)]
struct Link {
    connected: bool,
    pods_told: Vec<PodReport>,
    pods_told_at: Duration,
}

/// The state machine. `W` is whatever names a held request to the caller.
#[derive(Debug)]
pub struct Revision<W> {
    id: RevisionId,
    budgets: Arc<Budgets>,
    /// What its namespace has of the budget for held requests.
    namespace: Arc<Namespace>,
    route: Route,
    gate: Gate,
    queue: Queue<W>,
    capacity: Capacity,
    wake: Wake,
    pressing: Pressing,
    measure: Measure,
    link: Link,
    random: Random,
    /// First among the activators to act for this revision.
    first: bool,
    /// While more pods are on their way, no pod takes more than its share of the held requests until then.
    spread_until: Option<Duration>,
    /// Requests are held and no pod is usable.
    stuck: bool,
    /// The other activators; `None` while there were none.
    neighbours: Option<Arc<Neighbours>>,
    /// Its slots, when it has a limit and there are other activators.
    slots: Option<Box<Slots>>,
    /// It would act without the leader, but as many conversations about `/scale` are under way as may be.
    no_permit: bool,
}

impl<W> Revision<W> {
    /// A revision without pods or requests. `seed` spreads random choices.
    pub fn new(id: RevisionId, budgets: Arc<Budgets>, start: Start, seed: u64) -> Self {
        Self {
            namespace: budgets.namespace(&id.namespace),
            id,
            budgets,
            route: Route::default(),
            gate: start.gate(),
            queue: Queue::default(),
            capacity: Capacity::default(),
            wake: Wake::default(),
            pressing: Pressing::default(),
            measure: Measure::default(),
            link: Link::default(),
            random: Random::new(seed),
            first: true,
            spread_until: None,
            stuck: false,
            neighbours: None,
            slots: None,
            no_permit: false,
        }
    }

    /// The revision.
    pub fn id(&self) -> &RevisionId {
        &self.id
    }

    /// What it is configured with.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Takes new settings.
    pub fn configure(&mut self, route: Route, now: Duration, out: &mut Effects<W>) {
        self.route = route;
        self.pressing.changed();
        self.share_slots(now);
        self.changed(now, out);
    }

    /// Whether this activator is first to act for the revision when there is no leader.
    pub fn set_first(&mut self, first: bool) {
        self.first = first;
    }

    /// A request arrives. `waiter` is called, and its handle kept, only when the request is held.
    pub fn arrive(&mut self, ticket: Ticket, now: Duration, waiter: impl FnOnce() -> W) -> Arrival {
        self.arrive_as(Standing::New, ticket, now, waiter)
    }

    /// A request arrives, perhaps for the second time.
    pub(crate) fn arrive_as(
        &mut self,
        standing: Standing,
        ticket: Ticket,
        now: Duration,
        waiter: impl FnOnce() -> W,
    ) -> Arrival {
        if !self.route.routed {
            return Arrival::NotRouted;
        }
        if self.queue.is_empty()
            && self.may_dispatch(now)
            && let Some(key) = self.capacity.choose(self.limit(), None, &mut self.random)
            && let Some(grant) = self.dispatch(ticket, now, key)
        {
            self.measure.arrived(now);
            return Arrival::Dispatched(grant);
        }
        if let Some(trouble) = self.hopeless() {
            return Arrival::Refused(trouble);
        }
        let most = self.route.policy.max_requests.saturating_add(self.slots_to_come());
        if standing == Standing::New && self.queue.len() >= most {
            return Arrival::Refused(Trouble::queue_full(self.queue.len()));
        }
        let permit = match self.permit(standing) {
            Ok(permit) => permit,
            Err(trouble) => return Arrival::Refused(trouble),
        };
        self.measure.arrived(now);
        self.hold(ticket, Held::new(waiter(), now, false, permit), now);
        Arrival::Held
    }

    /// A request that was held elsewhere for the same Function comes over, with its place in the order.
    pub(crate) fn adopt(&mut self, ticket: Ticket, held: Held<W>, now: Duration, out: &mut Effects<W>) {
        self.measure.moved_in(now);
        self.hold(ticket, held, now);
        self.release(now, out);
    }

    /// The pod refused the connection, so nothing was sent: the request is tried again in its old place. It goes to another
    /// pod if there is one, and is held otherwise.
    pub fn retry(
        &mut self,
        grant: &Grant,
        now: Duration,
        waiter: impl FnOnce() -> W,
        out: &mut Effects<W>,
    ) -> Arrival {
        self.refused(grant);
        let arrival = self.place_again(grant, now, waiter);
        if !matches!(arrival, Arrival::Dispatched(_) | Arrival::Held) {
            self.measure.ended(now);
        }
        self.settle(now);
        self.release(now, out);
        arrival
    }

    /// As [`retry`](Self::retry), but the request is tried again elsewhere.
    pub(crate) fn failed(&mut self, grant: &Grant, now: Duration, out: &mut Effects<W>) {
        self.refused(grant);
        self.measure.ended(now);
        self.settle(now);
        self.release(now, out);
    }

    fn refused(&mut self, grant: &Grant) {
        if let Some(state) = self.capacity.get_mut(grant.key) {
            state.failures += 1;
        }
        self.give(grant.key);
        self.refresh();
    }

    fn place_again(&mut self, grant: &Grant, now: Duration, waiter: impl FnOnce() -> W) -> Arrival {
        if !self.route.routed {
            return Arrival::NotRouted;
        }
        if grant.arrived + self.route.policy.activation <= now {
            let detail = format!("{} refused the connection", grant.address).into();
            return Arrival::Refused(Trouble { reason: Reason::ConnectFailed, detail });
        }
        let ahead = self.queue.tickets().next().is_some_and(|first| first < grant.ticket);
        if !ahead
            && self.may_dispatch(now)
            && let Some(key) = self.capacity.choose(self.limit(), Some(grant.key), &mut self.random)
            && let Some(again) = self.dispatch(grant.ticket, grant.arrived, key)
        {
            return Arrival::Dispatched(Grant { phases: grant.phases, ..again });
        }
        let permit = match self.permit(Standing::Admitted) {
            Ok(permit) => permit,
            Err(trouble) => return Arrival::Refused(trouble),
        };
        self.hold(grant.ticket, Held::new(waiter(), grant.arrived, grant.waited_cold(), permit), now);
        Arrival::Held
    }

    /// A place for one more request of its function.
    fn permit(&self, standing: Standing) -> Result<HeldPermit, Trouble> {
        self.namespace.share(&self.id.function_uid).hold(standing)
    }

    /// The client of a held request went away. False: the request is not held here.
    pub fn leave(&mut self, ticket: Ticket, now: Duration) -> bool {
        let left = self.queue.leave(ticket).is_some();
        if left {
            self.measure.ended(now);
            self.settle(now);
        }
        left
    }

    /// The pod ended the exchange.
    pub fn finished(&mut self, key: PodKey, now: Duration, out: &mut Effects<W>) {
        self.measure.ended(now);
        // An exchange that began before the pod was set aside does not bring it back.
        if let Some(state) = self.capacity.get_mut(key).filter(|state| !state.set_aside()) {
            state.failures = 0;
            state.broke_off = false;
        }
        self.give(key);
        self.release(now, out);
    }

    /// The exchange ended without the head of a response: others are preferred until one of the pod's ends well.
    pub fn broke_off(&mut self, key: PodKey, now: Duration, out: &mut Effects<W>) {
        self.measure.ended(now);
        if let Some(state) = self.capacity.get_mut(key) {
            state.broke_off = true;
        }
        self.give(key);
        self.release(now, out);
    }

    /// Everything held fails.
    pub fn fail_held(&mut self, trouble: &Trouble, now: Duration, out: &mut Effects<W>) {
        while let Some((ticket, held)) = self.queue.pop() {
            self.measure.ended(now);
            out.push(Effect::Fail { ticket, waiter: held.waiter, trouble: trouble.clone() });
        }
        self.settle(now);
    }

    /// What is held and has to leave goes to the caller, in order, to be held elsewhere.
    pub(crate) fn take_held(&mut self, now: Duration, leaves: impl Fn(&W) -> bool) -> Vec<(Ticket, Held<W>)> {
        let taken = self.queue.take(leaves);
        if taken.is_empty() {
            return taken;
        }
        for _ in &taken {
            self.measure.ended(now);
        }
        self.settle(now);
        taken
    }

    /// Requests held.
    pub fn held(&self) -> u64 {
        self.queue.len() as u64
    }

    /// Exchanges with pods.
    pub fn in_flight(&self) -> u64 {
        self.capacity.in_flight()
    }

    /// When the request that has waited longest arrived.
    pub fn oldest_held(&self) -> Option<Duration> {
        self.queue.oldest()
    }

    /// No pods, no requests and no conversation under way.
    pub fn is_empty(&self) -> bool {
        let keeps_slots = self.slots.as_ref().is_some_and(|slots| !slots.can_be_forgotten());
        self.measure.requests() == 0
            && !self.wake.busy()
            && self.capacity.pods().next().is_none()
            && !keeps_slots
    }

    /// The state at this moment.
    pub fn snapshot(&self) -> RevisionState {
        let pods = self.capacity.pods().map(|(_, state)| PodSnapshot {
            uid: Arc::clone(&state.pod.uid),
            address: state.pod.address,
            usable: state.reachable().is_some() && self.gate.admits(&state.pod.uid),
            terminating: !state.lives(),
            set_aside: state.set_aside(),
            condemned: self.gate.condemned(&state.pod.uid),
            in_flight: state.in_flight,
            elsewhere: state.elsewhere,
        });
        RevisionState {
            revision: self.id.clone(),
            gate: self.gate.state_name(),
            routed: self.route.routed,
            held: self.held(),
            in_flight: self.in_flight(),
            measured: self.measure.requests(),
            arrivals: self.measure.arrivals_total(),
            slots: self.slots.as_ref().map(|slots| slots.role_name()),
            limit: self.route.policy.limit,
            pods: pods.collect(),
        }
    }

    /// Tickets of the held requests in the order of granting.
    pub fn held_tickets(&self) -> impl Iterator<Item = Ticket> + '_ {
        self.queue.tickets()
    }

    /// Most exchanges a pod may have.
    fn limit(&self) -> u32 {
        match self.route.policy.limit {
            0 => u32::MAX,
            limit => limit,
        }
    }

    fn hold(&mut self, ticket: Ticket, mut held: Held<W>, now: Duration) {
        held.cold |= self.capacity.usable() == 0;
        self.queue.push(ticket, held);
        self.settle(now);
        self.wake.arrived(now);
    }

    /// Decides anew what may be used.
    fn refresh(&mut self) {
        self.capacity.refresh(&self.gate, self.route.policy.limit);
        self.tell_usable();
    }

    /// Decides anew what may be used, then grants what can be.
    fn changed(&mut self, now: Duration, out: &mut Effects<W>) {
        self.refresh();
        self.start_spreading(now);
        self.release(now, out);
    }

    /// Grants to the head of the queue for as long as there is room.
    fn release(&mut self, now: Duration, out: &mut Effects<W>) {
        self.tell_demand(now);
        while let Some(arrived) = self.queue.oldest() {
            self.serve_others(arrived, now);
            if !self.may_dispatch(now) {
                break;
            }
            let Some(key) = self.choose_for_held(now) else { break };
            if !self.grant_head(key, now, out) {
                break;
            }
        }
        self.serve_others(Duration::MAX, now);
        self.settle(now);
    }

    /// Dispatches the head of the queue to this pod. False when there is none, or the pod cannot be used.
    fn grant_head(&mut self, key: PodKey, now: Duration, out: &mut Effects<W>) -> bool {
        let Some((ticket, held)) = self.queue.pop() else { return false };
        let Some(mut grant) = self.dispatch(ticket, held.arrived, key) else {
            self.queue.push(ticket, held);
            return false;
        };
        grant.phases = self.capacity.get(key).map(|state| {
            let seen = phases::Milestones { written: self.wake.written, ..state.seen };
            phases::split(held.arrived, now, held.cold, &seen)
        });
        out.push(Effect::Grant { waiter: held.waiter, grant });
        true
    }

    /// Each pod its share first; more than that only when no other pod is on its way.
    fn choose_for_held(&mut self, now: Duration) -> Option<PodKey> {
        let (limit, share) = (self.limit(), self.route.policy.effective_target().max(1));
        let share = if self.route.policy.limit == 0 { share } else { limit };
        self.capacity.choose(share, None, &mut self.random).or_else(|| {
            let all_up = !self.spreading(now);
            all_up.then(|| self.capacity.choose(limit, None, &mut self.random)).flatten()
        })
    }

    fn dispatch(&mut self, ticket: Ticket, arrived: Duration, key: PodKey) -> Option<Grant> {
        let state = self.capacity.get(key)?;
        let grant = Grant {
            ticket,
            arrived,
            key,
            uid: Arc::clone(&state.pod.uid),
            address: state.reachable()?,
            phases: None,
        };
        self.take(key);
        Some(grant)
    }

    /// Requests are held and no pod is usable: the leader has to know, and those held wait for a cold start.
    fn settle(&mut self, now: Duration) {
        let stuck = !self.queue.is_empty() && self.capacity.usable() == 0;
        if stuck && !self.stuck {
            self.queue.mark_cold();
        }
        self.stuck = stuck;
        self.tell_demand(now);
        self.wake.set_needed(stuck && self.route.routed, now);
    }
}

#[cfg(test)]
mod tests;
