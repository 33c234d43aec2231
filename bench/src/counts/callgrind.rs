//! Instructions and allocations of a process, counted by callgrind: from one moment to another, or of all that it does.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

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
    let script = directory.join("counted");
    let (program, dumps) = (program.display(), dumps(directory));
    let text = format!(
        "#!/bin/sh\nexec valgrind --quiet --tool=callgrind --instr-atstart=no --callgrind-out-file='{}' '{program}' \"$@\"\n",
        dumps.display()
    );
    std::fs::write(&script, text).context("cannot write a script")?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))
        .context("cannot write a script")?;
    Ok(script)
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

const MISSING: &str = "cannot start valgrind: `deploy/dependencies.sh counts` installs it";

/// Instructions of a program from its start to its end.
pub(super) fn instructions<A: AsRef<OsStr>>(program: &Path, arguments: &[A]) -> anyhow::Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).args(arguments);
    let output = command.output().context(MISSING)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    collected.filter(|_| output.status.success()).with_context(|| format!("no count: {said}"))
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
