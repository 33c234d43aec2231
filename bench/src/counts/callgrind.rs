//! Instructions and allocations of a process, counted by callgrind: from one moment to another, or of all that it does.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::valgrind::{self, MISSING};

/// What libc calls the ways to get memory.
const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) instructions: u64,
    pub(super) allocations: u64,
}

/// A program that runs another one under callgrind, which counts nothing until it is told to.
pub(super) fn wrap(program: &Path, directory: &Path) -> anyhow::Result<PathBuf> {
    let dumps = dumps(directory);
    let options =
        format!("--quiet --tool=callgrind --instr-atstart=no --callgrind-out-file='{}'", dumps.display());
    valgrind::wrap(program, directory, "counted", &options)
}

/// Where callgrind writes, with the number of the dump after a dot.
fn dumps(directory: &Path) -> PathBuf {
    directory.join("callgrind")
}

/// Counts in a program that was wrapped.
pub(super) struct Counting {
    process: u32,
    dumps: PathBuf,
    count: usize,
}

impl Counting {
    /// `directory`: the one that the program was wrapped with.
    pub(super) fn of(process: u32, directory: &Path) -> Self {
        Self { process, dumps: dumps(directory), count: 0 }
    }

    /// Counts from now on.
    pub(super) fn begin(&self) -> anyhow::Result<()> {
        self.tell("instrumentation on")?;
        self.tell("zero")
    }

    /// What was counted since the beginning.
    pub(super) fn end(&mut self) -> anyhow::Result<Counted> {
        self.count += 1;
        self.tell("dump")?;
        self.tell("instrumentation off")?;
        let path = PathBuf::from(format!("{}.{}", self.dumps.display(), self.count));
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        counted(&text).with_context(|| format!("{} has no counts", path.display()))
    }

    fn tell(&self, what: &str) -> anyhow::Result<()> {
        let mut command = Command::new("vgdb");
        command.arg(format!("--pid={}", self.process)).args(what.split(' '));
        let output = command.output().context(MISSING)?;
        if !output.status.success() {
            bail!("callgrind does not do as told: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

/// All that a program does from its start to its end. `directory`: for what callgrind writes.
pub(super) fn whole<A: AsRef<OsStr>>(
    program: &Path,
    arguments: &[A],
    directory: &Path,
) -> anyhow::Result<Counted> {
    let path = directory.join("callgrind-whole");
    let mut option = OsString::from("--callgrind-out-file=");
    option.push(&path);
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--tool=callgrind"]).arg(option).arg(program).args(arguments);
    let output = command.output().context(MISSING)?;
    if !output.status.success() {
        bail!("{} failed: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    counted(&text).with_context(|| format!("{} has no counts", path.display()))
}

/// Reads a dump in callgrind's own format: a name stands beside its number the first time only.
fn counted(dump: &str) -> Option<Counted> {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut callee = "";
    let (mut instructions, mut allocations) = (None, 0);
    for line in dump.lines() {
        let function = line.strip_prefix("cfn=").or_else(|| line.strip_prefix("fn="));
        if let Some((number, name)) = function.and_then(|function| function.split_once(')')) {
            let name = match name.trim() {
                "" => names.get(number).copied().unwrap_or_default(),
                name => {
                    names.insert(number, name);
                    name
                }
            };
            callee = name;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            // A name that is called in circles has a number behind it.
            if ALLOCATORS.contains(&callee.split('\'').next().unwrap_or_default()) {
                allocations += calls.split(' ').next()?.parse::<u64>().ok()?;
            }
        } else if let Some(totals) = line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")) {
            instructions = Some(totals.trim().parse().ok()?);
        }
    }
    instructions.map(|instructions| Counted { instructions, allocations })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_allocators_are_added_up_by_number_and_by_name() {
        let dump = "summary: 120
fn=(1) main
cfn=(2) malloc
calls=3 0
1 30
cfn=(3) free
calls=3 0
1 10
fn=(4) other
cfn=(2)
calls=2 0
1 20
cfn=(5) realloc'2
calls=1 0
1 20
totals: 120
";
        assert_eq!(counted(dump), Some(Counted { instructions: 120, allocations: 6 }));
        assert_eq!(counted("nothing"), None);
    }
}
