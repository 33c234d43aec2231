//! Fourth stage: brings the cluster's objects to what was built, with no write for those that are as they should be.

use std::{fmt::Debug, sync::Arc};

use catnap_crds::{Function, names};
use catnap_operator_core::{
    DeploymentResource, Obsolete, Owner, Problem, Resources, ValidatedFunction, Write, in_sync, write_needed,
};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    core::v1::Service,
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, Resource, core::NamespaceResourceScope};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    refusal::refused,
    settled::Settled,
    watch::kind,
    write::{Class, WriteError, Writer, read},
};

/// Why applying has to be tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error("{kind} {name} cannot be written as JSON")]
    Json {
        kind: &'static str,
        name: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the Function has changed meanwhile")]
    Outdated,
    #[error("an object of the Function was not written")]
    Write {
        #[source]
        source: WriteError,
    },
}

/// That everything was applied, except for what is a person's to solve.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) problems: Vec<Problem>,
}

/// How an object that is not there comes to be.
enum Making<'a, K> {
    /// By the same server-side apply that keeps it.
    Apply,
    /// By one create under this field manager.
    Create(&'a K, &'a str),
}

/// Applies `resources` for `function`.
pub(crate) async fn apply(
    client: &Client,
    writer: &Writer,
    settled: &Settled,
    function: &ValidatedFunction,
    resources: Resources,
) -> Result<Applied, ApplyError> {
    let Resources { controller_revision, deployments, services, endpoint_slices, obsolete } = resources;
    let applier = Applier { client, writer, settled, function };
    // New pods should start now; the address is a matter of its own.
    let (revisions, routes) = tokio::join!(
        async {
            // A record first, so that no Deployment is ever without one.
            let mut problems = Vec::new();
            if let Some(record) = &controller_revision {
                problems.extend(applier.controller_revision(record).await?);
            }
            for resource in &deployments {
                problems.extend(applier.deployment(resource).await?);
            }
            Ok::<_, ApplyError>(problems)
        },
        async {
            let mut problems = Vec::new();
            for service in &services {
                problems.extend(applier.ensure(service, &function.observed.services, Making::Apply).await?);
            }
            for slice in &endpoint_slices {
                problems
                    .extend(applier.ensure(slice, &function.observed.endpoint_slices, Making::Apply).await?);
            }
            Ok::<_, ApplyError>(problems)
        },
    );
    let problems = [revisions?, routes?].concat();
    for object in obsolete {
        applier.remove(object).await?;
    }
    Ok(Applied { problems })
}

struct Applier<'a> {
    client: &'a Client,
    writer: &'a Writer,
    settled: &'a Settled,
    function: &'a ValidatedFunction,
}

