//! How the requests of revisions ended, as the autoscaler sums it up over the activators. Rollouts are judged by it.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

/// What is known of the revisions of one Function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Since when everything is counted; `None` while something that counts is not heard of.
    pub known_since: Option<Timestamp>,
    /// By revision. Numbers only grow; after a gap they may begin anew.
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
