//! How the requests of revisions ended, as the autoscaler sums it up over the activators. Rollouts are judged by it.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

/// What is known of the revisions of one Function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Since when numbers are of one count and only grow: one of before cannot be subtracted from one of after.
    pub counted_since: Option<Timestamp>,
    /// Since when everything is counted; `None` while something that counts is not heard of.
    pub known_since: Option<Timestamp>,
    /// By revision, of those of which everything was known at some time.
    pub counts: BTreeMap<String, Counts>,
}

/// Requests of one revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many ended.
    pub ended: u64,
    /// How many of them with an error that is the revision's.
    pub errors: u64,
}
