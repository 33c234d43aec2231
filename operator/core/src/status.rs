//! What the Function's status says, and which Events are news.

use std::error::Error;

use catnap_crds::{FunctionStatus, RevisionState, Scale};
use k8s_openapi::jiff::Timestamp;

use crate::{
    Facts, Finality, Plan, Problem, Reason, Scope, ValidatedFunction,
    condition::{
        ACTIVE, READY, RECONCILING, REVISION_READY, ROUTES_READY, SCHEDULES_READY, STALLED, Verdict, find,
    },
};

const PROVING: &str = "Proving";

/// The status to write and what is new in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The status.
    pub status: FunctionStatus,
    /// Events, oldest first.
    pub news: Vec<News>,
    /// When time alone may change something.
    pub next_look: Option<Timestamp>,
}

/// Something that happened to a revision, for an Event on the Function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The Event's reason.
    pub reason: &'static str,
    /// The Event's action: with the revision it keeps different news from being counted as one that repeats.
    pub action: String,
    /// The revision that it is about.
    pub revision: String,
    /// Whether it is bad.
    pub warning: bool,
    /// For a person.
    pub note: String,
}

/// The status under `plan` at `now`; `problems` are those that applying met.
pub fn report(function: &ValidatedFunction, plan: &Plan, problems: &[Problem], now: Timestamp) -> Report {
    let previous = &function.previous;
    let problems = all_problems(function, plan, problems, now);
    let replicas = replicas(function, plan);
    let revision = revision_verdict(function, plan, &problems);
    let routes = routes_verdict(plan, &problems);
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
    let conditions = verdicts
        .into_iter()
        .map(|(type_, verdict)| verdict.condition(type_, &previous.conditions, function.generation, now))
        .collect();
    let current = function.current.as_ref().ok();
    let status = FunctionStatus {
        observed_generation: Some(function.generation),
        url: Some(format!("http://{}.{}", function.owner.name, function.owner.namespace)),
        latest_created_revision: current
            .map(|current| current.name.clone())
            .or_else(|| previous.latest_created_revision.clone()),
        latest_ready_revision: plan.latest_ready.clone(),
        replicas,
        revisions: plan.revisions.clone(),
        traffic: plan.traffic.clone(),
        conditions,
    };
    Report { news: news(previous, &status), next_look: plan.next_look, status }
}

/// What applying met, what the revision's own pods say, and what is missing; the worst first.
fn all_problems(function: &ValidatedFunction, plan: &Plan, met: &[Problem], now: Timestamp) -> Vec<Problem> {
    let mut problems: Vec<_> =
        function.current.as_ref().err().cloned().into_iter().chain(met.iter().cloned()).collect();
    if let Ok(current) = &function.current
        && let Some(facts) = function.facts.get(&current.name)
        && let Some(failure) = &facts.failure
    {
        let counts = match plan.state(&current.name) {
            Some(RevisionState::Proving) => true,
            // One pod of several that fails is no failure of the function while others serve.
            Some(RevisionState::Routed) => facts.ready == 0,
            Some(RevisionState::Retiring) | None => false,
        };
        problems.extend(counts.then(|| failure.problem(now)));
    }
    if function.cluster.activator_addresses.is_empty() {
        let message = "the Service in front of the activators has no ClusterIP";
        problems.push(Problem::passing(Reason::ActivatorMissing, Scope::Routes, message));
    }
    problems.sort_by_key(|problem| problem.finality == Finality::Passing);
    problems
}

fn revision_verdict(function: &ValidatedFunction, plan: &Plan, problems: &[Problem]) -> Verdict {
    if let Some(problem) = problems.iter().find(|problem| problem.scope == Scope::Revision) {
        let reason = problem.reason.as_str();
        return match problem.finality {
            Finality::Final => Verdict::no(reason, &problem.message),
            Finality::Passing => Verdict::unknown(reason, &problem.message),
        };
    }
    let before = find(&function.previous.conditions, REVISION_READY);
    if plan.rejected
        && let Some(before) = before
    {
        return Verdict::no(&before.reason, &before.message);
    }
    let Ok(current) = &function.current else { return Verdict::unknown(PROVING, "") };
    let nothing = Facts::default();
    let facts = function.facts.get(&current.name).unwrap_or(&nothing);
    let needed = function.spec.scale.proof_replicas();
    match plan.state(&current.name) {
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
    if let Some(problem) = problems.iter().find(|problem| problem.scope == Scope::Routes) {
        let reason = problem.reason.as_str();
        return match problem.finality {
            Finality::Final => Verdict::no(reason, &problem.message),
            Finality::Passing => Verdict::unknown(reason, &problem.message),
        };
    }
    if plan.traffic.is_empty() {
        Verdict::unknown(PROVING, "no revision takes traffic yet")
    } else {
        Verdict::yes("Routed", "")
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

/// The worse of the two: no, then unknown for a cause, then unknown because it takes time.
fn summary(revision: &Verdict, routes: &Verdict) -> Verdict {
    let rank = |verdict: &Verdict| match (verdict.status, verdict.reason.as_str()) {
        ("False", _) => 0,
        ("Unknown", PROVING) => 2,
        ("Unknown", _) => 1,
        _ => 3,
    };
    if rank(routes) < rank(revision) { routes.clone() } else { revision.clone() }
}

fn replicas(function: &ValidatedFunction, plan: &Plan) -> i32 {
    let routed = plan.revisions.iter().filter(|revision| revision.state == RevisionState::Routed);
    routed.filter_map(|revision| function.facts.get(&revision.name)).map(|facts| facts.replicas).sum()
}

fn news(previous: &FunctionStatus, status: &FunctionStatus) -> Vec<News> {
    let changed = |before: &Option<String>, after: &Option<String>| after.clone().filter(|_| before != after);
    let mut news = Vec::new();
    let mut tell = |reason, action: &str, revision: &str, warning, note| {
        news.push(News { reason, action: action.to_owned(), revision: revision.to_owned(), warning, note });
    };
    if let Some(name) = changed(&previous.latest_created_revision, &status.latest_created_revision) {
        tell("RevisionCreated", "Create", &name, false, format!("Revision {name} was made"));
    }
    if let Some(name) = changed(&previous.latest_ready_revision, &status.latest_ready_revision) {
        tell("RevisionReady", "Route", &name, false, format!("Revision {name} takes all traffic"));
    }
    let failed = find(&status.conditions, REVISION_READY).filter(|now| now.status == "False");
    let known = find(&previous.conditions, REVISION_READY).map(|before| &before.reason);
    if let Some(failed) = failed.filter(|failed| known != Some(&failed.reason)) {
        let note = format!("{}: {}", failed.reason, failed.message);
        let name = status.latest_created_revision.as_deref().unwrap_or_default();
        tell("RevisionFailed", &failed.reason, name, true, note);
    }
    news
}

#[cfg(test)]
mod tests;
