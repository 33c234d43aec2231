//! A real Kubernetes cluster on one machine: API server, controllers, kubelets and containerd as plain processes.
//!
//! [`Cluster::start`] brings one up in seconds; it goes away with the value, unless [`Cluster::keep`] leaves it for
//! [`Cluster::attach`] in another process. One cluster fits on a machine: its addresses, bridge and cgroups are fixed.

mod certificates;
mod cgroup;
mod command;
mod component;
mod configuration;
mod error;
mod guardian;
mod images;
mod network;
mod node;
mod process;
mod programs;
mod ready;
mod record;
mod start;
mod teardown;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub use self::{
    component::Component,
    error::Error,
    guardian::guard,
    network::HOST_ADDRESS,
    node::Node,
    process::Process,
    programs::{Programs, cache_directory},
    start::Options,
    teardown::left_behind,
};
use self::{guardian::Guardian, record::Record};

/// A cluster that is up, or on its way up or down.
#[derive(Debug)]
pub struct Cluster {
    id: String,
    directory: PathBuf,
    programs: Programs,
    nodes: usize,
    /// Set while this value decides the cluster's life.
    owned: Option<Owned>,
}

#[derive(Debug)]
struct Owned {
    /// Held while starting: nobody else may start or end one. Dropped before the guardian, which takes it to look.
    life: Option<fs::File>,
    /// Ends the cluster if this process dies before the value does.
    guardian: Option<Guardian>,
}

impl Cluster {
    /// The cluster that another process has started; `NotThere` without one.
    pub fn attach() -> Result<Self, Error> {
        Record::read()?.filter(Record::is_up).map(|record| Self::of(&record)).ok_or(Error::NotThere)
    }

    fn of(record: &Record) -> Self {
        Self {
            id: record.id.clone(),
            directory: record.directory.clone(),
            programs: record.programs.clone(),
            nodes: record.nodes,
            owned: None,
        }
    }

    /// Lets the cluster live on after this value and this process.
    pub fn keep(mut self) -> Result<(), Error> {
        Record::change(&self.id, |record| record.owner = None)?;
        if let Some(guardian) = self.owned.take().and_then(|owned| owned.guardian) {
            guardian.release();
        }
        Ok(())
    }

    /// Ends the cluster, whoever started it, and removes everything but its logs.
    pub fn stop(mut self) -> Result<(), Error> {
        self.end()
    }

    /// Ends whatever cluster is there, also one whose start was cut short; whether there was anything.
    pub fn stop_any() -> Result<bool, Error> {
        let _life = record::lock_life()?;
        let there = !left_behind()?.is_empty();
        teardown::tear_down(Record::read()?.as_ref())?;
        Ok(there)
    }

    fn end(&mut self) -> Result<(), Error> {
        let owned = self.owned.take();
        let _life = match owned.as_ref().map(|owned| &owned.life) {
            Some(Some(_)) => None,
            _ => Some(record::lock_life()?),
        };
        match Record::read()?.filter(|record| record.id == self.id) {
            Some(record) => teardown::tear_down(Some(&record)),
            // Somebody else has ended it.
            None => Ok(()),
        }
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        configuration::certificates(&self.directory).join("admin.kubeconfig")
    }

    /// Where the cluster keeps its files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its programs: `kubectl` and `helm` among them.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// A directory with `kubectl`, `helm` and `ctr`, for `PATH`.
    pub fn program_directory(&self) -> PathBuf {
        self.directory.join("bin")
    }

    /// A client with the administrator's rights.
    pub async fn client(&self) -> Result<kube::Client, Error> {
        ready::client(&self.directory).await
    }

    /// The nodes, `node1` first.
    pub fn nodes(&self) -> Vec<Node> {
        (1..=self.nodes).map(|number| Node { cluster: self.id.clone(), number }).collect()
    }

    /// A node by name.
    pub fn node(&self, name: &str) -> Result<Node, Error> {
        let found = self.nodes().into_iter().find(|node| node.name() == name);
        found.ok_or_else(|| Error::Unknown { name: name.to_owned() })
    }

    /// All components, by name.
    pub fn components(&self) -> Result<Vec<Component>, Error> {
        let record = Record::read()?.filter(|record| record.id == self.id).ok_or(Error::NotThere)?;
        let component = |name: &String| Component { cluster: self.id.clone(), name: name.clone() };
        Ok(record.components.keys().map(component).collect())
    }

    /// A component by name: `etcd`, `kube-apiserver`, `kube-controller-manager`, `kube-scheduler`, `kwok`,
    /// `nodeN/containerd`, `nodeN/kubelet`, `nodeN/kube-proxy`.
    pub fn component(&self, name: &str) -> Result<Component, Error> {
        let found = self.components()?.into_iter().find(|component| component.name() == name);
        found.ok_or_else(|| Error::Unknown { name: name.to_owned() })
    }

    /// Imports the images of an OCI archive into every node, under the names that the archive gives them.
    pub fn import_image(&self, archive: &Path) -> Result<(), Error> {
        for number in 1..=self.nodes {
            images::import(&self.programs, number, archive)?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.owned.is_some()
            && let Err(error) = self.end()
        {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "ending the cluster: {error}");
        }
    }
}

/// The last lines of a component's log; empty when it has none.
fn log_end(path: &Path) -> String {
    last_lines(&fs::read_to_string(path).unwrap_or_default(), 15)
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A line of `/proc/self/mountinfo`.
struct Mount {
    point: PathBuf,
    kind: String,
}

/// All mounts, in the order in which they were made (`proc_pid_mountinfo(5)`).
fn mounts() -> Result<Vec<Mount>, Error> {
    let path = "/proc/self/mountinfo";
    let text = fs::read_to_string(path).map_err(Error::file("reading", path))?;
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        Some(Mount { point: before.split(' ').nth(4)?.into(), kind: after.split(' ').next()?.to_owned() })
    };
    Ok(text.lines().filter_map(mount).collect())
}
