//! What was learned of functions, for whoever keeps it beyond this leader's term.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Leader;
use crate::learned::Learned;

impl Leader {
    /// What an earlier leader had learned of the function with this UID. What this one has learned since is dropped: it is a
    /// few idle times against many.
    pub fn restore_pattern(&mut self, function_uid: Arc<str>, learned: Learned) {
        self.patterns.insert(function_uid, learned);
    }

    /// What was learned, by the UID of the function. Functions that are gone, or whose idle time is fixed now, are forgotten.
    pub fn patterns(&mut self) -> impl Iterator<Item = (&Arc<str>, &Learned)> {
        let learning: BTreeSet<_> = self
            .revisions
            .iter()
            .filter(|revision| revision.is_learning())
            .map(|revision| Arc::clone(&revision.id().function_uid))
            .collect();
        self.patterns.retain(|uid, _| learning.contains(uid));
        self.patterns.iter()
    }
}
