//! Deletes what a Function no longer needs. What cannot be deleted is told of, and tried again; nothing else waits for it.

use catnap_operator_core::{Obsolete, Owner};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    core::v1::Service,
    discovery::v1::EndpointSlice,
};
use kube::{Api, Resource, ResourceExt, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use super::{Applied, Applier, ApplyError};
use crate::{
    refusal::not_deleted,
    watch::{GuardedFunction, kind},
    write::{Class, WriteError, read},
};

/// What became of one.
struct Deletion {
    kind: &'static str,
    name: String,
    deleted: Result<(), WriteError>,
}

impl Applier<'_> {
    /// Deletes these; ends early only where nothing more may be written, the status no more than the rest.
    pub(super) async fn delete(
        &self,
        obsolete: Vec<Obsolete>,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        for object in obsolete {
            let Deletion { kind, name, deleted } = self.delete_one(object).await?;
            let Err(source) = deleted else { continue };
            match source.class() {
                Class::Gone => continue,
                Class::NotLeading => return Err(ApplyError::Write { source }),
                _ => {}
            }
            match not_deleted(kind, &name, source, self.lasts) {
                Ok(problem) => applied.problems.push(problem),
                Err(source) => {
                    applied.failed.get_or_insert(ApplyError::Write { source });
                }
            }
            if kind == "Deployment" {
                applied.kept.push(name);
            }
        }
        Ok(())
    }

    async fn delete_one(&self, object: Obsolete) -> Result<Deletion, ApplyError> {
        Ok(match object {
            // The resourceVersion too: one that was scaled up in this moment stays.
            Obsolete::Deployment { name, uid, resource_version } => {
                self.delete_object::<Deployment>(name, uid, Some(resource_version)).await
            }
            Obsolete::Superseded { name, uid } => {
                self.still_current().await?;
                self.delete_object::<Deployment>(name, uid, None).await
            }
            Obsolete::ControllerRevision { name, uid } => {
                self.delete_object::<ControllerRevision>(name, uid, None).await
            }
            Obsolete::Service { name, uid } => self.delete_object::<Service>(name, uid, None).await,
            Obsolete::EndpointSlice { name, uid } => {
                self.delete_object::<EndpointSlice>(name, uid, None).await
            }
        })
    }

    async fn delete_object<K>(&self, name: String, uid: String, resource_version: Option<String>) -> Deletion
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.context.client.clone(), &self.function.owner.namespace);
        let deleted = self.context.writer.delete(&api, &name, uid, resource_version).await;
        Deletion { kind: kind::<K>(), name, deleted }
    }

    /// That this Function and its status are the latest ones: a process that has just begun to lead may see an old one, in
    /// which a revision that serves by now is none yet.
    async fn still_current(&self) -> Result<(), ApplyError> {
        let Owner { namespace, name, .. } = &self.function.owner;
        // However deep it is.
        let api: Api<GuardedFunction> = Api::namespaced(self.context.client.clone(), namespace);
        let now = read(&api, name).await.map_err(|source| ApplyError::Write { source })?;
        let version = now.and_then(|now| now.resource_version());
        if version == self.function.resource_version { Ok(()) } else { Err(ApplyError::Outdated) }
    }
}
