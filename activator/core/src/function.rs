//! A Function as requests see it: the revisions that have its traffic, or a queue of its own until there are some.

use crate::budget::{HeldBytes, Namespace, Standing};
use crate::destination::Destination;
use crate::effect::Grant;
use crate::process::Process;
use crate::queue::{Held, Queue, Ticket};
use crate::reason::{FunctionName, Reason, Refusal, Trouble};
use crate::revision::Route;
use crate::route::{FunctionPolicy, FunctionRoute, Share, TagRoute};
use crate::routing::Routing;
use crate::shared::{Outcome, SharedRevision};
use crate::sync::Mutex;
use crate::timeouts::{LiveTimeouts, Timeouts};
use crate::waiting::{Admission, Waiter, Waiting};
use catnap_wire::message::RevisionId;
use std::any::Any;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What requests are for.
#[derive(Debug)]
pub struct Function {
    name: FunctionName,
    uid: Arc<str>,
    process: Arc<Process>,
    namespace: Arc<Namespace>,
    timeouts: LiveTimeouts,
    companion: OnceLock<Arc<dyn Any + Send + Sync>>,
    state: Mutex<State>,
}

/// What of a policy counts for the Function's own queue; the rest is its revisions'.
#[derive(Clone, Copy, Debug)]
struct Waits {
    activation: Duration,
    max_requests: usize,
}

impl Waits {
    fn of(policy: &FunctionPolicy) -> Self {
        Self { activation: policy.activation, max_requests: policy.max_requests }
    }
}

#[derive(Debug)]
struct State {
    waits: Waits,
    stalled: Option<Trouble>,
    routing: Routing,
    /// Requests that wait for the first revision to be proven.
    pending: Queue<Waiter>,
    /// It is on the list of those that the next tick looks at.
    listed: bool,
    deleted: bool,
}

impl Function {
    /// A Function that holds everything until [`update`](Self::update) routes it.
    pub(crate) fn new(route: &FunctionRoute, process: Arc<Process>) -> Arc<Self> {
        Arc::new(Self {
            name: route.name.clone(),
            uid: Arc::clone(&route.uid),
            namespace: process.budgets.namespace(&route.name.namespace),
            timeouts: LiveTimeouts::new(route.policy.timeouts),
            companion: OnceLock::new(),
            state: Mutex::new(State {
                waits: Waits::of(&route.policy),
                stalled: route.stalled.clone(),
                routing: Routing::default(),
                pending: Queue::default(),
                listed: false,
                deleted: false,
            }),
            process,
        })
    }

    /// Namespace and name, for labels.
    pub fn name(&self) -> &FunctionName {
        &self.name
    }

