//! The process that outlives a killed `catnap dev` by just long enough to end its replicas and builds.
//!
//! It reads the process groups of both from a pipe: `+<group>` when one starts, `-<group>` when it has ended. When the
//! pipe closes, however `catnap dev` ended, what is left gets SIGTERM and after the grace SIGKILL. (`PR_SET_PDEATHSIG` would need
//! unsafe code between fork and exec, and reaches no grandchildren.)

use std::collections::BTreeSet;
use std::io::BufRead;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Mutex;

/// How often it looks whether a group is gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why there is no reaper.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReaperError {
    /// This program cannot be found again.
    #[error("cannot find the running program")]
    Locate {
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// It cannot be started.
    #[error("cannot start the process that ends replicas if this one is killed")]
    Start {
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
}

/// The running reaper, as `catnap dev` holds it.
pub(crate) struct Reaper {
    process: Mutex<Child>,
    pipe: Mutex<Option<ChildStdin>>,
}

impl Reaper {
    /// Starts one that gives what it ends this much time.
    pub(crate) fn start(grace: Duration) -> Result<Self, ReaperError> {
        let program = std::env::current_exe().map_err(|source| ReaperError::Locate { source })?;
        let mut process = Command::new(program)
            .arg("reap")
            .arg(grace.as_secs().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of the terminal's Ctrl-C.
            .process_group(0)
            .spawn()
            .map_err(|source| ReaperError::Start { source })?;
        let pipe = Mutex::new(process.stdin.take());
        Ok(Self { process: Mutex::new(process), pipe })
    }

    /// A replica runs in this group.
    pub(crate) async fn started(&self, group: Pid) {
        self.tell('+', group).await;
    }

    /// Nothing is left of that group.
    pub(crate) async fn ended(&self, group: Pid) {
        self.tell('-', group).await;
    }

    /// Lets it end, when every replica has.
    pub(crate) async fn finish(&self) {
        self.pipe.lock().await.take();
        // It has nothing to do; whether it ended well changes nothing.
        let _ = self.process.lock().await.wait().await;
    }

    async fn tell(&self, sign: char, group: Pid) {
        if let Some(pipe) = self.pipe.lock().await.as_mut() {
            // Without a reaper everything works but the end after a SIGKILL.
            let _ = pipe.write_all(format!("{sign}{group}\n").as_bytes()).await;
        }
    }
}

/// The reaper itself: returns when everything that it was told of has ended.
pub(crate) fn run(input: impl BufRead, grace: Duration) {
    let mut groups = BTreeSet::new();
    for line in input.lines().map_while(Result::ok) {
        let (sign, group) = line.split_at(line.len().min(1));
        match (sign, group.parse::<i32>()) {
            // 0 and 1 would be everybody.
            ("+", Ok(group)) if group > 1 => drop(groups.insert(group)),
            ("-", Ok(group)) => drop(groups.remove(&group)),
            _ => {}
        }
    }
    let deadline = Instant::now() + grace;
    groups.retain(|group| killpg(Pid::from_raw(*group), Signal::SIGTERM).is_ok());
    while !groups.is_empty() && Instant::now() < deadline {
        std::thread::sleep(LOOK_EVERY);
        groups.retain(|group| killpg(Pid::from_raw(*group), None).is_ok());
    }
    for group in groups {
        // Gone in this moment is as good as killed.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Command;

    use super::*;

    fn start(script: &str) -> (std::process::Child, i32) {
        let child = Command::new("sh").args(["-c", script]).process_group(0).spawn().unwrap();
        let group = i32::try_from(child.id()).unwrap();
        (child, group)
    }

    #[test]
    fn what_still_runs_is_ended_and_what_ended_is_left_alone() {
        let (mut left, left_group) = start("sleep 600 & wait");
        let (mut done, done_group) = start("sleep 600");
        let told = format!("+{left_group}\n+{done_group}\nnonsense\n+0\n+1\n-{done_group}\n");
        // The child is reaped while the reaper looks, or it would stay a zombie of this test.
        let reaper = std::thread::spawn(move || run(told.as_bytes(), Duration::from_secs(20)));
        assert_eq!(left.wait().unwrap().signal(), Some(15));
        reaper.join().unwrap();
        assert!(done.try_wait().unwrap().is_none(), "it was taken off the list");
        // The whole group: the shell alone would leave its `sleep` behind.
        killpg(Pid::from_raw(done_group), Signal::SIGKILL).unwrap();
        done.wait().unwrap();
    }

    #[test]
    fn what_ignores_sigterm_is_killed_after_the_grace() {
        let mut stubborn = Command::new("sh")
            .args(["-c", "trap '' TERM; echo; while :; do sleep 1; done"])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        std::io::BufReader::new(stubborn.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let group = stubborn.id();
        let told = format!("+{group}\n");
        let reaper = std::thread::spawn(move || run(told.as_bytes(), Duration::from_millis(100)));
        assert_eq!(stubborn.wait().unwrap().signal(), Some(9));
        reaper.join().unwrap();
    }
}
