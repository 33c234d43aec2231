//! Ends a cluster and removes what it made, from whatever state it is in.
//!
//! Everything is found by what the kernel knows (cgroups, mounts, links, namespaces), never by a process's name, so a
//! start that died half way is cleaned up like any other.

use std::{fs, path::Path, time::Duration};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::Signal,
};

use super::{
    Error, cgroup, network,
    process::Process,
    record::{RUNTIME, Record},
};

/// For all processes of a cgroup to be gone after SIGKILL, and then for the cgroup.
const KILL_TIMEOUT: Duration = Duration::from_secs(20);

/// Ends the cluster of this record, or what one without a record has left.
pub(super) fn tear_down(record: Option<&Record>) -> Result<(), Error> {
    if let Some(record) = record {
        Record::change(&record.id, |record| record.started = false)?;
    }
    // A process that was started a moment ago may not be in its cgroup yet.
    let recorded = record.into_iter().flat_map(|record| record.components.values());
    let recorded: Vec<Process> = recorded.filter_map(|component| component.process).collect();
    for process in &recorded {
        process.signal(Signal::SIGKILL);
    }
    for process in &recorded {
        process.wait_until_gone(KILL_TIMEOUT);
    }
    let cgroups = cgroup::existing()?;
    for name in &cgroups {
        cgroup::kill(name, KILL_TIMEOUT)?;
    }
    unmount_below(Path::new(RUNTIME))?;
    if let Some(record) = record {
        unmount_below(&record.directory)?;
    }
    network::remove()?;
    let mut left = Vec::new();
    for name in cgroups {
        left.extend(cgroup::remove(&name, KILL_TIMEOUT)?);
    }
    for (path, value) in record.iter().flat_map(|record| &record.kernel_settings) {
        fs::write(path, value).map_err(Error::file("restoring", path))?;
    }
    if !left.is_empty() {
        let what = left.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::LeftBehind { what });
    }
    remove_directory(Path::new(RUNTIME))?;
    if let Some(record) = record {
        remove_data(&record.directory)?;
    }
    remove_network_cache();
    Record::remove()
}

/// What of a cluster is there, in words; empty after a clean end.
pub fn left_behind() -> Result<Vec<String>, Error> {
    let mut found = network::existing();
    for name in cgroup::existing()? {
        found.extend(cgroup::processes(&name)?.iter().map(|process| format!("process {}", process.id)));
        found.push(format!("cgroup {name}"));
    }
    let directory = Record::read()?.map(|record| record.directory);
    for mount in super::mounts()? {
        let ours = mount.point.starts_with(RUNTIME)
            || directory.as_ref().is_some_and(|directory| mount.point.starts_with(directory));
        if ours {
            found.push(format!("mount {}", mount.point.display()));
        }
    }
    if directory.is_some() {
        found.push("record".into());
    }
    Ok(found)
}

fn unmount_below(directory: &Path) -> Result<(), Error> {
    let mounts = super::mounts()?;
    // Later mounts may be on top of earlier ones.
    for mount in mounts.iter().rev().filter(|mount| mount.point.starts_with(directory)) {
        match umount2(&mount.point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            // It went with the one that it was mounted in.
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(error) => return Err(Error::file("unmounting", &mount.point)(error.into())),
        }
    }
    Ok(())
}

/// Removes the data and leaves the logs, which the next start overwrites.
fn remove_data(directory: &Path) -> Result<(), Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::file("reading", directory)(error)),
    };
    for entry in entries.flatten().filter(|entry| entry.file_name() != "logs") {
        remove_directory(&entry.path())?;
    }
    Ok(())
}

fn remove_directory(directory: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("removing", directory)(error))
        }
        _ => Ok(()),
    }
}

/// CNI keeps the result of every pod under a path that cannot be set.
fn remove_network_cache() {
    for entry in fs::read_dir("/var/lib/cni/results").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if (1..=3).any(|number| name.starts_with(&format!("{}-", network::namespace(number)))) {
            // Only a cache: the next start does not read it.
            let _ = fs::remove_file(entry.path());
        }
    }
}
