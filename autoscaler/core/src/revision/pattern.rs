//! What a revision's own requests teach its function's learned keep-alive, and what that says of this moment.
//!
//! One pattern a function, because revisions come and go: each routed one teaches it, and each is judged by its own last
//! request.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Revision;
use crate::context::Context;
use crate::learned::{Learned, Outlook};
use crate::moment::{Moment, moment};
use crate::policy::{Policy, Stage};

/// What was learned, by the UID of the function.
pub(crate) type Patterns = BTreeMap<Arc<str>, Learned>;

impl Revision {
    /// Its owner wants its idle time to be learned.
    pub(crate) fn is_learning(&self) -> bool {
        self.policy.as_ref().is_some_and(|(policy, _)| policy.terms().is_some())
    }

    /// Requests were there from then until then. What lies before this leader's start, another has learned from.
    pub(super) fn pulse(&mut self, from: Moment, until: Moment, context: &mut Context<'_>) {
        let idle_time = self.times.busy(from, until);
        // The pattern is that of the traffic: what proves itself or goes has little or none of it.
        let Some((policy, Stage::Routed)) = &self.policy else { return };
        let (Some(idle_time), Some(terms)) = (idle_time, policy.terms()) else { return };
        if from < moment(context.started) {
            return;
        }
        let learned = context.patterns.entry(Arc::clone(&self.id.function_uid)).or_default();
        idle_time.teach(learned, terms, policy.floor(Stage::Routed) > 0);
    }

    /// Whether the idle time has passed, and what the pattern says of this moment of it.
    pub(super) fn idleness(
        &self,
        policy: &Policy,
        youngest: Option<Moment>,
        context: &mut Context<'_>,
    ) -> (bool, Outlook) {
        let fixed = self.idle.passed(policy.idle_after, youngest, context);
        let Some(terms) = policy.terms() else { return (fixed, Outlook::Unknown) };
        let Some(learned) = context.patterns.get_mut(&self.id.function_uid) else {
            return (fixed, Outlook::Unknown);
        };
        // As for the fixed time: what ended before this leader and the youngest activator started, nobody remembers.
        let young = context.now.saturating_sub(context.started) < policy.idle_after;
        let earliest = youngest.filter(|_| young).unwrap_or(Moment::MIN);
        let rest = self.times.rest(learned, terms, earliest, moment(context.now));
        rest.unwrap_or((fixed, Outlook::Unknown))
    }
}
