//! One look at one Function: the five stages in their order, and when to look again.

use std::{sync::Arc, time::Duration};

use catnap_crds::RevisionState;
use catnap_operator_core::{Reason, RecordError, ValidateError, advance, build, report, validate};
use catnap_runtime::Causes;
use kube::{
    ResourceExt,
    runtime::{controller::Action, reflector::ObjectRef},
};
use tokio::time::Instant;

use crate::{
    apply::{Applied, ApplyError, apply},
    context::Context,
    dereference::{DereferenceError, dereference},
    update_status::{UpdateStatusError, update_status},
    watch::GuardedFunction,
    write::Class,
};

/// No watch tells when somebody else's object, or a quota, is out of the way.
const LOOK_AGAIN_AT_PROBLEMS: Duration = Duration::from_secs(30);

/// The stage that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    #[error("what is around the Function is not known")]
    Dereference {
        #[source]
        source: DereferenceError,
    },
    #[error("the Function cannot be validated")]
    Validate {
        #[source]
        source: ValidateError,
    },
    #[error("the Function's objects cannot be built")]
    Build {
        #[source]
        source: RecordError,
    },
    #[error("the Function's objects were not all written")]
    Apply {
        #[source]
        source: ApplyError,
    },
    #[error("the Function's status was not written")]
    UpdateStatus {
        #[source]
        source: UpdateStatusError,
    },
    #[error("what the Function no longer needs was not all deleted")]
    Delete {
        #[source]
        source: ApplyError,
    },
}

/// Brings the cluster one step closer to what `function` says.
pub(crate) async fn reconcile(
    function: Arc<GuardedFunction>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    let function = match &function.0 {
        Ok(function) if function.metadata.deletion_timestamp.is_none() => function,
        // Its children go with it, by their owner references. It keeps the hosts that it has until then, and gets no others.
        Ok(function) => {
            context.claims.judge(function);
            return Ok(Action::await_change());
        }
        Err(unreadable) => {
            tracing::error!(function = key(function.as_ref()), error = %Causes(unreadable), "a Function was left out");
            return Ok(Action::await_change());
        }
    };
    let (observed, cluster) =
        dereference(&context, function).await.map_err(|source| ReconcileError::Dereference { source })?;
    let now = Context::now();
    let valid =
        validate(function, observed, cluster, now).map_err(|source| ReconcileError::Validate { source })?;
    let mut plan = advance(&valid, now);
    if plan.compared.is_some() {
        context.rates.ask(&valid.owner, plan.compared.as_ref());
    }
    let proves = plan.revisions.iter().any(|revision| revision.state == RevisionState::Proving);
    if !proves && !valid.cluster.proof_waits {
        context.proofs.not_begun(function);
    }
    let resources = build(&valid, &plan).map_err(|source| ReconcileError::Build { source })?;
    let lasts = context.backoff.lasts(&key(function));
    let Applied { problems, kept, failed } = Box::pin(apply(&context, &valid, resources, lasts))
        .await
        .map_err(|source| ReconcileError::Apply { source })?;
    plan.keep(&valid, &kept);
    let report = report(&valid, &plan, &problems, now);
    update_status(&context, function, &report)
        .await
        .map_err(|source| ReconcileError::UpdateStatus { source })?;
    if plan.compared.is_none() {
        // Only now that the end is told: a look that has to be repeated must come to the same verdict.
        context.rates.ask(&valid.owner, None);
    }
    if let Some(source) = failed {
        return Err(ReconcileError::Delete { source });
    }

    // One that still fails is told of at once at the next look, too.
    if !problems.iter().any(|problem| problem.reason == Reason::WriteFailed) {
        context.backoff.forget(&key(function));
    }
    context.metrics.reconciled("ok", started.elapsed());
    // Of a record that has the name of the spec's revision and not its label, too.
    let by_record = valid
        .current
        .as_ref()
        .is_err_and(|problem| matches!(problem.reason, Reason::RevisionNameTaken | Reason::RecordUnreadable));
    let pause = (by_record || !problems.is_empty()).then_some(LOOK_AGAIN_AT_PROBLEMS);
    let time = report.next_look.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
    Ok([pause, time].into_iter().flatten().min().map_or_else(Action::await_change, Action::requeue))
}

/// When to try again after a failure.
pub(crate) fn after_failure(function: &GuardedFunction, error: &ReconcileError, context: &Context) -> Action {
    let gone = context.functions.get(&ObjectRef::from_obj(function)).is_none();
    let (outcome, action) = match error.class() {
        // It went while it was looked at: its failures would be remembered for ever.
        _ if gone => ("gone", Action::await_change()),
        // Who leads now will look at it.
        Some(Class::NotLeading) => ("not leading", Action::await_change()),
        // Somebody else was faster; usually the watch shows it before the wait is over.
        Some(Class::Conflict) => ("conflict", Action::requeue(context.backoff.failed(&key(function)))),
        Some(Class::Gone) => ("gone", Action::requeue(LOOK_AGAIN_AT_PROBLEMS)),
        _ => ("failed", Action::requeue(context.backoff.failed(&key(function)))),
    };
    // A proof that no status tells of has not begun: the next look asks again.
    if let (false, Ok(function)) = (matches!(error, ReconcileError::Delete { .. }), &function.0) {
        context.proofs.not_begun(function);
    }
    context.metrics.reconciled(outcome, Duration::ZERO);
    let error = Causes(error);
    if outcome == "failed" {
        tracing::warn!(function = key(function), %error, "reconciliation failed");
    } else {
        tracing::debug!(function = key(function), %error, outcome, "reconciliation is tried again");
    }
    action
}

impl ReconcileError {
    /// What can be done about it, where it is about what the API server holds.
    pub(crate) fn class(&self) -> Option<Class> {
        let source = match self {
            // By a newer view the same look comes to its end.
            Self::Apply { source: ApplyError::Outdated } => return Some(Class::Conflict),
            Self::Dereference { source: DereferenceError::Read { source } }
            | Self::Apply { source: ApplyError::Write { source } }
            | Self::Delete { source: ApplyError::Write { source } }
            | Self::UpdateStatus { source: UpdateStatusError { source } } => source,
            _ => return None,
        };
        Some(source.class())
    }
}

/// `<namespace>/<name>`.
pub(crate) fn key(function: &impl ResourceExt) -> String {
    format!("{}/{}", function.namespace().unwrap_or_default(), function.name_any())
}
