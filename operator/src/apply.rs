//! Fourth stage: brings the cluster's objects to what was built, with no write for those that are as they should be.

use std::{fmt::Debug, sync::Arc};

use catnap_crds::names;
use catnap_operator_core::{
    DeploymentResource, Obsolete, Problem, Reason, Resources, Scope, ValidatedFunction, Write, in_sync,
    write_needed,
};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, Resource, core::NamespaceResourceScope};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    watch::kind,
    write::{Class, WriteError, Writer},
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
    function: &ValidatedFunction,
    resources: Resources,
) -> Result<Applied, ApplyError> {
    let Resources { controller_revision, deployments, service, endpoint_slices, obsolete } = resources;
    let applier = Applier { client, writer, function };
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
            problems.extend(applier.ensure(&service, &function.observed.services, Making::Apply).await?);
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
    function: &'a ValidatedFunction,
}

impl Applier<'_> {
    async fn controller_revision(&self, record: &ControllerRevision) -> Result<Option<Problem>, ApplyError> {
        let making = Making::Create(record, names::FIELD_MANAGER);
        self.ensure(record, &self.function.observed.controller_revisions, making).await
    }

    async fn deployment(&self, resource: &DeploymentResource) -> Result<Option<Problem>, ApplyError> {
        let DeploymentResource { deployment, replicas_when_created } = resource;
        let mut first = deployment.clone();
        if let Some(spec) = &mut first.spec {
            spec.replicas = Some(*replicas_when_created);
        }
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
        let mut body = json::<K>(desired, &name)?;
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
                    body["metadata"]["uid"] = json!(uid);
                    self.restore(&api, &name, &body).await
                }
            };
        match written {
            Ok(_) => Ok(None),
            Err(source) => problem::<K>(source).map(Some),
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

    async fn remove(&self, object: Obsolete) -> Result<(), ApplyError> {
        let namespace = &self.function.owner.namespace;
        let deleted = match object {
            Obsolete::Deployment { name, uid, resource_version } => {
                let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
                // The resourceVersion too: one that was scaled up in this moment stays.
                self.writer.delete(&api, &name, uid, Some(resource_version)).await
            }
            Obsolete::ControllerRevision { name, uid } => {
                let api: Api<ControllerRevision> = Api::namespaced(self.client.clone(), namespace);
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

/// What a refused write means for the Function, when it is not just to be tried again.
fn problem<K: Resource<DynamicType = ()>>(error: WriteError) -> Result<Problem, ApplyError> {
    let scope = match kind::<K>() {
        "Deployment" | "ControllerRevision" => Scope::Revision,
        _ => Scope::Routes,
    };
    match error.class() {
        Class::Invalid(message) if scope == Scope::Revision => {
            Ok(Problem::lasting(Reason::InvalidPodTemplate, scope, message))
        }
        Class::Quota(message) => Ok(Problem::passing(Reason::QuotaExceeded, scope, message)),
        Class::Forbidden(message) => Ok(Problem::passing(Reason::Forbidden, scope, message)),
        Class::Invalid(_) | Class::Conflict | Class::Gone | Class::Transient => {
            Err(ApplyError::Write { source: error })
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
