//! First stage: gathers what is around a Function, from the caches and, for what they do not have, from the API server.
//!
//! The caches hold only what carries our labels. Before something is made under a name, whoever has that name must be
//! known: so what is wanted and not cached is asked for. At rest that is nothing.

use std::{fmt::Debug, sync::Arc};

use catnap_crds::{Function, FunctionStatus, guarded::Guarded, labels};
use catnap_operator_core::{
    Cluster, ContentError, Observed, Owner, Ownership, Wanted, retry, starts_proof, wanted,
};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Resource, ResourceExt, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use crate::{
    cache::FunctionKey,
    context::Context,
    write::{WriteError, read},
};

/// Why what is around a Function is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DereferenceError {
    #[error("the Function was never stored by an API server")]
    NotStored,
    #[error("the revision of the Function cannot be named")]
    Content {
        #[source]
        source: ContentError,
    },
    #[error("an object that the Function may need cannot be read")]
    Read {
        #[source]
        source: WriteError,
    },
}

/// Everything around `function`.
pub(crate) async fn dereference(
    context: &Context,
    function: &Function,
) -> Result<(Observed, Cluster), DereferenceError> {
    let owner = Owner::of(function).ok_or(DereferenceError::NotStored)?;
    let caches = &context.caches;
    let activator_addresses = caches.activator_addresses.read().clone();
    let hosts = context.claims.judge(function);
    let Wanted { services, endpoint_slices, controller_revisions, mut deployments } =
        wanted(function, &owner, &activator_addresses)
            .map_err(|source| DereferenceError::Content { source })?;
    let key = FunctionKey { namespace: owner.namespace.clone(), name: owner.name.clone() };

    let mut observed = Observed {
        controller_revisions: caches.controller_revisions.of(&key),
        deployments: caches.deployments.of(&key),
        services: caches.services.of(&key),
        endpoint_slices: caches.endpoint_slices.of(&key),
        pods: caches.pods.of(&key),
    };
    // What spec.traffic names and has no record is not made. A Function that rolls out is looked at every second.
    let told =
        |name: &String| function.status.iter().any(|it| it.revisions.iter().any(|it| it.name == *name));
    let recorded = |name: &String| observed.controller_revisions.iter().any(|it| it.name_any() == *name);
    deployments.retain(|name| controller_revisions.contains(name) || recorded(name) || told(name));
    let proof_waits = controller_revisions.iter().any(|name| proof_waits(context, function, name));
    let new_revision = controller_revisions
        .iter()
        .any(|name| !observed.controller_revisions.iter().any(|it| it.name_any() == *name));
    let (client, namespace) = (&context.client, owner.namespace.as_str());
    let ((), (), (), (), restricted) = tokio::try_join!(
        complete(client, namespace, &mut observed.controller_revisions, &controller_revisions),
        complete(client, namespace, &mut observed.deployments, &deployments),
        complete(client, namespace, &mut observed.services, &services),
        complete(client, namespace, &mut observed.endpoint_slices, &endpoint_slices),
        // Only the rendering of a new revision depends on it.
        async { if new_revision { enforces_restricted(client, namespace).await } else { Ok(false) } },
    )
    .map_err(|source| DereferenceError::Read { source })?;
    let rates = context.rates.rates(&owner);
    let ours = observed.deployments.iter().filter(|it| owner.ownership(&it.metadata) == Ownership::Ours);
    let pod_autoscalers =
        caches.scalers.of(namespace, ours.filter_map(|deployment| deployment.metadata.name.as_deref()));
    let cluster = Cluster { activator_addresses, restricted, hosts, proof_waits, rates, pod_autoscalers };
    Ok((observed, cluster))
}

/// Whether `revision` would begin its proof, and others are before it.
fn proof_waits(context: &Context, function: &Function, revision: &str) -> bool {
    let nothing = FunctionStatus::default();
    let status = function.status.as_ref().unwrap_or(&nothing);
    let generation = function.metadata.generation.unwrap_or_default();
    let begins = starts_proof(status, generation, retry(function), function.spec.scale.initial, revision);
    begins && !context.proofs.may_begin(function)
}

/// Adds the objects of these names that are not among `known`; of one that cannot be read its metadata, which says whose it is.
async fn complete<K>(
    client: &Client,
    namespace: &str,
    known: &mut Vec<Arc<K>>,
    names: &[String],
) -> Result<(), WriteError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Default
        + DeserializeOwned,
{
    // Whoever may make one may nest it so deep that nothing else reads it.
    let api: Api<Guarded<K>> = Api::namespaced(client.clone(), namespace);
    let missing = names.iter().filter(|name| !known.iter().any(|object| object.name_any() == **name));
    let found = try_join_all(missing.map(|name| read(&api, name))).await?;
    known.extend(found.into_iter().flatten().map(|found| Arc::new(found.into_outline())));
    Ok(())
}

async fn enforces_restricted(client: &Client, namespace: &str) -> Result<bool, WriteError> {
    let namespace = read(&Api::<Namespace>::all(client.clone()), namespace).await?;
    let level = namespace.as_ref().and_then(|namespace| namespace.labels().get(labels::POD_SECURITY_ENFORCE));
    Ok(level.is_some_and(|level| level == "restricted"))
}
