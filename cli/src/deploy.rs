//! `catnap deploy`: makes or changes a Function, from a manifest or from flags, and waits until it serves.

mod change;
mod manifests;

use std::path::PathBuf;

use catnap_cli::manifest::ManifestError;
use catnap_crds::Duration;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::{self, ClusterError};
use crate::connection::call::{Act, CallError};
use crate::connection::{Connection, ConnectionArguments};
use crate::exit::Failure;
use crate::functions::{Found, Functions};
use crate::name;
use crate::output::PageFormat;
use crate::settle::{Goal, SettleArguments, SettleError, settle};
use crate::terminal::{Terminal, printable};

/// Who writes, as the API server remembers it.
pub(crate) const FIELD_MANAGER: &str = "catnap";
/// A change is made again this often when somebody else wrote meanwhile.
const ATTEMPTS: usize = 3;

/// Flags of `catnap deploy`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The Function to make or to change, as NAME or function/NAME; only what is named by a flag changes.
    #[arg(value_name = "NAME", value_parser = name::function, required_unless_present = "file")]
    pub(crate) name: Option<String>,
    /// Manifest of one or more Functions to apply, or `-` for standard input.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["name", "change"])]
    pub(crate) file: Option<PathBuf>,
    /// With a manifest: take over fields that others have applied.
    #[arg(long, conflicts_with = "name")]
    pub(crate) force_conflicts: bool,
    #[command(flatten)]
    pub(crate) change: ChangeArguments,
    /// Have it checked by the API server, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: PageFormat,
    #[command(flatten)]
    pub(crate) settle: SettleArguments,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// What is to be different; what is left out stays as it is.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(id = "change", multiple = true)]
pub(crate) struct ChangeArguments {
    /// Image to run; a new Function needs one.
    #[arg(long)]
    pub(crate) image: Option<String>,
    /// Environment variable, as NAME=VALUE; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = change::variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Environment variable to remove; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) unset: Vec<String>,
    /// Program to start instead of the image's, its arguments after commas.
    #[arg(long, value_delimiter = ',')]
    pub(crate) command: Vec<String>,
    /// Where it listens.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=65535))]
    pub(crate) port: Option<i32>,
    /// What it speaks: HTTP1 or H2C.
    #[arg(long, value_parser = ["HTTP1", "H2C"])]
    pub(crate) protocol: Option<String>,
    /// Most requests at once in one replica; 0 for no limit.
    #[arg(long, value_name = "REQUESTS")]
    pub(crate) limit: Option<i32>,
    /// Fewest replicas.
    #[arg(long, value_name = "REPLICAS")]
    pub(crate) min: Option<i32>,
    /// Most replicas.
    #[arg(long, value_name = "REPLICAS")]
    pub(crate) max: Option<i32>,
    /// Time without a request after which it rests, such as 30s.
    #[arg(long, value_name = "DURATION")]
    pub(crate) idle: Option<Duration>,
    /// Host of its own, instead of those that it has; may be given several times.
    #[arg(long = "host", value_name = "HOST")]
    pub(crate) hosts: Vec<String>,
    /// Name of the revision that this makes.
    #[arg(long, value_name = "NAME")]
    pub(crate) revision_name: Option<String>,
}

/// Why it does not serve as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeployError {
    /// The cluster does not give or take it.
    #[error(transparent)]
    Cluster {
        /// Why.
        source: ClusterError,
    },
    /// A file that is not to be applied.
    #[error(transparent)]
    Manifest {
        /// Why.
        source: ManifestError,
    },
    /// Nothing in it.
    #[error("{} holds no Function", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Another namespace than the one asked for.
    #[error("function/{name} is of namespace {its}, and --namespace says {asked}")]
    Namespace {
        /// Its name.
        name: String,
        /// What its manifest says.
        its: String,
        /// What the command line says.
        asked: String,
    },
    /// There is nothing to make it from.
    #[error("there is no function/{name} in namespace {namespace} yet, and a new one needs an image")]
    NoImage {
        /// Its name.
        name: String,
        /// Where.
        namespace: String,
    },
    /// A manifest that the API server does not take.
    #[error(transparent)]
    Apply {
        /// Why.
        source: CallError,
    },
    /// It does not become what was asked for.
    #[error(transparent)]
    Settle {
        /// Why.
        source: SettleError,
    },
}

/// Makes or changes, and waits.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), DeployError> {
    // What is wrong with a file is said without a cluster.
    let manifests = match &arguments.file {
        Some(path) => manifests::read(path)?,
        None => Vec::new(),
    };
    let connection = cluster::connect(&arguments.connection).await.map_err(in_cluster)?;
    deploy(&arguments, &manifests, &connection, terminal).await
}

async fn deploy(
    arguments: &Arguments,
    manifests: &[Value],
    connection: &Connection,
    terminal: &mut Terminal,
) -> Result<(), DeployError> {
    if let Some(name) = &arguments.name {
        let written = set(arguments, name, connection).await?;
        return finish(arguments, connection, &written, terminal).await;
    }
    let place = |manifest| Ok((manifest, manifests::place(arguments, manifest, connection)?));
    let placed: Vec<_> = manifests.iter().map(place).collect::<Result<_, DeployError>>()?;
    for (manifest, connection) in placed {
        let written = apply(arguments, manifest, &connection).await?;
        finish(arguments, &connection, &written, terminal).await?;
    }
    Ok(())
}

