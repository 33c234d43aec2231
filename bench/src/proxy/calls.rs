//! System calls a request, counted by strace while callers are at it.
//!
//! Each call takes many times longer than it would otherwise, so nothing else is measured meanwhile.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::shape::Shape;
use super::{call, warmed};
use crate::subject::Subject;

/// Calls for each request of a slot.
pub(super) async fn calls_each(
    shape: Shape,
    subject: &Subject,
    slot: Duration,
    directory: &Path,
) -> anyhow::Result<f64> {
    let summary = directory.join("calls");
    let [process] = subject.processes.as_slice() else { bail!("calls are counted of one process only") };
    let load = warmed(shape, subject).await?;
    let tracer = Tracer::attach(process.id(), &summary)?;
    let (answered, _) = call(load, subject, slot).await?;
    tracer.detach()?;
    let text = std::fs::read_to_string(&summary).context("strace wrote no summary")?;
    Ok(counted(&text)? as f64 / answered as f64)
}

/// A running strace, and its messages, which it must be able to write to its end.
struct Tracer(Child, Option<BufReader<ChildStderr>>);

impl Tracer {
    /// Returns when every call is counted from now on.
    fn attach(process: u32, summary: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-p", &process.to_string(), "-o"]).arg(summary);
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut tracer = Self(started.context("cannot start strace")?, None);
        let messages = tracer.0.stderr.take().context("strace has no messages")?;
        let messages = tracer.1.insert(BufReader::new(messages));
        let mut message = String::new();
        messages.read_line(&mut message).context("strace says nothing")?;
        if !message.contains("attached") {
            bail!("strace cannot attach: {message}");
        }
        Ok(tracer)
    }

    fn detach(mut self) -> anyhow::Result<()> {
        let process = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).context("strace has no id")?;
        kill_process(process, Signal::INT).context("cannot stop strace")?;
        self.0.wait().map(drop).context("cannot wait for strace")
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It has ended unless something went wrong before.
        let _ = self.0.kill();
        let _ = self.0.wait();
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
