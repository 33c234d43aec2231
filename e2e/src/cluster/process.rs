//! A process by id and start time, so that a recycled id is never signalled.
//!
//! Works on processes of any parent: the launcher that started one may be gone.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

/// A process that was seen running once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The process id.
    pub id: i32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/<id>/stat`, proc(5)).
    pub started_ticks: u64,
}

impl Process {
    /// The process that has this id now; `None` when there is none or all its threads have ended.
    pub fn find(id: i32) -> Option<Self> {
        Self::of(id, &fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }

    /// By what `/proc/<id>/stat` says (proc(5)).
    fn of(id: i32, stat: &str) -> Option<Self> {
        // The second field is the program's name in parentheses and may hold anything, spaces and parentheses too.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<_> = fields.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        // A killed process' first thread may be a zombie while others still end, and until the last has ended the
        // process has its files: a port that it listened on is in use. The zombie counts as a thread itself.
        if matches!(field(3)?, "Z" | "X") && field(20)?.parse::<u32>().ok()? <= 1 {
            return None;
        }
        Some(Self { id, started_ticks: field(22)?.parse().ok()? })
    }

    /// Whether this very process still runs (a stopped one does).
    pub fn is_running(self) -> bool {
        Self::find(self.id) == Some(self)
    }

    /// Whether SIGSTOP holds it.
    pub fn is_paused(self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id)).unwrap_or_default();
        self.is_running()
            && stat.rsplit_once(')').is_some_and(|(_, fields)| fields.trim_start().starts_with('T'))
    }

    /// Sends a signal if the process still runs.
    pub fn signal(self, signal: Signal) {
        if self.is_running() {
            // It may end between the look and the signal; then there is nothing to do.
            let _ = signal::kill(Pid::from_raw(self.id), signal);
        }
    }

    /// Waits for its end, at most this long; whether it ended.
    pub fn wait_until_gone(self, at_most: Duration) -> bool {
        wait(at_most, || !self.is_running())
    }
}

/// Asks a condition every few milliseconds until it holds, or does not when the time is over; whether it held.
pub(super) fn wait(at_most: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + at_most;
    loop {
        // Not when it was answered: the machine may have been busy with others since.
        let asked = Instant::now();
        if condition() {
            return true;
        }
        if asked >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_itself_and_no_other() {
        let own = Process::find(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.is_running());
        assert!(!Process { started_ticks: own.started_ticks + 1, ..own }.is_running());
    }

    #[test]
    fn a_process_is_gone_when_its_last_thread_has_ended() {
        let of = |state: &str, threads: u32| {
            Process::of(
                7,
                &format!("7 (a) Z (b) {state} 1 7 7 0 -1 4228364 0 0 0 0 0 3 0 0 20 0 {threads} 0 5512 0 0"),
            )
        };
        let running = Some(Process { id: 7, started_ticks: 5512 });
        assert_eq!(of("S", 1), running);
        assert_eq!(of("T", 12), running);
        assert_eq!(of("Z", 2), running);
        assert_eq!(of("Z", 1), None);
        assert_eq!(of("X", 0), None);
    }

    #[test]
    fn a_killed_process_is_gone_even_as_a_zombie() {
        let mut child = Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let process = Process::find(i32::try_from(child.id()).unwrap()).unwrap();
        process.signal(Signal::SIGSTOP);
        assert!(wait(Duration::from_secs(5), || process.is_paused()));
        process.signal(Signal::SIGKILL);
        assert!(process.wait_until_gone(Duration::from_secs(5)));
        child.wait().unwrap();
    }
}
