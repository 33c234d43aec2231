//! Reading and raising `/scale` of a revision's Deployment, for waking without an autoscaler.
//!
//! One call each, with a timeout and never repeated here: whether to try again, and when, is the core's decision.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::{Scale, ScaleError};
use catnap_wire::RevisionId;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v1 as autoscaling;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client, Error};
use tokio::time::timeout;

/// Longest wait for an answer of the API server.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Counts and preconditions of Deployments, as the API server itself knows them now.
#[derive(Clone)]
pub(crate) struct ScaleClient(Client);

impl ScaleClient {
    /// Calls through `client`, which must not repeat calls by itself.
    pub(crate) fn new(client: Client) -> Self {
        Self(client)
    }

    /// GET: the count, the pods that there are, and the version that a PUT must name.
    pub(crate) async fn read(&self, revision: &RevisionId) -> Result<Scale, ScaleError> {
        let scale = bounded(self.deployments(revision).get_scale(&revision.name)).await?;
        let resource_version = scale.metadata.resource_version.unwrap_or_default();
        let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or_default();
        let pods = scale.status.map_or(0, |status| status.replicas);
        Ok(Scale {
            replicas: u32::try_from(replicas).unwrap_or_default(),
            pods: u32::try_from(pods).unwrap_or_default(),
            resource_version: Arc::from(resource_version),
        })
    }

    /// PUT, under the condition that nobody wrote since `resource_version`.
    pub(crate) async fn raise(
        &self,
        revision: &RevisionId,
        replicas: u32,
        resource_version: &str,
    ) -> Result<(), ScaleError> {
        let scale = autoscaling::Scale {
            metadata: ObjectMeta {
                name: Some(revision.name.to_string()),
                namespace: Some(revision.namespace.to_string()),
                resource_version: Some(resource_version.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(autoscaling::ScaleSpec {
                replicas: Some(i32::try_from(replicas).unwrap_or(i32::MAX)),
            }),
            status: None,
        };
        let parameters = PostParams::default();
        bounded(self.deployments(revision).replace_scale(&revision.name, &parameters, &scale)).await.map(drop)
    }

    fn deployments(&self, revision: &RevisionId) -> Api<Deployment> {
        Api::namespaced(self.0.clone(), &revision.namespace)
    }
}

async fn bounded<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, ScaleError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Error::Api(status))) if status.code == 409 => Err(ScaleError::Conflict),
        Ok(Err(Error::Api(status))) if status.code == 404 => Err(ScaleError::NotFound),
        Ok(Err(Error::Api(status))) => Err(ScaleError::Failed(status.message)),
        Ok(Err(error)) => Err(ScaleError::Failed(error.to_string())),
        Err(_) => Err(ScaleError::Failed(format!("no answer of the API server within {CALL_TIMEOUT:?}"))),
    }
}

#[cfg(test)]
mod tests;
