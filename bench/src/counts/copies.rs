//! What a program copies from one place in its memory to another, counted by DHAT, which stands in for `memcpy` and the like.
//! Copies of a few bytes, which the compiler writes out, and those of the kernel are not among it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::valgrind;

/// Longest time from the signal to the end of the process, with a drain's delay in it.
const ENDED: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// What was copied, from the start of a process to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) bytes: u64,
    pub(super) copies: u64,
}

/// A program that runs another one under DHAT.
pub(super) fn wrap(program: &Path, directory: &Path) -> anyhow::Result<PathBuf> {
    let log = log(directory);
    let options = format!("--tool=dhat --mode=copy --dhat-out-file=/dev/null --log-file='{}'", log.display());
    valgrind::wrap(program, directory, "copied", &options)
}

/// Where DHAT says what it counted.
fn log(directory: &Path) -> PathBuf {
    directory.join("copies")
}

/// Tells a process that was wrapped to end, and gives what it copied. `directory`: the one that its program was wrapped with.
pub(super) fn end(process: u32, directory: &Path) -> anyhow::Result<Copied> {
    let id = i32::try_from(process).ok().and_then(Pid::from_raw);
    kill_process(id.context("a process without a number")?, Signal::TERM).context("cannot end a process")?;
    let (begun, path) = (Instant::now(), log(directory));
    loop {
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if let Some(copied) = copied(&text) {
            return Ok(copied);
        }
        if begun.elapsed() > ENDED {
            bail!("no count of copies after {ENDED:?}: {text}");
        }
        std::thread::sleep(LOOK);
    }
}

/// Reads the line with the sums: `==1== Total:     10,730 bytes in 742 blocks`.
fn copied(log: &str) -> Option<Copied> {
    let mut lines = log.lines().filter_map(|line| line.split_once("Total:"));
    let sums = lines.find_map(|(_, sums)| sums.strip_suffix(" blocks"))?;
    let (bytes, copies) = sums.split_once(" bytes in ")?;
    let number = |text: &str| text.trim().replace(',', "").parse().ok();
    Some(Copied { bytes: number(bytes)?, copies: number(copies)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_read_once_they_are_whole() {
        let log = "==11383== Command: /bin/ls /
==11383==
==11383== Total:     10,730 bytes in 1,742 blocks
==11383==
==11383== To view the resulting profile, open
";
        assert_eq!(copied(log), Some(Copied { bytes: 10_730, copies: 1_742 }));
        assert_eq!(copied(&log[..log.find("blocks").unwrap()]), None);
        assert_eq!(copied(""), None);
    }
}
