//! From when on a write that the API server goes on refusing is for a person to act on. Rights are granted and quotas raised
//! within moments by those who install things, so none of it is final at once.

use std::time::Duration;

use catnap_crds::FunctionStatus;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};

use crate::{
    Finality, PATIENCE, Problem, Reason, Scope,
    condition::{REVISION_READY, ROUTES_READY, Verdict, find},
};

/// Rights that are missing for longer than this are not about to be granted; nor is a webhook about to come back, or whoever
/// fights for a field to give way.
const SHORT_PATIENCE: Duration = Duration::from_secs(30);

fn patience(reason: Reason) -> Option<Duration> {
    match reason {
        Reason::Forbidden | Reason::WriteFailed | Reason::ChangedByOthers => Some(SHORT_PATIENCE),
        Reason::QuotaExceeded => Some(PATIENCE),
        _ => None,
    }
}

/// Whether `known` tells, since the last edit, of something that is waited for with patience. One row of refusals has one time,
/// whatever each of them is: two of one patience that take turns would else never be for a person to act on. But what is waited for
/// longer than this `patience` uses up nothing of it, until it is over; where those two take turns, each turn begins anew.
fn waits(known: &Condition, generation: i64, patience: Duration) -> bool {
    let counts = |had: Duration| had <= patience || known.status == "False";
    known.observed_generation == Some(generation)
        && Reason::from_name(&known.reason).and_then(self::patience).is_some_and(counts)
}

/// Whether `verdict` tells for the first time of what is waited for with patience. Its condition then has a time of its own, though
/// it was as unknown before: what it waited for until then has used up none of that patience.
pub(super) fn begins(verdict: &Verdict, known: &Condition, generation: i64) -> bool {
    let Some(patience) = Reason::from_name(&verdict.reason).and_then(patience) else { return false };
    verdict.status == "Unknown" && !waits(known, generation, patience)
}

/// `problem` as it is after the time that `previous` has told of it, and when it is final where it is not yet.
pub(super) fn aged(
    problem: &Problem,
    previous: &FunctionStatus,
    generation: i64,
    now: Timestamp,
) -> (Problem, Option<Timestamp>) {
    let Some(patience) = patience(problem.reason) else { return (problem.clone(), None) };
    let type_ = match problem.scope {
        Scope::Revision => REVISION_READY,
        Scope::Routes | Scope::Hosts => ROUTES_READY,
    };
    let told = find(&previous.conditions, type_).filter(|told| waits(told, generation, patience));
    let already_final = told.is_some_and(|told| told.status == "False");
    let since = told.map_or(now, |told| told.last_transition_time.0);
    let end = since.checked_add(patience).ok().filter(|end| *end > now && !already_final);
    let finality = if end.is_some() { Finality::Passing } else { Finality::Final };
    (Problem { finality, ..problem.clone() }, end)
}
