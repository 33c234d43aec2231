//! What can go wrong with the cluster; a variant per operation.

use std::{path::PathBuf, time::Duration};

/// A failure of the launcher.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The launcher makes network namespaces, mounts and cgroups.
    #[error("the cluster launcher must run as root")]
    NotRoot,
    /// A program of the machine is missing.
    #[error("`{program}` is missing: install it with `apt-get install {package}`")]
    MissingProgram {
        /// The command that was looked for on `PATH`.
        program: &'static str,
        /// The Debian package that holds it.
        package: &'static str,
    },
    /// The number of nodes is outside of 1 to 3.
    #[error("a cluster has 1 to 3 nodes, not {nodes}")]
    NodeCount {
        /// What was asked for.
        nodes: usize,
    },
    /// One cluster fits on a machine, and one is there.
    #[error("a cluster of {nodes} node(s) is already there, in {directory}; `catnap-cluster down` ends it")]
    AlreadyThere {
        /// Where the cluster that is there keeps its files.
        directory: PathBuf,
        /// How many nodes it has.
        nodes: usize,
    },
    /// No cluster has been started on this machine.
    #[error("no cluster is there; `catnap-cluster up` starts one")]
    NotThere,
    /// A component or node that this cluster does not have.
    #[error("the cluster has no `{name}`")]
    Unknown {
        /// The name that was asked for.
        name: String,
    },
    /// A Go program could not be built.
    #[error("building `{program}` failed:\n{output}")]
    Build {
        /// The program.
        program: &'static str,
        /// The compiler's last lines.
        output: String,
    },
    /// A command answered with an error.
    #[error("`{command}` failed: {output}")]
    Command {
        /// The command with its arguments.
        command: String,
        /// What it wrote to its standard error.
        output: String,
    },
    /// A file, directory or socket operation failed.
    #[error("{operation} {}", path.display())]
    File {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The record of the running cluster cannot be read or written.
    #[error("the record {} is not valid", path.display())]
    Record {
        /// The record's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A certificate could not be made.
    #[error("making the certificate of {subject}")]
    Certificate {
        /// Whose certificate.
        subject: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A component ended while it was waited for.
    #[error("{component} ended while starting; the end of its log:\n{log}")]
    Ended {
        /// The component.
        component: String,
        /// Last lines of its log.
        log: String,
    },
    /// Something did not get ready in time.
    #[error("{what} was not ready after {waited:?}; the end of its log:\n{log}")]
    NotReady {
        /// What was waited for.
        what: String,
        /// For how long.
        waited: Duration,
        /// Last lines of the log that says more.
        log: String,
    },
    /// Something of the cluster is still there after stopping it.
    #[error("still there after stopping the cluster: {}", what.join(", "))]
    LeftBehind {
        /// Processes, mounts, links, namespaces and cgroups.
        what: Vec<String>,
    },
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig cannot be used")]
    Kubeconfig {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The API server refused.
    #[error("{operation} at the API server")]
    Kubernetes {
        /// What was asked of it.
        operation: &'static str,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// An image archive could not be written.
    #[error("writing the image archive of {name}")]
    Image {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: crate::oci::Error,
    },
}

impl Error {
    /// For `map_err` on a file operation.
    pub(super) fn file(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { operation, path, source }
    }

    /// For `map_err` on a request to the API server.
    pub(super) fn kubernetes(operation: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Kubernetes { operation, source: Box::new(source) }
    }
}
