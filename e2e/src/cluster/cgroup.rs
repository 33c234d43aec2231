//! The cgroups of the cluster, on cgroup v1 and v2.
//!
//! Every process that the launcher starts, and so every shim and container that these start, is in one of its cgroups.
//! That is how all of them are found again, whoever started them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{
    Error,
    process::{Process, wait},
};

/// The cgroup of the control plane's processes.
pub(super) const CONTROL_PLANE: &str = "catnap-control-plane";
/// Under a node's cgroup, for what is not a pod: with cgroup v2 only leaves hold processes.
pub(super) const NODE_PROCESSES: &str = "processes";

/// A node's cgroup: kubelet's `cgroupRoot`.
pub(super) fn node(number: usize) -> String {
    format!("catnap-node{number}")
}

struct Hierarchies {
    /// Where each hierarchy is mounted.
    all: Vec<PathBuf>,
    /// The one that processes are put into and found in. On v1 it is one without influence on scheduling.
    tracking: PathBuf,
    unified: bool,
}

impl Hierarchies {
    fn find() -> Result<Self, Error> {
        let root = Path::new("/sys/fs/cgroup");
        if root.join("cgroup.controllers").exists() {
            return Ok(Self { all: vec![root.into()], tracking: root.into(), unified: true });
        }
        let mut all = BTreeSet::new();
        for mount in super::mounts()? {
            if mount.kind == "cgroup" || mount.kind == "cgroup2" {
                all.insert(mount.point);
            }
        }
        let tracking = ["pids", "freezer", "systemd"]
            .iter()
            .map(|name| root.join(name))
            .find(|path| all.contains(path))
            .ok_or_else(|| Error::file("finding", root)(std::io::ErrorKind::NotFound.into()))?;
        Ok(Self { all: all.into_iter().collect(), tracking, unified: false })
    }
}

/// Makes a cgroup in every hierarchy, fit for kubelet to put pods under.
pub(super) fn create(name: &str) -> Result<(), Error> {
    let hierarchies = Hierarchies::find()?;
    for hierarchy in &hierarchies.all {
        let directory = hierarchy.join(name);
        fs::create_dir_all(&directory).map_err(Error::file("creating", &directory))?;
        // A new v1 cpuset is empty and takes no process before it has processors and memory.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if !hierarchies.unified && directory.join(file).exists() {
                let value = fs::read_to_string(hierarchy.join(file))
                    .map_err(Error::file("reading", hierarchy.join(file)))?;
                fs::write(directory.join(file), value.trim())
                    .map_err(Error::file("writing", directory.join(file)))?;
            }
        }
    }
    if hierarchies.unified {
        let root = &hierarchies.tracking;
        let controllers = fs::read_to_string(root.join("cgroup.controllers"))
            .map_err(Error::file("reading", root.join("cgroup.controllers")))?;
        for directory in [root.clone(), root.join(name)] {
            for controller in controllers.split_whitespace() {
                // Some controllers cannot be given on; kubelet says which of them it misses.
                let _ = fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
    }
    Ok(())
}

/// The file that a process writes its id to, to be in this cgroup; made if it is not there.
pub(super) fn processes_file(name: &str) -> Result<PathBuf, Error> {
    let directory = Hierarchies::find()?.tracking.join(name);
    fs::create_dir_all(&directory).map_err(Error::file("creating", &directory))?;
    Ok(directory.join("cgroup.procs"))
}

/// All processes in this cgroup and below.
pub(super) fn processes(name: &str) -> Result<Vec<Process>, Error> {
    let mut found = Vec::new();
    for directory in tree(&Hierarchies::find()?.tracking.join(name)) {
        let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| Process::find(line.parse().ok()?)));
    }
    Ok(found)
}

/// Kills all processes in it and below until none is left, at most this long; whether none is.
pub(super) fn kill(name: &str, at_most: Duration) -> Result<bool, Error> {
    // A process may fork while it is looked for, so look again until nothing is found.
    let mut failure = None;
    let gone = wait(at_most, || match processes(name) {
        Ok(found) => {
            for process in &found {
                process.signal(Signal::SIGKILL);
            }
            found.is_empty()
        }
        Err(error) => {
            failure = Some(error);
            true
        }
    });
    failure.map_or(Ok(gone), Err)
}

/// Removes it from every hierarchy, each cgroup in at most this long; what could not be removed.
pub(super) fn remove(name: &str, at_most: Duration) -> Result<Vec<PathBuf>, Error> {
    let mut left = Vec::new();
    for hierarchy in Hierarchies::find()?.all {
        for directory in tree(&hierarchy.join(name)) {
            // The kernel lets a cgroup go a moment after its last process.
            let removed = wait(at_most, || match fs::remove_dir(&directory) {
                Ok(()) => true,
                Err(error) => error.kind() == std::io::ErrorKind::NotFound,
            });
            if !removed {
                left.push(directory);
            }
        }
    }
    Ok(left)
}

/// The names of our cgroups that are there.
pub(super) fn existing() -> Result<Vec<String>, Error> {
    let mut found = BTreeSet::new();
    for hierarchy in Hierarchies::find()?.all {
        for entry in fs::read_dir(&hierarchy).map_err(Error::file("reading", &hierarchy))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == CONTROL_PLANE || (1..=3).any(|number| name == node(number)) {
                found.insert(name);
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// A directory and all below it, children before parents.
fn tree(directory: &Path) -> Vec<PathBuf> {
    if !directory.is_dir() {
        return Vec::new();
    }
    let children = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = children
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .flat_map(|entry| tree(&entry.path()))
        .collect();
    all.push(directory.into());
    all
}
