//! One replica: a process group of its own, started again when it ends by itself, as kubelet does with a container.
//!
//! It tells what a pod's status would: started, ready, crash loop, gone. On the way out it gets SIGTERM, after the grace SIGKILL.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::{Reason, Trouble};
use catnap_wire::PodUid;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncRead;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::output::Output;
use super::program::Program;
use super::reaper::Reaper;

/// Pause before the second start; each further one takes twice as long.
const FIRST_RESTART: Duration = Duration::from_millis(250);
const LONGEST_RESTART: Duration = Duration::from_secs(60);
/// A process that ran for this long did not crash at its start: the pauses begin anew.
const SETTLED: Duration = Duration::from_secs(10);
/// From this many crashes in a row on it is a loop, and waiting for the replica makes no sense.
const LOOP: u32 = 2;

/// What happens to a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its process runs.
    Started,
    /// Its port answers, or does not any more.
    Ready(bool),
    /// Its process ended by itself, or could not be started.
    Crashed(Option<Trouble>),
    /// Nothing is left of it.
    Gone,
}

/// Answers whether the port at the address can serve.
pub(crate) type ReadinessCheck =
    Arc<dyn Fn(SocketAddr) -> futures::future::BoxFuture<'static, bool> + Send + Sync>;

/// Everything that a replica needs to run.
#[derive(Clone)]
pub(crate) struct Replica {
    /// Its name, and its UID for the cores.
    pub(crate) uid: PodUid,
    /// Where it has to listen.
    pub(crate) address: SocketAddr,
    /// What it runs.
    pub(crate) program: Arc<Program>,
    /// Whether it can serve.
    pub(crate) check: ReadinessCheck,
    /// Ends it if we are killed.
    pub(crate) reaper: Arc<Reaper>,
    /// Where its output goes.
    pub(crate) output: Arc<Output>,
    /// Where its events go.
    pub(crate) events: UnboundedSender<(PodUid, Event)>,
}

impl Replica {
    /// Runs until `stop` is cancelled and nothing is left of it; `kill` cuts the grace short.
    pub(crate) async fn run(self, stop: CancellationToken, kill: CancellationToken) {
        let mut crashes = 0;
        while !stop.is_cancelled() {
            let started = Instant::now();
            let detail = match self.start().await {
                Ok(child) => match self.serve(child, &stop, &kill).await {
                    Some(status) => format!("{} ended with {status}; its output says why", self.uid),
                    None => break,
                },
                Err(error) => format!("{} cannot be started: {error}", self.uid),
            };
            crashes = if started.elapsed() > SETTLED { 1 } else { crashes + 1 };
            let pause = (FIRST_RESTART * 2_u32.saturating_pow(crashes - 1)).min(LONGEST_RESTART);
            self.output.line(&format!("{detail} (next start in {pause:?})"));
            let trouble =
                (crashes >= LOOP).then(|| Trouble { reason: Reason::CrashLoop, detail: detail.into() });
            self.tell(Event::Crashed(trouble));
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
        self.tell(Event::Gone);
    }

    async fn start(&self) -> std::io::Result<Child> {
        let environment = self.program.environment(self.address.port());
        let mut child = Command::new(&self.program.file)
            .args(self.program.arguments(&environment))
            .envs(&environment)
            .current_dir(&self.program.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        if let Some(group) = group(&child) {
            self.reaper.started(group).await;
        }
        self.forward(child.stdout.take());
        self.forward(child.stderr.take());
        Ok(child)
    }

    /// `None` when it was stopped, else how it ended by itself.
    async fn serve(
        &self,
        mut child: Child,
        stop: &CancellationToken,
        kill: &CancellationToken,
    ) -> Option<ExitStatus> {
        self.tell(Event::Started);
        let group = group(&child);
        let ended = tokio::select! {
            ended = child.wait() => ended.ok(),
            () = self.watch_readiness() => None,
            () = stop.cancelled() => {
                signal(group, Signal::SIGTERM);
                tokio::select! {
                    _ = timeout(self.program.grace, child.wait()) => {}
                    () = kill.cancelled() => {}
                }
                None
            }
        };
        // What the process left behind, or what the grace was not enough for.
        signal(group, Signal::SIGKILL);
        // Reaps it; an error would mean that it is reaped already.
        let _ = child.wait().await;
        if let Some(group) = group {
            self.reaper.ended(group).await;
        }
        ended
    }

    /// Never ends: asks often until the port answers, then once a second as kubelet does.
    async fn watch_readiness(&self) {
        let mut ready = false;
        loop {
            let answers = (self.check)(self.address).await;
            if answers != ready {
                ready = answers;
                self.tell(Event::Ready(ready));
            }
            sleep(if ready { Duration::from_secs(1) } else { Duration::from_millis(20) }).await;
        }
    }

    fn forward(&self, stream: Option<impl AsyncRead + Send + Unpin + 'static>) {
        let Some(stream) = stream else { return };
        let (uid, output) = (Arc::clone(&self.uid), Arc::clone(&self.output));
        tokio::spawn(async move {
            output.forward(&uid, stream).await;
        });
    }

    fn tell(&self, event: Event) {
        // Nobody listens only when the whole session is over.
        let _ = self.events.send((Arc::clone(&self.uid), event));
    }
}

fn group(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw)
}

fn signal(group: Option<Pid>, signal: Signal) {
    let sent = group.map(|group| killpg(group, signal));
    debug_assert!(matches!(sent, None | Some(Ok(()) | Err(Errno::ESRCH | Errno::EPERM))), "{sent:?}");
}
