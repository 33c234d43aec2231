//! Conditions: their types, and keeping the time of the last change.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

pub(crate) const READY: &str = "Ready";
pub(crate) const REVISION_READY: &str = "RevisionReady";
pub(crate) const ROUTES_READY: &str = "RoutesReady";
pub(crate) const SCHEDULES_READY: &str = "SchedulesReady";
pub(crate) const SCALE_CONFLICT: &str = "ScaleConflict";
pub(crate) const ACTIVE: &str = "Active";
pub(crate) const RECONCILING: &str = "Reconciling";
pub(crate) const STALLED: &str = "Stalled";
/// Reason of conditions that are not True only because starting takes time.
pub(crate) const PROVING: &str = "Proving";
pub(crate) const ROLLING_OUT: &str = "RollingOut";

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) status: &'static str,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Verdict {
    pub(crate) fn yes(reason: &str, message: impl Into<String>) -> Self {
        Self { status: "True", reason: reason.to_owned(), message: message.into() }
    }

    pub(crate) fn no(reason: &str, message: impl Into<String>) -> Self {
        Self { status: "False", reason: reason.to_owned(), message: message.into() }
    }

    pub(crate) fn unknown(reason: &str, message: impl Into<String>) -> Self {
        Self { status: "Unknown", reason: reason.to_owned(), message: message.into() }
    }

    /// The condition of this type; the time of the one that is `known` stays while its status does.
    pub(crate) fn condition(
        self,
        type_: &str,
        known: Option<&Condition>,
        generation: i64,
        now: Timestamp,
    ) -> Condition {
        let since = known.filter(|it| it.status == self.status).map(|it| it.last_transition_time.0);
        Condition {
            type_: type_.to_owned(),
            status: self.status.to_owned(),
            reason: self.reason,
            message: self.message,
            observed_generation: Some(generation),
            last_transition_time: Time(since.unwrap_or(now)),
        }
    }
}

/// The condition of this type.
pub(crate) fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}
