//! Plain types of what the leading autoscaler tells the operator about revisions between which requests move.

use crate::message::RevisionId;

/// The revisions that the operator wants to know about, and no others from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted(pub Vec<RevisionId>);

/// What is new of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted(pub Vec<CountOf>);

/// What is known of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountOf {
    /// The revision.
    pub revision: RevisionId,
    /// Requests whose end says something of it.
    pub ended: u64,
    /// How many of them it failed.
    pub errors: u64,
    /// Every activator that exists has told its part.
    pub complete: bool,
}
