//! What the conditions say: `Ready` is the worse of `RevisionReady` and `RoutesReady`; `Reconciling` and `Stalled` are as
//! kstatus reads them.

use std::error::Error;

use catnap_crds::{RevisionState, Scale};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};

use super::refusal;
use crate::{
    Facts, Finality, Plan, PodAutoscaler, Problem, Scope, ValidatedFunction,
    condition::{
        ACTIVE, PROVING, READY, RECONCILING, REVISION_READY, ROLLING_OUT, ROUTES_READY, SCALE_CONFLICT,
        SCHEDULES_READY, STALLED, Verdict, find,
    },
};

/// All conditions under `plan` at `now`; the worst of the `problems` comes first.
pub(super) fn conditions(
    function: &ValidatedFunction,
    plan: &Plan,
    problems: &[Problem],
    replicas: i32,
    now: Timestamp,
) -> Vec<Condition> {
    let revision = revision_verdict(function, plan, problems);
    let routes = routes_verdict(plan, problems);
    let ready = summary(&revision, &routes);
    let final_problem = problems.iter().find(|problem| problem.finality == Finality::Final);
    let stalled = match final_problem {
        Some(problem) => Verdict::yes(problem.reason.as_str(), &problem.message),
        None if plan.rejected => Verdict { status: "True", ..revision.clone() },
        None => Verdict::no("Progressing", ""),
    };
    let reconciling = if stalled.status == "True" || ready.status == "True" {
        Verdict::no("Settled", "")
    } else {
        Verdict { status: "True", ..ready.clone() }
    };
    let active = if replicas > 0 {
        Verdict::yes("Running", "")
    } else if plan.traffic.is_empty() {
        Verdict::no(PROVING, "")
    } else {
        Verdict::no("Idle", "no replicas: the next request wakes the function")
    };
    let mut verdicts = vec![
        (READY, ready),
        (REVISION_READY, revision),
        (ROUTES_READY, routes),
        (ACTIVE, active),
        (RECONCILING, reconciling),
        (STALLED, stalled),
    ];
    verdicts.extend(schedules_verdict(&function.spec.scale).map(|verdict| (SCHEDULES_READY, verdict)));
    verdicts.extend(conflict_verdict(function).map(|verdict| (SCALE_CONFLICT, verdict)));
    let generation = function.generation;
    let condition = |(type_, verdict): (&str, Verdict)| {
        let known = find(&function.previous.conditions, type_);
        let known = known.filter(|known| !refusal::begins(&verdict, known, generation));
        verdict.condition(type_, known, generation, now)
    };
    verdicts.into_iter().map(condition).collect()
}

fn revision_verdict(function: &ValidatedFunction, plan: &Plan, problems: &[Problem]) -> Verdict {
    let before = find(&function.previous.conditions, REVISION_READY);
    let of_revision = |problem: &&Problem| problem.scope == Scope::Revision;
    // What else may be wrong by now must not make the status forget why it was given up.
    if plan.rejected
        && !plan.problems.iter().any(|problem| of_revision(&problem))
        && let Some(before) = before
    {
        return Verdict::no(&before.reason, &before.message);
    }
    if let Some(problem) = problems.iter().find(of_revision) {
        return of_problem(problem);
    }
    let Ok(current) = &function.current else { return Verdict::unknown(PROVING, "") };
    let nothing = Facts::default();
    let facts = function.facts.get(&current.name).unwrap_or(&nothing);
    let needed = function.spec.scale.proof_replicas();
    if let Some(rolling) = &plan.rolling {
        return Verdict::unknown(ROLLING_OUT, rolling);
    }
    match plan.state(&current.name) {
        Some(RevisionState::Retiring) | None
            if plan.latest_ready.as_ref() == Some(&current.name) && !plan.traffic.is_empty() =>
        {
            Verdict::yes(READY, "proved itself, and takes no requests, as spec.traffic says")
        }
        Some(RevisionState::Routed) => {
            let proved = before.is_some_and(|before| before.reason == READY)
                && function.previous.latest_created_revision.as_ref() == Some(&current.name);
            if needed > 0 || facts.ready > 0 || proved {
                Verdict::yes(READY, "")
            } else {
                Verdict::yes("Unproven", "takes traffic without proof, as scale.initial: 0 says")
            }
        }
        _ => Verdict::unknown(PROVING, format!("{} of {needed} replicas are ready", facts.ready)),
    }
}

fn routes_verdict(plan: &Plan, problems: &[Problem]) -> Verdict {
    if let Some(problem) =
        problems.iter().find(|problem| matches!(problem.scope, Scope::Routes | Scope::Hosts))
    {
        return of_problem(problem);
    }
    if plan.traffic.is_empty() {
        Verdict::unknown(PROVING, "no revision takes traffic yet")
    } else if let Some(preparing) = &plan.preparing {
        Verdict::unknown(PROVING, preparing)
    } else {
        Verdict::yes("Routed", "")
    }
}

fn of_problem(problem: &Problem) -> Verdict {
    match problem.finality {
        Finality::Final => Verdict::no(problem.reason.as_str(), &problem.message),
        Finality::Passing => Verdict::unknown(problem.reason.as_str(), &problem.message),
    }
}

/// Whether all schedules can be read; `None` without any. It is not part of being ready: the function serves all the same, and
/// the other schedules open.
fn schedules_verdict(scale: &Scale) -> Option<Verdict> {
    let unreadable = (0..).zip(&scale.schedules).find_map(|(index, schedule)| {
        let error = schedule.window().err()?;
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        Some(format!("scale.schedules[{index}] never opens: {error}{cause}"))
    });
    match unreadable {
        Some(message) => Some(Verdict::no("InvalidSchedule", message)),
        None => (!scale.schedules.is_empty()).then(|| Verdict::yes("Valid", "")),
    }
}

/// Whether another autoscaler is at a Deployment of the Function; `None` without any. It is not part of being ready: what the other
/// one writes is put right, and the function serves.
fn conflict_verdict(function: &ValidatedFunction) -> Option<Verdict> {
    let Some(others) = &function.cluster.pod_autoscalers else {
        // What was told stays until it is known again.
        let told = find(&function.previous.conditions, SCALE_CONFLICT)?;
        return Some(Verdict::yes(&told.reason, &told.message));
    };
    let PodAutoscaler { deployment, name } = others.first()?;
    let more = match others.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let message = format!(
        "the HorizontalPodAutoscaler {name}{more} is to scale the Deployment {deployment}, whose replicas are what spec.scale says: \
         delete it, or replicas go back and forth"
    );
    Some(Verdict::yes("HorizontalPodAutoscaler", message))
}

/// The worse of the two: no, then unknown for a cause, then unknown because it takes time.
fn summary(revision: &Verdict, routes: &Verdict) -> Verdict {
    let rank = |verdict: &Verdict| match (verdict.status, verdict.reason.as_str()) {
        ("False", _) => 0,
        ("Unknown", PROVING | ROLLING_OUT) => 2,
        ("Unknown", _) => 1,
        _ => 3,
    };
    if rank(routes) < rank(revision) { routes.clone() } else { revision.clone() }
}
