//! What `catnap dev` builds, and when: before the first start, and with `--watch` after each change of a file.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncRead;
use tokio::process::Command;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::changes::{Changes, Seen, look};
use super::output::Output;
use super::reaper::Reaper;

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// The last lines of a build get this long to come.
const LAST_OUTPUT: Duration = Duration::from_secs(1);
/// An editor or a checkout that writes several files is through when nothing changed for so long.
const SETTLING: Duration = Duration::from_millis(100);
/// Longest wait for that: what writes all the time, such as a function its log, keeps nobody from building.
const LONGEST_SETTLING: Duration = Duration::from_secs(5);

/// A shell command, and where it runs.
pub(crate) struct Build {
    pub(crate) command: String,
    pub(crate) folder: PathBuf,
    pub(crate) output: Arc<Output>,
    /// Ends it.
    pub(crate) stop: CancellationToken,
    /// Ends it if we are killed.
    pub(crate) reaper: Arc<Reaper>,
}

/// Why nothing was built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// No shell.
    #[error("cannot run `{command}`")]
    Start {
        /// What was to be run.
        command: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// It says that it failed.
    #[error("`{command}` ended with {status}; its output says why")]
    Failed {
        /// What was run.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// The run is to end.
    #[error("stopped before `{command}` was done")]
    Stopped {
        /// What was run.
        command: String,
    },
}

impl Build {
    /// Runs it to its end; its output goes where that of replicas goes.
    pub(crate) async fn run(&self) -> Result<(), BuildError> {
        let command = || self.command.clone();
        let start = |source| BuildError::Start { command: command(), source };
        let mut child = Command::new("sh")
            .args(["-c", &self.command])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        if let Some(group) = group {
            self.reaper.started(group).await;
        }
        let told = [self.forward(child.stdout.take()), self.forward(child.stderr.take())];
        let ended = tokio::select! {
            ended = child.wait() => {
                let status = ended.map_err(start)?;
                // What it says stands before what comes of it; what it left behind may never close its output.
                let _ = timeout(LAST_OUTPUT, join_all(told)).await;
                // With each build there would be one more of those. Nothing is left of most.
                let _ = group.map(|group| killpg(group, Signal::SIGKILL));
                if status.success() { Ok(()) } else { Err(BuildError::Failed { command: command(), status }) }
            }
            () = self.stop.cancelled() => {
                // An error would mean that nothing of it is left.
                let _ = group.map(|group| killpg(group, Signal::SIGKILL));
                let _ = child.wait().await;
                Err(BuildError::Stopped { command: command() })
            }
        };
        if let Some(group) = group {
            self.reaper.ended(group).await;
        }
        ended
    }

    fn forward(&self, stream: Option<impl AsyncRead + Send + Unpin + 'static>) -> JoinHandle<()> {
        let output = Arc::clone(&self.output);
        tokio::spawn(async move {
            if let Some(stream) = stream {
                output.forward("build", stream).await;
            }
        })
    }
}

/// Looks after the files of a folder.
pub(crate) struct Watch {
    pub(crate) folder: PathBuf,
    /// The Function's, in full.
    pub(crate) manifest: PathBuf,
    /// Since the first build.
    pub(crate) changes: Changes,
    pub(crate) build: Option<Build>,
    pub(crate) output: Arc<Output>,
    pub(crate) stop: CancellationToken,
}

impl Watch {
    /// Until it is stopped: builds after each change, and tells when there is something new to start.
    pub(crate) async fn run(mut self, renew: UnboundedSender<()>) {
        // A build ends by itself when it is stopped, and whatever it started with it.
        while self.waits(INTERVAL).await {
            let Some(now) = self.look().await else { return };
            let news = self.changes.since(now);
            let Some(first) = news.first() else { continue };
            let more = match news.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            self.output.line(&format!("{}{more} changed", self.named(first).display()));
            if news.iter().any(|path| self.is_manifest(path)) {
                self.output
                    .line("the manifest is read at the start: what is new in it takes a new `catnap dev`");
                if news.len() == 1 {
                    continue;
                }
            }
            if !self.settle().await {
                return;
            }
            if let Some(build) = &self.build {
                let built = build.run().await;
                let Some(after) = self.look().await else { return };
                self.changes.built(&after);
                if let Err(error) = built {
                    self.output.line(&format!("{error}; what was built before goes on"));
                    continue;
                }
            }
            if renew.send(()).is_err() {
                return;
            }
        }
    }

    /// Waits until one look finds nothing new, but not for ever; false when it is stopped, or there is too much to look at.
    async fn settle(&mut self) -> bool {
        let end = Instant::now() + LONGEST_SETTLING;
        while self.waits(SETTLING).await {
            let Some(now) = self.look().await else { return false };
            let news = self.changes.since(now);
            let Some(first) = news.first() else { return true };
            if Instant::now() >= end {
                let name = self.named(first).display();
                self.output.line(&format!(
                    "{name} changes all the time; what the function writes belongs into another folder"
                ));
                return true;
            }
        }
        false
    }

    /// False when it is stopped meanwhile.
    async fn waits(&self, interval: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = sleep(interval) => true,
        }
    }

    /// `None`, and a word about it, when there are too many.
    async fn look(&self) -> Option<Seen> {
        let folder = self.folder.clone();
        match spawn_blocking(move || look(&folder)).await.ok()? {
            Ok(seen) => Some(seen),
            Err(error) => {
                self.output.line(&format!("changes are not watched: {error}"));
                None
            }
        }
    }

    fn is_manifest(&self, path: &Path) -> bool {
        path.file_name() == self.manifest.file_name()
            && path.canonicalize().is_ok_and(|full| full == self.manifest)
    }

    fn named<'path>(&self, path: &'path Path) -> &'path Path {
        path.strip_prefix(&self.folder).unwrap_or(path)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[tokio::test]
    async fn a_file_that_changes_all_the_time_keeps_nobody_from_building() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        std::fs::write(&log, "").unwrap();
        let stop = CancellationToken::new();
        let watch = Watch {
            folder: folder.path().to_owned(),
            manifest: folder.path().join("function.yaml"),
            changes: Changes::new(look(folder.path()).unwrap()),
            build: None,
            output: Arc::new(Output::standard(stop.clone())),
            stop: stop.clone(),
        };
        let (renew, mut renewed) = unbounded_channel();
        let watching = tokio::spawn(watch.run(renew));
        let over = stop.clone();
        let writing = tokio::spawn(async move {
            let mut length = 0;
            while !over.is_cancelled() {
                length += 1;
                std::fs::write(&log, "x".repeat(length)).unwrap();
                sleep(SETTLING / 10).await;
            }
        });
        let built = timeout(LONGEST_SETTLING * 12, renewed.recv()).await;
        stop.cancel();
        watching.await.unwrap();
        writing.await.unwrap();
        assert_eq!(built, Ok(Some(())));
    }
}
