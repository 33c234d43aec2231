//! Writes to the API server: only while this process leads, each with a timeout, all counted.

use std::{fmt, fmt::Debug, future::Future, sync::Arc, time::Duration};

use catnap_crds::names;
use catnap_runtime::Causes;
use kube::{
    Api, Resource,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{metrics::Metrics, watch::kind};

/// How refusals by admission begin, before the words of those who refused.
const DENIALS: [&str; 2] = ["denied request:", "denied the request"];
const TIMEOUT: Duration = Duration::from_secs(10);

/// Whether this process may write now.
pub(crate) type Permit = Arc<dyn Fn() -> bool + Send + Sync>;

/// Writes, if it may.
#[derive(Clone)]
pub(crate) struct Writer {
    permit: Permit,
    metrics: Metrics,
}

/// What is written, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) verb: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) name: String,
}

/// Why a write, or a read before one, did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("this process does not lead")]
    NotLeading,
    #[error("no answer in time: {target}")]
    Timeout { target: Target },
    #[error("the API server refused: {target}")]
    Api {
        target: Target,
        #[source]
        source: kube::Error,
    },
}

/// What can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Somebody else was faster: look again.
    Conflict,
    /// What it was about is gone.
    Gone,
    /// Nothing can be made any more in its namespace, which is being deleted.
    Terminating(String),
    /// The object makes no sense to the API server.
    Invalid(String),
    /// A quota is used up.
    Quota(String),
    /// Not allowed, by RBAC or by admission.
    Forbidden(String),
    /// Another process writes now.
    NotLeading,
    /// The API server or the way to it is not well: try again later.
    Transient,
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.verb, self.kind, self.name)
    }
}

impl WriteError {
    pub(crate) fn class(&self) -> Class {
        let status = match self {
            Self::NotLeading => return Class::NotLeading,
            Self::Api { source: kube::Error::Api(status), .. } => status,
            Self::Timeout { .. } | Self::Api { .. } => return Class::Transient,
        };
        let message = || status.message.clone();
        let terminating = status
            .details
            .iter()
            .any(|details| details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"));
        match status.code {
            403 if terminating => Class::Terminating(message()),
            403 if status.message.contains("exceeded quota") => Class::Quota(message()),
            403 => Class::Forbidden(message()),
            // In the words of a ValidatingAdmissionPolicy and of a webhook, whose codes are theirs to choose.
            _ if DENIALS.iter().any(|words| status.message.contains(words)) => Class::Forbidden(message()),
            404 => Class::Gone,
            409 => Class::Conflict,
            400 | 422 => Class::Invalid(message()),
            // The API server's own way to say that it knows no such field, with whatever code.
            _ if status.message.contains("failed to create typed patch object") => Class::Invalid(message()),
            _ => Class::Transient,
        }
    }

    /// What the API server said, or what kept it from saying anything.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Api { source: kube::Error::Api(status), .. } if !status.message.is_empty() => {
                status.message.clone()
            }
            error => Causes(error).to_string(),
        }
    }
}

impl Writer {
    pub(crate) fn new(permit: Permit, metrics: Metrics) -> Self {
        Self { permit, metrics }
    }

