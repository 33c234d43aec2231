//! Reads all that is judged, at once. What cannot be read is judged too: only an API server that says nothing ends the check.

use std::collections::BTreeSet;

use futures::future::join_all;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::Resource;
use kube::api::{Api, ListParams, PostParams};
use serde::de::DeserializeOwned;

use crate::connection::Connection;
use crate::connection::call::{Act, CallError};
use crate::functions::{Found, Functions};

/// Label of everything that the chart makes.
pub(super) const OURS: &str = "app.kubernetes.io/name=catnap";
/// Name of the definition of Function.
pub(super) const DEFINITION: &str = "functions.catnap.dev";

/// Something that was asked for.
pub(super) type Answer<T> = Result<T, CallError>;

/// What the cluster says of itself and of Catnap.
pub(super) struct Facts {
    pub(super) version: Info,
    /// As `GROUP/VERSION`.
    pub(super) groups: Answer<BTreeSet<String>>,
    /// Kinds of admission policies, by their plural.
    pub(super) admission: Answer<BTreeSet<String>>,
    /// What of [`CREATED`] the user may not create.
    pub(super) forbidden: Answer<Vec<&'static str>>,
    pub(super) namespace: Answer<Option<Namespace>>,
    pub(super) definition: Answer<Option<CustomResourceDefinition>>,
    pub(super) deployments: Answer<Vec<Deployment>>,
    /// Another namespace that Catnap is in.
    pub(super) elsewhere: Option<String>,
    pub(super) leases: Answer<Vec<Lease>>,
    pub(super) services: Answer<Vec<Service>>,
    pub(super) slices: Answer<Vec<EndpointSlice>>,
    pub(super) policies: Answer<Vec<ValidatingAdmissionPolicy>>,
    pub(super) bindings: Answer<Vec<ValidatingAdmissionPolicyBinding>>,
    pub(super) levels: Answer<Vec<PriorityLevelConfiguration>>,
    pub(super) functions: Answer<Vec<Found>>,
}

/// Kinds that the chart makes, as group and plural; `true` for those in its namespace. Helm keeps its releases in Secrets.
pub(super) const CREATED: &[(&str, &str, bool)] = &[
    ("apiextensions.k8s.io", "customresourcedefinitions", false),
    ("rbac.authorization.k8s.io", "clusterroles", false),
    ("rbac.authorization.k8s.io", "clusterrolebindings", false),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", false),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", false),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", false),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", false),
    ("scheduling.k8s.io", "priorityclasses", false),
    ("rbac.authorization.k8s.io", "roles", true),
    ("rbac.authorization.k8s.io", "rolebindings", true),
    ("apps", "deployments", true),
    ("policy", "poddisruptionbudgets", true),
    ("", "services", true),
    ("", "serviceaccounts", true),
    ("", "secrets", true),
];

/// Everything; `of` is the namespace whose Functions count, else those of all do.
pub(super) async fn facts(
    connection: &Connection,
    system: &str,
    of: Option<&str>,
) -> Result<Facts, CallError> {
    let client = &connection.client;
    // First and alone: whoever cannot be reached need not be asked anything else.
    let act = Act::on_all("get", "/version", None);
    let version = connection.call(act, client.apiserver_version()).await?;
    let labelled = ListParams::default().labels(OURS);
    let all = ListParams::default();
    let (groups, admission, forbidden, namespace, definition) = tokio::join!(
        groups(connection),
        admission(connection),
        forbidden(connection, system),
        named::<Namespace>(connection, "namespaces", system),
        named::<CustomResourceDefinition>(connection, "customresourcedefinitions", DEFINITION),
    );
    let (deployments, leases, services, slices) = tokio::join!(
        inside::<Deployment>(connection, "deployments", system, &labelled),
        inside::<Lease>(connection, "leases", system, &all),
        inside::<Service>(connection, "services", system, &labelled),
        inside::<EndpointSlice>(connection, "endpointslices", system, &all),
    );
    let (policies, bindings, levels, functions) = tokio::join!(
        everywhere::<ValidatingAdmissionPolicy>(connection, "validatingadmissionpolicies", &labelled),
        everywhere::<ValidatingAdmissionPolicyBinding>(
            connection,
            "validatingadmissionpolicybindings",
            &labelled
        ),
        everywhere::<PriorityLevelConfiguration>(connection, "prioritylevelconfigurations", &labelled),
        functions(connection, of),
    );
    let elsewhere = elsewhere(connection, &deployments).await;
    Ok(Facts {
        version,
        groups,
        admission,
        forbidden,
        namespace,
        definition,
        deployments,
        elsewhere,
        leases,
        services,
        slices,
        policies,
        bindings,
        levels,
        functions,
    })
}

