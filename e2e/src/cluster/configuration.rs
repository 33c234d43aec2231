//! What each component is started with: the settings that make a cluster of plain processes work.

mod control_plane;
mod node;

use std::path::{Path, PathBuf};

pub(super) use control_plane::{control_plane, kwok, prepare_kwok};
pub(super) use node::{node, prepare_node};

use super::{programs::Programs, record::RUNTIME};

/// Where Debian's containernetworking-plugins puts them.
pub(super) const CNI_PLUGINS: &str = "/usr/lib/cni";
/// The image of every pod's sandbox.
pub(super) const PAUSE_IMAGE: &str = "catnap.dev/pause:1";

/// Where things are, for those who write configurations.
pub(super) struct Layout<'a> {
    pub(super) directory: &'a Path,
    pub(super) programs: &'a Programs,
}

impl Layout<'_> {
    /// Certificates, keys and kubeconfigs.
    pub(super) fn certificates(&self) -> PathBuf {
        certificates(self.directory)
    }

    fn certificate_file(&self, name: &str) -> String {
        self.certificates().join(name).display().to_string()
    }

    fn log(&self, component: &str) -> PathBuf {
        self.directory.join("logs").join(format!("{}.log", component.replace('/', "-")))
    }

    fn node_directory(&self, number: usize) -> PathBuf {
        self.directory.join(format!("node{number}"))
    }
}

/// Certificates, keys and kubeconfigs of the cluster in this directory.
pub(super) fn certificates(directory: &Path) -> PathBuf {
    directory.join("certificates")
}

/// A node's sockets.
pub(super) fn node_sockets(number: usize) -> PathBuf {
    PathBuf::from(format!("{RUNTIME}/node{number}"))
}

/// Where a node's containerd listens.
pub(super) fn containerd_socket(number: usize) -> PathBuf {
    node_sockets(number).join("containerd.sock")
}
