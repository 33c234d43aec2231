//! System calls of all threads of a process, counted by strace from one moment to another.
//!
//! Each call takes many times longer than it would otherwise, so nothing else is measured meanwhile.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A running strace.
pub(crate) struct Tracer {
    strace: Child,
    /// It must be able to write these to its end.
    _messages: BufReader<ChildStderr>,
    summary: PathBuf,
}

impl Tracer {
    /// Returns when every call is counted from now on.
    pub(crate) fn attach(process: u32, directory: &Path) -> anyhow::Result<Self> {
        let summary = directory.join("calls");
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-p", &process.to_string(), "-o"]).arg(&summary);
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut strace = started.context("cannot start strace")?;
        let mut messages = BufReader::new(strace.stderr.take().context("strace has no messages")?);
        let mut message = String::new();
        messages.read_line(&mut message).context("strace says nothing")?;
        let tracer = Self { strace, _messages: messages, summary };
        if !message.contains("attached") {
            bail!("strace cannot attach: {message}");
        }
        Ok(tracer)
    }

    /// Calls since then.
    pub(crate) fn detach(mut self) -> anyhow::Result<u64> {
        let process = i32::try_from(self.strace.id()).ok().and_then(Pid::from_raw);
        kill_process(process.context("strace has no id")?, Signal::INT).context("cannot stop strace")?;
        self.strace.wait().context("cannot wait for strace")?;
        counted(&std::fs::read_to_string(&self.summary).context("strace wrote no summary")?)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It has ended unless something went wrong before.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// The sum of the calls in strace's table: percent, seconds, microseconds a call, calls, errors if there were any, name.
fn counted(summary: &str) -> anyhow::Result<u64> {
    let rows = summary.lines().filter(|line| !line.ends_with("total"));
    let calls = rows.filter_map(|line| {
        let mut columns = line.split_whitespace();
        columns.next()?.parse::<f64>().ok()?;
        columns.nth(2)?.parse::<u64>().ok()
    });
    let sum = calls.sum();
    if sum == 0 {
        bail!("strace counted nothing: {summary}");
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_summed_whether_some_failed_or_not() {
        let summary = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 54.35    0.055489         867        64           epoll_wait
 26.74    0.027302          15      1710       232 recvfrom
  0.00    0.000000           0         2           write
------ ----------- ----------- --------- --------- ----------------
100.00    0.102100          39      1776       232 total
";
        assert_eq!(counted(summary).unwrap(), 1_776);
        assert!(counted("").is_err());
    }
}
