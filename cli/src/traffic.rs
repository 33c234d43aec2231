//! `catnap traffic`: who gets how much of the requests, and how to change it. `catnap rollback` changes it by the same means.

mod plan;
mod shares;

use std::collections::BTreeMap;

use catnap_crds::{Function, TrafficTarget, effective_percents};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::cluster::{self, ClusterError};
use crate::connection::call::{Act, CallError};
use crate::connection::{Connection, ConnectionArguments};
use crate::deploy::FIELD_MANAGER;
use crate::exit::Failure;
use crate::functions::{Found, Functions};
use crate::settle::{Goal, SettleArguments, SettleError, settle};
use crate::table::{Cell, Table};
use crate::terminal::{Look, Terminal};
use crate::{name, revisions};
use plan::Plan;
pub(crate) use plan::{PlanError, revision};
use shares::{Share, Tag};

/// Flags of `catnap traffic`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The Function, as NAME or function/NAME.
    #[arg(value_name = "NAME", value_parser = name::function)]
    pub(crate) name: String,
    /// Who gets how many percent, as REVISION=PERCENT or latest=PERCENT, 100 together; the beginning of a revision's name is
    /// enough. Without any, and without the flags below, what is so now is shown.
    #[arg(value_name = "REVISION=PERCENT", value_parser = shares::share, conflicts_with = "latest")]
    pub(crate) shares: Vec<Share>,
    /// Give everything to the latest revision that proved itself, whichever that is.
    #[arg(long)]
    pub(crate) latest: bool,
    /// Give a revision a name of its own, as TAG=REVISION or TAG=latest; may be given several times.
    #[arg(long = "tag", value_name = "TAG=REVISION", value_parser = shares::tag)]
    pub(crate) tags: Vec<Tag>,
    /// Tag to take away; may be given several times.
    #[arg(long, value_name = "TAG")]
    pub(crate) untag: Vec<String>,
    #[command(flatten)]
    pub(crate) settle: SettleArguments,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Why requests do not go where they should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrafficError {
    /// The cluster does not give or take it.
    #[error(transparent)]
    Cluster {
        /// Why.
        source: ClusterError,
    },
    /// What is asked for cannot be.
    #[error(transparent)]
    Plan {
        /// Why.
        source: PlanError,
    },
    /// It does not become so.
    #[error(transparent)]
    Settle {
        /// Why.
        source: SettleError,
    },
}

/// Shows or changes it.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), TrafficError> {
    let connection = cluster::connect(&arguments.connection).await.map_err(in_cluster)?;
    traffic(&arguments, &connection, terminal).await
}

async fn traffic(
    arguments: &Arguments,
    connection: &Connection,
    terminal: &mut Terminal,
) -> Result<(), TrafficError> {
    let (found, function) = cluster::read(connection, &arguments.name).await.map_err(in_cluster)?;
    let Arguments { shares, latest, tags, untag, .. } = arguments;
    if shares.is_empty() && tags.is_empty() && untag.is_empty() && !latest {
        return show(&function, terminal);
    }
    let revisions = revisions::read(connection, &function).await.map_err(refused)?;
    let known: Vec<_> = revisions.iter().map(|revision| revision.name.as_str()).collect();
    let mut plan = Plan::of(&function.spec.traffic);
    let planned = plan.change(arguments, &known);
    planned.map_err(|source| TrafficError::Plan { source })?;
    let settled = put(connection, &found, &plan, arguments.settle, terminal).await?;
    match settled {
        Some(function) => show(&function, terminal),
        None => Ok(()),
    }
}

fn in_cluster(source: ClusterError) -> TrafficError {
    TrafficError::Cluster { source }
}

fn refused(source: CallError) -> TrafficError {
    in_cluster(ClusterError::Call { source })
}

/// Gives everything to one revision; tags stay. What became of it, if it was waited for.
pub(crate) async fn give_all(
    connection: &Connection,
    found: &Found,
    targets: &[TrafficTarget],
    revision: &str,
    settle: SettleArguments,
    terminal: &mut Terminal,
) -> Result<Option<Function>, TrafficError> {
    let mut plan = Plan::of(targets);
    plan.give_all(revision);
    put(connection, found, &plan, settle, terminal).await
}

