//! Fourth stage: brings the cluster's objects to what was built, with no write for those that are as they should be.

use std::{fmt::Debug, sync::Arc};

use catnap_crds::names;
use catnap_operator_core::{
    DeploymentResource, Problem, Reason, Resources, Scope, ValidatedFunction, Write, difference, in_sync,
    write_needed,
};
use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Resource, core::NamespaceResourceScope};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    context::Context,
    refusal::{refused, scope},
    watch::kind,
    write::{Class, WriteError},
};

mod delete;

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

/// That everything was applied, except for what is a person's to solve, and for deletions, which nothing else waits for.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) problems: Vec<Problem>,
    /// Deployments that were to be deleted and are still there.
    pub(crate) kept: Vec<String>,
    /// Of deletions that are to be tried again the first one's failure.
    pub(crate) failed: Option<ApplyError>,
}

/// How an object that is not there comes to be.
enum Making<'a, K> {
    /// By the same server-side apply that keeps it.
    Apply,
    /// By one create under this field manager.
    Create(&'a K, &'a str),
}

/// Applies `resources` for `function`; `lasts`: it has failed for so long that what fails now is a person's to know.
pub(crate) async fn apply(
    context: &Context,
    function: &ValidatedFunction,
    resources: Resources,
    lasts: bool,
) -> Result<Applied, ApplyError> {
    let Resources { controller_revision, deployments, services, endpoint_slices, obsolete } = resources;
    let with = Applier { context, function, lasts };
    // New pods should start now; the address is a matter of its own.
    let (revisions, routes) =
        tokio::join!(with.revisions(controller_revision.as_ref(), &deployments), async {
            let mut problems = Vec::new();
            for service in &services {
                problems.extend(with.ensure(service, &function.observed.services, Making::Apply).await?);
            }
            for slice in &endpoint_slices {
                problems.extend(with.ensure(slice, &function.observed.endpoint_slices, Making::Apply).await?);
            }
            Ok::<_, ApplyError>(problems)
        });
    let mut applied = Applied { problems: [revisions?, routes?].concat(), ..Applied::default() };
    with.delete(obsolete, &mut applied).await?;
    Ok(applied)
}

struct Applier<'a> {
    context: &'a Context,
    function: &'a ValidatedFunction,
    lasts: bool,
}

impl Applier<'_> {
    /// A record first, so that no Deployment is ever without one.
    async fn revisions(
        &self,
        record: Option<&ControllerRevision>,
        deployments: &[DeploymentResource],
    ) -> Result<Vec<Problem>, ApplyError> {
        let mut problems = Vec::new();
        if let Some(record) = record {
            problems.extend(self.controller_revision(record).await?);
        }
        let current = self.function.current.as_ref().ok();
        let unrecorded = current.filter(|current| !current.stored && !problems.is_empty());
        for resource in deployments {
            let name = resource.deployment.metadata.name.as_ref();
            if unrecorded.is_some_and(|current| Some(&current.name) == name) {
                continue;
            }
            let problem = self.deployment(resource).await?;
            let scope = match current {
                Some(current) if Some(&current.name) == name => Scope::Revision,
                // Of the revision that the spec forms it says nothing.
                _ => Scope::Routes,
            };
            problems.extend(problem.map(|problem| Problem { scope, ..problem }));
        }
        Ok(problems)
    }

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
        let api: Api<K> = Api::namespaced(self.context.client.clone(), &owner.namespace);
        let writer = &self.context.writer;
        let written =
            match write_needed(owner, &body, live.as_ref().map(|(metadata, body)| (*metadata, body))) {
                Write::Nothing => return Ok(self.contested::<K>(live.map(|(metadata, _)| metadata), &name)),
                Write::Refused(ownership) => {
                    return Ok(Some(Problem::not_ours(kind::<K>(), &name, ownership)));
                }
                Write::Create => match making {
                    Making::Apply => writer.apply(&api, &name, &body).await,
                    Making::Create(object, manager) => writer.create(&api, manager, object).await,
                },
                Write::Apply { uid } => {
                    let live = live.map(|(_, live)| live).unwrap_or_default();
                    if self.context.settled.holds(&uid, &body, &live) {
                        return Ok(None);
                    }
                    if let Some(path) = self.context.contests.pause(&uid) {
                        return Ok(Some(contest::<K>(&name, &path)));
                    }
                    self.correct(&api, &name, &uid, &body, &live).await
                }
            };
        match written {
            Ok(written) => {
                self.remember(&body, &written, &name)?;
                Ok(self.contested::<K>(Some(written.meta()), &name))
            }
            Err(source) => refused(kind::<K>(), source, self.lasts)
                .map(Some)
                .map_err(|source| ApplyError::Write { source }),
        }
    }

    /// Remembers what became of a write where it is not what was written.
    fn remember<K>(&self, body: &Value, written: &K, name: &str) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let uid = written.meta().uid.clone().unwrap_or_default();
        let written = json::<K>(written, name)?;
        if !in_sync(body, &written) {
            tracing::debug!(kind = kind::<K>(), name, "the API server made something else of a write");
            self.context.settled.remember(&uid, body, &written);
        }
        Ok(())
    }

    /// That somebody changed an object again and again until a moment ago.
    fn contested<K: Resource<DynamicType = ()>>(
        &self,
        live: Option<&ObjectMeta>,
        name: &str,
    ) -> Option<Problem> {
        let path = self.context.contests.last(live?.uid.as_deref()?)?;
        Some(contest::<K>(name, &path))
    }

    /// Brings an object that differs back to what it should be.
    async fn correct<K>(
        &self,
        api: &Api<K>,
        name: &str,
        uid: &str,
        body: &Value,
        live: &Value,
    ) -> Result<K, WriteError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let mut known = body.clone();
        known["metadata"]["uid"] = json!(uid);
        let written = self.restore(api, name, &known).await?;
        self.context.contests.wrote(uid, &difference(body, live).unwrap_or_default());
        Ok(written)
    }

    /// Applies, and replaces whole lists where that cannot put them right: an apply leaves what others added, and
    /// that may even stand in its way (a Service's port that got another number keeps its name).
    async fn restore<K>(&self, api: &Api<K>, name: &str, body: &Value) -> Result<K, WriteError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        match self.context.writer.apply::<K>(api, name, body).await {
            Ok(applied) if serde_json::to_value(&applied).is_ok_and(|applied| in_sync(body, &applied)) => {
                Ok(applied)
            }
            Ok(_) => self.context.writer.merge(api, name, body).await,
            Err(error) if matches!(error.class(), Class::Invalid(_)) => {
                self.context.writer.merge(api, name, body).await
            }
            Err(error) => Err(error),
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

/// Somebody changes it again whenever it is put right.
fn contest<K: Resource<DynamicType = ()>>(name: &str, path: &str) -> Problem {
    let kind = kind::<K>();
    let message = format!(
        "{path} of the {kind} {name} is changed again whenever it is put right, most likely by another controller; `kubectl get \
         {kind} {name} -o yaml --show-managed-fields` tells by which. It is put right less and less often"
    );
    Problem::passing(Reason::ChangedByOthers, scope(kind), message)
}
