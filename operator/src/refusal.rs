//! What a write that the API server refused means for the Function.

use catnap_operator_core::{Problem, Reason, Scope};

use crate::write::{Class, WriteError};

/// What a person must do about a refused write of a `kind`, or the error where it is just to be tried again.
pub(crate) fn refused(kind: &str, error: WriteError) -> Result<Problem, WriteError> {
    let scope = match kind {
        "Deployment" | "ControllerRevision" => Scope::Revision,
        _ => Scope::Routes,
    };
    match error.class() {
        Class::Invalid(message) => {
            let reason =
                if scope == Scope::Revision { Reason::InvalidPodTemplate } else { Reason::InvalidService };
            Ok(Problem::lasting(reason, scope, message))
        }
        Class::Terminating(message) => Ok(Problem::lasting(Reason::NamespaceTerminating, scope, message)),
        Class::Quota(message) => Ok(Problem::passing(Reason::QuotaExceeded, scope, message)),
        Class::Forbidden(message) => Ok(Problem::passing(Reason::Forbidden, scope, message)),
        Class::Conflict | Class::Gone | Class::Transient => Err(error),
    }
}
