//! A reader's terminals: a folder, the programs that the page needs, and bash.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::{replace, workspace};
use crate::fixture::Surroundings;

/// Longest wait for the commands of one block.
const PATIENCE: Duration = Duration::from_secs(100);
/// Longest wait for what ran beside the page to end when it is told to.
const ENDING: Duration = Duration::from_secs(20);
/// A reader's shell goes on after a command that failed; a page is wrong by then.
const STRICT: &str = "set -aeu -o pipefail";
/// Where the block before has left the shell.
const BEFORE: &str =
    r#"if [ -e "$BOOK/variables" ]; then . "$BOOK/variables"; cd "$(cat "$BOOK/directory")"; fi"#;
/// Where this one leaves it.
const AFTER: &str = r#"trap 'export -p >"$BOOK/variables"; pwd >"$BOOK/directory"' EXIT"#;
/// What goes on is told to end with all that it has started, and is over when all of that is.
const WAITS: &str = "trap 'wait; exit 143' TERM";

/// Everything that was begun in it ends when it is dropped.
pub(super) struct Shell {
    directory: TempDir,
    surroundings: Surroundings,
    /// Where `catnap dev` listens.
    dev_port: u16,
    /// Process groups of blocks of which something still runs.
    groups: Vec<Pid>,
    background: Vec<Background>,
}

/// A terminal of its own.
struct Background {
    line: usize,
    child: Child,
    output: PathBuf,
}

impl Shell {
    /// A new folder with what a checkout has: links to the chart and the examples, and the manifests of `docs/`, in which
    /// `replaced` is replaced.
    pub(super) fn open(
        surroundings: Surroundings,
        dev_port: u16,
        replaced: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("making a folder")?;
        let shell = Self { directory, surroundings, dev_port, groups: Vec::new(), background: Vec::new() };
        for folder in ["work", "programs", "state"] {
            fs::create_dir(shell.path(folder)).with_context(|| format!("making the folder {folder}"))?;
        }
        fs::write(shell.path("kubeconfig"), &shell.surroundings.kubeconfig)
            .context("writing a kubeconfig")?;
        for name in ["catnap", "kubectl-catnap"] {
            let link = shell.path("programs").join(name);
            std::os::unix::fs::symlink(&shell.surroundings.catnap, link).context("linking catnap")?;
        }
        for folder in ["charts", "examples"] {
            let link = shell.path("work").join(folder);
            std::os::unix::fs::symlink(workspace().join(folder), link).context("linking the checkout")?;
        }
        copy_manifests(&workspace().join("docs"), &shell.path("work").join("docs"), replaced)?;
        Ok(shell)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file beside the commands.
    pub(super) fn write(&self, name: &str, content: &str) -> anyhow::Result<()> {
        fs::write(self.path("work").join(name), content).with_context(|| format!("writing {name}"))
    }

    /// Runs commands to their end; the code that they end with, and what they print.
    pub(super) async fn run(&mut self, script: &str) -> anyhow::Result<(i32, String)> {
        let output = self.path("output");
        let script = format!("{STRICT}\n{BEFORE}\n{AFTER}\n{script}");
        let mut child = self.spawn(&script, &output)?;
        let status = timeout(PATIENCE, child.wait()).await;
        let printed = read(&output);
        let status = status.with_context(|| format!("not done after {PATIENCE:?}; printed:\n{printed}"))?;
        let status = status.context("waiting for bash")?;
        self.groups.retain(|group| killpg(*group, None).is_ok());
        let code = status.code().with_context(|| format!("{status}; printed:\n{printed}"))?;
        Ok((code, printed))
    }

    /// Begins commands that go on.
    pub(super) fn begin(&mut self, line: usize, script: &str) -> anyhow::Result<()> {
        let output = self.path(&format!("output-of-{line}"));
        let child = self.spawn(&format!("{STRICT}\n{BEFORE}\n{WAITS}\n{script}"), &output)?;
        self.background.push(Background { line, child, output });
        Ok(())
    }

    fn spawn(&mut self, script: &str, output: &Path) -> anyhow::Result<Child> {
        // A file, and no pipe: what goes on in the background would keep that open.
        let file = File::create(output).context("making a file for the output")?;
        let mut path = self.path("programs").into_os_string();
        if let Some(folder) = &self.surroundings.programs {
            path.push(":");
            path.push(folder);
        }
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command.arg("-c").arg(script).current_dir(self.path("work")).process_group(0).kill_on_drop(true);
        command.env("BOOK", self.path("state")).env("KUBECONFIG", self.path("kubeconfig")).env("PATH", path);
        command.env("CATNAP_DEV_LISTEN", format!("127.0.0.1:{}", self.dev_port));
        // What is called is on this machine or in its cluster.
        command.env("NO_PROXY", "*").env("no_proxy", "*");
        command.stdin(Stdio::null());
        command.stdout(file.try_clone().context("using the file for the output")?).stderr(file);
        let child = command.spawn().context("starting bash")?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).context("bash has no process")?;
        self.groups.push(Pid::from_raw(group));
        Ok(child)
    }

    /// What the other terminals show, for whoever looks for an error.
    pub(super) fn heard(&self) -> String {
        let show = |one: &Background| format!("\nbegun in line {}:\n{}", one.line, read(&one.output));
        self.background.iter().map(show).collect::<Vec<_>>().concat()
    }

    /// Ends what goes on, as Ctrl-C would.
    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        for one in &mut self.background {
            let ended = one.child.try_wait().context("looking at bash")?;
            anyhow::ensure!(
                ended.is_none(),
                "what begins in line {} has ended by itself:\n{}",
                one.line,
                read(&one.output)
            );
        }
        for group in &self.groups {
            // None is left of a group that has ended.
            let _ = killpg(*group, Signal::SIGTERM);
        }
        for one in &mut self.background {
            let ended = timeout(ENDING, one.child.wait()).await;
            let ended = ended.with_context(|| format!("what begins in line {} does not end", one.line))?;
            ended.context("waiting for bash")?;
        }
        Ok(())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for group in &self.groups {
            let _ = killpg(*group, Signal::SIGKILL);
        }
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The folders with manifests, and these.
fn copy_manifests(from: &Path, to: &Path, replaced: &[(&str, &str)]) -> anyhow::Result<()> {
    let failed = || format!("copying {}", from.display());
    for entry in fs::read_dir(from).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let Some(name) = path.file_name() else { continue };
        if path.is_dir() {
            copy_manifests(&path, &to.join(name), replaced)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            fs::create_dir_all(to).with_context(failed)?;
            let text = fs::read_to_string(&path).with_context(failed)?;
            fs::write(to.join(name), replace(&text, replaced)).with_context(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
