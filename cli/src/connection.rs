//! The way to a cluster's API server, found as kubectl finds it: `--kubeconfig` or `KUBECONFIG`, a context, a namespace; without
//! any kubeconfig the ServiceAccount of the pod that this runs in.

pub(crate) mod call;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::runtime::watcher;
use kube::{Client, Config};

use crate::exit::{Exit, Failure};
use crate::name;
use call::{Act, CallError};

/// Which cluster, as whom, and where in it.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ConnectionArguments {
    /// Namespace of the Function; that of the kubeconfig's context when left out.
    #[arg(short, long, value_parser = name::namespace)]
    pub(crate) namespace: Option<String>,
    /// File that says how to reach the cluster; else those of the variable KUBECONFIG, or ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; its current one when left out.
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// User to act as, if you may impersonate.
    #[arg(long = "as", value_name = "USER")]
    pub(crate) impersonate: Option<String>,
    /// Group to act as; may be given several times.
    #[arg(long = "as-group", value_name = "GROUP", requires = "impersonate")]
    pub(crate) impersonate_groups: Vec<String>,
    /// Longest wait for an answer of the API server, such as 10s.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(crate) request_timeout: catnap_crds::Duration,
}

/// A cluster that can be asked. Clones are the same connection.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// Where the Functions are.
    pub(crate) namespace: String,
    /// Address of the API server, for messages.
    pub(crate) server: String,
    /// Longest wait for an answer.
    pub(crate) patience: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// No kubeconfig, or one that says no cluster.
    #[error("cannot tell which cluster is meant")]
    Kubeconfig {
        /// What is wrong with it.
        #[source]
        source: KubeconfigError,
    },
    /// Certificates, proxy or the like cannot be used.
    #[error("cannot prepare a connection to the API server at {server}")]
    Prepare {
        /// Its address.
        server: String,
        /// What is wrong.
        #[source]
        source: kube::Error,
    },
}

impl ConnectionArguments {
    /// Reads the kubeconfig; nothing is sent yet.
    pub(crate) async fn connect(self) -> Result<Connection, ConnectionError> {
        let Self { namespace, kubeconfig, context, impersonate, impersonate_groups, request_timeout } = self;
        let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
        let mut config = match kubeconfig {
            Some(path) => of_file(Kubeconfig::read_from(path), &options).await?,
            None => match Kubeconfig::read() {
                // As in a pod, where there is no such file. One that is there and is wrong does not lead to another cluster.
                Err(error) if options.context.is_none() && is_absent(&error) => {
                    Config::incluster().map_err(|_| ConnectionError::Kubeconfig { source: error })?
                }
                read => of_file(read, &options).await?,
            },
        };
        config.auth_info.impersonate = impersonate.or(config.auth_info.impersonate);
        if !impersonate_groups.is_empty() {
            config.auth_info.impersonate_groups = Some(impersonate_groups);
        }
        let patience = request_timeout.get();
        config.connect_timeout = Some(patience);
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = Client::try_from(config);
        let client = client.map_err(|source| ConnectionError::Prepare { server: server.clone(), source })?;
        Ok(Connection { client, namespace, server, patience })
    }
}

/// Whether there is no kubeconfig at all.
fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(source, _) => source.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

async fn of_file(
    read: Result<Kubeconfig, KubeconfigError>,
    options: &KubeConfigOptions,
) -> Result<Config, ConnectionError> {
    let failed = |source| ConnectionError::Kubeconfig { source };
    Config::from_custom_kubeconfig(read.map_err(failed)?, options).await.map_err(failed)
}

impl Connection {
    /// Waits for the answer to one call, for as long as the user has patience.
    pub(crate) async fn call<T>(
        &self,
        act: Act,
        calling: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, CallError> {
        let Ok(answer) = tokio::time::timeout(self.patience, calling).await else {
            let (server, seconds) = (self.server.as_str().into(), self.patience.as_secs_f64());
            return Err(CallError::Late { act, server, seconds });
        };
        answer.map_err(|error| self.failed(act, error))
    }

    /// What a call's failure means.
    pub(crate) fn failed(&self, act: Act, error: kube::Error) -> CallError {
        CallError::new(act, &self.server, error)
    }

    /// What makes it useless to watch on: the right was taken away, or the kind.
    pub(crate) fn refused(&self, act: Act, error: &watcher::Error) -> Option<CallError> {
        let (watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))) = error
        else {
            return None;
        };
        let lasting = matches!(status.code, 401 | 403 | 404);
        lasting.then(|| self.failed(act, kube::Error::Api(status.clone())))
    }
}

impl Failure for ConnectionError {
    fn exit(&self) -> Exit {
        match self {
            Self::Kubeconfig { .. } => Exit::Failed,
            Self::Prepare { .. } => Exit::Unreachable,
        }
    }

    fn advice(&self) -> Option<String> {
        Some(
            "`kubectl config get-contexts` lists what --context takes; --kubeconfig names another file"
                .to_owned(),
        )
    }
}

#[cfg(test)]
pub(crate) fn fake(api: &catnap_testkit::FakeApi) -> Connection {
    Connection {
        client: api.client(),
        namespace: "default".to_owned(),
        server: "https://cluster.example".to_owned(),
        patience: Duration::from_secs(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_there_is_no_kubeconfig_the_pods_own_account_counts() {
        let read = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config");
            if !text.is_empty() {
                std::fs::write(&path, text).unwrap();
            }
            is_absent(&Kubeconfig::read_from(path).unwrap_err())
        };
        assert!(read(""));
        assert!(!read("clusters: ["));
    }
}