/// Applies a manifest: what it says and what an earlier one said that it does not, as `kubectl apply --server-side` does.
async fn apply(
    arguments: &Arguments,
    manifest: &Value,
    connection: &Connection,
) -> Result<Found, DeployError> {
    let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
    let mut parameters = PatchParams::apply(FIELD_MANAGER).validation_strict();
    parameters.force = arguments.force_conflicts;
    parameters.dry_run = arguments.dry_run;
    let api = Functions::new(connection).api();
    let act = Act::on_function("patch", &connection.namespace, name);
    let applied = connection.call(act, api.patch(name, &parameters, &Patch::Apply(manifest))).await;
    applied.map(Found::from).map_err(|source| DeployError::Apply { source })
}

fn in_cluster(source: ClusterError) -> DeployError {
    DeployError::Cluster { source }
}

fn refused(source: CallError) -> DeployError {
    in_cluster(ClusterError::Call { source })
}

/// Changes what the flags name, or makes a Function of it.
async fn set(arguments: &Arguments, name: &str, connection: &Connection) -> Result<Found, DeployError> {
    let mut attempt = 1;
    loop {
        match try_set(arguments, name, connection).await {
            // Somebody else wrote between our look and our change.
            Err(DeployError::Cluster { source: ClusterError::Call { source } })
                if source.is_conflict() && attempt < ATTEMPTS =>
            {
                attempt += 1;
            }
            result => return result,
        }
    }
}

async fn try_set(arguments: &Arguments, name: &str, connection: &Connection) -> Result<Found, DeployError> {
    let functions = Functions::new(connection);
    let existing = match functions.get(name).await {
        Err(error) if error.is_not_found() => return create(arguments, name, connection).await,
        existing => existing.map_err(refused)?,
    };
    let patch = json!({
        "metadata": {"resourceVersion": existing.object.metadata.resource_version},
        "spec": change::of(&arguments.change, &existing.object.data["spec"]),
    });
    let field_manager = Some(FIELD_MANAGER.to_owned());
    let parameters = PatchParams { dry_run: arguments.dry_run, field_manager, ..PatchParams::default() };
    let act = Act::on_function("patch", &connection.namespace, name);
    let api = functions.api();
    let patched = connection.call(act, api.patch(name, &parameters, &Patch::Merge(&patch))).await;
    patched.map(Found::from).map_err(refused)
}

async fn create(arguments: &Arguments, name: &str, connection: &Connection) -> Result<Found, DeployError> {
    let namespace = &connection.namespace;
    if arguments.change.image.is_none() {
        return Err(DeployError::NoImage { name: name.to_owned(), namespace: namespace.clone() });
    }
    let object = json!({
        "apiVersion": "catnap.dev/v1alpha1",
        "kind": "Function",
        "metadata": {"name": name, "namespace": namespace},
        "spec": change::of(&arguments.change, &Value::Null),
    });
    let object = manifests::checked(std::path::Path::new("the Function"), object)?;
    let parameters = PostParams { dry_run: arguments.dry_run, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let object = manifests::dynamic(object);
    Functions::new(connection).create(&parameters, &object).await.map_err(refused)
}

/// Waits, and says what came of it.
async fn finish(
    arguments: &Arguments,
    connection: &Connection,
    written: &Found,
    terminal: &mut Terminal,
) -> Result<(), DeployError> {
    let SettleArguments { wait, timeout } = arguments.settle;
    let settled = if wait && !arguments.dry_run {
        let functions = Functions::new(connection);
        let settled = settle(&functions, written, Goal::Ready, timeout, terminal).await;
        Some(settled.map_err(|source| DeployError::Settle { source })?)
    } else {
        None
    };
    let text = match arguments.output.notation() {
        Some(notation) => {
            let value = settled.as_ref().unwrap_or(written).value();
            notation.line(&value).map_err(|source| in_cluster(ClusterError::Notation { source }))?
        }
        None => said(written, settled.as_ref(), arguments.dry_run),
    };
    cluster::write(terminal, &text).map_err(in_cluster)
}

fn said(written: &Found, settled: Option<&Found>, dry_run: bool) -> String {
    let name = written.name();
    let status = settled.and_then(|settled| settled.function.as_ref()?.status.as_ref());
    match status {
        Some(status) => {
            let url = printable(status.url.as_deref().unwrap_or("no address")).replace('\n', " ");
            format!("function/{name} is ready: {url}\n")
        }
        None if dry_run => format!("function/{name} would be accepted\n"),
        None => format!("function/{name} was accepted\n"),
    }
}

impl Failure for DeployError {
    fn inner(&self) -> Option<&dyn Failure> {
        match self {
            Self::Cluster { source } => Some(source),
            Self::Apply { source } => Some(source),
            Self::Settle { source } => Some(source),
            Self::Manifest { .. } | Self::Empty { .. } | Self::Namespace { .. } | Self::NoImage { .. } => {
                None
            }
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::NoImage { name, .. } => Some(format!("`catnap deploy {name} --image IMAGE`")),
            Self::Apply { source } if source.is_conflict() => {
                Some("--force-conflicts, which takes the fields over from those who applied them".to_owned())
            }
            Self::Cluster { source: ClusterError::Call { source } } if source.is_conflict() => {
                Some("again, for somebody else wrote meanwhile".to_owned())
            }
            other => other.inner().and_then(Failure::advice),
        }
    }
}

#[cfg(test)]
mod tests;