impl Applier<'_> {
    async fn controller_revision(&self, record: &ControllerRevision) -> Result<Option<Problem>, ApplyError> {
        let making = Making::Create(record, names::FIELD_MANAGER);
        self.ensure(record, &self.function.observed.controller_revisions, making).await
    }

    async fn deployment(&self, resource: &DeploymentResource) -> Result<Option<Problem>, ApplyError> {
        let DeploymentResource { deployment, replicas_when_created } = resource;
        let first = deployment.clone().with_replicas(*replicas_when_created);
        // Under a manager of its own: an apply that once said `replicas` and then does not would reset it to 1.
        let making = Making::Create(&first, names::INITIAL_SCALE_FIELD_MANAGER);
        self.ensure(deployment, &self.function.observed.deployments, making).await
    }

    /// Makes `desired` true, or tells what a person must do about it.
    async fn ensure<K>(
        &self,
        desired: &K,
        known: &[Arc<K>],
        making: Making<'_, K>,
    ) -> Result<Option<Problem>, ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let name = desired.meta().name.clone().unwrap_or_default();
        let owner = &self.function.owner;
        let body = json::<K>(desired, &name)?;
        let live = known.iter().find(|object| object.meta().name.as_ref() == Some(&name));
        let live =
            live.map(|live| json::<K>(live.as_ref(), &name).map(|body| (live.meta(), body))).transpose()?;
        let api: Api<K> = Api::namespaced(self.client.clone(), &owner.namespace);
        let written =
            match write_needed(owner, &body, live.as_ref().map(|(metadata, body)| (*metadata, body))) {
                Write::Nothing => return Ok(None),
                Write::Refused(ownership) => {
                    return Ok(Some(Problem::not_ours(kind::<K>(), &name, ownership)));
                }
                Write::Create => match making {
                    Making::Apply => self.writer.apply(&api, &name, &body).await,
                    Making::Create(object, manager) => self.writer.create(&api, manager, object).await,
                },
                Write::Apply { uid } => {
                    if live.is_some_and(|(_, live)| self.settled.holds(&uid, &body, &live)) {
                        return Ok(None);
                    }
                    let mut body = body.clone();
                    body["metadata"]["uid"] = json!(uid);
                    self.restore(&api, &name, &body).await
                }
            };
        match written {
            Ok(written) => {
                let uid = written.meta().uid.clone().unwrap_or_default();
                let written = json::<K>(&written, &name)?;
                if !in_sync(&body, &written) {
                    tracing::debug!(
                        kind = kind::<K>(),
                        name,
                        "the API server made something else of a write"
                    );
                    self.settled.remember(&uid, &body, &written);
                }
                Ok(None)
            }
            Err(source) => {
                refused(kind::<K>(), source).map(Some).map_err(|source| ApplyError::Write { source })
            }
        }
    }

    /// Applies, and replaces whole lists where that cannot put them right: an apply leaves what others added, and
    /// that may even stand in its way (a Service's port that got another number keeps its name).
    async fn restore<K>(&self, api: &Api<K>, name: &str, body: &Value) -> Result<K, WriteError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        match self.writer.apply::<K>(api, name, body).await {
            Ok(applied) if serde_json::to_value(&applied).is_ok_and(|applied| in_sync(body, &applied)) => {
                Ok(applied)
            }
            Ok(_) => self.writer.merge(api, name, body).await,
            Err(error) if matches!(error.class(), Class::Invalid(_)) => {
                self.writer.merge(api, name, body).await
            }
            Err(error) => Err(error),
        }
    }

    /// That this Function and its status are the latest ones: a process that has just begun to lead may see an old one, in
    /// which a revision that serves by now is none yet.
    async fn still_current(&self) -> Result<(), ApplyError> {
        let Owner { namespace, name, .. } = &self.function.owner;
        let api: Api<Function> = Api::namespaced(self.client.clone(), namespace);
        let now = read(&api, name).await.map_err(|source| ApplyError::Write { source })?;
        let version = now.and_then(|now| now.metadata.resource_version);
        if version == self.function.resource_version { Ok(()) } else { Err(ApplyError::Outdated) }
    }

    async fn remove(&self, object: Obsolete) -> Result<(), ApplyError> {
        let namespace = &self.function.owner.namespace;
        let deleted = match object {
            Obsolete::Deployment { name, uid, resource_version } => {
                let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
                // The resourceVersion too: one that was scaled up in this moment stays.
                self.writer.delete(&api, &name, uid, Some(resource_version)).await
            }
            Obsolete::Superseded { name, uid } => {
                self.still_current().await?;
                let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
                self.writer.delete(&api, &name, uid, None).await
            }
            Obsolete::ControllerRevision { name, uid } => {
                let api: Api<ControllerRevision> = Api::namespaced(self.client.clone(), namespace);
                self.writer.delete(&api, &name, uid, None).await
            }
            Obsolete::Service { name, uid } => {
                let api: Api<Service> = Api::namespaced(self.client.clone(), namespace);
                self.writer.delete(&api, &name, uid, None).await
            }
            Obsolete::EndpointSlice { name, uid } => {
                let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), namespace);
                self.writer.delete(&api, &name, uid, None).await
            }
        };
        match deleted {
            Err(source) if source.class() != Class::Gone => Err(ApplyError::Write { source }),
            _ => Ok(()),
        }
    }
}

fn json<K: Resource<DynamicType = ()> + Serialize>(object: &K, name: &str) -> Result<Value, ApplyError> {
    serde_json::to_value(object).map_err(|source| ApplyError::Json {
        kind: kind::<K>(),
        name: name.to_owned(),
        source,
    })
}