async fn groups(connection: &Connection) -> Answer<BTreeSet<String>> {
    let act = Act::on_all("get", "/apis", None);
    let list = connection.call(act, connection.client.list_api_groups()).await?;
    let versions = list.groups.into_iter().flat_map(|group| group.versions);
    Ok(versions.map(|version| version.group_version).collect())
}

async fn admission(connection: &Connection) -> Answer<BTreeSet<String>> {
    const GROUP: &str = "admissionregistration.k8s.io/v1";
    let act = Act::on_all("get", "/apis/admissionregistration.k8s.io/v1", None);
    let list = connection.call(act, connection.client.list_api_group_resources(GROUP)).await?;
    Ok(list.resources.into_iter().map(|resource| resource.name).collect())
}

/// Asks for each kind whether the user may create one.
async fn forbidden(connection: &Connection, system: &str) -> Answer<Vec<&'static str>> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(connection.client.clone());
    let parameters = PostParams::default();
    let asked = CREATED.iter().map(|&(group, plural, in_namespace)| {
        let (reviews, parameters) = (&reviews, &parameters);
        async move {
            let attributes = ResourceAttributes {
                group: Some(group.to_owned()),
                resource: Some(plural.to_owned()),
                verb: Some("create".to_owned()),
                namespace: in_namespace.then(|| system.to_owned()),
                ..ResourceAttributes::default()
            };
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(attributes),
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            let act = Act::on_all("create", "selfsubjectaccessreviews", None);
            let answer = connection.call(act, reviews.create(parameters, &review)).await?;
            Ok::<_, CallError>((plural, answer.status.is_some_and(|status| status.allowed)))
        }
    });
    let answers: Answer<Vec<_>> = join_all(asked).await.into_iter().collect();
    Ok(answers?.into_iter().filter(|(_, allowed)| !allowed).map(|(plural, _)| plural).collect())
}

/// One object without a namespace.
async fn named<K>(connection: &Connection, plural: &'static str, name: &str) -> Answer<Option<K>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(connection.client.clone());
    connection.call(Act::on_all("get", plural, None), api.get_opt(name)).await
}

/// Objects of Catnap's namespace.
async fn inside<K>(
    connection: &Connection,
    plural: &'static str,
    system: &str,
    parameters: &ListParams,
) -> Answer<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(connection.client.clone(), system);
    listed(connection, Act::on_all("list", plural, Some(system)), &api, parameters).await
}

/// Objects without a namespace, or of all.
async fn everywhere<K>(
    connection: &Connection,
    plural: &'static str,
    parameters: &ListParams,
) -> Answer<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(connection.client.clone());
    listed(connection, Act::on_all("list", plural, None), &api, parameters).await
}

/// None of a kind that the cluster does not know.
async fn listed<K>(connection: &Connection, act: Act, api: &Api<K>, parameters: &ListParams) -> Answer<Vec<K>>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    match connection.call(act, api.list(parameters)).await {
        Ok(list) => Ok(list.items),
        Err(CallError::Missing { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

async fn functions(connection: &Connection, of: Option<&str>) -> Answer<Vec<Found>> {
    let functions = if of.is_some() { Functions::new(connection) } else { Functions::everywhere(connection) };
    match functions.list(None).await {
        Err(CallError::Missing { .. }) => Ok(Vec::new()),
        answer => answer,
    }
}

/// Where Catnap is if not in its namespace; only to help, so nothing that goes wrong here is told.
async fn elsewhere(connection: &Connection, found: &Answer<Vec<Deployment>>) -> Option<String> {
    if !found.as_ref().is_ok_and(Vec::is_empty) {
        return None;
    }
    let operators =
        ListParams::default().labels("app.kubernetes.io/name=catnap,app.kubernetes.io/component=operator");
    let found: Vec<Deployment> = everywhere(connection, "deployments", &operators).await.ok()?;
    found.into_iter().find_map(|deployment| deployment.metadata.namespace)
}
