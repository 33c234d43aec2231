//! What a write that the API server refused means for the Function.

use catnap_operator_core::{Problem, Reason, Scope};

use crate::write::{Class, WriteError};

/// What an object of this kind is needed for.
pub(crate) fn scope(kind: &str) -> Scope {
    match kind {
        "Deployment" | "ControllerRevision" => Scope::Revision,
        _ => Scope::Routes,
    }
}

/// What a person must do about a refused write of a `kind`, or the error where it is just to be tried again; `lasts`: it was,
/// for long enough.
pub(crate) fn refused(kind: &str, error: WriteError, lasts: bool) -> Result<Problem, WriteError> {
    let scope = scope(kind);
    match error.class() {
        Class::Invalid(message) => {
            let reason =
                if scope == Scope::Revision { Reason::InvalidPodTemplate } else { Reason::InvalidService };
            Ok(Problem::lasting(reason, scope, message))
        }
        Class::Terminating(message) => Ok(Problem::lasting(Reason::NamespaceTerminating, scope, message)),
        Class::Quota(message) => Ok(Problem::passing(Reason::QuotaExceeded, scope, message)),
        Class::Forbidden(message) => Ok(Problem::passing(Reason::Forbidden, scope, message)),
        Class::Transient if lasts => Ok(Problem::passing(Reason::WriteFailed, scope, error.words())),
        Class::Conflict | Class::Gone | Class::NotLeading | Class::Transient => Err(error),
    }
}

/// The same about an object that is no longer needed and was not deleted. The revision of the spec has nothing to do with it.
pub(crate) fn not_deleted(
    kind: &str,
    name: &str,
    error: WriteError,
    lasts: bool,
) -> Result<Problem, WriteError> {
    let reason = match error.class() {
        Class::Transient if lasts => Reason::WriteFailed,
        Class::Conflict | Class::Gone | Class::NotLeading | Class::Transient => return Err(error),
        Class::Invalid(_) | Class::Terminating(_) | Class::Quota(_) | Class::Forbidden(_) => {
            Reason::Forbidden
        }
    };
    let message = format!("the {kind} {name} is no longer needed and cannot be deleted: {}", error.words());
    Ok(Problem::passing(reason, Scope::Routes, message))
}

#[cfg(test)]
mod tests {
    use catnap_operator_core::Finality;

    use super::*;
    use crate::write::Target;

    #[test]
    fn only_what_lasts_is_told_of() {
        let timeout = || {
            let target = Target { verb: "create", kind: "Deployment", name: "hello-1".into() };
            WriteError::Timeout { target }
        };
        assert!(refused("Deployment", timeout(), false).is_err());
        assert!(not_deleted("Deployment", "hello-1", timeout(), false).is_err());
        let told = refused("Deployment", timeout(), true).unwrap();
        assert_eq!((told.reason, told.finality), (Reason::WriteFailed, Finality::Passing));
        assert_eq!(told.message, "no answer in time: create Deployment hello-1");
        let told = not_deleted("Deployment", "hello-1", timeout(), true).unwrap();
        assert_eq!((told.reason, told.scope), (Reason::WriteFailed, Scope::Routes));
        for lasts in [true, false] {
            assert!(refused("Deployment", WriteError::NotLeading, lasts).is_err(), "another's to write");
            assert!(not_deleted("Deployment", "hello-1", WriteError::NotLeading, lasts).is_err());
        }
    }
}
