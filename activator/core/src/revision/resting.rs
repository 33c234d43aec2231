//! What is left of a revision that has no pods, no requests and no recent past: a fraction of its size.
//!
//! Most functions of a cluster are at zero most of the time, so this decides what ten thousand of them cost.

use super::{Link, Revision, Route, Start};
use crate::activator::RevisionState;
use crate::budget::Budgets;
use crate::gate::Gate;
use crate::measure::Measure;
use crate::random::Random;
use catnap_wire::message::{Closed, RevisionId, RevisionReport, Term};
use std::sync::Arc;
use std::time::Duration;

/// A revision at rest. Everything that can happen to it without a pod or a request is done here.
#[derive(Debug)]
pub(crate) struct Resting {
    route: Route,
    gate: Gate,
    first: bool,
    arrivals: u64,
}

impl Resting {
    pub(crate) fn new(start: Start, first: bool) -> Self {
        Self { route: Route::default(), gate: start.gate(), first, arrivals: 0 }
    }

    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    pub(crate) fn configure(&mut self, route: Route) {
        self.route = route;
    }

    pub(crate) fn set_first(&mut self, first: bool) {
        self.first = first;
    }

    pub(crate) fn forget_terms(&mut self) {
        self.gate.forget_terms();
    }

    pub(crate) fn leader_connected(&mut self) {
        self.gate.connected();
    }

    pub(crate) fn welcomed(&mut self, term: Term, closed: Option<&Closed>, now: Duration) {
        self.gate.welcome(term, closed, now);
    }

    /// What a hello says of it; `None` when there is nothing to say.
    pub(crate) fn report(&self, id: &RevisionId) -> Option<RevisionReport> {
        self.gate.closed().map(|gate| RevisionReport {
            revision: id.clone(),
            closed: Some(gate),
            held: 0,
            in_flight: 0,
            idle_milliseconds: None,
            buckets: Vec::new(),
            pods: Vec::new(),
        })
    }

    pub(crate) fn snapshot(&self, id: &RevisionId) -> RevisionState {
        RevisionState {
            revision: id.clone(),
            gate: self.gate.state_name(),
            routed: self.route.routed,
            held: 0,
            in_flight: 0,
            measured: 0,
            arrivals: self.arrivals,
            slots: None,
            limit: self.route.policy.limit,
            pods: Vec::new(),
        }
    }
}

impl<W> Revision<W> {
    /// Nothing would be lost by putting it to rest.
    pub(crate) fn can_rest(&mut self, now: Duration) -> bool {
        self.measure.forget(now, self.route.policy.window);
        self.is_empty()
            && self.at_rest()
            && self.measure.is_empty()
            && self.slots.as_ref().is_none_or(|slots| slots.can_be_forgotten())
    }

    /// Keeps what has to be kept. Only for one that [`can_rest`](Self::can_rest).
    pub(crate) fn to_resting(&self) -> Resting {
        Resting {
            route: self.route.clone(),
            gate: self.gate.clone(),
            first: self.first,
            arrivals: self.measure.arrivals_total(),
        }
    }

    /// Goes on from where it was put to rest.
    pub(crate) fn resume(
        id: RevisionId,
        budgets: Arc<Budgets>,
        resting: &Resting,
        connected: bool,
        seed: u64,
    ) -> Self {
        Self {
            route: resting.route.clone(),
            gate: resting.gate.clone(),
            first: resting.first,
            measure: Measure::resumed(resting.arrivals),
            link: Link { connected, ..Link::default() },
            random: Random::new(seed),
            ..Self::new(id, budgets, Start::Open, seed)
        }
    }
}
