//! The revisions of a Function: what its status says of them, what their records say, and what their Deployments have.

use std::collections::BTreeMap;

use catnap_crds::guarded::Guarded;
use catnap_crds::{Function, RevisionState, labels, names};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::age::age;
use crate::connection::Connection;
use crate::connection::call::{Act, CallError};
use crate::table::{Cell, Table};
use crate::terminal::{Look, Tone};

/// One revision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Revision {
    pub(crate) name: String,
    /// Its place in the history; later ones are higher.
    pub(crate) number: i64,
    /// `Proving`, `Routed`, `Retiring` or `History`.
    pub(crate) state: &'static str,
    /// How much of all requests it takes.
    pub(crate) percent: i32,
    /// Whether it follows the latest ready revision.
    pub(crate) latest: bool,
    pub(crate) tags: Vec<String>,
    pub(crate) replicas: i32,
    pub(crate) ready_replicas: i32,
    pub(crate) image: String,
    /// Most requests at once in one replica; 0 for no limit.
    pub(crate) concurrency_limit: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<Timestamp>,
}

/// Columns of a table of revisions.
const HEAD: [&str; 8] = ["NAME", "STATE", "PERCENT", "TAGS", "READY", "LIMIT", "AGE", "IMAGE"];

/// Every revision of `function`, the latest first.
pub(crate) async fn read(connection: &Connection, function: &Function) -> Result<Vec<Revision>, CallError> {
    let (records, deployments) = tokio::try_join!(
        children::<ControllerRevision>(connection, function, "controllerrevisions.apps"),
        children::<Deployment>(connection, function, "deployments.apps"),
    )?;
    Ok(join(function, &records, &deployments))
}

/// The objects of a kind that a Function owns.
pub(crate) async fn children<K>(
    connection: &Connection,
    function: &Function,
    resource: &'static str,
) -> Result<Vec<K>, CallError>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let namespace = function.metadata.namespace.as_deref().unwrap_or(&connection.namespace);
    let api: Api<Guarded<K>> = Api::namespaced(connection.client.clone(), namespace);
    let name = function.metadata.name.as_deref().unwrap_or_default();
    let parameters = ListParams::default().labels(&format!("{}={name}", labels::FUNCTION));
    let act = Act::on_all("list", resource, Some(namespace));
    let list = connection.call(act, api.list(&parameters)).await?;
    let owned = |child: &K| is_owned(child.meta(), function);
    // What cannot be read is none of those that the operator makes.
    Ok(list.items.into_iter().filter_map(|Guarded(child)| child.ok()).filter(owned).collect())
}

/// Whether the Function, and not one of its name before, controls an object.
fn is_owned(child: &ObjectMeta, function: &Function) -> bool {
    let mut owners = child.owner_references.iter().flatten();
    owners.any(|owner| owner.controller == Some(true) && Some(&owner.uid) == function.metadata.uid.as_ref())
}

fn join(function: &Function, records: &[ControllerRevision], deployments: &[Deployment]) -> Vec<Revision> {
    let deployments: BTreeMap<_, _> =
        deployments.iter().map(|deployment| (deployment.metadata.name.clone(), deployment)).collect();
    let revision = |record: &ControllerRevision| {
        let deployment = deployments.get(&record.metadata.name);
        revision(function, record, deployment.copied())
    };
    let mut revisions: Vec<_> = records.iter().map(revision).collect();
    revisions.sort_by_key(|revision| std::cmp::Reverse(revision.number));
    revisions
}

fn revision(function: &Function, record: &ControllerRevision, deployment: Option<&Deployment>) -> Revision {
    let name = record.metadata.name.clone().unwrap_or_default();
    let status = function.status.as_ref();
    let known = status.and_then(|status| status.revisions.iter().find(|known| known.name == name));
    let shares = || status.into_iter().flat_map(|it| &it.traffic).filter(|share| share.revision == name);
    let counts = deployment.and_then(|deployment| deployment.status.as_ref());
    Revision {
        number: record.revision,
        state: match known.map(|known| known.state) {
            Some(RevisionState::Proving) => "Proving",
            Some(RevisionState::Routed) => "Routed",
            Some(RevisionState::Retiring) => "Retiring",
            None => "History",
        },
        percent: shares().map(|share| share.percent).sum(),
        latest: shares().any(|share| share.latest),
        tags: shares().filter_map(|share| share.tag.clone()).collect(),
        replicas: counts.and_then(|counts| counts.replicas).unwrap_or(0),
        ready_replicas: counts.and_then(|counts| counts.ready_replicas).unwrap_or(0),
        image: image(record).unwrap_or_default().to_owned(),
        concurrency_limit: concurrency_limit(record).unwrap_or(0),
        created: record.metadata.creation_timestamp.as_ref().map(|time| time.0),
        name,
    }
}

/// Of the container that Catnap renders, as the record has it.
fn image(record: &ControllerRevision) -> Option<&str> {
    let containers = record.data.as_ref()?.0.pointer("/template/spec/containers")?.as_array()?;
    let is_function = |container: &&Value| container["name"] == names::CONTAINER;
    containers.iter().find(is_function)?["image"].as_str()
}

fn concurrency_limit(record: &ControllerRevision) -> Option<i32> {
    record.data.as_ref()?.0.get("concurrencyLimit")?.as_i64()?.try_into().ok()
}

/// As a table; `None` without any.
pub(crate) fn table(revisions: &[Revision], look: Look) -> Table {
    let mut table = Table::new(&HEAD);
    for revision in revisions {
        table.row(row(revision, look));
    }
    table
}

fn row(revision: &Revision, look: Look) -> Vec<Cell> {
    let Revision {
        name,
        number: _,
        state,
        percent,
        latest,
        tags,
        replicas,
        ready_replicas,
        image,
        concurrency_limit,
        created,
    } = revision;
    let tone = match *state {
        "Routed" => Tone::Good,
        "Proving" => Tone::Waiting,
        _ => Tone::Faint,
    };
    let latest = if *latest { " (latest)" } else { "" };
    let limit = if *concurrency_limit == 0 { String::new() } else { concurrency_limit.to_string() };
    vec![
        Cell::plain(name),
        Cell::new(tone, state),
        Cell::plain(format!("{percent}{latest}")),
        Cell::plain(tags.join(",")),
        Cell::plain(format!("{ready_replicas}/{replicas}")),
        Cell::plain(limit),
        Cell::plain(created.map(|created| age(created, look.now)).unwrap_or_default()),
        Cell::plain(image),
    ]
}
