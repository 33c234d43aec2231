//! The record of the cluster that is on this machine, so that another process can find, handle and end it.
//!
//! It lives in `/run`, which most machines empty when they start: what it names is gone by then. Addresses, bridge and
//! cgroups are the machine's, so there is one record however many directories have been used.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Error, process::Process, programs::Programs};

/// Sockets, the record and the locks; short, because a socket's path has at most 107 characters.
pub(super) const RUNTIME: &str = "/run/catnap-cluster";
const RECORD: &str = "/run/catnap-cluster.json";
const RECORD_LOCK: &str = "/run/catnap-cluster.json.lock";
const LIFE_LOCK: &str = "/run/catnap-cluster.lock";

/// Everything that is known about the cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Tells this cluster from one before it.
    pub(super) id: String,
    pub(super) directory: PathBuf,
    pub(super) programs: Programs,
    pub(super) nodes: usize,
    /// By name: `etcd`, `node1/kubelet`, …
    pub(super) components: BTreeMap<String, ComponentRecord>,
    /// Kernel settings that kubelet changes, as they were: file and value.
    pub(super) kernel_settings: Vec<(PathBuf, String)>,
    /// False until the start has succeeded, and again once it is being ended.
    pub(super) started: bool,
    /// The process that the cluster ends with; none once it is kept.
    pub(super) owner: Option<Process>,
}

/// How to run a component, and the process that runs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ComponentRecord {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    /// Name of the network namespace to run in; the machine's own without one.
    pub(super) network_namespace: Option<String>,
    pub(super) cgroup: String,
    pub(super) log: PathBuf,
    pub(super) ready: Ready,
    pub(super) process: Option<Process>,
}

/// How to see that a component answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Ready {
    /// A GET of this URL gives 200.
    Http(String),
    /// The port takes connections.
    Port(String),
    /// The Unix socket takes connections.
    Socket(PathBuf),
    /// The API server's `/readyz`, with the administrator's certificate.
    Api,
}

impl Record {
    /// Whether the cluster is up and will be: its owner's end is its own, a moment later, and one of which nothing
    /// runs any more did not outlive its machine.
    pub(super) fn is_up(&self) -> bool {
        let mut processes = self.components.values().filter_map(|component| component.process);
        self.started && self.owner.is_none_or(Process::is_running) && processes.any(Process::is_running)
    }

    /// The record of the cluster that is there, if one is.
    pub(super) fn read() -> Result<Option<Self>, Error> {
        let path = Path::new(RECORD);
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|source| Error::Record { path: path.into(), source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("reading", path)(error)),
        }
    }

    /// Writes it whole: a reader sees the old or the new one.
    pub(super) fn write(&self) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|source| Error::Record { path: RECORD.into(), source })?;
        let part = format!("{RECORD}.part");
        fs::write(&part, text).map_err(Error::file("writing", &part))?;
        fs::rename(&part, RECORD).map_err(Error::file("renaming", &part))
    }

    /// Reads, changes and writes it, with no other process in between.
    pub(super) fn change(id: &str, change: impl FnOnce(&mut Self)) -> Result<(), Error> {
        let _lock = lock(RECORD_LOCK)?;
        let mut record = Self::read()?.filter(|record| record.id == id).ok_or(Error::NotThere)?;
        change(&mut record);
        record.write()
    }

    /// Forgets the cluster.
    pub(super) fn remove() -> Result<(), Error> {
        for path in [RECORD, RECORD_LOCK] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::file("removing", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Held while a cluster is started or ended; waits for whoever holds it.
pub(super) fn lock_life() -> Result<fs::File, Error> {
    lock(LIFE_LOCK)
}

fn lock(path: &str) -> Result<fs::File, Error> {
    let file = fs::File::create(path).map_err(Error::file("creating", path))?;
    file.lock().map_err(Error::file("locking", path))?;
    Ok(file)
}
