//! Fifth stage: writes the status when it says something else than before, then tells the news as Events.

use std::time::Duration;

use catnap_crds::Function;
use catnap_operator_core::{News, Report};
use catnap_runtime::Causes;
use k8s_openapi::api::{apps::v1::ControllerRevision, core::v1::ObjectReference};
use kube::{
    Api, Resource, ResourceExt,
    runtime::events::{Event, EventType},
};
use serde_json::json;

use crate::{context::Context, watch::GuardedFunction, write::WriteError};

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

/// An Event that cannot be written is not worth another reconciliation.
async fn tell(context: &Context, function: &Function, news: &News) {
    let event = Event {
        type_: if news.warning { EventType::Warning } else { EventType::Normal },
        reason: news.reason.to_owned(),
        note: Some(news.note.clone()),
        action: news.action.clone(),
        secondary: news.revision.clone().map(|revision| ObjectReference {
            api_version: Some(ControllerRevision::api_version(&()).into_owned()),
            kind: Some(ControllerRevision::kind(&()).into_owned()),
            namespace: function.namespace(),
            name: Some(revision),
            ..ObjectReference::default()
        }),
    };
    let regarding = function.object_ref(&());
    let published = tokio::time::timeout(EVENT_TIMEOUT, context.recorder.publish(&event, &regarding)).await;
    match published {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(reason = news.reason, error = %Causes(&error), "an Event was not written");
        }
        Err(_) => tracing::warn!(reason = news.reason, "an Event was not written in time"),
    }
}
