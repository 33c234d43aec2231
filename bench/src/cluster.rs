//! What benchmarks on a cluster share: Functions that wake, Deployments scaled by hand, Services of Knative, the pods of each,
//! and a request timed at its socket.

pub(crate) mod figures;
pub(crate) mod floor;
pub(crate) mod function;
pub(crate) mod knative;
pub(crate) mod pods;
pub(crate) mod wire;

use std::net::SocketAddr;

use kube::Client;

/// Where a benchmark runs.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    /// Image of the functions.
    #[arg(long, default_value = "catnap-examples:dev")]
    pub(crate) image: String,
    /// Namespace that is made for the run and deleted after it.
    #[arg(long, default_value = "catnap-bench")]
    pub(crate) namespace: String,
    /// Address of the activators' Service, as `IP:port`.
    #[arg(long)]
    pub(crate) activator: SocketAddr,
}

/// What is measured beside Catnap and the floor.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PeerArgs {
    /// Address of the Service of Knative's activators, as `IP:port`; without it Knative is left out.
    #[arg(long)]
    pub(crate) knative: Option<SocketAddr>,
}

/// Where requests go, and what they name as their host.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) host: String,
}

/// Runs a benchmark in the namespace, which is deleted after it whatever came of it.
pub(crate) async fn in_namespace<R>(
    client: &Client,
    name: &str,
    run: impl Future<Output = anyhow::Result<R>>,
) -> anyhow::Result<R> {
    function::make_namespace(client, name).await?;
    let outcome = run.await;
    function::delete_namespace(client, name).await?;
    outcome
}
