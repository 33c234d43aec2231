//! What the leader is told of how requests end, for the revisions that it names: a rollout is judged by it.
//!
//! Sums since the start of this process, once for each revision on a stream and then where they changed: what is sent twice, or
//! again on another stream, changes nothing. While the leader names none there is nothing to do.

use std::sync::Arc;
use std::time::Duration;

use catnap_wire::{ActivatorFrame, Outcomes as OutcomesOf, RevisionId};
use tokio::time::Instant;

use crate::metrics::{Metrics, Tally};

/// As often as what is measured goes to the leader.
const INTERVAL: Duration = Duration::from_secs(1);

/// What one leader wants to know, and what it was told.
pub(crate) struct Outcomes {
    metrics: Arc<Metrics>,
    wanted: Vec<RevisionId>,
    /// In the order of `wanted`; `None`: nothing yet.
    told: Vec<Option<Tally>>,
    due: Instant,
}

impl Outcomes {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, wanted: Vec::new(), told: Vec::new(), due: Instant::now() }
    }

    /// The leader wants to know of these, and of no others.
    pub(crate) fn wanted(&mut self, mut revisions: Vec<RevisionId>) {
        revisions.sort_unstable();
        revisions.dedup();
        let told = |revision| self.wanted.binary_search(revision).ok().and_then(|place| self.told[place]);
        self.told = revisions.iter().map(told).collect();
        self.wanted = revisions;
        self.due = Instant::now();
    }

    /// The stream is over, and with it what the leader wanted.
    pub(crate) fn forget(&mut self) {
        self.wanted = Vec::new();
        self.told = Vec::new();
    }

    /// When to ask for [`Self::news`]; `None`: not before somebody wants some.
    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.wanted.is_empty()).then_some(self.due)
    }

    /// What the leader does not know yet; it counts as told.
    pub(crate) fn news(&mut self, now: Instant) -> Option<ActivatorFrame> {
        self.due = now + INTERVAL;
        let tallies = self.metrics.tallies(&self.wanted);
        let mut news = Vec::new();
        for ((revision, told), tally) in self.wanted.iter().zip(&mut self.told).zip(tallies) {
            if *told != Some(tally) {
                *told = Some(tally);
                let Tally { ended, errors } = tally;
                news.push(OutcomesOf { revision: revision.clone(), ended, errors });
            }
        }
        (!news.is_empty()).then_some(ActivatorFrame::Outcomes(news))
    }
}
