//! The last changes of a revision's replicas, with their reasons: what people ask for afterwards.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::decide::Reason;

/// Changes that are kept for each revision.
const KEPT: usize = 16;

/// One change of `spec.replicas`.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When, on the leader's clock.
    pub at: Duration,
    /// Replicas before.
    pub from: u32,
    /// Replicas after.
    pub to: u32,
    /// The decision's reasons; none for a count that somebody else wrote.
    pub reasons: Arc<[Reason]>,
}

/// The last of them, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    last: VecDeque<Change>,
}

impl Changes {
    /// Takes in one, in place of the oldest where there are as many as are kept.
    pub(super) fn add(&mut self, at: Duration, from: u32, to: u32, reasons: &[Reason]) {
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(Change { at, from, to, reasons: reasons.into() });
    }

    /// All that are kept, the latest first.
    pub(super) fn latest_first(&self) -> Vec<Change> {
        self.last.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let mut changes = Changes::default();
        (0..20).for_each(|to| changes.add(Duration::ZERO, 0, to, &[Reason::Busy]));
        let kept: Vec<u32> = changes.latest_first().iter().map(|change| change.to).collect();
        assert_eq!(kept, (4..20).rev().collect::<Vec<_>>());
    }
}
