//! What the Function's status says, and which Events are news.
//!
//! Everything that is wrong comes in as a [`Problem`]; the parts of the status are in the modules.

use catnap_crds::{FunctionStatus, RevisionState};
use k8s_openapi::jiff::Timestamp;

use crate::{Failure, Finality, Plan, Problem, Reason, Scope, ValidatedFunction};

mod conditions;
mod hosts;
mod news;
mod refusal;
mod traffic;

pub use news::News;

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

/// The status under `plan` at `now`; `problems` are those that applying met.
pub fn report(function: &ValidatedFunction, plan: &Plan, problems: &[Problem], now: Timestamp) -> Report {
    let previous = &function.previous;
    let (problems, next_look) = all_problems(function, plan, problems, now);
    let replicas = traffic::replicas(function, plan);
    let current = function.current.as_ref().ok();
    let hosts = &function.cluster.hosts;
    let status = FunctionStatus {
        observed_generation: Some(function.generation),
        url: Some(format!("http://{}.{}", function.owner.name, function.owner.namespace)),
        urls: hosts.urls.clone(),
        latest_created_revision: current
            .map(|current| current.name.clone())
            .or_else(|| previous.latest_created_revision.clone()),
        latest_ready_revision: plan.latest_ready.clone(),
        replicas,
        revisions: plan.revisions.clone(),
        traffic: plan.traffic.clone(),
        rollout: plan.rollout.clone(),
        hosts: hosts::statuses(hosts),
        retry: plan.retry.clone(),
        conditions: conditions::conditions(function, plan, &problems, replicas, now),
    };
    Report {
        news: news::news(previous, &status),
        next_look: plan.next_look.into_iter().chain(next_look).min(),
        status,
    }
}

/// What the revision's own pods say (they are what an edit is about), what applying met and what is missing, the worst first; and
/// when that may change by time alone.
fn all_problems(
    function: &ValidatedFunction,
    plan: &Plan,
    met: &[Problem],
    now: Timestamp,
) -> (Vec<Problem>, Option<Timestamp>) {
    let mut problems: Vec<_> =
        function.current.as_ref().err().into_iter().chain(&plan.problems).cloned().collect();
    let mut looks = Vec::new();
    if let Ok(current) = &function.current
        && let Some(facts) = function.facts.get(&current.name)
    {
        let counts = match plan.state(&current.name) {
            Some(RevisionState::Proving) => true,
            // One pod of several that fails is no failure of the function while others serve, but may hold a rollout up.
            Some(RevisionState::Routed) => facts.ready == 0 || waits_for_replicas(plan),
            Some(RevisionState::Retiring) | None => false,
        };
        if counts {
            looks.extend(facts.slow_at);
            looks.extend(facts.failure.as_ref().and_then(Failure::patience_ends));
            problems.extend(facts.failure.as_ref().map(|failure| failure.problem(now)));
        }
    }
    for problem in met {
        let (problem, until) = refusal::aged(problem, &function.previous, function.generation, now);
        problems.push(problem);
        looks.extend(until);
    }
    if function.cluster.activator_addresses.is_empty() {
        let message = "the Service in front of the activators has no ClusterIP";
        problems.push(Problem::passing(Reason::ActivatorMissing, Scope::Routes, message));
    }
    // Before the first revision serves, a refused host must not end the wait of those who call the Function by its own name.
    if !plan.traffic.is_empty() {
        problems.extend(hosts::problems(&function.cluster.hosts));
    }
    problems.sort_by_key(|problem| problem.finality == Finality::Passing);
    (problems, looks.into_iter().filter(|look| *look > now).min())
}

fn waits_for_replicas(plan: &Plan) -> bool {
    plan.rollout.as_ref().is_some_and(|rollout| rollout.percent < rollout.coming_percent)
}

#[cfg(test)]
mod tests;
