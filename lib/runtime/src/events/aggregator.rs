//! Which notices are told, and when: the first at once, and of those that repeat it within a minute the last one at its end.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use tokio::time::Instant;

use super::{MAX_NOTE_BYTES, Notice, Subject, cut};

pub(super) const QUIET: Duration = Duration::from_secs(60);

/// What two notices have in common of which one repeats the other.
type Kind = (Subject, &'static str, Cow<'static, str>, Option<String>);

/// Lets through one notice a minute of each kind.
#[derive(Debug, Default)]
pub(super) struct Aggregator {
    quiet: HashMap<Kind, Quiet>,
}

/// A minute in which a kind of notice was told already.
#[derive(Debug)]
struct Quiet {
    until: Instant,
    last: Option<Notice>,
    more: u32,
}

impl Quiet {
    fn from(now: Instant) -> Self {
        Self { until: now + QUIET, last: None, more: 0 }
    }

    /// What was kept back, with a count where it is more than one.
    fn kept(&mut self) -> Option<Notice> {
        let mut notice = self.last.take()?;
        if self.more > 1 {
            let count = format!(" (the last of {} within a minute)", self.more);
            cut(&mut notice.note, MAX_NOTE_BYTES - count.len());
            notice.note.push_str(&count);
        }
        Some(notice)
    }
}

impl Aggregator {
    /// `Some` when it is to be told now.
    pub(super) fn offer(&mut self, notice: Notice, now: Instant) -> Option<Notice> {
        let Notice { subject, reason, action, revision, .. } = &notice;
        match self.quiet.entry((subject.clone(), *reason, action.clone(), revision.clone())) {
            Entry::Vacant(entry) => {
                entry.insert(Quiet::from(now));
                Some(notice)
            }
            Entry::Occupied(mut entry) => {
                let quiet = entry.get_mut();
                quiet.more += 1;
                quiet.last = Some(notice);
                None
            }
        }
    }

    /// What was kept back and is due.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Notice> {
        let mut due = Vec::new();
        self.quiet.retain(|_, quiet| {
            if quiet.until > now {
                return true;
            }
            let Some(notice) = quiet.kept() else { return false };
            due.push(notice);
            *quiet = Quiet::from(now);
            true
        });
        due
    }

    /// All that was kept back: there is no time to wait any more.
    pub(super) fn rest(&mut self) -> Vec<Notice> {
        self.quiet.drain().filter_map(|(_, mut quiet)| quiet.kept()).collect()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.quiet.is_empty()
    }
}
