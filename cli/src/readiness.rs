//! Whether a Function serves, in one word and its reason, as its conditions tell.

use catnap_crds::Function;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::table::Cell;
use crate::terminal::Tone;

/// The reason before the operator has looked at the current spec.
pub(crate) const NOT_OBSERVED: &str = "NotObserved";

/// Whether what the spec says is what answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It is.
    Ready,
    /// It may become so.
    Waiting(String),
    /// It does not without somebody who acts.
    Stalled(String),
}

impl Readiness {
    /// Of the status, if it is about the current spec.
    pub(crate) fn of(function: &Function) -> Self {
        if !is_observed(function) {
            return Self::Waiting(NOT_OBSERVED.to_owned());
        }
        match (condition(function, "Ready"), condition(function, "Stalled")) {
            (_, Some(stalled)) if stalled.status == "True" => Self::Stalled(stalled.reason.clone()),
            (Some(ready), _) if ready.status == "True" => Self::Ready,
            (Some(ready), _) => Self::Waiting(ready.reason.clone()),
            (None, _) => Self::Waiting(NOT_OBSERVED.to_owned()),
        }
    }

    /// The same of the way of requests alone: it may be what the spec says though the latest revision cannot be started.
    pub(crate) fn of_routes(function: &Function) -> Self {
        match condition(function, "RoutesReady").filter(|_| is_observed(function)) {
            None => Self::Waiting(NOT_OBSERVED.to_owned()),
            Some(routes) if routes.status == "True" => Self::Ready,
            Some(routes) if routes.status == "False" => Self::Stalled(routes.reason.clone()),
            Some(routes) => Self::Waiting(routes.reason.clone()),
        }
    }

    /// As a cell of a table.
    pub(crate) fn cell(&self) -> Cell {
        match self {
            Self::Ready => Cell::new(Tone::Good, "yes"),
            Self::Waiting(reason) => Cell::new(Tone::Waiting, format!("waiting ({reason})")),
            Self::Stalled(reason) => Cell::new(Tone::Bad, format!("no ({reason})")),
        }
    }
}

/// Whether the status is about the current spec.
fn is_observed(function: &Function) -> bool {
    let observed = function.status.as_ref().and_then(|status| status.observed_generation);
    observed.is_some() && observed >= function.metadata.generation
}

/// One of a Function's conditions.
pub(crate) fn condition<'function>(
    function: &'function Function,
    type_: &str,
) -> Option<&'function Condition> {
    function.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_conditions_are_believed_when_they_are_about_this_spec() {
        let waiting = |reason: &str| Readiness::Waiting(reason.to_owned());
        let rows = [
            (2, "True", "False", Readiness::Ready),
            (1, "True", "False", waiting("NotObserved")),
            (2, "Unknown", "False", waiting("Because")),
            (2, "False", "True", Readiness::Stalled("Because".to_owned())),
        ];
        for (observed, ready, stalled, expected) in rows {
            let condition = |type_: &str, status: &str| {
                json!({"type": type_, "status": status, "reason": "Because", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"})
            };
            let function: Function = serde_json::from_value(json!({
                "metadata": {"name": "hello", "generation": 2}, "spec": {"image": "hello"},
                "status": {"observedGeneration": observed,
                    "conditions": [condition("Ready", ready), condition("Stalled", stalled)]},
            }))
            .unwrap();
            assert_eq!(Readiness::of(&function), expected);
        }
        let new: Function =
            serde_json::from_value(json!({"metadata": {"name": "new"}, "spec": {"image": "hello"}})).unwrap();
        assert_eq!(Readiness::of(&new), waiting("NotObserved"));
    }
}
