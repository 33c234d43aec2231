//! What a revision's own requests teach its function's learned keep-alive, and what that says of this moment.
//!
//! One pattern a function, because revisions come and go: each routed one teaches it, and each is judged by its own last
//! request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Revision;
use crate::context::Context;
use crate::learned::times::{IdleTime, Times, length};
use crate::learned::{Learned, Outlook};
use crate::moment::{Moment, moment, span};
use crate::policy::{Policy, Stage};

/// What was learned, by the UID of the function.
pub(crate) type Patterns = BTreeMap<Arc<str>, Learned>;

/// When requests were there, and a replica that none of them asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pulse {
    times: Times,
    /// A replica came that no request asked for, and waits for one since then.
    granted: Option<Moment>,
}

impl Pulse {
    /// A request ended then, which somebody else has measured.
    pub(super) fn ended(&mut self, at: Moment) {
        self.times.ended(at);
    }

    /// The time without requests begins anew, whatever the pattern says.
    pub(super) fn grant(&mut self, now: Duration) {
        self.granted = Some(moment(now));
    }
}

impl Revision {
    /// Its owner wants its idle time to be learned.
    pub(crate) fn is_learning(&self) -> bool {
        self.policy.as_ref().is_some_and(|(policy, _)| policy.terms().is_some())
    }

    /// Requests were there from then until then. What lies before this leader's start, another has learned from.
    pub(super) fn pulse(&mut self, from: Moment, until: Moment, context: &mut Context<'_>) {
        let idle_time = self.pulse.times.busy(from, until);
        // The pattern is that of the traffic: what proves itself or goes has little or none of it.
        let Some((policy, Stage::Routed)) = &self.policy else { return };
        let (Some(IdleTime { busy, idle }), Some(terms)) = (idle_time, policy.terms()) else { return };
        if from < moment(context.started) {
            return;
        }
        let learned = context.patterns.entry(Arc::clone(&self.id.function_uid)).or_default();
        if policy.floor(Stage::Routed) > 0 {
            learned.kept(idle);
        } else {
            learned.ended(terms, busy, idle);
        }
        let granted = self.pulse.granted.take_if(|granted| *granted < from);
        if let Some(waited) = granted.map(|granted| length(from - granted))
            && waited >= terms.after
        {
            learned.wasted(terms, terms.after);
        }
    }

    /// Whether the idle time has passed, and what the pattern says of this moment of it.
    pub(super) fn idleness(
        &self,
        policy: &Policy,
        youngest: Option<Moment>,
        context: &mut Context<'_>,
    ) -> (bool, Outlook) {
        let fixed = self.idle.passed(policy.idle_after, youngest, context);
        let (Some(terms), Some(last)) = (policy.terms(), self.pulse.times.last()) else {
            return (fixed, Outlook::Unknown);
        };
        let Some(learned) = context.patterns.get_mut(&self.id.function_uid) else {
            return (fixed, Outlook::Unknown);
        };
        // As for the fixed time: what ended before this leader and the youngest activator started, nobody remembers.
        let young = context.now.saturating_sub(context.started) < policy.idle_after;
        let last = youngest.filter(|_| young).map_or(last, |booted| last.max(booted));
        let idle = length(moment(context.now) - last);
        let outlook = learned.outlook(terms, idle);
        let waits = self.pulse.granted.is_some_and(|granted| {
            granted > last && moment(context.now).saturating_sub(granted) < span(policy.idle_after)
        });
        (!(waits && outlook != Outlook::Spent) && learned.is_over(terms, idle), outlook)
    }
}