    /// Creates `object` as `manager`; one that exists is a conflict, and a field that the API server does not know is
    /// refused: left out without a word, it would be missed by nobody but the person who wrote it.
    pub(crate) async fn create<K>(&self, api: &Api<K>, manager: &str, object: &K) -> Result<K, WriteError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let create = async {
            let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
            // By hand, because kube's parameters of a create say nothing of validation.
            let url = format!("{}?fieldManager={manager}&fieldValidation=Strict", api.resource_url());
            let request =
                http::Request::post(url).header(http::header::CONTENT_TYPE, "application/json").body(body);
            api.clone().into_client().request::<K>(request.map_err(kube::Error::HttpError)?).await
        };
        let name = object.meta().name.as_deref().unwrap_or_default();
        self.write::<K, _>("create", name, create).await
    }

    /// Applies `object` as the operator. Without a UID in it the fields of other managers are a conflict: that is how
    /// an object made by somebody else in this moment is not taken over.
    pub(crate) async fn apply<K>(&self, api: &Api<K>, name: &str, object: &Value) -> Result<K, WriteError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let params = PatchParams::apply(names::FIELD_MANAGER).validation_strict();
        let known = object.get("metadata").is_some_and(|metadata| metadata.get("uid").is_some());
        let params = if known { params.force() } else { params };
        self.write::<K, _>("apply", name, api.patch(name, &params, &Patch::Apply(object))).await
    }

    /// Applies a status as the operator.
    pub(crate) async fn apply_status<K>(
        &self,
        api: &Api<K>,
        name: &str,
        object: &Value,
    ) -> Result<K, WriteError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let params = PatchParams::apply(names::FIELD_MANAGER).force();
        self.write::<K, _>("apply status", name, api.patch_status(name, &params, &Patch::Apply(object))).await
    }

    /// Replaces the fields in `patch`, whole lists with whatever others added to them.
    pub(crate) async fn merge<K>(&self, api: &Api<K>, name: &str, patch: &Value) -> Result<K, WriteError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let params =
            PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let params = params.validation_strict();
        self.write::<K, _>("merge", name, api.patch(name, &params, &Patch::Merge(patch))).await
    }

    /// Deletes an object if it still is the one that was looked at.
    pub(crate) async fn delete<K>(
        &self,
        api: &Api<K>,
        name: &str,
        uid: String,
        resource_version: Option<String>,
    ) -> Result<(), WriteError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let preconditions = Preconditions { uid: Some(uid), resource_version };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        self.write::<K, _>("delete", name, api.delete(name, &params)).await.map(drop)
    }

    async fn write<K: Resource<DynamicType = ()>, T>(
        &self,
        verb: &'static str,
        name: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, WriteError> {
        if !(self.permit)() {
            return Err(WriteError::NotLeading);
        }
        let target = Target { verb, kind: kind::<K>(), name: name.to_owned() };
        tracing::debug!(%target, "writing");
        let result = bounded(target, request).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(WriteError::Timeout { .. }) => "timeout",
            Err(_) => "failed",
        };
        self.metrics.written(kind::<K>(), verb, outcome);
        result
    }
}

/// One object, or `None` when there is none of that name.
pub(crate) async fn read<K>(api: &Api<K>, name: &str) -> Result<Option<K>, WriteError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    bounded(Target { verb: "get", kind: kind::<K>(), name: name.to_owned() }, api.get_opt(name)).await
}

async fn bounded<T>(target: Target, request: impl Future<Output = kube::Result<T>>) -> Result<T, WriteError> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(WriteError::Api { target, source }),
        Err(_) => Err(WriteError::Timeout { target }),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_an_api_server_that_does_not_answer() {
        let metrics = Metrics::new(&mut prometheus_client::registry::Registry::default());
        let writer = Writer::new(Arc::new(|| true), metrics);
        let api: Api<Service> = Api::namespaced(catnap_testkit::silent_client(), "default");
        let (name, body) = ("hello", json!({"metadata": {"name": "hello"}}));
        let object: Service = serde_json::from_value(body.clone()).unwrap();
        let start = Instant::now();
        let ends = [
            writer.create(&api, "somebody", &object).await.map(drop),
            writer.apply::<Service>(&api, name, &body).await.map(drop),
            writer.apply_status::<Service>(&api, name, &body).await.map(drop),
            writer.merge::<Service>(&api, name, &body).await.map(drop),
            writer.delete(&api, name, "uid".to_owned(), None).await,
            read(&api, name).await.map(drop),
        ];
        for (number, end) in ends.iter().enumerate() {
            assert!(matches!(end, Err(WriteError::Timeout { .. })), "{number}: {end:?}");
            assert_eq!(end.as_ref().unwrap_err().class(), Class::Transient);
        }
        let took = start.elapsed();
        assert!(took >= 6 * TIMEOUT && took < 7 * TIMEOUT, "{took:?}");
    }
}