    /// How long an exchange may take that is dispatched now.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts.get()
    }

    /// What the counting side keeps with the Function, made at first use: found without a search, gone when the Function is.
    /// There is one; `None` when it is of another type.
    pub fn companion<T: Any + Send + Sync>(&self, new: impl FnOnce() -> Arc<T>) -> Option<&T> {
        self.companion.get_or_init(|| new()).downcast_ref()
    }

    /// UID: the same name with another one is another Function.
    pub fn uid(&self) -> &Arc<str> {
        &self.uid
    }

    /// A request arrives. `of`: it had a place at this revision before.
    pub(crate) fn place(
        &self,
        destination: &Destination,
        standing: Standing,
        of: Option<&RevisionId>,
    ) -> Admission {
        let ticket = self.process.ticket();
        loop {
            let chosen = {
                let mut state = self.state.lock();
                let Some(chosen) = state.routing.choose(destination.tag(), of) else {
                    let now = self.process.now();
                    return self.hold_pending(&mut state, destination, ticket, now, standing);
                };
                chosen
            };
            match chosen.arrive(destination, ticket, standing) {
                Outcome::Dispatched(slot) => return Admission::Dispatch(slot),
                Outcome::Held(waiting) => {
                    Self::recheck(destination, &chosen);
                    return Admission::Held(waiting);
                }
                Outcome::Refused(trouble) => return self.refused(trouble, Some(chosen.id())),
                // Traffic went to another revision in this moment; the state behind the mutex names it.
                Outcome::NotRouted => {}
            }
        }
    }

    /// Memory for a request of this Function that is held, or about to be.
    pub(crate) fn hold_bytes(&self, bytes: usize, standing: Standing) -> Result<HeldBytes, Refusal> {
        self.namespace
            .share(&self.uid)
            .hold_bytes(bytes, standing)
            .map_err(|Trouble { reason, detail }| self.refusal(reason, detail))
    }

    /// An answer that names this Function.
    pub fn refusal(&self, reason: Reason, detail: Arc<str>) -> Refusal {
        self.refusal_of(Trouble { reason, detail }, None)
    }

    /// The same, for a request that was one of `revision`.
    pub(crate) fn refusal_of(&self, trouble: Trouble, revision: Option<&RevisionId>) -> Refusal {
        let Trouble { reason, detail } = trouble;
        Refusal { reason, detail, function: Some(self.name.clone()), revision: revision.cloned() }
    }

    /// Nothing of the request was sent: it goes to another pod of its revision, while that has the traffic.
    pub(crate) fn retry(
        &self,
        destination: &Destination,
        revision: &Arc<SharedRevision>,
        grant: &Grant,
    ) -> Admission {
        let stays = self.state.lock().routing.keeps(destination.tag(), revision);
        match revision.retry(destination, grant, stays) {
            Outcome::Dispatched(slot) => Admission::Dispatch(slot),
            Outcome::Held(waiting) => {
                Self::recheck(destination, revision);
                Admission::Held(waiting)
            }
            Outcome::Refused(trouble) => self.refused(trouble, Some(revision.id())),
            Outcome::NotRouted => self.move_on(destination, grant),
        }
    }

    /// A request was just held by this revision, which was chosen before that: an update in between has not seen it there. The
    /// revision itself only knows whether anything leads to it, a share of the traffic or a tag.
    fn recheck(destination: &Destination, revision: &Arc<SharedRevision>) {
        let function = destination.function();
        let mut state = function.state.lock();
        if !state.routing.keeps(destination.tag(), revision) {
            let State { routing, pending, .. } = &mut *state;
            recall(routing, revision, pending);
            function.place_pending(&mut state);
        }
    }

    /// The revision of a failed attempt has lost its traffic: the request goes to one that has it.
    fn move_on(&self, destination: &Destination, grant: &Grant) -> Admission {
        let mut state = self.state.lock();
        let Some(chosen) = state.routing.choose(destination.tag(), None) else {
            return self.hold_pending(
                &mut state,
                destination,
                grant.ticket,
                grant.arrived,
                Standing::Admitted,
            );
        };
        let permit = match self.namespace.share(&self.uid).hold(Standing::Admitted) {
            Ok(permit) => permit,
            Err(trouble) => return self.refused(trouble, Some(chosen.id())),
        };
        let (waiter, waiting) = Waiting::pair(destination, grant.ticket, Standing::Admitted);
        let held = Held::new(waiter, grant.arrived, grant.waited_cold(), permit);
        chosen.with(|machine, now, effects| machine.adopt(grant.ticket, held, now, effects));
        Admission::Held(waiting)
    }

    /// No revision takes the request: one that names no tag waits for the first that does.
    fn hold_pending(
        &self,
        state: &mut State,
        destination: &Destination,
        ticket: Ticket,
        arrived: Duration,
        standing: Standing,
    ) -> Admission {
        if state.deleted {
            return self.refused(Trouble::deleted(), None);
        }
        if let Some(tag) = destination.tag() {
            return self.refused(Trouble::unknown_tag(tag), None);
        }
        if let Some(trouble) = state.stalled.as_ref().filter(|trouble| trouble.reason.ends_wait()) {
            return self.refused(trouble.clone(), None);
        }
        if standing == Standing::New && state.pending.len() >= state.waits.max_requests {
            return self.refused(Trouble::queue_full(state.pending.len()), None);
        }
        let permit = match self.namespace.share(&self.uid).hold(standing) {
            Ok(permit) => permit,
            Err(trouble) => return self.refused(trouble, None),
        };
        let (waiter, waiting) = Waiting::pair(destination, ticket, standing);
        state.pending.push(ticket, Held::new(waiter, arrived, true, permit));
        self.list(state, destination.function());
        Admission::Held(waiting)
    }

    /// The client of a held request went away.
    pub(crate) fn leave(&self, ticket: Ticket) {
        let mut state = self.state.lock();
        if state.pending.leave(ticket).is_some() {
            return;
        }
        // Under the mutex, so that the request cannot be moved meanwhile. Most often there is one revision.
        let _found = state
            .routing
            .revisions()
            .iter()
            .any(|revision| revision.with(|machine, now, _| machine.leave(ticket, now)));
    }

    /// Takes over what the Function is now. `revisions` are those of its route, in the same order. Returns the revisions
    /// that it has no more.
    pub(crate) fn update(
        self: &Arc<Self>,
        route: FunctionRoute,
        revisions: Vec<Arc<SharedRevision>>,
    ) -> Vec<RevisionId> {
        self.timeouts.set(route.policy.timeouts);
        let mut state = self.state.lock();
        let state = &mut *state;
        // As with a revision's seed: no two tickets are the same.
        let seed = self.process.settings.boot ^ self.process.ticket().0;
        let gone = state.routing.update(&route, revisions, seed);
        // The ones that get traffic first, so that they are ready for what the others give up.
        for (revision, of) in state.routing.revisions().iter().zip(&route.revisions) {
            let settings = Route {
                policy: route.policy.of_revision(of),
                protocol: of.protocol,
                readiness_path: Arc::clone(&of.readiness_path),
                routed: state.routing.routes(revision),
                trouble: route.stalled.clone(),
            };
            revision.configure(settings);
        }
        for revision in &gone {
            revision.unroute();
        }
        let State { routing, pending, .. } = &mut *state;
        let all = gone.iter().chain(routing.revisions());
        for revision in all.filter(|revision| revision.held() > 0) {
            recall(routing, revision, pending);
        }
        state.waits = Waits::of(&route.policy);
        state.stalled = route.stalled;
        self.place_pending(state);
        gone.iter().map(|revision| revision.id().clone()).collect()
    }

    /// Requests in the Function's own queue go where they can.
    fn place_pending(self: &Arc<Self>, state: &mut State) {
        let mut waiting = std::mem::take(&mut state.pending);
        while let Some((ticket, held)) = waiting.pop() {
            match (state.routing.choose(held.waiter.destination.tag(), None), held.waiter.destination.tag()) {
                (Some(chosen), _) => {
                    chosen.with(|machine, now, effects| machine.adopt(ticket, held, now, effects));
                }
                (None, Some(tag)) => {
                    let trouble = Trouble::unknown_tag(tag);
                    held.waiter.fail(trouble, None);
                }
                (None, None) => state.pending.push(ticket, held),
            }
        }
        if let Some(trouble) = state.stalled.clone().filter(|trouble| trouble.reason.ends_wait()) {
            fail_all(&mut state.pending, &trouble);
        } else if !state.pending.is_empty() {
            self.list(state, self);
        }
    }

    /// The Function is deleted: what is held fails, what is in flight goes on. Returns its revisions.
    pub(crate) fn delete(&self) -> Vec<RevisionId> {
        let mut state = self.state.lock();
        state.deleted = true;
        fail_all(&mut state.pending, &Trouble::deleted());
        let revisions = state.routing.clear();
        let ids = revisions.iter().map(|revision| revision.id().clone()).collect();
        for revision in revisions {
            revision.unroute();
            if revision.held() > 0 {
                revision.with(|machine, now, effects| machine.fail_held(&Trouble::deleted(), now, effects));
            }
        }
        ids
    }

    /// Fails what is held in the Function's own queue.
    pub(crate) fn fail_pending(&self, trouble: &Trouble) {
        fail_all(&mut self.state.lock().pending, trouble);
    }

    /// Those of its status.
    pub(crate) fn revisions(&self) -> Vec<RevisionId> {
        self.state.lock().routing.revisions().iter().map(|revision| revision.id().clone()).collect()
    }

    /// How its requests are split, and its tags.
    pub(crate) fn traffic(&self) -> (Vec<Share>, Vec<TagRoute>) {
        let state = self.state.lock();
        (state.routing.shares().collect(), state.routing.tags().collect())
    }

    /// Requests in the Function's own queue.
    pub(crate) fn pending(&self) -> usize {
        self.state.lock().pending.len()
    }

    /// Fails what has waited too long for a first revision; returns when the next one has, `None` when nobody waits.
    pub(crate) fn tick(&self, now: Duration) -> Option<Duration> {
        let mut state = self.state.lock();
        let longest = state.waits.activation;
        while let Some((_, held)) = state.pending.pop_expired(now, longest) {
            let known = state.stalled.clone();
            let trouble = known.unwrap_or_else(|| Trouble {
                reason: Reason::ActivationTimeout,
                detail: format!("no revision was proven within {} s", longest.as_secs_f64()).into(),
            });
            held.waiter.fail(trouble, None);
        }
        let next = state.pending.oldest().map(|arrived| arrived + longest);
        state.listed = next.is_some();
        next
    }

    /// `own` is this Function.
    fn list(&self, state: &mut State, own: &Arc<Self>) {
        if !state.listed {
            state.listed = true;
            self.process.add_pending(Arc::clone(own));
        }
    }

    fn refused(&self, trouble: Trouble, revision: Option<&RevisionId>) -> Admission {
        Admission::Refused(self.refusal_of(trouble, revision))
    }
}

/// Requests that the revision holds and may not keep go to the Function's own queue, from which they are placed anew.
fn recall(routing: &Routing, revision: &Arc<SharedRevision>, pending: &mut Queue<Waiter>) {
    let leaves = |waiter: &Waiter| !routing.keeps(waiter.destination.tag(), revision);
    for (ticket, held) in revision.with(|machine, now, _| machine.take_held(now, leaves)) {
        pending.push(ticket, held);
    }
}

fn fail_all(pending: &mut Queue<Waiter>, trouble: &Trouble) {
    while let Some((_, held)) = pending.pop() {
        held.waiter.fail(trouble.clone(), None);
    }
}
