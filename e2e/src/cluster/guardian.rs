//! A small process that outlives the one that started a cluster, and ends the cluster if that one dies.
//!
//! It covers what a destructor cannot: SIGKILL, Ctrl-C in a test, an abort, a cluster in a static. It reads a pipe
//! whose other end only the owner holds; the end of the pipe is the end of the owner.

use std::{
    io::{Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use super::{Error, record, teardown};

/// What the owner writes to be let go without its cluster.
const RELEASE: &[u8] = b"release";

/// The owner's side.
#[derive(Debug)]
pub(super) struct Guardian {
    process: Child,
}

impl Guardian {
    /// Starts `<program> guard <cluster id>`.
    pub(super) fn start(program: &Path, cluster: &str) -> Result<Self, Error> {
        let process = Command::new(program)
            .args(["guard", cluster])
            .stdin(Stdio::piped())
            .current_dir("/")
            .process_group(0)
            .spawn()
            .map_err(Error::file("starting", program))?;
        Ok(Self { process })
    }

    /// Leaves the cluster alone from now on.
    pub(super) fn release(mut self) {
        if let Some(pipe) = &mut self.process.stdin {
            // When it is gone there is nothing to tell it.
            let _ = pipe.write_all(RELEASE);
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// The guardian's side: waits for the end of standard input, then ends the cluster of this id if it is still there.
pub fn guard(cluster: &str) -> Result<(), Error> {
    let mut said = Vec::new();
    std::io::stdin().read_to_end(&mut said).map_err(Error::file("reading", "standard input"))?;
    if said == RELEASE {
        return Ok(());
    }
    let _life = record::lock_life()?;
    match record::Record::read()?.filter(|record| record.id == cluster) {
        Some(record) => teardown::tear_down(Some(&record)),
        None => Ok(()),
    }
}
