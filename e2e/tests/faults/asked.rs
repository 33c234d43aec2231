//! The replicas that are asked for, each change of them, as the API server tells them.

use std::pin::pin;
use std::time::Instant;

use anyhow::Context as _;
use catnap_e2e::fixture::Context;
use futures::TryStreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use kube::api::{ListParams, WatchEvent, WatchParams};

/// `spec.replicas` of a function's only Deployment, from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) function: String,
    pub(crate) replicas: u32,
    pub(crate) at: Instant,
}

/// What was asked for while `work` went on: first what there was before, then each change.
///
/// # Errors
/// When the watch fails or ends. What `work` came to is apart, for the changes say why.
pub(crate) async fn asked_during<T>(
    test: &Context,
    work: impl Future<Output = T>,
) -> anyhow::Result<(T, Vec<Asked>)> {
    let deployments = test.api::<Deployment>();
    let listed = deployments.list(&ListParams::default()).await?;
    let version = listed.metadata.resource_version.unwrap_or_default();
    let mut asked = Vec::new();
    listed.items.iter().for_each(|deployment| add(&mut asked, deployment));
    // Longer than a test may take.
    let mut events = pin!(deployments.watch(&WatchParams::default().timeout(290), &version).await?);
    let mut work = pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return Ok((outcome, asked)),
            event = events.try_next() => {
                if let WatchEvent::Added(deployment) | WatchEvent::Modified(deployment) =
                    event?.context("the watch of Deployments ended")?
                {
                    add(&mut asked, &deployment);
                }
            }
        }
    }
}

fn add(asked: &mut Vec<Asked>, deployment: &Deployment) {
    let Some(function) = deployment.labels().get("catnap.dev/function") else { return };
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
    let replicas = u32::try_from(replicas).unwrap_or_default();
    let last = asked.iter().rfind(|earlier| earlier.function == *function);
    if last.is_none_or(|last| last.replicas != replicas) {
        asked.push(Asked { function: function.clone(), replicas, at: Instant::now() });
    }
}
