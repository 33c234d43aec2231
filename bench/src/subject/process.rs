//! Processes that are measured: started on one core, their CPU time read from the scheduler, ended with the benchmark.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, gettid, sched_setaffinity};

/// A running process, which is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts a program that stays on one core.
    pub(crate) fn start(core: usize, command: &Command) -> anyhow::Result<Self> {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", &core.to_string()]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                pinned.env(name, value);
            }
        }
        let program = command.get_program().display().to_string();
        let child = pinned.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| format!("cannot start {program}"))?))
    }

    /// Number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// CPU time of all its threads so far, in the scheduler's nanoseconds.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let tasks = PathBuf::from(format!("/proc/{}/task", self.0.id()));
        let mut nanoseconds = 0;
        for task in fs::read_dir(&tasks).with_context(|| format!("cannot read {}", tasks.display()))? {
            let path = task?.path().join("schedstat");
            // A thread that ended in this moment took its time with it; none of the subjects ends threads.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let spent = text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok());
            nanoseconds += spent.with_context(|| format!("{} has no times", path.display()))?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Memory that is resident now, in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.0.id());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let kibibytes =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        let kibibytes: u64 = kibibytes.and_then(|number| number.parse().ok()).context("no VmRSS")?;
        Ok(kibibytes * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets everything else on its core go before the calling thread.
pub(crate) fn stand_back() -> anyhow::Result<()> {
    // Linux counts priorities for each thread.
    setpriority_process(Some(gettid()), 19).context("cannot lower the priority of a thread")
}

/// Keeps the calling thread, and those that it starts, on one core.
pub(crate) fn pin_this_thread(core: usize) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).with_context(|| format!("cannot stay on core {core}"))
}
