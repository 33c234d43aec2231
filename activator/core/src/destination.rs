//! What a request is for: a Function, or one revision of it by a tag.

use crate::budget::Standing;
use crate::effect::Grant;
use crate::function::Function;
use crate::shared::SharedRevision;
use crate::waiting::Admission;
use catnap_wire::message::RevisionId;
use std::sync::Arc;

/// What a request is admitted to.
#[derive(Clone, Debug)]
pub struct Destination {
    function: Arc<Function>,
    tag: Option<Arc<str>>,
}

impl Destination {
    pub(crate) fn new(function: &Arc<Function>, tag: Option<&Arc<str>>) -> Self {
        Self { function: Arc::clone(function), tag: tag.cloned() }
    }

    /// The Function.
    pub fn function(&self) -> &Arc<Function> {
        &self.function
    }

    /// The tag by which the request names a revision.
    pub fn tag(&self) -> Option<&Arc<str>> {
        self.tag.as_ref()
    }

    /// A request with its head parsed: dispatched, held or refused.
    pub fn admit(&self) -> Admission {
        self.function.place(self, Standing::New, None)
    }

    /// A request that a pod of `revision` may have seen is to be sent once more: as [`admit`](Self::admit), but it had its
    /// place in the queue and among the held requests of its namespace, and it stays with its revision while it may.
    pub fn admit_again(&self, revision: Option<&RevisionId>) -> Admission {
        self.function.place(self, Standing::Admitted, revision)
    }

    pub(crate) fn retry(&self, revision: &Arc<SharedRevision>, grant: &Grant) -> Admission {
        self.function.retry(self, revision, grant)
    }
}