async fn put(
    connection: &Connection,
    found: &Found,
    plan: &Plan,
    settling: SettleArguments,
    terminal: &mut Terminal,
) -> Result<Option<Function>, TrafficError> {
    let name = found.name();
    if let Some(tool) = keeper(found) {
        terminal.note(&format!("{name} is kept by {tool}, which will undo this: change it there too."));
    }
    // Of the Function that was looked at: an edit in between may have changed what was asked for.
    let patch = json!({
        "metadata": {"resourceVersion": found.object.metadata.resource_version},
        "spec": {"traffic": plan.targets()},
    });
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let functions = Functions::new(connection);
    let api = functions.api();
    let act = Act::on_function("patch", &connection.namespace, name);
    let patched = connection.call(act, api.patch(name, &parameters, &Patch::Merge(&patch))).await;
    let patched = patched.map_err(refused)?;
    if !settling.wait {
        return Ok(None);
    }
    let settled = settle(&functions, &Found::from(patched), Goal::Routed, settling.timeout, terminal).await;
    Ok(settled.map_err(|source| TrafficError::Settle { source })?.function)
}

/// The tool that keeps a Function as Git, or a chart, has it.
fn keeper(found: &Found) -> Option<&'static str> {
    let metadata = &found.object.metadata;
    let has = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref().is_some_and(|map| map.contains_key(key))
    };
    let marks = [
        ("argocd.argoproj.io/instance", "Argo CD"),
        ("argocd.argoproj.io/tracking-id", "Argo CD"),
        ("kustomize.toolkit.fluxcd.io/name", "Flux"),
        ("helm.toolkit.fluxcd.io/name", "Flux"),
        ("meta.helm.sh/release-name", "Helm"),
    ];
    let marked = marks.iter().find(|(key, _)| has(&metadata.labels, key) || has(&metadata.annotations, key));
    marked.map(|(_, tool)| *tool)
}

fn show(function: &Function, terminal: &mut Terminal) -> Result<(), TrafficError> {
    let text = table(function, terminal.look());
    cluster::write(terminal, &text).map_err(in_cluster)
}

/// What the spec says beside what is so.
fn table(function: &Function, look: Look) -> String {
    let mut rows: BTreeMap<String, (Option<i32>, i32, Vec<String>)> = BTreeMap::new();
    let status = function.status.clone().unwrap_or_default();
    let latest = status.latest_ready_revision.clone().unwrap_or_else(|| "latest".to_owned());
    let everything = [TrafficTarget { latest: Some(true), ..TrafficTarget::default() }];
    let spec = &function.spec.traffic;
    let targets = if spec.is_empty() { &everything[..] } else { spec };
    for (target, percent) in targets.iter().zip(effective_percents(targets)) {
        let (wanted, _, _) =
            rows.entry(target.revision.clone().unwrap_or_else(|| latest.clone())).or_default();
        *wanted = Some(wanted.unwrap_or(0) + percent);
    }
    for share in status.traffic {
        let (_, now, tags) = rows.entry(share.revision).or_default();
        *now += share.percent;
        tags.extend(share.tag);
    }
    let mut table = Table::new(&["REVISION", "WANTED", "NOW", "TAGS"]);
    for (revision, (wanted, now, tags)) in rows {
        table.row(vec![
            Cell::plain(revision),
            Cell::plain(wanted.unwrap_or(0).to_string()),
            Cell::plain(now.to_string()),
            Cell::plain(tags.join(",")),
        ]);
    }
    table.text(look, 0)
}

impl Failure for TrafficError {
    fn inner(&self) -> Option<&dyn Failure> {
        match self {
            Self::Cluster { source } => Some(source),
            Self::Plan { source } => Some(source),
            Self::Settle { source } => Some(source),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Cluster { source: ClusterError::Call { source } } if source.is_conflict() => {
                Some("again: somebody else wrote meanwhile".to_owned())
            }
            other => other.inner().and_then(Failure::advice),
        }
    }
}

#[cfg(test)]
mod tests;
