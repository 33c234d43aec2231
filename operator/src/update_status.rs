//! Fifth stage: writes the status when it says something else than before, then tells the news as Events.

use std::{sync::atomic::Ordering, time::Duration};

use catnap_crds::Function;
use catnap_operator_core::{News, Report};
use catnap_runtime::events::{Notice, Subject};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use crate::{context::Context, watch::GuardedFunction, write::WriteError};

/// Longest wait for those who have as much to tell. Once it was in vain nobody waits before there is room again: those who
/// reconcile are few, and each would wait for every Event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the status was not written.
#[derive(Debug, thiserror::Error)]
#[error("the status was not written")]
pub(crate) struct UpdateStatusError {
    #[source]
    pub(crate) source: WriteError,
}

/// Writes what `report` says about `function`.
pub(crate) async fn update_status(
    context: &Context,
    function: &Function,
    report: &Report,
) -> Result<(), UpdateStatusError> {
    if function.status.as_ref() != Some(&report.status) {
        // The answer is the whole Function, however deep.
        let api: Api<GuardedFunction> = Api::namespaced(
            context.client.clone(),
            function.metadata.namespace.as_deref().unwrap_or_default(),
        );
        let body = json!({
            "apiVersion": Function::api_version(&()),
            "kind": Function::kind(&()),
            "metadata": {
                "name": function.name_any(),
                "uid": function.metadata.uid,
                // The status follows from this very spec and status: of anything newer it knows nothing.
                "resourceVersion": function.metadata.resource_version,
            },
            "status": report.status,
        });
        let written = context.writer.apply_status(&api, &function.name_any(), &body).await;
        written.map_err(|source| UpdateStatusError { source })?;
    }
    for news in &report.news {
        tell(context, function, news).await;
    }
    Ok(())
}

/// An Event that cannot be told is not worth another reconciliation.
async fn tell(context: &Context, function: &Function, news: &News) {
    let notice = Notice {
        subject: Subject {
            namespace: function.namespace().unwrap_or_default().into(),
            name: function.name_any().into(),
            uid: function.uid().unwrap_or_default().into(),
        },
        reason: news.reason,
        action: news.action.clone().into(),
        revision: news.revision.clone(),
        warning: news.warning,
        note: news.note.clone(),
    };
    let told = if context.events_in_vain.load(Ordering::Relaxed) {
        context.notices.try_send(notice).is_ok()
    } else {
        context.notices.send_timeout(notice, EVENT_TIMEOUT).await.is_ok()
    };
    context.events_in_vain.store(!told, Ordering::Relaxed);
    if !told {
        tracing::warn!(reason = news.reason, "an Event found no room in time");
        context.metrics.event("Dropped");
    }
}
